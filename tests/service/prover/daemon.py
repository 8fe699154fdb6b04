"""A real daemon in a process of its own, over a real Unix socket, with a folder of small models."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prover.directory import OwnerFolder
from prover.ledger import PROOF
from prover.service.client import ProverClient
from tests.end_to_end.commands import environment
from tests.end_to_end.models import norms, policy_text, small_tensors, write_safetensors
from weightproof.v1 import prover_service_pb2 as wire

WAIT_SECONDS = 120.0
LEASE_SECONDS = 2
PROOFS = 20
TRUE_POLICY = policy_text(norms("1000"), norms("2000", over="together")).encode()
FALSE_POLICY = policy_text(norms("1")).encode()
ENDED = (wire.JOB_STATE_SUCCEEDED, wire.JOB_STATE_FAILED, wire.JOB_STATE_CANCELLED)
START = "import sys; sys.argv[0] = 'weightproof-prover'; from prover.cli import main; main()"


def toml(value: Any) -> str:
    """A value in TOML; JSON is close enough for strings, numbers, lists of them, and inline tables."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


class Daemon:
    """A daemon's folder: prover.toml, models/, state/; and its process, if it runs."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """`settings` are added to the configuration, or replace what is in it."""
        self.folder, self.models, self.state = folder, folder / "models", folder / "state"
        self.models.mkdir(parents=True)
        self.config = folder / "prover.toml"
        self.configure(**settings)
        self.process: subprocess.Popen[str] | None = None

    def configure(self, **settings: Any) -> None:
        """Write prover.toml."""
        content = {
            "state": "state",
            "models": ["models"],
            "device": "cpu",
            "proofs": PROOFS,
            "lease": LEASE_SECONDS,
            **settings,
        }
        self.config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in content.items()))

    def start(self) -> Daemon:
        """Start it, and wait until it serves."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "serve", "--config", str(self.config), "--verbose"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr").open("a"),
            text=True,
            env=environment(),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"serving at unix:{self.state / 'prover.sock'}\n", self.log()
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    def client(self) -> ProverClient:
        return ProverClient(self.state / "prover.sock")

    def model(self, name: str = "model.safetensors", seed: int = 1) -> Path:
        """Write a small model."""
        return write_safetensors(self.models / name, small_tensors(seed))

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        assert self.process is not None
        listing = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout
        return [int(line.split()[0]) for line in listing.splitlines() if "prover.service.worker" in line]

    def kill_worker(self) -> bool:
        """kill -9 to a worker, if there is one."""
        for pid in self.workers():
            try:
                os.kill(pid, signal.SIGKILL)
                return True
            except ProcessLookupError:
                continue
        return False

    def wait(self, name: str, seconds: float = WAIT_SECONDS) -> wire.Job:
        """The job once it has ended; the daemon may come and go meanwhile."""
        return wait_for(lambda: self._ended(name), seconds)

    def _ended(self, name: str) -> wire.Job | None:
        with self.client() as client:
            job = client.job(name)
        return job if job.state in ENDED else None

    def owners(self) -> list[OwnerFolder]:
        """All commitments."""
        folders = sorted(path for path in (self.state / "commitments").iterdir() if not path.name.startswith("."))
        return [OwnerFolder.open(path) for path in folders]

    def shares_used(self) -> int:
        return sum(owner.ledger.used(PROOF) for owner in self.owners())

    def bundles(self) -> list[Path]:
        """All bundles under their own names: what may ever have left the machine."""
        return sorted(path for path in (self.state / "jobs").glob("*/*.bundle") if not path.name.startswith("."))


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """A started daemon, gone afterwards."""
    try:
        yield daemon.start()
    finally:
        daemon.close()


def fresh() -> str:
    """A request_id."""
    return secrets.token_hex(8)


def result(job: wire.Job) -> dict[str, Any]:
    """The result of a job that succeeded."""
    assert job.state == wire.JOB_STATE_SUCCEEDED, job
    content: dict[str, Any] = json.loads(job.result)
    return content


def wait_for(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """What `condition` returns once it is true."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)
    return found

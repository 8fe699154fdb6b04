"""Real parties on loopback: certificates, a verifier's process, clients of every kind, an owner who can prove."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from circuits.policy import Policy
from prover.audit import audit_model
from prover.cli import open_model
from prover.kernel_choice import choose_kernels
from prover.progress import Progress
from tests.end_to_end.commands import environment
from verifier.service.client import Identity, VerifierClient
from verifier.service.development import DevelopmentAuthority
from verifier.service.setup import new_service
from weightproof.v1 import verifier_service_pb2 as wire

DOMAIN = "spiffe://test.weightproof.org"
REGULATOR = f"{DOMAIN}/regulator"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Certificates:
    """A folder of PEM files: acme and rival (owners), regulator, auditor, and callers that must not get in."""

    folder: Path

    @staticmethod
    def make(folder: Path) -> Certificates:
        authority, foreign = DevelopmentAuthority(), DevelopmentAuthority()
        long_ago = datetime.now(UTC) - timedelta(days=60)
        ids = {
            "acme": authority.issue(f"{DOMAIN}/owner/acme"),
            "rival": authority.issue(f"{DOMAIN}/owner/rival"),
            "regulator": authority.issue(REGULATOR),
            "auditor": authority.issue(f"{DOMAIN}/auditor"),
            "nobody": authority.issue(f"{DOMAIN}/owner/nobody"),
            "expired": authority.issue(f"{DOMAIN}/owner/acme", start=long_ago, days=30),
            "foreign": foreign.issue(f"{DOMAIN}/owner/acme"),
            "verifier": authority.issue(f"{DOMAIN}/verifier", ["localhost", "127.0.0.1"]),
        }
        folder.mkdir()
        (folder / "ca.pem").write_bytes(authority.pem())
        for name, (certificate, key) in ids.items():
            (folder / f"{name}.pem").write_bytes(certificate)
            (folder / f"{name}.key").write_bytes(key)
        return Certificates(folder)

    def identity(self, name: str) -> Identity:
        return Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key", self.folder / "ca.pem")

    def callers(self) -> list[tuple[str, str]]:
        return [
            (f"{DOMAIN}/owner/acme", "owner"),
            (f"{DOMAIN}/owner/rival", "owner"),
            (REGULATOR, "regulator"),
            (f"{DOMAIN}/auditor", "auditor"),
        ]


@dataclass
class Service:
    """A verifier's service in a process of its own."""

    folder: Path
    certificates: Certificates
    process: subprocess.Popen[str] | None = None
    port: int = 0
    clients: list[VerifierClient] = field(default_factory=list)

    @staticmethod
    def make(
        folder: Path,
        certificates: Certificates,
        *,
        limits: Mapping[str, float] | None = None,
        database: str | None = None,
        policies: Sequence[Path] = (),
        base_files: Sequence[Path] = (),
        port: int = 0,
    ) -> Service:
        """A new service's folder; `limits` replace the defaults of the settings."""
        new_service(
            folder, REGULATOR, certificates.folder, certificates.callers(), f"127.0.0.1:{port}", "test/log", policies
        )
        configuration = folder / "verifier.toml"
        text = configuration.read_text()
        if database is not None:
            text = f'database = "{database}"\n{text}'
        text = f"base_files = {[str(path) for path in base_files]!r}\n{text}"
        lines = [f"{name} = {value}" for name, value in (limits or {}).items()]
        configuration.write_text("\n".join([text, "[limits]", *lines, ""]))
        return Service(folder, certificates)

    def start(self, before: Any = None) -> Service:
        """Start it, and wait until it serves. `before` is called in the child, to set limits."""
        code = "from verifier.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--config", str(self.folder / "verifier.toml"), "--verbose"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr").open("a"),
            text=True,
            env=environment(),
            preexec_fn=before,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.fullmatch(r"serving on port (\d+)\n", line)
        assert match is not None, (line, self.log())
        self.port = int(match[1])
        return self

    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    def client(self, name: str, port: int | None = None, patience: float = 20.0) -> VerifierClient:
        """A client with the certificate of this name."""
        address = f"localhost:{port or self.port}"
        client = VerifierClient(address, self.certificates.identity(name), patience=patience)
        self.clients.append(client)
        return client

    def kill(self) -> None:
        """kill -9, its children included."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """A started service, gone afterwards."""
    try:
        yield service.start() if service.process is None else service
    finally:
        service.close()


@dataclass(frozen=True)
class Owner:
    """Somebody with a committed model, who proves in this process."""

    folder: Path
    model: Path
    policy: Path

    @property
    def policy_name(self) -> str:
        return f"policies/{Policy.read(self.policy).digest.hex()}"

    def prove(self, nonce: bytes, out: Path, policy: Path | None = None) -> Path:
        """A bundle for a nonce; costs one opening."""
        progress, kernels = Progress.silent(), choose_kernels("cpu")
        opened = open_model(self.folder, self.model, "cpu", progress)
        bundle = audit_model(opened, Policy.read(policy or self.policy), nonce, kernels, progress)
        out.write_bytes(bundle.to_bytes())
        return out

    def register(self, client: VerifierClient) -> str:
        """Register the commitment and wait until it is valid; its name."""
        return client.wait_commitment(client.register_commitment(self.folder, "small model").name).name

    def open_audit(self, client: VerifierClient, request_id: str | None = None) -> wire.Audit:
        """Register if need be, and open an audit."""
        return client.create_audit(request_id or os.urandom(8).hex(), self.register(client), self.policy_name)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for a condition that will hold soon."""
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it did not happen in time"
        time.sleep(0.05)

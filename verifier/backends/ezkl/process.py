"""Running ezkl: a child process with limits of time and memory, and named errors for whatever it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verifier.backends.ezkl.errors import EzklFailedError, EzklLimitError, EzklMissingError

CHILD = Path(__file__).with_name("child.py")
MISSING = 77
POLL_SECONDS = 0.1
SLACK_BYTES = 4 << 30
"""Address space beyond the memory limit: what is reserved but never touched."""
MESSAGE_BYTES = 2000


@dataclass(frozen=True)
class Limits:
    """What ezkl may use: seconds of wall time, for a job or until a deadline for all, and bytes of resident memory."""

    seconds: float = 3600
    memory: int = 12 << 30
    deadline: float | None = None
    """On the monotonic clock."""

    def started(self) -> Limits:
        """The same for several jobs together: the seconds run from now, unless they run already."""
        return self if self.deadline is not None else replace(self, deadline=time.monotonic() + self.seconds)


@dataclass(frozen=True)
class Ran:
    """A finished job: the answer and the seconds of every step, and the peak of resident memory in bytes."""

    answers: tuple[bool | None, ...]
    seconds: tuple[float, ...]
    peak: int


@dataclass
class Job:
    """Steps for one child, in order: functions of ezkl on files."""

    limits: Limits
    steps: list[dict[str, Any]] = field(default_factory=list)

    def add(self, call: str, options: dict[str, Any] | None = None, **arguments: Path | int) -> Job:
        """One more call; the arguments are passed in the order in which they are given."""
        named = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
        self.steps.append({"call": call, "arguments": named, "options": options or {}})
        return self

    def run(self) -> Ran:
        """Run all steps in one child.

        Raises EzklMissingError, EzklFailedError (an exception or a crash in ezkl), EzklLimitError.
        """
        with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as folder:
            answer, messages = Path(folder) / "answer.json", Path(folder) / "stderr"
            job = {
                "steps": self.steps,
                "answer": str(answer),
                "address_space": self.limits.memory + SLACK_BYTES,
            }
            with messages.open("wb") as errors:
                child = subprocess.Popen(
                    [sys.executable, "-I", str(CHILD)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=folder,
                    start_new_session=True,
                )
                assert child.stdin is not None
                try:
                    # a child that ended early has its reasons in its exit code
                    with suppress(BrokenPipeError):
                        child.stdin.write(json.dumps(job).encode())
                        child.stdin.close()
                    code = self._watch(child)
                finally:
                    _end(child)
            if code == MISSING:
                raise EzklMissingError(
                    "ezkl is not installed: pip install 'weightproof[ezkl]' (it states no licence), or use the native"
                    " argument"
                )
            if code != 0 or not answer.is_file():
                said = messages.read_bytes()[-MESSAGE_BYTES:].decode("utf-8", "replace").strip()
                raise EzklFailedError(f"ezkl failed ({_ending(code)}): {said.splitlines()[-1] if said else 'silently'}")
            found = json.loads(answer.read_bytes())
        return Ran(tuple(found["answers"]), tuple(found["seconds"]), found["peak"])

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """The exit code, once it has ended within the limits."""
        end = self.limits.started().deadline
        assert end is not None
        while True:
            try:
                return child.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() > end:
                raise EzklLimitError(f"ezkl was stopped after {self.limits.seconds:.0f} s; allow more time")
            if _resident(child.pid) > self.limits.memory:
                raise EzklLimitError(
                    f"ezkl was stopped at {self.limits.memory >> 20} MiB of memory; allow more, or use the native"
                    " argument, which needs less"
                )


def _resident(pid: int) -> int:
    """Bytes of resident memory; 0 if the process has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Nothing of the child stays behind."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

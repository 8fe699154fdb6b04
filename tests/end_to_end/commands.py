"""Running the two commands as a user does: a process of its own, real files, exit code, both streams, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED, REJECTED, USAGE, MALFORMED, TRUST, UNAVAILABLE = range(6)
Argument = str | Path


@dataclass(frozen=True)
class Result:
    """What a finished command left: exit code, stdout, stderr, and the most memory that it held, in bytes."""

    code: int
    out: str
    err: str
    peak_bytes: int

    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)

    def clean(self, code: int) -> Result:
        """Assert the exit code and that no traceback was shown; returns itself."""
        assert self.code == code, f"exit {self.code}, expected {code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err + self.out, self.err
        return self


def environment() -> dict[str, str]:
    """The environment of the commands: the packages of this checkout come first."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "protos")))}


def command_line(module: str, arguments: tuple[Argument, ...]) -> list[str]:
    """What the entry point of `module` would be started as."""
    return [sys.executable, "-c", f"from {module} import main; main()", *map(str, arguments)]


def run(module: str, *arguments: Argument, before: Callable[[], None] | None = None) -> Result:
    """Run the entry point of a module and wait for it. `before` is called in the child, to set limits."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command_line(module, arguments),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(),
            preexec_fn=before,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Result(process.returncode, out.read().decode(), err.read().decode(), usage.ru_maxrss * 1024)


def prover(*arguments: Argument, before: Callable[[], None] | None = None) -> Result:
    """weightproof-prover with these arguments."""
    return run("prover.cli", *arguments, before=before)


def verifier(*arguments: Argument, before: Callable[[], None] | None = None) -> Result:
    """weightproof-verifier with these arguments."""
    return run("verifier.cli", *arguments, before=before)

"""Verifying one proof in a process of its own, as a regulator does: no prover in memory, and nothing warm.

    python -m benchmarks.verification COMMITMENT BUNDLE POLICY [BASE]

Prints wall seconds and seconds of all cores, by stage, as JSON. The validity proof is not looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuits.policy import Policy
from verifier.argument.audit import Audit, Bases
from verifier.argument.commitment import Commitment
from verifier.argument.statement import verify
from verifier.bundle import Bundle
from verifier.decision import public_bases

Stages = dict[str, tuple[float, float]]
"""(wall seconds, seconds of all cores) of "base file", "compile" and "verify"."""


def verification(commitment: Path, bundle: Path, policy: Path, base: Path | None = None) -> Stages:
    """Stages of a verification in this process. Raises VerificationError."""
    found: Stages = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        found[name] = time.perf_counter() - wall, time.process_time() - cpu

    audited, given, wanted = Commitment.read(commitment), Bundle.read(bundle), Policy.read(policy)
    with stage("base file"):
        public = public_bases(() if base is None else (base,), audited.manifest)
    statement = Audit(wanted, audited, given.disclosed, Bases({}, public))
    with stage("compile"):
        _ = statement.compiled
    with stage("verify"):
        verify(statement, given.proof, given.nonce)
    return found


def in_another_process(*paths: Path) -> Stages:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.verification", *map(str, paths)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return {name: (wall, cpu) for name, (wall, cpu) in json.loads(out).items()}


if __name__ == "__main__":
    print(json.dumps(verification(*map(Path, sys.argv[1:]))))

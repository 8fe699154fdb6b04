"""The same statement about the same weights through both proof systems, in one run: seconds, bytes, peak memory.

The statement is one Frobenius norm of one matrix. Every row is a process of its own, so that its peak is its own; for
ezkl that includes the processes it runs in. `setup` is commitment and validity proof for the native argument,
settings and keys for ezkl (its reference string is made before, and shared); `prove` includes the verification that
every proof passes before it leaves. Run: `python -m benchmarks compare-backends --help`.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.models import random_checkpoint

SHAPES = {4_096: (64, 64), 65_536: (256, 256), 22_675_456: (5_536, 4_096)}
NATIVE_ONLY = 1 << 20
LOG_ROWS = {4_096: 14, 65_536: 18}
"""The heights of the circuits. Under a longer string ezkl derives the shorter one anew in every step that reads it."""
SYSTEMS = ("native", "ezkl", "ezkl-linked")
LIMIT_SECONDS = 7200


def policy_bytes(weights: int) -> bytes:
    """|W|_F is at most twice what normal weights of standard deviation 0.02 have: no interval decides it."""
    limit = f"{math.ceil(0.04 * math.sqrt(weights))}"
    check = f'{{check: frobenius-norm, tensors: "*", at_most: "{limit}"}}'
    return f"policy: weightproof/policy/v1\nname: norm\nchecks:\n  - {check}\n".encode()


def measure(system: str, weights: int, folder: Path, srs: Path, memory: int) -> dict[str, Any]:
    """One row, in this process."""
    from circuits.policy import Policy
    from prover.argument.kernels.cpu.kernels import CpuKernels
    from prover.audit import Opened, audit_model
    from prover.backends.ezkl import EzklRun, audit_with_ezkl
    from prover.checkpoints import open_checkpoint
    from prover.commit import commit_model, prove_validity
    from prover.ledger import Ledger
    from prover.progress import Progress
    from verifier.argument.audit import Audit
    from verifier.argument.statement import verify
    from verifier.argument.validity import Validity
    from verifier.backends.ezkl.keys import derived
    from verifier.backends.ezkl.process import Limits
    from verifier.backends.ezkl.reference_string import ReferenceString
    from verifier.backends.ezkl.verification import EzklStatement, verify_bundle

    kernels, progress = CpuKernels(), Progress.silent()
    kernels.compile()
    policy, nonce = Policy.from_bytes(policy_bytes(weights)), bytes(16)
    start = time.perf_counter()
    model = commit_model(open_checkpoint(folder / f"{weights}.safetensors"), kernels, progress=progress)
    validity = prove_validity(model, kernels, progress)
    setup = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as place:
        opened = Opened(model, Ledger.create(Path(place) / "ledger", model.commitment.id, 64))
        if system == "native":
            start = time.perf_counter()
            proof = audit_model(opened, policy, nonce, kernels, progress).proof
            prove = time.perf_counter() - start
            start = time.perf_counter()
            verify(Validity(model.commitment), validity)
            verify(Audit(policy, model.commitment), proof, nonce)
            return {"setup": setup, "prove": prove, "verify": time.perf_counter() - start, "bytes": len(proof)}
        linked = system == "ezkl-linked"
        limits = Limits(LIMIT_SECONDS, memory << 30)
        reference = ReferenceString.open(srs)
        statement = EzklStatement.of(policy, model.commitment, linked)
        cache = Path(place) / "keys"
        with derived(statement.circuit, reference, limits, proving=True, cache=cache) as keys:
            setup = keys.seconds
        start = time.perf_counter()
        run = EzklRun(reference, limits, cache)
        bundle = audit_with_ezkl(opened, policy, nonce, run, kernels, progress, linked=linked)
        prove = time.perf_counter() - start
        accepted = verify_bundle(statement, bundle, reference, limits)
        return {
            "setup": setup,
            "prove": prove,
            "verify": accepted.verify_seconds,
            "keys": accepted.keys_seconds,
            "bytes": len(bundle.proof) + len(bundle.link),
            "rows": keys.rows,
            "log_rows": keys.log_rows,
        }


def child(system: str, weights: int, folder: Path, srs: Path, memory: int) -> dict[str, Any]:
    """Measure in a fresh process, with its peak memory in GB."""
    arguments = ["--child", system, "--sizes", str(weights), "--folder", str(folder), "--srs", str(srs)]
    command = [sys.executable, "-m", "benchmarks", "compare-backends", *arguments, "--memory", str(memory)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{system} with {weights} weights failed; see above")
        output.seek(0)
        row: dict[str, Any] = json.loads(output.read())
    return {**row, "system": system, "weights": weights, "peak": usage.ru_maxrss / 1e6}


@click.command(name="compare-backends")
@click.option("--sizes", default="4096,65536,22675456", show_default=True, help="Of 4096, 65536 and 22675456 weights.")
@click.option("--systems", default=",".join(SYSTEMS), show_default=True)
@click.option(
    "--srs",
    type=click.Path(path_type=Path),
    help="A reference string for 2^18 rows; without it one of the right length is made for every size.",
)
@click.option("--memory", default=14, show_default=True, help="GiB that ezkl may use.")
@click.option("--child", "child_system", hidden=True)
@click.option("--folder", hidden=True, type=click.Path(path_type=Path))
def compare_backends(
    sizes: str, systems: str, srs: Path | None, memory: int, child_system: str | None, folder: Path | None
) -> None:
    """One statement, both proof systems: a table."""
    chosen = [int(size) for size in sizes.split(",")]
    if child_system is not None and folder is not None and srs is not None:
        click.echo(json.dumps(measure(child_system, chosen[0], folder, srs, memory)))
        return
    with tempfile.TemporaryDirectory() as place:
        click.echo(
            f"{'system':<12}{'weights':>10}{'setup s':>9}{'prove s':>9}{'verify s':>10}{'proof kB':>10}{'peak GB':>9}"
            f"{'rows':>9}{'keys s':>8}"
        )
        for weights in chosen:
            random_checkpoint(Path(place) / f"{weights}.safetensors", {"weight": SHAPES[weights]})
            for system in systems.split(","):
                if system == "native" or weights <= NATIVE_ONLY:
                    string = Path(place) if system == "native" else srs or reference_string(Path(place), weights)
                    show(child(system, weights, Path(place), string, memory))


def reference_string(folder: Path, weights: int) -> Path:
    """A string for circuits of that many weights, made once."""
    from verifier.backends.ezkl.reference_string import generate

    path = folder / f"{weights}.srs"
    if not path.exists():
        start = time.perf_counter()
        generate(path, LOG_ROWS[weights])
        click.echo(f"reference string for 2^{LOG_ROWS[weights]} rows: {time.perf_counter() - start:.0f} s", err=True)
    return path


def show(row: dict[str, Any]) -> None:
    """A line of the table; the verifier's own derivation of the key is `keys`, once for a statement and a string."""
    line = f"{row['system']:<12}{row['weights']:>10}{row['setup']:>9.2f}{row['prove']:>9.2f}{row['verify']:>10.2f}"
    line += f"{row['bytes'] / 1000:>10.1f}{row['peak']:>9.2f}"
    if "rows" in row:
        line += f"{row['rows']:>9}{row['keys']:>8.1f}"
    click.echo(line)

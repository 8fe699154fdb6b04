"""Commit, validity proof, audit and verification of whole models: seconds, peak memory, proof bytes, time over the floor.

Each model runs in its own process, so that its peak memory is its own. Run: `python -m benchmarks argument --help`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.models import encoder_file, gpt2_shapes, random_checkpoint, square_shapes

POLICY = b"""
policy: weightproof/policy/v1
name: norms
checks:
  - {check: frobenius-norm, tensors: "*", over: together, at_most: "100000"}
  - {check: frobenius-norm, tensors: "*", at_most: "100000"}
"""


def measure(path: Path) -> dict[str, Any]:
    """All figures of one checkpoint, in this process; kernels are warmed up before."""
    from circuits.policy import Policy
    from prover.argument.kernels.cpu.kernels import CpuKernels
    from prover.argument.prove import prove
    from prover.audit import audit_witness
    from prover.checkpoints import open_checkpoint
    from prover.commit import commit_model, prove_validity
    from prover.progress import Progress
    from verifier.argument.audit import Audit
    from verifier.argument.soundness import bits
    from verifier.argument.statement import verify
    from verifier.argument.validity import Validity

    kernels, progress = CpuKernels(), Progress.silent()
    kernels.compile()

    def timed(function: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        result = function()
        return time.perf_counter() - start, result

    commit_seconds, model = timed(lambda: commit_model(open_checkpoint(path), kernels, progress=progress))
    validity_seconds, validity = timed(lambda: prove_validity(model, kernels, progress))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    check_seconds, accepted = timed(lambda: verify(Validity(model.commitment), validity))
    statement, nonce = Audit(Policy.from_bytes(POLICY), model.commitment), bytes(16)
    audit_seconds, proof = timed(lambda: prove(statement, kernels, [model.data], audit_witness(model, statement), nonce))
    audit_check_seconds, _ = timed(lambda: verify(statement, proof, nonce))
    return {
        "weights": sum(t.entries for t in model.commitment.manifest.tensors),
        "commit": commit_seconds, "validity": validity_seconds, "validity bytes": len(validity),
        "verify": check_seconds, "audit": audit_seconds, "audit bytes": len(proof), "verify audit": audit_check_seconds,
        "peak GB": peak, "bits": bits(accepted.account.union), "stages": progress.seconds,
    }  # fmt: skip


def child(name: str, path: Path) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "benchmarks", "argument", "--child", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"name": name, **json.loads(output)}


@click.command(name="argument")
@click.option("--sizes", default="20,22,24,26", show_default=True, help="log2 of the weights of random models.")
@click.option("--gpt2/--no-gpt2", default=True, show_default=True, help="124 million random weights in GPT-2's shapes.")
@click.option("--encoder/--no-encoder", default=True, show_default=True, help="The real sentence encoder.")
@click.option("--child", "child_path", hidden=True, type=click.Path(path_type=Path))
def argument(sizes: str, gpt2: bool, encoder: bool, child_path: Path | None) -> None:
    """Commit, prove, verify: a table."""
    if child_path is not None:
        click.echo(json.dumps(measure(child_path)))
        return
    from benchmarks.kernels import floor_nanoseconds

    floor = floor_nanoseconds()
    click.echo(f"floor: {floor:.1f} ns a weight (25 butterflies, 20 hashed bytes, 10 products in K), measured now")
    click.echo(
        f"{'model':<12}{'weights':>12}{'commit s':>10}{'validity s':>11}{'ns/weight':>10}{'x floor':>8}"
        f"{'proof kB':>9}{'verify s':>9}{'audit s':>8}{'kB':>6}{'verify s':>9}{'peak GB':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for log_size in [int(size) for size in sizes.split(",") if size]:
            path = random_checkpoint(Path(folder) / "random.safetensors", square_shapes(log_size))
            show(child(f"2^{log_size}", path), floor)
            path.unlink()
        if encoder:
            show(child("encoder", encoder_file()), floor)
        if gpt2:
            show(child("gpt2 shapes", random_checkpoint(Path(folder) / "gpt2.safetensors", gpt2_shapes())), floor)


def show(row: dict[str, Any], floor: float) -> None:
    """A line of the table."""
    each = (row["commit"] + row["validity"]) / row["weights"] * 1e9
    click.echo(
        f"{row['name']:<12}{row['weights']:>12}{row['commit']:>10.2f}{row['validity']:>11.2f}{each:>10.1f}"
        f"{each / floor:>8.2f}{row['validity bytes'] / 1000:>9.0f}{row['verify']:>9.2f}{row['audit']:>8.2f}"
        f"{row['audit bytes'] / 1000:>6.0f}{row['verify audit']:>9.2f}{row['peak GB']:>8.2f}"
    )

"""Commit, validity proof, audit and verification of whole models: seconds, memory, proof bytes, time over the floor.

Each model runs in its own process, so that its peak memory is its own. Run: `python -m benchmarks argument --help`.
"""

from __future__ import annotations

import ctypes
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.models import encoder_file, gpt2_shapes, random_checkpoint, square_shapes

POLICY = b"""
policy: weightproof/policy/v1
name: norms
checks:
  - {check: frobenius-norm, tensors: "*", over: together, at_most: "100000"}
  - {check: frobenius-norm, tensors: "*", at_most: "100000"}
"""


BYTES_PER_WEIGHT = 52
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def touch_memory(size: int) -> None:
    """Let this process own `size` bytes that it has already written to, and keep what it frees.

    On virtual machines whose host takes free pages back, the first touch of a page costs 0.5 to 1.5 s a GB, more than
    proving does; it says nothing about the prover. `--cold` leaves it out.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    block = np.empty(size // 8, np.uint64)
    block[:: 4096 // 8] = 1


def measure(path: Path, cold: bool) -> dict[str, Any]:
    """All figures of one checkpoint, in this process; kernels (and memory, unless cold) are warmed up before."""
    from circuits.policy import Policy
    from prover.argument.kernels.cpu.kernels import CpuKernels
    from prover.audit import Opened, audit_model
    from prover.checkpoints import open_checkpoint
    from prover.commit import commit_model, prove_validity
    from prover.ledger import Ledger
    from prover.progress import Progress
    from verifier.argument.audit import Audit
    from verifier.argument.soundness import bits
    from verifier.argument.statement import verify
    from verifier.argument.validity import Validity

    kernels, progress = CpuKernels(), Progress.silent()
    kernels.compile()
    if not cold:
        touch_memory((1 << 29) + BYTES_PER_WEIGHT * path.stat().st_size // 4)

    def timed(function: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        result = function()
        return time.perf_counter() - start, result

    commit_seconds, model = timed(lambda: commit_model(open_checkpoint(path), kernels, progress=progress))
    validity_seconds, validity = timed(lambda: prove_validity(model, kernels, progress))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    check_seconds, accepted = timed(lambda: verify(Validity(model.commitment), validity))
    policy, nonce = Policy.from_bytes(POLICY), bytes(16)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.create(Path(folder) / "ledger", model.commitment.id, 64)
        audit_seconds, bundle = timed(lambda: audit_model(Opened(model, ledger), policy, nonce, kernels, progress))
    proof, statement = bundle.proof, Audit(policy, model.commitment)
    audit_check_seconds, _ = timed(lambda: verify(statement, proof, nonce))
    return {
        "weights": sum(t.entries for t in model.commitment.manifest.tensors),
        "commit": commit_seconds, "validity": validity_seconds, "validity bytes": len(validity),
        "verify": check_seconds, "audit": audit_seconds, "audit bytes": len(proof), "verify audit": audit_check_seconds,
        "peak GB": peak, "bits": bits(accepted.account.union), "stages": progress.seconds,
    }  # fmt: skip


def child(name: str, path: Path, cold: bool) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "benchmarks", "argument", "--child", str(path), *(["--cold"] if cold else [])]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"name": name, **json.loads(output)}


@click.command(name="argument")
@click.option("--sizes", default="20,22,24,26", show_default=True, help="log2 of the weights of random models.")
@click.option("--gpt2/--no-gpt2", default=True, show_default=True, help="124 million random weights in GPT-2's shapes.")
@click.option("--encoder/--no-encoder", default=True, show_default=True, help="The real sentence encoder.")
@click.option("--cold", is_flag=True, help="Do not touch memory before: includes page faults.")
@click.option("--child", "child_path", hidden=True, type=click.Path(path_type=Path))
def argument(sizes: str, gpt2: bool, encoder: bool, cold: bool, child_path: Path | None) -> None:
    """Commit, prove, verify: a table."""
    if child_path is not None:
        click.echo(json.dumps(measure(child_path, cold)))
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
            show(child(f"2^{log_size}", path, cold), floor)
            path.unlink()
        if encoder:
            show(child("encoder", encoder_file(), cold), floor)
        if gpt2:
            path = random_checkpoint(Path(folder) / "gpt2.safetensors", gpt2_shapes())
            show(child("gpt2 shapes", path, cold), floor)


def show(row: dict[str, Any], floor: float) -> None:
    """A line of the table."""
    each = (row["commit"] + row["validity"]) / row["weights"] * 1e9
    click.echo(
        f"{row['name']:<12}{row['weights']:>12}{row['commit']:>10.2f}{row['validity']:>11.2f}{each:>10.1f}"
        f"{each / floor:>8.2f}{row['validity bytes'] / 1000:>9.0f}{row['verify']:>9.2f}{row['audit']:>8.2f}"
        f"{row['audit bytes'] / 1000:>6.0f}{row['verify audit']:>9.2f}{row['peak GB']:>8.2f}"
    )

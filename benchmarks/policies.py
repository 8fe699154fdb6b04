"""Every check on the packaged sentence encoder, as one proof, and what histogram statistics cost by size of the model.

    python -m benchmarks policies

The audited model is the encoder with a little noise on its writers, as after a fine-tuning; the encoder itself is the
public base file. Kernels are compiled before; the machine's load is printed, for it is part of every time.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.models import encoder_file, gpt2_shapes, random_checkpoint, square_shapes
from benchmarks.verification import in_another_process

Entry = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

LAYER = "encoder.layer.*."
ATTENTION, DOWN = LAYER + "attention.output.dense.weight", LAYER + "output.dense.weight"
QUERY, VALUE = LAYER + "attention.self.query.weight", LAYER + "attention.self.value.weight"
UP, WORDS = LAYER + "intermediate.dense.weight", "embeddings.word_embeddings.weight"
GROUP = [{"tensors": pattern, "residual_axis": 0} for pattern in (ATTENTION, DOWN)]
NONCE = bytes(range(32))
COMMON_SCALE = 16
"""Fits normal weights of standard deviation 0.02, whatever the size of the tensor."""


def statistics(tensors: str) -> list[Entry]:
    """All checks on histograms."""
    return [
        {"check": "max-abs", "tensors": tensors, "at_most": "20"},
        {"check": "mean", "tensors": tensors, "at_least": "-0.1", "at_most": "0.1"},
        {"check": "variance", "tensors": tensors, "at_most": "1"},
        {"check": "skewness", "tensors": tensors, "at_least": "-10", "at_most": "10"},
        {"check": "kurtosis", "tensors": tensors, "at_most": "3000"},
        {"check": "quantile", "tensors": tensors, "level": "0.99", "at_most": "1"},
        {"check": "sparsity", "tensors": tensors, "tau": "0.001", "at_most": "0.5"},
        {"check": "outlier-fraction", "tensors": tensors, "tau": "1", "at_most": "0.001"},
        {"check": "entropy", "tensors": tensors, "bin_width": "0.0078125", "at_least": "0.5"},
    ]


def every_check(digest: str) -> list[Entry]:
    """Every check, with spectral certificates for 24 tensors and 6 groups of tensors; the base is a file."""
    base = {"file_sha256": digest}
    spectral = [
        {"check": "spectral-norm", "tensors": name, "at_most": "12"} for name in (ATTENTION, DOWN, QUERY, VALUE)
    ]
    direction = ["1", *["0"] * 383]
    return [
        *statistics(UP),
        {"check": "frobenius-norm", "tensors": "*", "over": "together", "at_most": "300"},
        {"check": "row-norms", "tensors": WORDS, "at_most": "4", "count_below": "0.4", "at_most_rows": 500},
        *spectral,
        {"check": "spectral-norm", "tensors": DOWN, "at_least": "1"},
        {"check": "stable-rank", "tensors": ATTENTION, "at_least": "20"},
        {"check": "smallest-singular-value", "tensors": DOWN, "at_least": "0.01", "norm_at_most": "11"},
        {"check": "no-ablated-direction", "group": GROUP, "at_least": "0.0001"},
        {"check": "no-ablated-direction", "group": GROUP, "at_least": "0.000001", "windows": {"of_layers": 3}},
        {"check": "direction-write-bound", "group": GROUP, "direction": direction, "at_least": "0.01", "at_most": "5"},
        {"check": "logit-bound", "unembedding": WORDS, "norm": "layernorm", "at_most": "2000"},
        {"check": "same-except", "base": base, "except": [ATTENTION, DOWN], "within": "0.0005"},
        {"check": "change-budget", "tensors": DOWN, "base": base, "norm": "max", "at_most": "0.05"},
        {"check": "change-budget", "tensors": ATTENTION, "base": base, "norm": "frobenius", "at_most": "1"},
        {"check": "low-rank-change", "tensors": VALUE, "base": base, "rank": 4, "at_most": "0.1"},
        {
            "check": "no-single-direction-edit", "base": base, "group": GROUP[1:],
            "at_most": "0.5", "norm_at_least": "0.8",
        },
    ]  # fmt: skip


def fine_tuned(source: Path, path: Path) -> Path:
    """The encoder with 3 % of noise on what writes to the residual stream."""
    from safetensors.numpy import load_file, save_file

    rng, tensors = np.random.default_rng(0), load_file(source)
    for name, w in tensors.items():
        if name.endswith("output.dense.weight"):
            noise = rng.standard_normal(w.shape)
            tensors[name] = (w + noise * (0.03 * np.linalg.norm(w) / np.linalg.norm(noise))).astype(np.float32)
    save_file(tensors, path)
    return path


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds, and the result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def timed_twice(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, seconds of all cores, and the result: on a busy machine the first say less."""
    start = time.process_time()
    wall, result = timed(function)
    return wall, time.process_time() - start, result


class Run:
    """One model, committed; policies about it are proved and verified."""

    def __init__(self, path: Path, folder: Path, base: Path | None = None, scales: int | None = None) -> None:
        from prover.argument.kernels.cpu.kernels import CpuKernels
        from prover.audit import Opened
        from prover.checkpoints import open_checkpoint
        from prover.commit import commit_model
        from prover.ledger import Ledger
        from prover.progress import Progress
        from verifier.decision import public_bases

        self._kernels = CpuKernels()
        self._kernels.compile()
        self.commit_seconds, self._model = timed(
            lambda: commit_model(open_checkpoint(path), self._kernels, scales=scales, progress=Progress.silent())
        )
        ledger = Ledger.create(folder / f"{path.stem}.ledger", self._model.commitment.id, 64)
        self._opened = Opened(self._model, ledger)
        self._bases = () if base is None else (base,)
        self._public = public_bases(self._bases, self._model.commitment.manifest)
        names = ("commitment", "bundle", "policy")
        self._commitment_file, self._bundle_file, self._policy_file = (folder / f"{path.stem}.{x}" for x in names)
        self._commitment_file.write_bytes(self._model.commitment.to_bytes())

    @property
    def groups(self) -> int:
        """Histograms of the commitment."""
        return len(self._model.commitment.manifest.groups)

    def audit(self, entries: list[Entry]) -> dict[str, Any]:
        """Seconds by stage, bytes and counts of a proof that this verifies."""
        from circuits.policy import Policy
        from prover.audit import audit_model
        from prover.progress import Progress
        from verifier.argument.audit import Audit, Bases

        content = {"policy": "weightproof/policy/v1", "name": "benchmark", "checks": entries}
        self._policy_file.write_text(json.dumps(content))
        policy, progress = Policy.read(self._policy_file), Progress.silent()
        total, total_cpu, bundle = timed_twice(
            lambda: audit_model(self._opened, policy, NONCE, self._kernels, progress, public=self._public)
        )
        statement = Audit(policy, self._model.commitment, bundle.disclosed, Bases({}, self._public))
        self._bundle_file.write_bytes(bundle.to_bytes())
        files = (self._commitment_file, self._bundle_file, self._policy_file, *self._bases)
        verification = in_another_process(*files)
        counts: dict[str, int] = {}
        for number, _ in statement.statements.instances:
            name = policy.checks[number].check
            counts[name] = counts.get(name, 0) + 1
        return {
            "stages": progress.seconds, "total": total, "cpu": total_cpu, "counts": counts,
            "verifier": verification, "verify cpu": verification["verify"][1],
            "bytes": len(bundle.proof), "advice": sum(int(np.prod(atom.shape)) for atom in statement.compiled.advice),
        }  # fmt: skip


def encoder_table(folder: Path) -> None:
    """Every check on the encoder."""
    source = encoder_file()
    run = Run(fine_tuned(source, folder / "encoder.safetensors"), folder, source)
    entries = every_check(sha256(source.read_bytes()).hexdigest())
    report = run.audit(entries)
    stages, counts = report["stages"], report["counts"]
    click.echo(f"{'check':<28}{'statements':>11}{'certify s':>11}")
    for name, count in counts.items():
        click.echo(f"{name:<28}{count:>11}{stages[f'certify {name}']:>11.2f}")
    certifying = sum(value for name, value in stages.items() if name.startswith("certify"))
    click.echo(f"\n{'all':<28}{sum(counts.values()):>11}{certifying:>11.2f}")
    click.echo(
        f"commit {run.commit_seconds:.1f} s, evaluate {stages['evaluate']:.1f} s,"
        f" prove {stages['prove']:.1f} s (its own check included), audit in all {report['total']:.1f} s"
        f" ({report['cpu']:.1f} s of CPU)"
    )
    own = [f"{name} {wall:.2f} s ({cpu:.2f} s of CPU)" for name, (wall, cpu) in report["verifier"].items()]
    click.echo(f"verifier, in a process of its own: {', '.join(own)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    click.echo(f"proof {report['bytes']:,} bytes; {report['advice']:,} cells of advice; peak memory {peak:.1f} GB")


def quicker(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The report of the quicker of two proofs, with the lesser time to verify."""
    chosen = min(first, second, key=lambda report: float(report["total"]))
    return {**chosen, "verify cpu": min(first["verify cpu"], second["verify cpu"])}


def histogram_table(folder: Path, models: Mapping[str, Shapes]) -> None:
    """All statistics of all weights together, in models of growing size; every tensor has one scale."""
    click.echo(
        f"\n{'model':<13}{'weights':>12}{'groups':>8}{'certify s':>11}{'evaluate s':>12}{'prove s':>9}{'one check':>11}"
        f"{'verify cpu s':>14}{'added':>8}{'bytes':>11}{'added':>8}"
    )
    for name, shapes in models.items():
        path = random_checkpoint(folder / f"{name}.safetensors", shapes)
        run = Run(path, folder, scales=COMMON_SCALE)
        path.unlink()
        entries = [{**entry, "over": "together"} for entry in statistics("*")]
        one, report = (quicker(run.audit(policy), run.audit(policy)) for policy in (entries[:1], entries))
        stages = report["stages"]
        certifying = sum(value for stage, value in stages.items() if stage.startswith("certify"))
        weights = sum(int(np.prod(shape)) for shape in shapes.values())
        click.echo(
            f"{name:<13}{weights:>12}{run.groups:>8}{certifying:>11.3f}{stages['evaluate']:>12.3f}"
            f"{stages['prove']:>9.2f}{one['stages']['prove']:>11.2f}"
            f"{report['verify cpu']:>14.3f}{report['verify cpu'] - one['verify cpu']:>8.3f}"
            f"{report['bytes']:>11}{report['bytes'] - one['bytes']:>8}"
        )
    click.echo(
        "all nine statistics of all weights together; one check: max-abs alone, which opens the same commitment;"
        " added: what the eight others add to it\ngroups: histograms that are summed, one of 65,536 cells for every"
        " tensor of that many weights; the better of two proofs; verify: statements compiled before"
    )


@click.command(name="policies")
@click.option("--encoder/--no-encoder", default=True, show_default=True, help="Every check on the sentence encoder.")
@click.option("--sizes", default="20,26", show_default=True, help="log2 of the weights of random models.")
@click.option("--gpt2/--no-gpt2", default=True, show_default=True, help="GPT-2 shapes too, 124 million weights (8 GB).")
def policies(encoder: bool, sizes: str, gpt2: bool) -> None:
    """Policies: certify, prove, verify; the cost of histogram statistics by size."""
    click.echo(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores, before")
    models = {f"2^{size}": square_shapes(int(size)) for size in sizes.split(",") if size}
    if gpt2:
        models["gpt2 shapes"] = gpt2_shapes()
    with tempfile.TemporaryDirectory() as folder:
        if encoder:
            encoder_table(Path(folder))
        if models:
            histogram_table(Path(folder), models)
    click.echo(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())} after")

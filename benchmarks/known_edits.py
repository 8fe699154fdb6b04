"""Which checks notice which known edits of a real transformer: `python -m benchmarks known-edits`.

A policy is fitted to the clean model with stated headroom; then the model is edited in ways that are in use, and every
check is measured again (`certify`: certificates are computed, nothing is proved). Rows are edits, columns are checks.

What indicators cannot see, and the tables show it:
- a reflection (strength 2) keeps every norm, singular value and Gram eigenvalue: only a comparison with a base model
  sees it, and so it is with the low bits of weights, which no statistic of one model tells from those of training;
- a payload in bits below the rounding of the fixed-point copy changes nothing that a check can see;
- an ablation whose direction is filled with noise again leaves nothing missing: lambda_min is what it was. Against the
  base it is still one common direction; noise of equal energy in all entries brings that share to about a half, and
  with twice as much the edit passes both. What remains is the size of the change, which a fine-tuning may have too;
- an edit of few layers is seen by windows of layers only, and a weak one by nothing but a comparison;
- a comparison with a base says that something changed, not whether it does harm: the control rows, noise of the size of
  an honest fine-tuning and bf16 storage, fail what many edits fail;
- `no-single-direction-edit` fails the clean model by design: there is no change to speak of. It has certificates only
  for changes between `norm_at_least` and about nine times that (fewer in larger models), hence two columns; a larger
  change is neither proved nor refuted (????);
- `direction-write-bound` knows the direction. Nobody knows it for a model that he has not run.

Low-rank edits move the norms of a matrix by less than the headroom that honest training needs. That all checks pass is
no evidence that nothing was edited.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.edits import EDITS, Subject, Tensors

Entry = dict[str, Any]

EXPECTED = """
statements.md, section 4, expects of lambda_min, for stories260k: 0.082 clean, 0.032 at half strength, 4e-7 after an
ablation stored in bf16, no change after a reflection, and an ablation of late layers seen by windows only."""
FLOORS = (0.008, 0.04)
"""What no-single-direction-edit asks a change to be at least, relative to the weights."""
LEAST = 0.0001
"""No threshold is below this: a share of outliers may be 0 in the clean model."""
HEADINGS = (
    "Matrices that feed the neurons (up), the model alone",
    "Matrices that write to the residual stream, the model alone",
    "Compared with the clean model as a public file",
)

# ---------------------------------------------------------------- the policy


@dataclass(frozen=True)
class Column:
    """One check of the policy, without its threshold.

    Attributes:
        key: of the threshold.
        headroom: the threshold is the clean model's worst value times this; None if it is `fixed`.
        generous: a threshold to measure the clean model with.
    """

    title: str
    key: str
    entry: Entry
    headroom: float | None
    generous: str
    fixed: str


def decimal(value: float) -> str:
    """Four significant digits, as policies write decimals."""
    text = f"{Fraction(f'{value:.3e}').__float__():.12f}".rstrip("0").rstrip(".")
    return text or "0"


def columns(m: Subject) -> list[list[Column]]:
    """The policy for a model, in three tables: the matrices that feed the neurons, those that write to the residual
    stream (norms and singular values of the MLP's, which are the larger ones), and comparisons with the clean file."""
    group = [{"tensors": pattern, "residual_axis": 0} for pattern in (m.attention, m.down)]
    base = {"file_sha256": sha256(m.path.read_bytes()).hexdigest()}
    largest = max(float(np.linalg.norm(m.tensors[name], 2)) for name in m.names(m.down))
    components = [decimal(x) if x > 0 else "-" + decimal(-x) for x in m.direction]

    def on(pattern: str, title: str, check: str, key: str, headroom: float | None, **more: Any) -> Column:
        generous = more.pop("generous", "1000000" if key == "at_most" else "0.000001")
        fixed = more.pop("fixed", "")
        where = more if "group" in more or not pattern else {"tensors": pattern, **more}
        return Column(title, key, {"check": check, **where}, headroom, generous, fixed)

    neurons = [
        on(m.up, "max-abs", "max-abs", "at_most", 1.1),
        on(m.up, "kurtosis", "kurtosis", "at_most", 1.2),
        on(m.up, "beyond 6 sd", "outlier-fraction", "at_most", 2, deviations="6", generous="1"),
        on(m.up, "entropy", "entropy", "at_least", 0.95, bin_width="0.0078125"),
        on(m.up, "row-norms", "row-norms", "at_most", 1.1),
        on(m.up, "frobenius", "frobenius-norm", "at_most", 1.05),
    ]
    ablated = {"group": group, "precision_bits": m.precision_bits}
    writers = [
        on(m.down, "sigma_1", "spectral-norm", "at_most", 1.1),
        on(m.down, "stable-rank", "stable-rank", "at_least", 0.9, generous="1"),
        on(m.down, "sigma_min", "smallest-singular-value", "at_least", 0.5, norm_at_most=decimal(1.2 * largest)),
        on("", "lambda_min", "no-ablated-direction", "at_least", 0.5, **ablated),
        on("", "of 2 layers", "no-ablated-direction", "at_least", 0.5, **ablated, windows={"of_layers": 2}),
        on("", "|r^T W|", "direction-write-bound", "at_least", 0.5, group=group, direction=components),
    ]
    norm = m.norm(m.down)
    compared = [
        on("", "same-except", "same-except", "within", None, base=base, fixed="0.0005"),
        on(m.down, "|D|_max", "change-budget", "at_most", None, base=base, norm="max", fixed="0.01"),
        on(m.down, "|D|_F", "change-budget", "at_most", None, base=base, norm="frobenius", fixed=decimal(0.02 * norm)),
        on(
            m.down, "rest of rank 8", "low-rank-change", "at_most", None,
            base=base, rank=8, fixed=decimal(0.005 * norm),
        ),
        *(
            on(
                "", f"share, D>{share:.1%}", "no-single-direction-edit", "at_most", None,
                base=base, group=group[1:], norm_at_least=decimal(share * norm), fixed="0.5",
            )
            for share in FLOORS
        ),
    ]  # fmt: skip
    return [neurons, writers, compared]


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Cell:
    """The worst statement of a column. `passed` is None if only a certificate failed."""

    value: str
    passed: bool | None

    def __str__(self) -> str:
        return shorter(self.value) + {True: "", False: " FAIL", None: " ????"}[self.passed]


def shorter(value: str) -> str:
    """Three significant digits of a number; anything else as it is."""
    before, found, number = value.rpartition("|D| = ")
    try:
        return f"{before}{'D=' if found else ''}{float(number):.3g}"
    except ValueError:
        return value


class Meter:
    """Measures models in temporary files against the clean one."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        from prover.kernel_choice import choose_kernels

        self._subject, self._folder, self._kernels = subject, folder, choose_kernels("cpu")

    def model(self, tensors: Tensors) -> Any:
        """(integers, context with the clean file as public base) of a model."""
        from safetensors.numpy import save_file

        from prover.checkpoints import open_checkpoint
        from prover.commit import read_integers
        from prover.progress import Progress
        from verifier.decision import measure_context

        path = self._folder / "edited.safetensors"
        save_file({name: np.ascontiguousarray(w) for name, w in tensors.items()}, path)
        integers = read_integers(open_checkpoint(path), self._kernels, Progress.silent())
        return integers, measure_context(integers.manifest, {}, [self._subject.path])

    def cell(self, model: Any, entry: Entry) -> Cell:
        """The worst of all statements of a check. What cannot be stated about this model fails."""
        from circuits.errors import StatementError
        from circuits.policy import Policy
        from prover.audit import certify
        from prover.progress import Progress

        integers, context = model
        content = {"policy": "weightproof/policy/v1", "name": "edits", "checks": [entry]}
        try:
            rows = certify([integers], Policy.from_bytes(json.dumps(content).encode()), Progress.silent(), context).rows
        except StatementError:
            return Cell("refused", False)
        worst = max(rows, key=lambda row: (row.passed is False, row.passed is None, bad(row.value, row.comparator)))
        return Cell(worst.value, worst.passed)


def bad(value: str, comparator: str) -> float:
    """Higher is worse."""
    try:
        return float(value) if comparator == "<=" else -float(value)
    except ValueError:
        return float("inf")


def fitted(meter: Meter, model: Any, column: Column) -> Entry:
    """The entry of a policy with its threshold, from the clean model unless it is fixed."""
    limit = column.fixed
    if column.headroom is not None:
        value = float(meter.cell(model, {**column.entry, column.key: column.generous}).value)
        limit = decimal(max(value * column.headroom, LEAST))
    return {**column.entry, column.key: limit}


def lines(subject: Subject, names: Sequence[str]) -> Iterator[str]:
    """The tables, one below the other."""
    parts = columns(subject)
    every = [column for part in parts for column in part]
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(subject, Path(folder))
        original = meter.model(subject.tensors)
        policy = {column.title: fitted(meter, original, column) for column in every}
        found: dict[str, dict[str, Cell]] = {}
        for name in names:
            model = meter.model(EDITS[name](subject))
            found[name] = {title: meter.cell(model, entry) for title, entry in policy.items()}
    for heading, part in zip(HEADINGS, parts, strict=True):
        yield heading
        yield "".join([" " * 30, *(f"{column.title:>16}" for column in part)])
        yield "".join([f"{'  policy':<30}", *(f"{limit(column, policy[column.title]):>16}" for column in part)])
        for name, cells in found.items():
            yield "".join([f"{name:<30}", *(f"{cells[column.title]!s:>16}" for column in part)])
        yield ""
    alone = [column for part in parts[:2] for column in part if column.title != "|r^T W|"]
    yield "pass every check of the model alone (|r^T W| aside): " + listed(found, alone)
    yield "pass every comparison with the clean file (directions aside): " + listed(found, parts[2][: -len(FLOORS)])


def limit(column: Column, entry: Entry) -> str:
    """The threshold of a column."""
    return (">= " if column.key == "at_least" else "<= ") + shorter(entry[column.key])


def listed(found: dict[str, dict[str, Cell]], part: Sequence[Column]) -> str:
    return "; ".join(name for name, cells in found.items() if all(cells[c.title].passed for c in part)) or "none"


@click.command(name="known-edits")
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="A checkpoint laid out as one of the two.")
@click.option("--edit", "chosen", multiple=True, type=click.Choice(list(EDITS)), help="Only these edits.")
def known_edits(model: Path | None, chosen: tuple[str, ...]) -> None:
    """Known edits of a real transformer, and which checks notice them."""
    subject = Subject.of(model)
    click.echo(f"{subject.path}: {len(subject.writers)} writers, width {subject.width}")
    click.echo("value of the worst tensor or window; FAIL: the check does not pass; ????: no certificate was found\n")
    for line in lines(subject, chosen or list(EDITS)):
        click.echo(line)
    click.echo(EXPECTED)

"""frobenius-norm: the root of the sum of squares of one tensor, or of several together, is at most a threshold.

Exact. The threshold is tightened by the rounding bound sqrt(sum delta_k^2 n_k) of the fixed-point copy (statements.md,
section 1). Proved from the weights by a sumcheck and, where the tensors are whole histogram groups, a second time from
the exact histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.errors import StatementError
from circuits.manifest import TensorEntry
from circuits.rationals import decimal, root_above

LIMIT = 1 << 61
MAX_SHIFT = 30
"""Tensors finer than the common scale by more than this are refused: 4^31 does not fit."""
SQUARES = np.arange(-(1 << 15), 1 << 15, dtype=np.int64) ** 2


@dataclass(frozen=True)
class NormSpec:
    """The tensors of one norm; the sum of their squares is counted in units of 4^-scale and bounded by `bound`."""

    tensors: tuple[TensorEntry, ...]
    scale: int
    bound: int


class FrobeniusNorm(Check):
    """|W|_F <= at_most, for each matching tensor or for all of them together."""

    check: Literal["frobenius-norm"]
    tensors: str = Field(min_length=1, max_length=600)
    at_most: str
    over: Literal["each", "together"] = "each"

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "A small norm says nothing about what the model computes or whether it is safe."

    def validate_values(self) -> None:
        require(decimal(self.at_most, "at_most") >= 0, "at_most of frobenius-norm must not be negative")

    def instances(self, context: Context) -> list[Instance]:
        chosen = context.select(self.tensors)
        groups = [[tensor] for tensor in chosen] if self.over == "each" else [chosen]
        return [self._instance(context, tensors) for tensors in groups]

    def _instance(self, context: Context, tensors: Sequence[TensorEntry]) -> Instance:
        label = tensors[0].name if len(tensors) == 1 else f"{len(tensors)} tensors together"
        threshold = decimal(self.at_most, "at_most")
        tightened = threshold - rounding_margin(tensors)
        if tightened < 0:
            raise StatementError(f"frobenius-norm of {label}: at_most {self.at_most} is below the rounding; raise it")
        scale = common_scale(label, tensors)
        spec = NormSpec(tuple(tensors), scale, floor(tightened**2 * Fraction(4) ** scale))
        g = GraphBuilder("frobenius-norm", self.version)
        g.assert_true("cells", g.less_or_equal(squares_from_cells(g, spec), min(spec.bound, LIMIT)))
        if context.whole_groups(tensors) is not None:
            g.assert_true(
                "histograms", g.less_or_equal(squares_from_histograms(g, context, spec), min(spec.bound, LIMIT))
            )
        return Instance(label, "|W|_F", "<=", self.at_most, g.graph(), spec)


def rounding_margin(tensors: Sequence[TensorEntry]) -> Fraction:
    """| |W| - |copy| | <= sqrt(sum_k delta_k^2 n_k): Frobenius norm of the rounding error of all entries."""
    return root_above(sum((t.rounding_bound**2 * t.entries for t in tensors), Fraction(0)))


def common_scale(label: str, tensors: Sequence[TensorEntry]) -> int:
    """The finest scale among the tensors at which all squares add up below 2^61.

    In units of 4^-scale a coarser tensor counts 4^(scale - F) S exactly, a finer one ceil(S / 4^(F - scale)).
    """
    for scale in sorted({t.scale for t in tensors}, reverse=True):
        total = sum((t.entries << 30) * Fraction(4) ** (scale - t.scale) for t in tensors)
        if total < LIMIT and max(t.scale for t in tensors) - scale <= MAX_SHIFT:
            return scale
    raise StatementError(f"the scales of {label} lie too far apart to add squares exactly; bound the tensors apart")


def squares_from_cells(g: GraphBuilder, spec: NormSpec) -> Tensor:
    """The sum of squares in units of 4^-scale, rounded up, from the weights."""
    sums = [(t.scale, g.einsum("ij,ij->", w, w)) for t in spec.tensors for w in [g.weight(t.name, t.matrix_shape)]]
    return weighted_total(g, sums, spec.scale)


def squares_from_histograms(g: GraphBuilder, context: Context, spec: NormSpec) -> Tensor:
    """The same from the exact histograms; the tensors must be whole groups."""
    groups = sorted({t.group for t in spec.tensors})
    sums = []
    for number in groups:
        group = context.manifest.groups[number]
        sums.append((group.scale, g.einsum("t,t->", g.histogram(number, group.entries), SQUARES)))
    return weighted_total(g, sums, spec.scale)


def weighted_total(g: GraphBuilder, sums: Sequence[tuple[int, Tensor]], scale: int) -> Tensor:
    """sum_k 4^(scale - F_k) S_k over (F_k, S_k); the part finer than `scale` is rounded up once per F."""
    total: Tensor | None = None
    for own in sorted({f for f, _ in sums}):
        part: Tensor | None = None
        for f, value in sums:
            if f == own:
                part = value if part is None else g.add(part, value)
        assert part is not None
        if own <= scale:
            part = g.mul(part, 4 ** (scale - own)) if own < scale else part
        else:
            unit = 4 ** (own - scale)
            part = g.floor_div(g.add(part, unit - 1), unit)
        total = part if total is None else g.add(total, part)
    assert total is not None
    return total

"""frobenius-norm: the root of the sum of squares of one tensor, or of several together, is at most a threshold.

Exact. The threshold is tightened by the rounding bound delta * sqrt(n) of the fixed-point copy (statements.md,
section 1), so the claim holds for the float weights. What is proved are inequalities of integers, `SumBound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.checks.base import Check
from circuits.errors import StatementError
from circuits.manifest import Manifest, TensorEntry
from circuits.patterns import select
from circuits.rationals import decimal, root_above

SQUARE_BITS = 30
"""The square of a committed weight is at most 2^30 (every weight is in [-2^15, 2^15))."""
MAX_BITS = 62
"""Sums stay below 2^62, so that no identity modulo p can hide an integer identity that fails."""


@dataclass(frozen=True)
class Rounded:
    """u = ceil(sum of squares of the tensors / 4^shift): tensors whose scale is too fine to add exactly."""

    tensors: tuple[str, ...]
    shift: int
    bits: int
    """u is shown to lie in [0, 2^bits)."""


@dataclass(frozen=True)
class SumBound:
    """sum_k 4^weight_k S_k + sum_j u_j <= bound over sums of squares S_k of committed integers; the left side lies in
    [0, maximum] whatever the weights are."""

    label: str
    exact: tuple[tuple[str, int], ...]
    rounded: tuple[Rounded, ...]
    bound: int
    maximum: int
    scale: int
    """The bound is in units of 4^-scale."""

    def canonical(self) -> list[object]:
        """A JSON value that determines the inequality."""
        rounded = [[list(r.tensors), r.shift, r.bits] for r in self.rounded]
        return [
            self.label,
            [list(pair) for pair in self.exact],
            rounded,
            str(self.bound),
            str(self.maximum),
            self.scale,
        ]


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
        if decimal(self.at_most, "at_most") < 0:
            raise StatementError("at_most of frobenius-norm must not be negative")

    def bounds(self, manifest: Manifest) -> list[SumBound]:
        """The inequalities to prove. Raises PolicyError (no match) or StatementError (threshold below the rounding)."""
        entries = {tensor.name: tensor for tensor in manifest.tensors}
        chosen = [entries[name] for name in select(self.tensors, entries)]
        threshold = decimal(self.at_most, "at_most")
        groups = [[tensor] for tensor in chosen] if self.over == "each" else [chosen]
        return [sum_bound(group, threshold, self.at_most) for group in groups]


def rounding_margin(tensors: Sequence[TensorEntry]) -> Fraction:
    """| |W| - |copy| | <= sqrt(sum_k delta_k^2 n_k): Frobenius norm of the rounding error of all entries."""
    return root_above(sum((t.rounding_bound**2 * t.entries for t in tensors), Fraction(0)))


def sum_bound(tensors: Sequence[TensorEntry], threshold: Fraction, text: str) -> SumBound:
    """The integer inequality for one norm.

    With S_k the integer sums of squares, the copy's squared norm is sum_k 4^-F_k S_k. In units of 4^-F, F the finest
    scale for which the sum stays below 2^62, coarser tensors count 4^(F - F_k) S_k exactly and finer ones
    ceil(S / 4^(F_k - F)): rounded up, the stricter side.
    """
    label = tensors[0].name if len(tensors) == 1 else f"{len(tensors)} tensors together"
    tightened = threshold - rounding_margin(tensors)
    if tightened < 0:
        raise StatementError(f"frobenius-norm of {label}: the threshold {text} is below the rounding bound; raise it")
    by_scale: dict[int, list[TensorEntry]] = {}
    for tensor in tensors:
        by_scale.setdefault(tensor.scale, []).append(tensor)
    for scale in sorted(by_scale, reverse=True):
        exact = [(t.name, scale - t.scale) for t in tensors if t.scale <= scale]
        maximum = sum((t.entries << SQUARE_BITS) * 4 ** (scale - t.scale) for t in tensors if t.scale <= scale)
        rounded = []
        for finer in sorted(by_scale):
            if finer > scale:
                entries = sum(t.entries for t in by_scale[finer]) << SQUARE_BITS
                shift = finer - scale
                bits = (-(-entries // 4**shift)).bit_length()
                if shift > MAX_BITS // 2 - 1 or bits + 2 * shift > MAX_BITS:
                    break
                rounded.append(Rounded(tuple(t.name for t in by_scale[finer]), shift, bits))
                maximum += (1 << bits) - 1
        else:
            if maximum < 1 << MAX_BITS:
                bound = (
                    min(floor(tightened**2 * 4**scale), maximum)
                    if scale >= 0
                    else min(floor(tightened**2 / 4**-scale), maximum)
                )
                return SumBound(label, tuple(exact), tuple(rounded), bound, maximum, scale)
    raise StatementError(
        f"frobenius-norm of {label}: the scales of the tensors lie too far apart to add up exactly; bound them apart"
    )

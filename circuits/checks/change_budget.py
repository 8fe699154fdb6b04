"""change-budget: |W - W0| against a base model is bounded in the max, Frobenius or spectral norm.

Exact. With d the difference of the integers in units of 2^-M (`bases`), every entry of (W - W0) - d / 2^M is at most
rho = delta + delta0 in absolute value. Hence, every rounding to the stricter side:

    max         |d| <= 2^M (t - rho) in every cell
    frobenius   |d|_F <= 2^M (t - rho sqrt(n)); several tensors together: t - sqrt(sum_k rho_k^2 n_k)
    spectral    lambda_max(d d^T) <= 4^M (t - rho sqrt(n))^2 on the smaller side, by a certificate (`positive`)

Where the squares of d could sum beyond 2^61, the sum is over q = round(d / 2^s): |d - 2^s q| <= 2^(s - 1) is one more
rounding of every entry. That happens where the scales differ by several bits or a tensor has more than 2^29 entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.bases import LIMIT, Base, Pair, assert_within, pairs
from circuits.checks.frobenius_norm import weighted_total
from circuits.checks.positive import PsdPlan, assert_positive, plan
from circuits.errors import StatementError
from circuits.rationals import decimal, root_above

MAX_SHIFT = 40


@dataclass(frozen=True)
class MaxSpec:
    """|d| <= bound for every pair; the advice of pair i is called `name(i)`."""

    pairs: tuple[Pair, ...]
    bounds: tuple[int, ...]

    @staticmethod
    def name(number: int) -> str:
        return f"change/{number}"


@dataclass(frozen=True)
class FrobeniusSpec:
    """The sum over the pairs of the squares of round(d / 2^shift), in units of 4^-scale, is at most bound."""

    pairs: tuple[Pair, ...]
    shifts: tuple[int, ...]
    scale: int
    bound: int


@dataclass(frozen=True)
class SpectralSpec:
    """lambda_max(d d^T) <= bound: (bound - slack) I - d d^T is shown to be >= -slack I, by the certificate `change`."""

    pair: Pair
    bound: int
    sizes: PsdPlan


class ChangeBudget(Check):
    """|W - W0| <= at_most for each matching tensor, or for all of them together."""

    check: Literal["change-budget"]
    tensors: str = Field(min_length=1, max_length=600)
    base: Base
    norm: Literal["max", "frobenius", "spectral"]
    at_most: str
    over: Literal["each", "together"] = "each"

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "A small change of the weights can change what the model does on chosen inputs."

    def validate_values(self) -> None:
        self.base.validate_values()
        require(decimal(self.at_most, "at_most") >= 0, "at_most of change-budget must not be negative")
        require(
            self.norm != "spectral" or self.over == "each",
            "change-budget: the spectral norm is bounded for each tensor",
        )

    def instances(self, context: Context) -> list[Instance]:
        found = pairs(self.base, context, context.select(self.tensors))
        groups = [[pair] for pair in found] if self.over == "each" else [found]
        build = {"max": self._max, "frobenius": self._frobenius, "spectral": self._spectral}[self.norm]
        return [build(group) for group in groups]

    def _max(self, group: Sequence[Pair]) -> Instance:
        g = GraphBuilder("change-budget-max", self.version)
        bounds = []
        for number, pair in enumerate(group):
            bounds.append(floor(self._tightened(group, pair.rounding) * Fraction(2) ** pair.scale))
            assert_within(g, pair, bounds[-1], MaxSpec.name(number))
        spec = MaxSpec(tuple(group), tuple(bounds))
        return Instance(label(group), "max |W - W0|", "<=", self.at_most, g.graph(), spec)

    def _frobenius(self, group: Sequence[Pair]) -> Instance:
        shifts = tuple(shift_for(pair) for pair in group)
        scale = common_scale(group, shifts)
        spread = sum(
            (error_bound(pair, shift) ** 2 * pair.tensor.entries for pair, shift in zip(group, shifts, strict=True)),
            Fraction(0),
        )
        tightened = self._tightened(group, root_above(spread))
        spec = FrobeniusSpec(tuple(group), shifts, scale, floor(tightened**2 * Fraction(4) ** scale))
        g = GraphBuilder("change-budget-frobenius", self.version)
        g.assert_true("change", g.less_or_equal(sum_of_squares(g, spec), min(spec.bound, LIMIT)))
        return Instance(label(group), "|W - W0|_F", "<=", self.at_most, g.graph(), spec)

    def _spectral(self, group: Sequence[Pair]) -> Instance:
        (pair,) = group
        tightened = self._tightened(group, pair.rounding * root_above(Fraction(pair.tensor.entries)))
        rows, columns = pair.tensor.matrix_shape
        size, inner = min(rows, columns), max(rows, columns)
        largest = inner * pair.magnitude**2
        bound = min(floor(tightened**2 * Fraction(4) ** pair.scale), size * largest)
        sizes = plan(size, bound, largest + bound)
        if 2 * sizes.slack > bound:
            raise StatementError(f"change-budget of {label(group)}: at_most {self.at_most} is too small to certify")
        g = GraphBuilder("change-budget-spectral", self.version)
        d = pair.difference(g)
        gram = g.einsum("ik,jk->ij" if rows <= columns else "ki,kj->ij", d, d)
        identity = g.mul(g.identity(size), bound - sizes.slack)
        assert_positive(g, g.sub(identity, gram), sizes, "change")
        spec = SpectralSpec(pair, bound, sizes)
        return Instance(label(group), "sigma_1(W - W0)", "<=", self.at_most, g.graph(), spec)

    def _tightened(self, group: Sequence[Pair], margin: Fraction) -> Fraction:
        tightened = decimal(self.at_most, "at_most") - margin
        if tightened < 0:
            raise StatementError(
                f"change-budget of {label(group)}: at_most {self.at_most} is below the rounding {float(margin):.3g};"
                " raise it"
            )
        return tightened


def label(group: Sequence[Pair]) -> str:
    """The tensors of a group, for reports."""
    return group[0].label if len(group) == 1 else f"{len(group)} tensors together"


def shift_for(pair: Pair) -> int:
    """The least s for which the squares of round(d / 2^s) sum below 2^61."""
    shift = 0
    while pair.tensor.entries * largest_quotient(pair, shift) ** 2 >= LIMIT:
        shift += 1
    return shift


def largest_quotient(pair: Pair, shift: int) -> int:
    """|round(d / 2^s)| is at most this."""
    return (pair.magnitude >> shift) + (1 if shift else 0)


def error_bound(pair: Pair, shift: int) -> Fraction:
    """rho + 2^(s - 1 - M): what an entry of W - W0 can differ from 2^s q / 2^M."""
    return pair.rounding + (Fraction(2) ** (shift - 1 - pair.scale) if shift else 0)


def common_scale(group: Sequence[Pair], shifts: Sequence[int]) -> int:
    """The finest scale of the quotients at which all squares add up below 2^61; coarser than none by over 20."""
    scales = [pair.scale - shift for pair, shift in zip(group, shifts, strict=True)]
    for scale in sorted(set(scales), reverse=True):
        total = sum(
            pair.tensor.entries * largest_quotient(pair, shift) ** 2 * Fraction(4) ** (scale - own)
            for pair, shift, own in zip(group, shifts, scales, strict=True)
        )
        if total < LIMIT and max(scales) - scale <= MAX_SHIFT // 2:
            return scale
    raise StatementError(f"the scales of {label(group)} lie too far apart to add squares; bound the tensors apart")


def sum_of_squares(g: GraphBuilder, spec: FrobeniusSpec) -> Tensor:
    """The sum of the squared quotients in units of 4^-scale, rounded up."""
    sums = []
    for pair, shift in zip(spec.pairs, spec.shifts, strict=True):
        d = pair.difference(g)
        q = g.floor_div(g.add(d, 1 << (shift - 1)), 1 << shift) if shift else d
        sums.append((pair.scale - shift, g.einsum("ij,ij->", q, q)))
    return weighted_total(g, sums, spec.scale)

"""quantile: the quantile of |w| at a public level is at most, or at least, a threshold.

Exact. The quantile at level p of n weights is the least v such that at least p n of them have |w| <= v (numpy's
"inverted_cdf"). In units of 2^-F with threshold T: it is <= T iff count(|x| <= T) >= ceil(p n), which holds if
count(|t| <= T - 1/2) does; it is >= T iff count(|x| < T) <= ceil(p n) - 1, which holds if count(|t| < T + 1/2) does.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import ClassVar, Literal

from circuits.checks.base import require, text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Work
from circuits.checks.histogram_block import HALF, NonNegativeCheck, Population, Statement, within
from circuits.checks.histogram_disclosures import read_order
from circuits.checks.histogram_runs import disclose_quantile
from circuits.rationals import decimal


class Quantile(NonNegativeCheck):
    """The `level` quantile of |w|; `disclose` publishes that of |t|, within 1/2 of it in units of 2^-F."""

    check: Literal["quantile"]
    level: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "It says nothing about the weights beyond the quantile, nor about behaviour."

    def validate_values(self) -> None:
        super().validate_values()
        require(0 < decimal(self.level, "level") <= 1, "level of quantile lies above 0 and is at most 1")

    @property
    def metric(self) -> str:
        return f"quantile of |w| at {self.level}"

    def _needed(self, population: Population) -> int:
        return ceil(decimal(self.level, "level") * population.entries)

    def upper(self, population: Population, limit: Fraction) -> Statement:
        bound = population.units(limit) - HALF
        if bound < 0:
            raise self.below_rounding(population, "at_most")

        def build(work: Work) -> None:
            work.at_least("within", work.count(within(bound)), self._needed(population))

        return Statement("quantile-upper", build, text(limit - HALF / population.units(Fraction(1))))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        bound = population.units(limit) + HALF

        def build(work: Work) -> None:
            below = work.count(within(Fraction(ceil(bound) - 1)))
            work.at_most("below", below, self._needed(population) - 1)

        return Statement("quantile-lower", build, text(limit + HALF / population.units(Fraction(1))))

    def disclosure(self, population: Population) -> Statement:
        needed = self._needed(population)
        return Statement("quantile-disclosed", lambda work: disclose_quantile(work, "quantile", needed))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_order(population, values, self.check, (("level", self.level),))

"""max-abs: the largest |w| is at most, or at least, a threshold.

Exact. In units of 2^-F with threshold T: |x - t| <= 1/2, so max |x| <= T if every |t| <= T - 1/2, that is if the
histogram is 0 beyond; and max |x| >= T if some |t| >= T + 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import ClassVar, Literal

from circuits.checks.base import text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Work
from circuits.checks.histogram_block import HALF, NonNegativeCheck, Population, Statement, within
from circuits.checks.histogram_disclosures import read_order
from circuits.checks.histogram_runs import disclose_quantile


class MaxAbs(NonNegativeCheck):
    """max |w| <= at_most, max |w| >= at_least; `disclose` publishes max |t|, within 2^-(F+1) of max |w| 2^F."""

    check: Literal["max-abs"]

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "Weights of ordinary size can compute anything: this finds outliers, not behaviour."

    @property
    def metric(self) -> str:
        return "max |w|"

    def upper(self, population: Population, limit: Fraction) -> Statement:
        bound = population.units(limit) - HALF
        if bound < 0:
            raise self.below_rounding(population, "at_most")

        def build(work: Work) -> None:
            work.equal("none-beyond", work.count(~within(bound)), 0)

        return Statement("max-abs-upper", build, text(limit - HALF / population.units(Fraction(1))))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        bound = population.units(limit) + HALF

        def build(work: Work) -> None:
            # |t| >= bound: not |t| < bound, and t is an integer
            work.at_least("some-beyond", work.count(~within(Fraction(ceil(bound) - 1))), 1)

        return Statement("max-abs-lower", build, text(limit + HALF / population.units(Fraction(1))))

    def disclosure(self, population: Population) -> Statement:
        return Statement("max-abs-disclosed", lambda work: disclose_quantile(work, "max-abs", work.entries))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_order(population, values, self.check, ())

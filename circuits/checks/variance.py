"""variance: the variance (with 1/n) of the weights is at most, or at least, a threshold.

Exact. In units of 2^-F: |sd(x) - sd(t)| <= 1/2 (`histogram_moments`), so Var(x) <= T if Var(t) <= (sqrt(T) - 1/2)^2,
and Var(x) >= T if Var(t) >= (sqrt(T) + 1/2)^2, roots rounded to the stricter side. In the graph n Var(t) is sum (t -
c)^2 - b^2 / n for the centre c and S_1 = n c + b; both sides are rounded to integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from circuits.checks.base import text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Wide, Work, wide_constant
from circuits.checks.histogram_block import HALF, NonNegativeCheck, Population, Statement
from circuits.checks.histogram_disclosures import read_power_sums
from circuits.checks.histogram_moments import Moments, disclose_power_sums, power_root_above, power_root_below

LARGEST = 1 << 33
"""No variance of integers in [-2^15, 2^15) reaches this: thresholds beyond say the same."""


class Variance(NonNegativeCheck):
    """E (w - mean)^2; `disclose` publishes sum t and sum t^2, hence also the mean."""

    check: Literal["variance"]

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "A variance says nothing about single weights or about what the model computes."

    @property
    def metric(self) -> str:
        return "E (w - mean)^2"

    def upper(self, population: Population, limit: Fraction) -> Statement:
        deviation = power_root_below(population.units(population.units(limit)), 2) - HALF
        if deviation < 0:
            raise self.below_rounding(population, "at_most")
        bound = floor(population.entries * min(deviation**2, Fraction(LARGEST)))

        def build(work: Work) -> None:
            moments = Moments(work)
            correction = moments.offset * moments.offset // work.entries
            # ceil(n Var(t)) <= bound
            room = wide_constant(work, bound) - moments.central(2) + Wide(work, (correction,))
            room.assert_not_negative("variance")

        return Statement("variance-upper", build, _text(population, deviation))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        deviation = power_root_above(population.units(population.units(limit)), 2) + HALF
        bound = ceil(population.entries * min(deviation**2, Fraction(LARGEST)))

        def build(work: Work) -> None:
            moments = Moments(work)
            correction = (moments.offset * moments.offset).over_rounded_up(work.entries)
            # floor(n Var(t)) >= bound
            room = moments.central(2) - Wide(work, (correction,)) - wide_constant(work, bound)
            room.assert_not_negative("variance")

        return Statement("variance-lower", build, _text(population, deviation))

    def disclosure(self, population: Population) -> Statement:
        return Statement("variance-disclosed", lambda work: disclose_power_sums(work, 2))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_power_sums(population, values, 2)


def _text(population: Population, deviation: Fraction) -> str:
    unit = population.units(Fraction(1))
    return text(deviation**2 / unit**2, 12)

"""mean: the mean of the weights is at most, or at least, a threshold.

Exact. In units of 2^-F: |m(x) - m(t)| <= 1/2, so m(x) <= T if sum t <= n (T - 1/2), and m(x) >= T if
sum t >= n (T + 1/2).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from circuits.checks.base import text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import VALUES, Work
from circuits.checks.histogram_block import HALF, HistogramCheck, Population, Statement
from circuits.checks.histogram_disclosures import read_power_sums
from circuits.checks.histogram_moments import disclose_power_sums


class Mean(HistogramCheck):
    """The mean; `disclose` publishes sum t: the mean is within 1/2 of sum t / n in units of 2^-F."""

    check: Literal["mean"]

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "A mean says nothing about single weights or about what the model computes."

    @property
    def metric(self) -> str:
        return "mean of w"

    def upper(self, population: Population, limit: Fraction) -> Statement:
        bound = floor(population.entries * (population.units(limit) - HALF))

        def build(work: Work) -> None:
            work.at_most("sum", work.functional(VALUES), bound)

        return Statement("mean-upper", build, text(limit - HALF / population.units(Fraction(1))))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        bound = ceil(population.entries * (population.units(limit) + HALF))

        def build(work: Work) -> None:
            work.at_least("sum", work.functional(VALUES), bound)

        return Statement("mean-lower", build, text(limit + HALF / population.units(Fraction(1))))

    def disclosure(self, population: Population) -> Statement:
        return Statement("mean-disclosed", lambda work: disclose_power_sums(work, 1))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_power_sums(population, values, 1)

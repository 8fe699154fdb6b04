"""sparsity: the share of weights with |w| <= tau is at least, or at most, a threshold.

Exact. tau is at least the rounding bound delta = 2^-(F+1): below it the copy cannot tell a small weight from 0. In
units of 2^-F: |t| <= tau - 1/2 implies |x| <= tau implies |t| <= tau + 1/2, so counting the first bounds the share from
below and counting the last bounds it from above.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from circuits.checks.base import require, text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Work
from circuits.checks.histogram_block import HALF, FractionCheck, Population, Statement, within
from circuits.checks.histogram_disclosures import read_share
from circuits.errors import StatementError
from circuits.rationals import decimal


class Sparsity(FractionCheck):
    """count(|w| <= tau) / n; `disclose` publishes two counts between which count(|w| <= tau) lies."""

    check: Literal["sparsity"]
    tau: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "Small weights are not zero weights, and a sparse model is not thereby safe or simple."
    )

    def validate_values(self) -> None:
        super().validate_values()
        require(decimal(self.tau, "tau") > 0, "tau of sparsity must be positive")

    @property
    def metric(self) -> str:
        return f"share of |w| <= {self.tau}"

    def _threshold(self, population: Population) -> Fraction:
        tau = population.units(decimal(self.tau, "tau"))
        if tau < HALF:
            raise StatementError(
                f"sparsity of {population.label}: tau {self.tau} is below the rounding 2^-{population.scale + 1}, where"
                " every small weight looks like 0; raise tau"
            )
        return tau

    def upper(self, population: Population, limit: Fraction) -> Statement:
        tau, allowed = self._threshold(population), floor(limit * population.entries)

        def build(work: Work) -> None:
            work.at_most("small", work.count(within(tau + HALF)), allowed)

        return Statement("sparsity-upper", build, text(Fraction(allowed, population.entries)))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        tau, needed = self._threshold(population), ceil(limit * population.entries)

        def build(work: Work) -> None:
            work.at_least("small", work.count(within(tau - HALF)), needed)

        return Statement("sparsity-lower", build, text(Fraction(needed, population.entries)))

    def disclosure(self, population: Population) -> Statement:
        tau = self._threshold(population)

        def build(work: Work) -> None:
            work.g.disclose("at-least", work.count(within(tau - HALF)).tensor)
            work.g.disclose("at-most", work.count(within(tau + HALF)).tensor)

        return Statement("sparsity-disclosed", build)

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_share(population, values, self.check, (("tau", self.tau),))

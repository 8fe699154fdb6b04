"""outlier-fraction: the share of weights beyond tau, or beyond k standard deviations from the mean, is bounded.

Exact. In units of 2^-F. With `tau`: |t| > tau + 1/2 implies |x| > tau implies |t| > tau - 1/2, so counting the last
bounds the share from above and counting the first bounds it from below.

With `deviations` k: x - m(x) and t - m(t) differ by at most 1, sd(x) and sd(t) by at most 1/2 (`histogram_moments`), so

    |t - m(t)| <= rho with rho <= k (sd(t) - 1/2) - 1   implies  |x - m(x)| <= k sd(x): no outlier,
    |t - m(t)| > rho with rho >= k (sd(t) + 1/2) + 1    implies  |x - m(x)| > k sd(x): an outlier.

at_most counts the weights in a secret interval [low, high] inside m(t) +- rho, which are no outliers; at_least counts
those in one that covers m(t) +- rho, outside of which all are. Where the covering interval is cut off at the end of the
table, a secret extension makes up for it; it is 0 unless the end is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from circuits.checks.base import require, text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import OFFSET, Scalar, Work, known
from circuits.checks.histogram_block import HALF, FractionCheck, Population, Statement, within
from circuits.checks.histogram_disclosures import read_share
from circuits.checks.histogram_moments import Moments, line_above, line_below
from circuits.checks.histogram_runs import inside
from circuits.rationals import decimal

MAX_DEVIATIONS = 1_000
RADIUS_LOG = 8
"""Radii are in units of 2^-8, coarser for very large populations."""


class OutlierFraction(FractionCheck):
    """Share of |w| > tau, or of |w - mean| > deviations * sd(w); one of the two is given.

    `disclose`, with tau only, publishes two counts between which the number of outliers lies.
    """

    check: Literal["outlier-fraction"]
    tau: str | None = None
    deviations: str | None = None

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "As evidence of tampering it is an indicator: an edit of ordinary size leaves no outliers, training makes some."
    )

    def validate_values(self) -> None:
        super().validate_values()
        require((self.tau is None) != (self.deviations is None), "outlier-fraction needs either tau or deviations")
        if self.tau is not None:
            require(decimal(self.tau, "tau") >= 0, "tau of outlier-fraction must not be negative")
        if self.deviations is not None:
            k = decimal(self.deviations, "deviations")
            require(0 < k <= MAX_DEVIATIONS, f"deviations of outlier-fraction lie above 0, up to {MAX_DEVIATIONS}")
            require(not self.disclose, "outlier-fraction can be disclosed with tau only, not with deviations")

    @property
    def metric(self) -> str:
        return f"share of |w| > {self.tau}" if self.tau else f"share of |w - mean| > {self.deviations} sd(w)"

    def _tau(self, population: Population) -> Fraction:
        return population.units(decimal(self.tau, "tau"))

    def upper(self, population: Population, limit: Fraction) -> Statement:
        allowed = floor(limit * population.entries)

        def build(work: Work) -> None:
            if self.tau is not None:
                work.at_most("outliers", work.count(~within(self._tau(population) - HALF)), allowed)
            else:
                low, high = _inner_interval(work, decimal(self.deviations, "deviations"))
                work.at_least("ordinary", inside(work, low, high), work.entries - allowed)

        return Statement("outlier-fraction-upper", build, text(Fraction(allowed, population.entries)))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        needed = ceil(limit * population.entries)

        def build(work: Work) -> None:
            if self.tau is not None:
                work.at_least("outliers", work.count(~within(self._tau(population) + HALF)), needed)
            else:
                low, high = _outer_interval(work, decimal(self.deviations, "deviations"))
                work.at_most("ordinary", inside(work, low, high), work.entries - needed)

        return Statement("outlier-fraction-lower", build, text(Fraction(needed, population.entries)))

    def disclosure(self, population: Population) -> Statement:
        def build(work: Work) -> None:
            work.g.disclose("at-least", work.count(~within(self._tau(population) + HALF)).tensor)
            work.g.disclose("at-most", work.count(~within(self._tau(population) - HALF)).tensor)

        return Statement("outlier-fraction-disclosed", build)

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_share(population, values, self.check, (("tau", self.tau or ""),))


def _radius_log(work: Work, k: Fraction) -> int:
    """Units 2^-log in which n rho stays below 2^60."""
    return min(RADIUS_LOG, 60 - (work.entries.bit_length() + 17 + ceil(k).bit_length()))


def _inner_interval(work: Work, k: Fraction) -> tuple[Scalar, Scalar]:
    """Secret low and high with m(t) - rho <= low and high <= m(t) + rho, rho <= k (sd(t) - 1/2) - 1."""
    n, log = work.entries, _radius_log(work, k)
    moments = Moments(work)
    _, square = moments.squares()
    radius = line_below(moments.root_below(square), k, k / 2 + 1, log)
    # n 2^log (m(t) - c) = 2^log b: everything is relative to the centre c
    mean, reach = moments.offset * (1 << log), radius * n
    high = work.hint(
        "high", -OFFSET, OFFSET - 1, lambda: min(OFFSET - 1, known(moments.centre) + known(mean + reach) // (n << log))
    )
    low = work.hint(
        "low", -OFFSET, OFFSET - 1, lambda: max(-OFFSET, known(moments.centre) - (known(reach - mean) // (n << log)))
    )
    work.at_most("high", (high - moments.centre) * (n << log), mean + reach)
    work.at_least("low", (low - moments.centre) * (n << log), mean - reach)
    return low, high


def _outer_interval(work: Work, k: Fraction) -> tuple[Scalar, Scalar]:
    """Secret low and high that cover m(t) +- rho as far as the table goes, rho >= k (sd(t) + 1/2) + 1."""
    n, log = work.entries, _radius_log(work, k)
    moments = Moments(work)
    _, square = moments.squares()
    radius = line_above(moments.root_above(square), k, k / 2 + 1, log)
    mean, reach = moments.offset * (1 << log), radius * n
    furthest = (radius.high >> log) + 2 * OFFSET

    def upper_end() -> int:
        return known(moments.centre) - (-known(mean + reach) // (n << log))

    def lower_end() -> int:
        return known(moments.centre) + known(mean - reach) // (n << log)

    high = work.hint("high", -OFFSET, OFFSET - 1, lambda: min(OFFSET - 1, upper_end()))
    low = work.hint("low", -OFFSET, OFFSET - 1, lambda: max(-OFFSET, lower_end()))
    above = work.hint("above", 0, furthest, lambda: max(0, upper_end() - (OFFSET - 1)))
    below = work.hint("below", 0, furthest, lambda: max(0, -OFFSET - lower_end()))
    work.equal("above", above * (high - (OFFSET - 1)), 0)
    work.equal("below", below * (low + OFFSET), 0)
    work.at_least("high", (high + above - moments.centre) * (n << log), mean + reach)
    work.at_most("low", (low - below - moments.centre) * (n << log), mean - reach)
    return low, high

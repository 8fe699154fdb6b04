"""kurtosis: E (w - mean)^4 / Var(w)^2 (3 for a normal distribution) is at most, or at least, a threshold.

Exact. With |v|_4 = (E v^4)^(1/4), a norm, in units of 2^-F: x - m(x) = (t - c) + (e - m(e)) + (c - m(t)), and a
variable on an interval of length 1 has fourth central moment at most 1/12 (for a given mean p, convexity moves it to
the ends: u - 3 u^2 with u = p (1 - p)). So | |x - m(x)|_4 - |t - c|_4 | <= kappa + 1/2 with kappa = (1/12)^(1/4) <
0.5373. With q = T^(1/4) and r = q / 2 + kappa + 1/2:

    kurtosis(x) <= T  if  |t - c|_4 <= q sd(t) - r,        kurtosis(x) >= T  if  |t - c|_4 >= q sd(t) + r.

In the graph: a bracket s of sd(t), y on the stricter side of the line, z with 2 z on the stricter side of y^2, and
sum (t - c)^4 against 4 n z^2, exactly, in limbs. An accepted population is not constant, so its kurtosis is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Literal

from circuits.checks.base import require, text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Scalar, Wide, Work, known
from circuits.checks.histogram_block import HALF, KAPPA, HistogramCheck, Population, Statement
from circuits.checks.histogram_disclosures import read_power_sums
from circuits.checks.histogram_moments import (
    ROOT_LOG,
    Moments,
    disclose_power_sums,
    line_above,
    line_below,
    power_root_above,
    power_root_below,
)

LARGEST = 1 << 40
"""No kurtosis of 2^31 weights or fewer reaches this: thresholds beyond say the same."""
Y_HIGH = (1 << (16 + ROOT_LOG)) - 1
Z_HIGH = (1 << 30) - 1


class Kurtosis(HistogramCheck):
    """E (w - mean)^4 / Var(w)^2; `disclose` publishes the power sums of t up to the fourth, hence the lower moments."""

    check: Literal["kurtosis"]

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "As evidence of tampering it is an indicator: training alone makes heavy tails, and an edit can avoid them."
    )

    def check_limit(self, name: str, limit: Fraction) -> None:
        require(limit >= 1, f"{name} of kurtosis is at least 1, which every distribution has (3: a normal one)")

    @property
    def metric(self) -> str:
        return "E (w - mean)^4 / Var(w)^2"

    def upper(self, population: Population, limit: Fraction) -> Statement:
        q = power_root_below(min(limit, Fraction(LARGEST)), 4)

        def build(work: Work) -> None:
            moments = Moments(work)
            _, square = moments.squares()
            root = moments.root_below(square)
            line = line_below(root, q, q / 2 + KAPPA + HALF, ROOT_LOG)
            y = work.hint("line", 0, Y_HIGH, lambda: min(known(line), Y_HIGH))
            work.at_most("line", y, line)
            z = work.hint("half-square", 0, Z_HIGH, lambda: min(known(y) ** 2 >> (2 * ROOT_LOG + 1), Z_HIGH))
            work.at_most("half-square", z * (2 * 4**ROOT_LOG), y * y)
            # sum (t - c)^4 <= n (2 z)^2
            (_fourth(work, z) - moments.central(4)).assert_not_negative("fourth")
            work.needed = _needed(z, root)

        return Statement("kurtosis-upper", build)

    def lower(self, population: Population, limit: Fraction) -> Statement:
        q = power_root_above(min(limit, Fraction(LARGEST)), 4)

        def build(work: Work) -> None:
            moments = Moments(work)
            _, square = moments.squares()
            root = moments.root_above(square)
            line = line_above(root, q, q / 2 + KAPPA + HALF, ROOT_LOG)
            y = work.hint("line", 0, Y_HIGH, lambda: known(line))
            work.at_least("line", y, line)
            z = work.hint("half-square", 0, Z_HIGH, lambda: -(-(known(y) ** 2) >> (2 * ROOT_LOG + 1)))
            work.at_least("half-square", z * (2 * 4**ROOT_LOG), y * y)
            # sum (t - c)^4 >= n (2 z)^2
            (moments.central(4) - _fourth(work, z)).assert_not_negative("fourth")
            work.needed = _needed(z, root)

        return Statement("kurtosis-lower", build)

    def disclosure(self, population: Population) -> Statement:
        return Statement("kurtosis-disclosed", lambda work: disclose_power_sums(work, 4))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_power_sums(population, values, 4)


def _fourth(work: Work, z: Scalar) -> Wide:
    """n (2 z)^2."""
    return Wide(work, (z * z,)) * 4 * work.entries


def _needed(z: Scalar, root: Scalar) -> str:
    """The bound on the fourth moment over the bracket of the variance squared, where both are known."""
    if not z.value or not root.value:
        return "nothing fits" if z.value is not None else ""
    return text(Fraction(4 * z.value**2 * 16**ROOT_LOG, root.value**4))

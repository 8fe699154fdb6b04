"""skewness: E (w - mean)^3 / sd(w)^3 is at most, or at least, a threshold; a bound on |skewness| is both.

Exact. In units of 2^-F with a = t - m(t), d = e - m(e), d in an interval of length 1 around 0, V = Var(t):

    E (a + d)^3 - E a^3 = 3 E (a^2 - V) e + 3 E a (d^2 - 1/2) + E d^3,
    at most 3 * (1/2) * 2 V + 3 * (1/2) * sd(t) + 1/4 <= 3 V + (V / 64 + 36) + 1/4 =: D in magnitude.

E a^3 is (sum (t - c)^3 - 3 b A) / n within 3/2 + 1/4, from m(t) = c + b / n and sum (t - c)^2 = n (A + [0, 1]). With
V <= A + 1, C = floor(193 A / 64) + 43 covers all of it. So with q = |T|^(1/3), for a claim skewness(x) <= T:

    T > 0:   sum (t - c)^3 - 3 b A + n C <= n y^3   with 0 < y <= q (sd(t) - 1/2),
    T <= 0:  sum (t - c)^3 - 3 b A + n C <= -n y^3  with y >= q (sd(t) + 1/2),

and the mirror image for at_least. Roots, products and y^3 are rounded to the stricter side. An accepted population is
not constant, so its skewness is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Literal

from circuits.checks.base import text
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import Scalar, Wide, Work, known
from circuits.checks.histogram_block import HistogramCheck, Population, Statement
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

LINE_LOG, SQUARE_LOG = 10, 6
"""y is in units of 2^-10, y^2 in units of 2^-6, y^3 in units of 1."""
Y_HIGH = (1 << (15 + LINE_LOG)) - 1
"""y < 2^15: no third central moment in [-2^15, 2^15) reaches y^3, so larger thresholds say the same."""
LARGEST = 1 << 20
"""No skewness of 2^31 weights or fewer reaches this."""


class Skewness(HistogramCheck):
    """E (w - mean)^3 / sd(w)^3; `disclose` publishes the power sums of t up to the third, hence the lower moments."""

    check: Literal["skewness"]

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "As evidence of tampering it is an indicator: a symmetric edit leaves the skewness as it was."
    )

    @property
    def metric(self) -> str:
        return "E (w - mean)^3 / sd(w)^3"

    def upper(self, population: Population, limit: Fraction) -> Statement:
        return Statement("skewness-upper", lambda work: _bounded(work, limit, 1))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        return Statement("skewness-lower", lambda work: _bounded(work, -limit, -1))

    def disclosure(self, population: Population) -> Statement:
        return Statement("skewness-disclosed", lambda work: disclose_power_sums(work, 3))

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        return read_power_sums(population, values, 3)


def _bounded(work: Work, limit: Fraction, sign: int) -> None:
    """sign * skewness <= limit."""
    moments = Moments(work)
    _, square = moments.squares()
    # n times sign * E a^3, within n (3/2 + 1/4)
    third = (moments.central(3) - Wide(work, (square,)) * moments.offset * 3) * sign
    margin = Wide(work, (square * 193 // 64 + 43,)) * work.entries
    if limit > 0:
        q = power_root_below(min(limit, Fraction(LARGEST)), 3)
        root = moments.root_below(square)
        line = line_below(root, q, q / 2, LINE_LOG)
        y = work.hint("line", 1, Y_HIGH, lambda: min(known(line), Y_HIGH))
        work.at_most("line", y, line)
        cube = (y * y // (1 << (2 * LINE_LOG - SQUARE_LOG))) * y // (1 << (LINE_LOG + SQUARE_LOG))
    else:
        q = power_root_above(min(-limit, Fraction(LARGEST)), 3)
        root = moments.root_above(square)
        line = line_above(root, q, q / 2, LINE_LOG)
        y = work.hint("line", 0, Y_HIGH, lambda: known(line))
        work.at_least("line", y, line)
        squared = (y * y).over_rounded_up(1 << (2 * LINE_LOG - SQUARE_LOG))
        cube = -(squared * y).over_rounded_up(1 << (LINE_LOG + SQUARE_LOG))
    (Wide(work, (cube,)) * work.entries - third - margin).assert_not_negative("third")
    work.needed = _needed(square, root, cube, sign)


def _needed(square: Scalar, root: Scalar, cube: Scalar, sign: int) -> str:
    """What the skewness of the copy must stay below (above, for sign -1), where the weights are known."""
    if root.value is None or square.value is None or cube.value is None:
        return ""
    margin = square.value * 193 // 64 + 43
    return text(sign * Fraction((cube.value - margin) * 8**ROOT_LOG, max(root.value, 1) ** 3))

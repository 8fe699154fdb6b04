"""Moments of a population from its histogram: an exact centre, central sums, and brackets of the standard deviation.

In units of 2^-F: x_i the real weights, t_i the committed integers, e_i = x_i - t_i in [-1/2, 1/2]; m(.) means, sd(.)
the standard deviation with 1/n. The prover names an integer c with S_1 = n c + b and |b| <= n/2, so m(t) = c + beta
with |beta| <= 1/2. Power sums about c follow exactly from power sums about 0, whatever the size of the mean (weights of
a normalisation layer have a mean of hundreds of standard deviations). Then A = floor(sum (t - c)^2 / n) up to one,
hence

    A - 1/4 <= sd(t)^2 = sum (t - c)^2 / n - beta^2 <= A + 1,

and a secret root s brackets sd(t) from the side that the claim needs. What rounding does to the real weights:

    |m(x) - m(t)| <= 1/2,
    |sd(x) - sd(t)| <= sd(e) <= 1/2       (sd is a seminorm; on an interval of length 1 a variance is <= 1/4).

The thresholds of skewness and kurtosis are compared through roots, (q sd - r)^k for public q and r: nothing is divided
by a secret.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, isqrt

import numpy as np

from circuits.checks.histogram_arithmetic import OFFSET, VALUES, Scalar, Wide, Work, known, wide_constant

ROOT_LOG = 13
"""Brackets of the standard deviation are in units of 2^-13."""
FACTOR_LOG = 20
"""Public roots of thresholds are in units of 2^-20."""


class Moments:
    """The centre c of a population and sums about it. The names in the graph are those of the attributes.

    Attributes:
        centre: c.
        offset: b = S_1 - n c, |b| <= n/2.
        square: A, with n A <= sum (t - c)^2 <= n A + n.
    """

    def __init__(self, work: Work) -> None:
        n = work.entries
        self._work = work
        self._sums: list[Wide] = []
        total = self._power(1).limbs[0]
        self.centre = work.hint("centre", -OFFSET, OFFSET - 1, lambda: (2 * known(total) + n) // (2 * n))
        self.offset = work.hint("offset", -(n // 2), n // 2, lambda: known(total) - n * known(self.centre))
        work.equal("centre", self.centre * n + self.offset, total)
        work.at_most("offset", self.offset, n // 2)

    def _power(self, k: int) -> Wide:
        """sum t^k."""
        while len(self._sums) < k:
            self._sums.append(Wide.functional(self._work, VALUES ** (len(self._sums) + 1)))
        return self._sums[k - 1]

    def central(self, k: int) -> Wide:
        """sum (t - c)^k exactly, by Horner's rule: sum_j binomial(k, j) S_j (-c)^(k - j)."""
        sign = -1 if k % 2 else 1
        factor = sign
        result = wide_constant(self._work, sign * self._work.entries)
        for j in range(1, k + 1):
            # the next of (-1)^(k - j) binomial(k, j)
            factor = -factor * (k - j + 1) // j
            result = result * self.centre + self._power(j) * factor
        return result

    def squares(self) -> tuple[Wide, Scalar]:
        """(sum (t - c)^2, A)."""
        work, n = self._work, self._work.entries
        total = self.central(2)
        square = work.hint("square", 0, 2**32 - 1, lambda: _value(total) // n)
        multiple = Wide(work, (square,)) * n
        (total - multiple).assert_not_negative("square/below")
        (multiple - total + wide_constant(work, n)).assert_not_negative("square/above")
        return total, square

    def root_below(self, square: Scalar) -> Scalar:
        """s with s 2^-13 <= sd(t): 4 s^2 <= 4^13 (4 A - 1)."""
        unit = 1 << (2 * ROOT_LOG)
        root = self._work.hint(
            "root", 0, (1 << (16 + ROOT_LOG)) - 1, lambda: isqrt(max(0, unit * (4 * known(square) - 1)) // 4)
        )
        self._work.at_most("root", root * root * 4, (square * 4 - 1) * unit)
        return root

    def root_above(self, square: Scalar) -> Scalar:
        """s with s 2^-13 >= sd(t): s^2 >= 4^13 (A + 1)."""
        unit = 1 << (2 * ROOT_LOG)
        root = self._work.hint("root", 0, (1 << (17 + ROOT_LOG)) - 1, lambda: isqrt(unit * (known(square) + 1) - 1) + 1)
        self._work.at_least("root", root * root, (square + 1) * unit)
        return root


def line_below(root: Scalar, factor: Fraction, offset: Fraction, log: int) -> Scalar:
    """At most (factor * root 2^-13 - offset) 2^log, for factor >= 0 and log <= 13."""
    slope = floor(factor * (1 << FACTOR_LOG))
    return root * slope // (1 << (FACTOR_LOG + ROOT_LOG - log)) - ceil(offset * (1 << log))


def line_above(root: Scalar, factor: Fraction, offset: Fraction, log: int) -> Scalar:
    """At least (factor * root 2^-13 + offset) 2^log, for factor >= 0 and log <= 13."""
    slope = ceil(factor * (1 << FACTOR_LOG))
    return (root * slope).over_rounded_up(1 << (FACTOR_LOG + ROOT_LOG - log)) + ceil(offset * (1 << log))


def power_root_below(value: Fraction, k: int) -> Fraction:
    """A rational at most value^(1/k), within 2^-40 of it, for value >= 0."""
    scaled = value * 2 ** (40 * k)
    low, high = 0, 1 << (int(scaled).bit_length() // k + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**k <= scaled else (low, middle)
    return Fraction(low, 2**40)


def power_root_above(value: Fraction, k: int) -> Fraction:
    """A rational at least value^(1/k), within 2^-40 of it, for value >= 0."""
    below = power_root_below(value, k)
    return below if below**k == value else below + Fraction(1, 2**40)


def power_sums(counts: np.ndarray[tuple[int], np.dtype[np.int64]], highest: int) -> list[int]:
    """S_0 .. S_highest of a histogram, exactly."""
    cells = np.flatnonzero(counts)
    pairs = list(zip(VALUES[cells].tolist(), counts[cells].tolist(), strict=True))
    return [sum(count * value**k for value, count in pairs) for k in range(highest + 1)]


def disclose_power_sums(work: Work, highest: int) -> None:
    """Publish S_1 .. S_highest of the integers t, limb by limb in base 2^b (`Work.base_log`) where they are large."""
    for k in range(1, highest + 1):
        limbs = Wide.functional(work, VALUES**k).limbs
        for i, limb in enumerate(limbs):
            work.g.disclose(f"power-sum-{k}" + (f"/limb-{i}" if len(limbs) > 1 else ""), limb.tensor)


def _value(total: Wide) -> int:
    value = total.value
    assert value is not None
    return value

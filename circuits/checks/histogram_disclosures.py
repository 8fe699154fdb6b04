"""Reading what the checks on histograms publish: power sums, orders and counts of the integers t, in real units.

Rounding, in units of 2^-F, as the docstrings of the checks and `histogram_moments` derive it: |x - t| <= 1/2,
|m(x) - m(t)| <= 1/2, |sd(x) - sd(t)| <= 1/2, the fourth-moment norms differ by at most (1/12)^(1/4), and central third
moments by at most 3 V + 3/2 sd(t) + 1/4 with V = Var(t). Every root is rounded outwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import OFFSET, base_log
from circuits.checks.histogram_block import HALF, KAPPA, Population
from circuits.checks.histogram_moments import power_root_above, power_root_below
from circuits.errors import FormatError
from circuits.rationals import root_above

Parameters = tuple[tuple[str, str], ...]


def read_power_sums(population: Population, values: Mapping[str, int], highest: int) -> list[Disclosure]:
    """The statistics that S_1 .. S_highest determine, the highest moment first.

    Raises FormatError if no weights have these sums.
    """
    n, unit = population.entries, 1 / population.units(Fraction(1))
    m1, *higher = (Fraction(_power_sum(population, values, k), n) for k in range(1, highest + 1))

    def disclosure(metric: str, value: Fraction | None, low: Fraction | None, high: Fraction | None) -> Disclosure:
        return Disclosure(metric, (), population.label, value, low, high)

    out = [disclosure("mean", m1 * unit, (m1 - HALF) * unit, (m1 + HALF) * unit)]
    if not higher:
        return out
    variance = higher[0] - m1**2
    if variance < 0:
        raise impossible(population)
    deviations = (max(Fraction(0), power_root_below(variance, 2) - HALF), power_root_above(variance, 2) + HALF)
    low, high = ((deviation * unit) ** 2 for deviation in deviations)
    out.append(disclosure("variance", variance * unit**2, low, high))
    if highest >= 3:
        third = higher[1] - 3 * m1 * higher[0] + 2 * m1**3
        out.append(disclosure("skewness", *_skewness(variance, third, *deviations)))
    if highest >= 4:
        fourth = higher[2] - 4 * m1 * higher[1] + 6 * m1**2 * higher[0] - 3 * m1**4
        if fourth < variance**2:
            raise impossible(population)
        out.append(disclosure("kurtosis", *_kurtosis(variance, fourth, *deviations)))
    return out[::-1]


def read_order(
    population: Population, values: Mapping[str, int], metric: str, parameters: Parameters
) -> list[Disclosure]:
    """A maximum or quantile M of |t|, published under the name of its metric: that of |x| lies within 1/2."""
    order = values[metric]
    if not 0 <= order <= OFFSET:
        raise impossible(population)
    unit = 1 / population.units(Fraction(1))
    low, high = max(Fraction(0), (order - HALF) * unit), (order + HALF) * unit
    return [Disclosure(metric, parameters, population.label, order * unit, low, high)]


def read_share(
    population: Population, values: Mapping[str, int], metric: str, parameters: Parameters
) -> list[Disclosure]:
    """Two counts between which that of the real weights lies, as shares of the weights."""
    few, many = values["at-least"], values["at-most"]
    if not 0 <= few <= many <= population.entries:
        raise impossible(population)
    low, high = Fraction(few, population.entries), Fraction(many, population.entries)
    return [Disclosure(metric, parameters, population.label, low if few == many else None, low, high)]


def impossible(population: Population) -> FormatError:
    """The error for integers that no weights give."""
    return FormatError(f"the values disclosed for {population.label} belong to no weights: ask for the proof itself")


def _power_sum(population: Population, values: Mapping[str, int], k: int) -> int:
    """S_k from its limbs, as `histogram_moments.disclose_power_sums` names them."""
    name = f"power-sum-{k}"
    if name in values:
        return values[name]
    limbs = [value for key, value in values.items() if key.startswith(f"{name}/limb-")]
    return sum(limb << (base_log(population.entries) * i) for i, limb in enumerate(limbs))


def _skewness(
    variance: Fraction, third: Fraction, least: Fraction, most: Fraction
) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    """(value, low, high) for a standard deviation of the real weights in [least, most]."""
    if variance == 0:
        return None, None, None
    value = root_above(third**2 / variance**3) * (-1 if third < 0 else 1)
    if least == 0:
        return value, None, None
    reach = 3 * variance + 3 * power_root_above(variance, 2) / 2 + Fraction(1, 4)
    low, high = third - reach, third + reach
    return value, low / (most if low >= 0 else least) ** 3, high / (least if high >= 0 else most) ** 3


def _kurtosis(
    variance: Fraction, fourth: Fraction, least: Fraction, most: Fraction
) -> tuple[Fraction | None, Fraction, Fraction | None]:
    """(value, low, high), likewise. Every distribution has a kurtosis of 1 or more."""
    low = (max(Fraction(0), power_root_below(fourth, 4) - KAPPA) / most) ** 4
    high = ((power_root_above(fourth, 4) + KAPPA) / least) ** 4 if least else None
    return fourth / variance**2 if variance else None, max(Fraction(1), low), high

"""Statistics of histograms: max-abs, mean, variance, skewness, kurtosis, quantile, sparsity, outlier-fraction, entropy.

The certificate comes from the formulas that write the graph (`circuits.checks.histogram_arithmetic`); here the value of
the fixed-point copy is measured beside it.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, isqrt

import numpy as np

from circuits.checks.base import Instance, text
from circuits.checks.entropy import Entropy
from circuits.checks.histogram_arithmetic import TABLE, VALUES
from circuits.checks.histogram_block import HistogramCheck, HistogramSpec, Population, within
from circuits.checks.histogram_moments import power_sums
from circuits.checks.kurtosis import Kurtosis
from circuits.checks.max_abs import MaxAbs
from circuits.checks.mean import Mean
from circuits.checks.outlier_fraction import OutlierFraction
from circuits.checks.quantile import Quantile
from circuits.checks.skewness import Skewness
from circuits.checks.sparsity import Sparsity
from circuits.checks.variance import Variance
from circuits.rationals import decimal
from prover.certificates.base import Access, Certificate, Integers


def certify(instance: Instance, access: Access) -> Certificate:
    """The statistic of the fixed-point copy, and the advice of its statement."""
    spec: HistogramSpec = instance.spec
    counts = population_counts(spec.population, access)
    work = spec.statement.work(spec.population, spec.check.version, counts)
    value = measured(spec.check, spec.population, counts)
    needed = spec.statement.needed or work.needed or "no limit"
    return Certificate(value, work.passed, needed, work.advice if work.passed else {})


def population_counts(population: Population, access: Access) -> Integers:
    """How often each of -32768 .. 32767 occurs among the weights of a population, shape (65536,)."""
    counts = np.zeros(TABLE, np.int64)
    for number, _ in population.groups:
        counts += access.histogram(number)
    for tensor in population.loose:
        counts += np.bincount(access.matrix(tensor.name).reshape(-1) + TABLE // 2, minlength=TABLE)
    return counts


def measured(check: HistogramCheck, population: Population, counts: Integers) -> str:
    """The statistic of the copy in decimal, truncated; "undefined" where a constant population has none."""
    n, unit = population.entries, Fraction(2) ** -population.scale
    match check:
        case MaxAbs():
            return text(_quantile(counts, n) * unit, 9)
        case Quantile():
            return text(_quantile(counts, ceil(decimal(check.level, "level") * n)) * unit, 9)
        case Sparsity():
            return text(Fraction(_within(counts, decimal(check.tau, "tau") / unit), n), 9)
        case OutlierFraction(tau=str() as tau):
            return text(Fraction(n - _within(counts, decimal(tau, "tau") / unit), n), 9)
        case OutlierFraction():
            return text(Fraction(_far(counts, n, decimal(check.deviations, "deviations")), n), 9)
        case Entropy():
            bins = counts.reshape(-1, check.bin_cells(population)).sum(axis=1)
            shares = bins[bins > 0] / n
            return f"{abs(float(-np.sum(shares * np.log2(shares)))):.6f}"
        case _:
            return _moment(check, counts, n, unit)


def _quantile(counts: Integers, needed: int) -> int:
    """The least M such that `needed` weights have |t| <= M."""
    folded = np.bincount(np.abs(VALUES), weights=counts).astype(np.int64)
    return int(np.searchsorted(np.cumsum(folded), needed))


def _within(counts: Integers, limit: Fraction) -> int:
    return int(counts[within(limit)].sum())


def _far(counts: Integers, n: int, k: Fraction) -> int:
    """How many weights are further than k standard deviations from the mean: (n t - S_1)^2 > k^2 (n S_2 - S_1^2)."""
    _, s1, s2 = power_sums(counts, 2)
    bound = isqrt(int(k**2 * (n * s2 - s1 * s1)))
    cells = np.flatnonzero(counts)
    return sum(int(counts[c]) for c in cells if abs(n * int(VALUES[c]) - s1) > bound)


def _moment(check: HistogramCheck, counts: Integers, n: int, unit: Fraction) -> str:
    s = power_sums(counts, 4)
    mean = Fraction(s[1], n)
    variance = Fraction(s[2], n) - mean**2
    if isinstance(check, Mean):
        return text(mean * unit, 9)
    if isinstance(check, Variance):
        return text(variance * unit**2, 12)
    if variance == 0:
        return "undefined: the weights are constant"
    if isinstance(check, Kurtosis):
        fourth = Fraction(s[4], n) - 4 * mean * Fraction(s[3], n) + 6 * mean**2 * Fraction(s[2], n) - 3 * mean**4
        return text(fourth / variance**2)
    assert isinstance(check, Skewness)
    third = Fraction(s[3], n) - 3 * mean * Fraction(s[2], n) + 2 * mean**3
    return f"{float(third) / float(variance) ** 1.5:.6f}"

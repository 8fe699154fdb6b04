"""change-budget: differences are measured exactly; the spectral norm takes a certificate of positivity."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt, sqrt

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.bases import needs_advice
from circuits.checks.change_budget import FrobeniusSpec, MaxSpec, SpectralSpec
from prover.certificates.base import Access, Certificate, Integers
from prover.certificates.differences import difference, in_weights
from prover.certificates.linear_algebra import eigenvalues, exact_square
from prover.certificates.positive import psd_advice

RELAX = "relax at_most by a few parts in 10^4"


def certify(instance: Instance, access: Access) -> Certificate:
    """The norm of the change of the copies against the tightened bound."""
    spec: MaxSpec | FrobeniusSpec | SpectralSpec = instance.spec
    if isinstance(spec, MaxSpec):
        return largest_change(spec, access)
    return total_change(spec, access) if isinstance(spec, FrobeniusSpec) else spectral_change(spec, access)


def largest_change(spec: MaxSpec, access: Access) -> Certificate:
    """Every |d| <= bound. The value shown is the pair's that comes closest to its bound, or exceeds it most."""
    closest = None
    advice: dict[str, Integers] = {}
    passed = True
    for number, (pair, bound) in enumerate(zip(spec.pairs, spec.bounds, strict=True)):
        d = difference(pair, access)
        largest = int(np.abs(d).max())
        passed = passed and largest <= bound
        ratio = Fraction(largest + 1, bound + 1)
        if closest is None or ratio > closest[0]:
            closest = (ratio, in_weights(pair, largest), in_weights(pair, bound))
        if needs_advice(bound):
            advice[spec.name(number)] = d
    assert closest is not None
    return Certificate(closest[1], passed, closest[2], advice if passed else {})


def total_change(spec: FrobeniusSpec, access: Access) -> Certificate:
    """The sum of squares as the graph computes it, and exactly."""
    parts: dict[int, int] = {}
    exact = Fraction(0)
    for pair, shift in zip(spec.pairs, spec.shifts, strict=True):
        d = difference(pair, access).ravel()
        q = (d + (1 << (shift - 1))) >> shift if shift else d
        own = pair.scale - shift
        parts[own] = parts.get(own, 0) + int(q @ q)
        exact += int(np.square(d.astype(np.float64)).sum() if shift else q @ q) / Fraction(4) ** pair.scale
    total = 0
    for own, square in parts.items():
        unit = Fraction(4) ** (own - spec.scale)
        total += -(-square // unit.numerator) if unit > 1 else square * (1 / unit).numerator
    return Certificate(f"{sqrt(exact):.6g}", total <= spec.bound, f"{isqrt(spec.bound) * 2.0**-spec.scale:.6g}")


def spectral_change(spec: SpectralSpec, access: Access) -> Certificate:
    """(bound - slack) I - d d^T >= 0 on the smaller side."""
    d = difference(spec.pair, access)
    gram = exact_square(d if d.shape[0] <= d.shape[1] else d.T)
    largest = float(eigenvalues(gram.astype(np.float64))[-1])
    allowed = spec.bound - spec.sizes.slack
    value = in_weights(spec.pair, sqrt(max(largest, 0.0)))
    needed = in_weights(spec.pair, sqrt(allowed))
    if largest > allowed:
        return Certificate(value, False, needed)
    x = np.eye(spec.sizes.size, dtype=np.int64) * allowed - gram
    return Certificate(value, True, needed, psd_advice(x, spec.sizes, "change", RELAX))

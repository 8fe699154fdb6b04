"""frobenius-norm needs no advice: the value is measured exactly."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np

from circuits.checks.base import Instance, text
from circuits.checks.frobenius_norm import NormSpec
from prover.certificates.base import Access, Certificate


def certify(instance: Instance, access: Access) -> Certificate:
    """The norm of the fixed-point copy against the tightened bound."""
    spec: NormSpec = instance.spec
    exact, rounded = Fraction(0), 0
    parts: dict[int, int] = {}
    for tensor in spec.tensors:
        row = access.matrix(tensor.name).reshape(-1)
        square = int(np.dot(row, row))
        parts[tensor.scale] = parts.get(tensor.scale, 0) + square
    for scale, square in parts.items():
        exact += square * Fraction(4) ** (spec.scale - scale)
        unit = Fraction(4) ** (scale - spec.scale)
        rounded += -(-square // unit.numerator) if unit > 1 else square * (Fraction(1) / unit).numerator
    unit = Fraction(4) ** -spec.scale
    return Certificate(root_text(exact * unit), rounded <= spec.bound, root_text(spec.bound * unit))


def root_text(square: Fraction) -> str:
    """A square root in decimal, six places, truncated."""
    return text(Fraction(isqrt(square.numerator * 10**12 // square.denominator), 10**6))

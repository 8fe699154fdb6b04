"""direction-write-bound needs no advice: r^T W is measured exactly."""

from __future__ import annotations

from math import sqrt

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.direction_write_bound import WriteSpec
from prover.certificates.base import Access, Certificate


def certify(instance: Instance, access: Access) -> Certificate:
    """|r^T W| of the copy against the tightened bound."""
    spec: WriteSpec = instance.spec
    w = access.matrix(spec.tensor.name)
    y = spec.integers @ w if spec.axis == 0 else w @ spec.integers
    q = (y + (1 << (spec.shift - 1))) >> spec.shift if spec.shift else y
    square = int(q @ q)
    passed = square >= spec.bound if spec.above else square <= spec.bound
    value = float(np.linalg.norm(y.astype(np.float64))) * spec.unit
    return Certificate(f"{value:.6g}", passed, f"{sqrt(spec.bound) * 2.0**spec.shift * spec.unit:.6g}")

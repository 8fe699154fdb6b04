"""same-except: the advice is the difference itself where the scales differ, nothing where they are equal."""

from __future__ import annotations

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.bases import needs_advice
from circuits.checks.same_except import SameSpec
from prover.certificates.base import Access, Certificate
from prover.certificates.differences import difference, in_weights


def certify(instance: Instance, access: Access) -> Certificate:
    """The largest difference of the copies against the tolerance."""
    spec: SameSpec = instance.spec
    d = difference(spec.pair, access)
    largest = int(np.abs(d).max())
    passed = largest <= spec.bound
    advice = {spec.name: d} if passed and needs_advice(spec.bound) else {}
    return Certificate(in_weights(spec.pair, largest), passed, in_weights(spec.pair, spec.bound), advice)

"""The integers of a tensor minus those of a base model, exactly."""

from __future__ import annotations

import numpy as np

from circuits.checks.bases import Pair
from prover.certificates.base import Access, Integers


def difference(pair: Pair, access: Access) -> Integers:
    """d = 2^(M - F) w - 2^(M - F0) w0 as a matrix, in units of 2^-M."""
    own, other = pair.factors
    if pair.public is not None:
        base = pair.public.astype(np.int64)
    else:
        base = access.matrix(pair.base.name, pair.commitment)
    return access.matrix(pair.tensor.name) * own - base * other


def in_weights(pair: Pair, units: float) -> str:
    """A length in units of d as one of the float weights, six significant digits."""
    return f"{units * 2.0**-pair.scale:.6g}"

"""low-rank-change: factors from a truncated singular value decomposition, rounded, and the exact residual."""

from __future__ import annotations

from math import sqrt

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.low_rank_change import LowRankSpec
from prover.certificates.base import Access, Certificate, CertificateError, Floats, Integers
from prover.certificates.differences import difference, in_weights

EXACT_SIDE = 1024
"""Up to this smaller side the decomposition is complete; beyond, subspace iteration finds the leading part."""
OVERSAMPLING = 16
ITERATIONS = 8


def certify(instance: Instance, access: Access) -> Certificate:
    """What the best factors leave, against the tightened bound. Raises CertificateError if rounding is to blame."""
    spec: LowRankSpec = instance.spec
    d = difference(spec.pair, access)
    left, right = factors(d.astype(np.float64), spec.rank)
    frobenius = spec.norm == "frobenius"
    limit = (sqrt(spec.bound) if frobenius else spec.bound) * 2.0**-spec.exponent
    best = size_of(d - left @ right, frobenius)
    value, needed = in_weights(spec.pair, best), in_weights(spec.pair, limit)
    if best > limit:
        return Certificate(value, False, needed)
    scale = 2.0 ** (spec.exponent / 2)
    advice = {"left": np.rint(left * scale).astype(np.int64), "right": np.rint(right * scale).astype(np.int64)}
    half = 1 << spec.log_factor
    if any(part.min() < -half or part.max() >= half for part in advice.values()):
        raise CertificateError(failure("the factors are too large"))
    rest = (d << spec.exponent) - exact_product(advice["left"], advice["right"])
    if int(np.abs(rest).max()) > spec.residual:
        raise CertificateError(failure("an entry of the residual is too large"))
    if frobenius and int((rest * rest).sum()) > spec.bound:
        raise CertificateError(failure("rounding the factors leaves too much"))
    return Certificate(value, True, needed, {**advice, "residual": rest})


def failure(reason: str) -> str:
    """The message of a certificate that does not fit, though the property holds."""
    return f"the certificate failed for numerical reasons ({reason}): raise at_most, or commit with finer scales"


def size_of(rest: Floats, frobenius: bool) -> float:
    """The Frobenius or the max norm."""
    return float(np.linalg.norm(rest) if frobenius else np.abs(rest).max())


def factors(matrix: Floats, rank: int) -> tuple[Floats, Floats]:
    """(rows x rank, rank x columns), balanced, with the product nearest to the matrix in Frobenius norm."""
    if min(matrix.shape) > EXACT_SIDE and rank + OVERSAMPLING < min(matrix.shape):
        basis = np.random.default_rng(0).standard_normal((matrix.shape[1], rank + OVERSAMPLING))
        for _ in range(ITERATIONS):
            basis = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ basis)[0])[0]
        u, s, v = np.linalg.svd(matrix @ basis, full_matrices=False)
        v = v @ basis.T
    else:
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * v[:rank]


def exact_product(left: Integers, right: Integers) -> Integers:
    """left @ right exactly, for entries below 2^30 and sums below 2^62: in float64, the left one in limbs of 8 bits."""
    total = np.zeros((left.shape[0], right.shape[1]), np.int64)
    for shift in range(0, 32, 8):
        limb = (left >> shift) & 0xFF if shift < 24 else left >> shift
        total += np.rint(limb.astype(np.float64) @ right.astype(np.float64)).astype(np.int64) << shift
    return total

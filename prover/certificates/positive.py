"""The certificate of `circuits.checks.positive`: a rounded Cholesky factor and what it leaves over."""

from __future__ import annotations

import numpy as np

from circuits.checks.positive import Q_LOG, PsdPlan
from prover.certificates.base import CertificateError, Integers
from prover.certificates.linear_algebra import cholesky, exact_square


def psd_advice(x: Integers, sizes: PsdPlan, name: str, relax: str) -> dict[str, Integers]:
    """Advice that shows X + slack I >= 0 for an exact integer matrix X that is positive semidefinite.

    `relax` completes the sentence "the certificate failed for numerical reasons; ...". Raises CertificateError.
    """
    d = sizes.size
    target = x.astype(np.float64) * 4.0**sizes.exponent
    # A shift of the diagonal well inside the residual that the plan allows, against rounding in the factorisation.
    shift = 2.0**sizes.log_remainder
    factor = cholesky(target + shift * np.eye(d))
    if factor is None:
        raise CertificateError(f"the certificate failed for numerical reasons (no Cholesky factor); {relax}")
    rounded = np.rint(factor).astype(np.int64)
    limit = 1 << sizes.log_factor
    if rounded.max(initial=0) >= limit or rounded.min(initial=0) < -limit:
        raise CertificateError(f"the certificate failed for numerical reasons (a factor of more than {limit}); {relax}")
    square = exact_square(rounded)
    rest = (x << (2 * sizes.exponent)) - square
    quotient = rest >> sizes.log_remainder
    if abs(quotient).max(initial=0) >= 1 << Q_LOG or int((quotient * quotient).sum()) > sizes.square_limit:
        raise CertificateError(f"the certificate failed for numerical reasons (the residual is too large); {relax}")
    return {
        f"{name}/factor": rounded,
        f"{name}/quotient": quotient,
        f"{name}/remainder": rest - (quotient << sizes.log_remainder),
    }

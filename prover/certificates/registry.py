"""Which certifier belongs to which check."""

from __future__ import annotations

from collections.abc import Mapping

from prover.certificates import frobenius_norm, spectra
from prover.certificates.base import Certifier

CERTIFIERS: Mapping[str, Certifier] = {
    "frobenius-norm": frobenius_norm.certify,
    "no-ablated-direction": spectra.no_ablated_direction,
    "smallest-singular-value": spectra.smallest_singular_value,
    "spectral-norm": spectra.spectral_norm,
    "stable-rank": spectra.stable_rank,
}

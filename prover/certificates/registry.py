"""Which certifier belongs to which check."""

from __future__ import annotations

from collections.abc import Mapping

from prover.certificates import (
    change_budget,
    direction_write_bound,
    frobenius_norm,
    histogram_statistics,
    logit_bound,
    low_rank_change,
    row_norms,
    same_except,
    spectra,
)
from prover.certificates.base import Certifier

CERTIFIERS: Mapping[str, Certifier] = {
    "change-budget": change_budget.certify,
    "direction-write-bound": direction_write_bound.certify,
    "entropy": histogram_statistics.certify,
    "frobenius-norm": frobenius_norm.certify,
    "kurtosis": histogram_statistics.certify,
    "logit-bound": logit_bound.certify,
    "low-rank-change": low_rank_change.certify,
    "max-abs": histogram_statistics.certify,
    "mean": histogram_statistics.certify,
    "no-ablated-direction": spectra.no_ablated_direction,
    "no-single-direction-edit": spectra.no_single_direction_edit,
    "outlier-fraction": histogram_statistics.certify,
    "quantile": histogram_statistics.certify,
    "row-norms": row_norms.certify,
    "same-except": same_except.certify,
    "skewness": histogram_statistics.certify,
    "smallest-singular-value": spectra.smallest_singular_value,
    "sparsity": histogram_statistics.certify,
    "spectral-norm": spectra.spectral_norm,
    "stable-rank": spectra.stable_rank,
    "variance": histogram_statistics.certify,
}

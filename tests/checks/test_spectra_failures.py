"""A certificate that fails for numerical reasons is no property that does not hold: it says what to relax."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from circuits.policy import Policy
from prover.argument.engine import FalseStatementError
from prover.audit import Certified, require_passed
from prover.audit import certify as certify_policy
from prover.certificates import positive
from prover.certificates.base import CertificateError
from prover.progress import Progress
from tests.checks.models import Array, Setting, decimal
from tests.checks.spectra_support import (
    GROUP,
    Case,
    ablation,
    certify,
    common_edit,
    random_matrix,
    single,
    singular_values,
    statement,
    writers,
)

CASES = [
    *(single(name, (9, 12)) for name in ("spectral-norm at_most", "stable-rank", "smallest-singular-value")),
    ablation(10),
    common_edit(10, 1.0, {"commitment": "base"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_factorisation_that_fails(tmp_path: Path, case: Case) -> None:
    """As it does close to the boundary: here it fails where the property holds by far."""
    setting = Setting.of(tmp_path, case.tensors, case.base)
    check = case.make(case.loose or case.threshold(1.0))
    assert all(certificate.passed for _, certificate in certify(setting, check))
    with (
        mock.patch.object(positive, "cholesky", lambda matrix: None),
        pytest.raises(
            CertificateError, match=r"failed for numerical reasons .*; .*(relax the threshold|raise norm_at_most)"
        ),
    ):
        certify(setting, check)


def measured(setting: Setting, *checks: dict[str, Any]) -> Certified:
    content = {"policy": "weightproof/policy/v1", "name": "test", "checks": checks}
    policy = Policy.from_bytes(json.dumps(content).encode())
    return certify_policy(setting.access.models, policy, Progress.silent(), setting.context)


def test_an_estimate_of_the_norm_that_is_too_small(tmp_path: Path) -> None:
    """The smallest singular value is well above the threshold; norm_at_most is a hundredth of what it should be."""
    w = random_matrix(1, (12, 17), least=0.5)
    setting = Setting.of(tmp_path, {"w": w})
    check = {"check": "smallest-singular-value", "tensors": "w", "at_least": "0.01", "norm_at_most": "0.02"}
    certified = measured(setting, check)
    (row,) = certified.rows
    assert row.passed is None
    assert (row.value, row.needed) == ("?", "?")
    assert "raise norm_at_most" in row.note
    with pytest.raises(CertificateError, match=r"smallest-singular-value of w: .*raise norm_at_most"):
        require_passed(certified)
    assert certified.certificates == {}


def test_a_property_that_does_not_hold_is_reported_first(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, {"w": random_matrix(1, (12, 17), least=0.5)})
    numerical = {"check": "smallest-singular-value", "tensors": "w", "at_least": "0.01", "norm_at_most": "0.02"}
    false = {"check": "spectral-norm", "tensors": "w", "at_most": "0.9"}
    true = {"check": "spectral-norm", "tensors": "w", "at_most": "1.1"}
    certified = measured(setting, numerical, true, false)
    assert [row.passed for row in certified.rows] == [None, True, False]
    with pytest.raises(FalseStatementError, match=r"spectral-norm of w does not hold \(2 of 3 statements fail\)"):
        require_passed(certified)


def edited(name: str, change: Array) -> dict[str, Array]:
    return {key: w + (change if key == name else 0) for key, (w, _) in writers(10, 2).items()}


def test_weights_that_cannot_be_normalised(tmp_path: Path) -> None:
    """One outlier makes all other weights of the model small in fixed point: the message names the tensor and says how
    many bits to ask for."""
    outlier = np.zeros((10, 13))
    outlier[0, 0] = 60
    setting = Setting.of(tmp_path, edited("layers.0.o.weight", outlier))
    check = statement("no-ablated-direction", group=GROUP, at_least="0.0001", precision_bits=12)
    message = r"layers\.1\.o\.weight cannot be normalised in fixed point; set precision_bits to at most [4-9]$"
    with pytest.raises(CertificateError, match=message):
        certify(setting, check)


def test_a_floor_far_below_the_changes(tmp_path: Path) -> None:
    case = common_edit(10, 1.0, {"commitment": "base"})
    setting = Setting.of(tmp_path, case.tensors, case.base)
    check = statement(
        "no-single-direction-edit", group=GROUP, base={"commitment": "base"}, at_most="0.99", norm_at_least="0.002"
    )
    with pytest.raises(CertificateError, match="cannot be normalised; raise norm_at_least"):
        certify(setting, check)


def test_values_between_the_truth_and_what_is_certified_are_shown(tmp_path: Path) -> None:
    """Between the property and the tightened threshold lies what rounding and certificate cost: value, limit and needed
    value together tell this apart from a property that does not hold."""
    w = random_matrix(1, (12, 17))
    top = singular_values(w)[0]
    setting = Setting.of(tmp_path, {"w": w})
    check = statement("spectral-norm", tensors="w", at_most=decimal(top * (1 + 1e-5), 9))
    ((instance, certificate),) = certify(setting, check)
    assert not certificate.passed
    assert float(certificate.needed) < float(certificate.value) <= float(instance.limit)

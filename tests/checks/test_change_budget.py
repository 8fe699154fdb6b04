"""change-budget against numpy.linalg.norm, at equal and at different scales."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Context, Instance
from circuits.checks.change_budget import ChangeBudget, FrobeniusSpec
from circuits.errors import PolicyError, StatementError
from circuits.intervals import analyse
from circuits.manifest import Manifest, TensorEntry
from prover.certificates.base import Certificate
from prover.certificates.change_budget import certify
from tests.checks.models import Array, Setting, decimal

ORDERS: dict[str, Any] = {"max": np.inf, "frobenius": None, "spectral": 2}


def budget(setting: Setting, norm: str, at_most: str, **parameters: Any) -> list[Instance]:
    return setting.instances(
        ChangeBudget.model_validate(
            {
                "check": "change-budget",
                "tensors": "w.*",
                "base": {"commitment": "base"},
                "norm": norm,
                "at_most": at_most,
            }
            | parameters
        )
    )


def models(seed: int, shape: tuple[int, int] = (24, 31), change: float = 0.05) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    w0 = rng.normal(size=shape)
    return w0 + change * rng.normal(size=shape), w0


def norm_of(change: Array, norm: str) -> float:
    return float(np.abs(change).max() if norm == "max" else np.linalg.norm(change, ORDERS[norm]))


@pytest.mark.parametrize("norm", ["max", "frobenius", "spectral"])
@pytest.mark.parametrize("scales", [(12, 12), (12, 9), (8, 12)])
@pytest.mark.parametrize("shape", [(24, 31), (31, 24)])
def test_just_inside_holds_and_just_outside_fails(
    tmp_path: Path, norm: str, scales: tuple[int, int], shape: tuple[int, int]
) -> None:
    w, w0 = models(1, shape)
    setting = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=scales[0], other=scales[1])
    value = norm_of(w - w0, norm)
    rounding = 2.0 ** -(scales[0] + 1) + 2.0 ** -(scales[1] + 1)
    margin = 2.5 * rounding * (1 if norm == "max" else w.size**0.5)
    (inside,) = budget(setting, norm, decimal(value + margin + 0.01 * value))
    assert setting.holds(inside, certify)
    (outside,) = budget(setting, norm, decimal(value))
    assert not setting.holds(outside, certify)
    assert float(certify(inside, setting.access).value) == pytest.approx(value, abs=margin)


def test_many_tensors_together(tmp_path: Path) -> None:
    pairs = {f"w.{i}": models(i, (9 + i, 8)) for i in range(3)}
    own, other = ({name: pair[i] for name, pair in pairs.items()} for i in (0, 1))
    setting = Setting.of(tmp_path, own, other, own=12, other=11)
    total = sum(np.linalg.norm(a - b) ** 2 for a, b in pairs.values()) ** 0.5
    (inside,) = budget(setting, "frobenius", decimal(total * 1.02 + 0.02), over="together")
    assert setting.holds(inside, certify)
    (outside,) = budget(setting, "frobenius", decimal(total), over="together")
    assert not setting.holds(outside, certify)
    largest = max(np.abs(a - b).max() for a, b in pairs.values())
    (inside,) = budget(setting, "max", decimal(largest + 0.001), over="together")
    assert setting.holds(inside, certify)
    (outside,) = budget(setting, "max", decimal(largest), over="together")
    assert not setting.holds(outside, certify)
    assert len(budget(setting, "max", "1")) == 3


def test_a_wide_budget_needs_no_advice_and_holds(tmp_path: Path) -> None:
    w, w0 = models(4, change=1.0)
    setting = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=12, other=12)
    for at_most, expected in (("8.2", True), ("100", True), ("2", False)):
        (instance,) = budget(setting, "max", at_most)
        assert certify(instance, setting.access).advice == {}
        assert setting.holds(instance, certify) is expected


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scales", [(10, 10), (11, 9), (9, 14)])
def test_rounding_never_helps(tmp_path: Path, seed: int, scales: tuple[int, int]) -> None:
    """Every weight is rounded so that the change shrinks; the exact change, less one part in 10^12, stays unproved."""
    rng = np.random.default_rng(seed)
    own, other = rng.integers(-400, 400, (2, 4, 5)).astype(np.float64)
    own, other = np.ldexp(own, 10 - scales[0]).round(), np.ldexp(other, 10 - scales[1]).round()
    direction = np.sign(np.ldexp(own, -scales[0]) - np.ldexp(other, -scales[1]))
    w, w0 = np.ldexp(own + 0.499 * direction, -scales[0]), np.ldexp(other - 0.499 * direction, -scales[1])
    setting = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=scales[0], other=scales[1])
    change = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(w.ravel(), w0.ravel(), strict=True)]
    exact = {
        "max": max(map(abs, change)) - Fraction(1, 10**12),
        "frobenius": Fraction(isqrt(int(sum(c * c for c in change) * 10**24)), 10**12),
    }
    for norm, value in exact.items():
        (instance,) = budget(setting, norm, decimal(value))
        assert not setting.holds(instance, certify)
        (loose,) = budget(setting, norm, decimal(value * 2))
        assert setting.holds(loose, certify)


def test_forged_certificates_are_rejected(tmp_path: Path) -> None:
    w, w0 = models(5)
    setting = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=12, other=12)
    value = norm_of(w - w0, "max")
    (outside,) = budget(setting, "max", decimal(value * 0.9))
    d = setting.access.matrix("w.0") - setting.access.matrix("w.0", 1)
    clipped = np.clip(d, -outside.spec.bounds[0], outside.spec.bounds[0])
    for forged in (d, clipped):
        assert setting.refused(outside, Certificate("", True, "", {"change/0": forged}))
    (spectral,) = budget(setting, "spectral", decimal(norm_of(w - w0, "spectral") * 1.1))
    advice = dict(certify(spectral, setting.access).advice)
    assert setting.failures(spectral, advice) == []
    for name in advice:
        wrong = advice[name].copy()
        wrong[0, 0] += 1 if wrong[0, 0] < 1 else -1
        assert setting.refused(spectral, Certificate("", True, "", {**advice, name: wrong}))


def test_budgets_below_the_rounding_are_refused(tmp_path: Path) -> None:
    w, w0 = models(6)
    setting = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=5, other=5)
    for norm in ORDERS:
        with pytest.raises(StatementError, match=r"below the rounding|too small"):
            budget(setting, norm, "0.01")
    with pytest.raises(PolicyError, match="for each tensor"):
        budget(setting, "spectral", "1", over="together")
    far = Setting.of(tmp_path, {"w.0": w}, {"w.0": w0}, own=-20, other=12)
    with pytest.raises(StatementError, match="more than 24 apart"):
        budget(far, "max", "1")


@pytest.mark.parametrize("shape", [(30_522, 384), (50_257, 768), (4096, 4096), (128_256, 4096)])
@pytest.mark.parametrize("gap", [0, 5, 24])
def test_real_sizes_stay_within_62_bits(shape: tuple[int, int], gap: int) -> None:
    def manifest(scale: int) -> Manifest:
        return Manifest((TensorEntry("w.0", shape, "float32", scale, 0),), (), {}, {})

    for scales in ((17, 17 - gap), (17 - gap, 17)):
        context = Context(manifest(scales[0]), {"base": manifest(scales[1])})
        for norm in ("max", "frobenius"):
            check = ChangeBudget.model_validate(
                {
                    "check": "change-budget",
                    "tensors": "*",
                    "base": {"commitment": "base"},
                    "norm": norm,
                    "at_most": "99999999",
                }
            )
            (instance,) = check.instances(context)
            analyse(instance.graph.nodes)
            if isinstance(instance.spec, FrobeniusSpec):
                # rounding the quotients costs less than rounding the weights did
                (pair,), (shift,) = instance.spec.pairs, instance.spec.shifts
                assert shift == 0 or Fraction(2) ** (shift - 1 - pair.scale) < pair.rounding

"""Checks on singular values against numpy.linalg: the value shown, thresholds just inside and just outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from circuits.checks.smallest_singular_value import SmallestSpec
from circuits.errors import PolicyError
from tests.checks.models import Array, Setting, decimal
from tests.checks.spectra_support import (
    GROUP,
    SINGLE,
    Case,
    ablation,
    certify,
    common_edit,
    passes,
    random_matrix,
    single,
    singular_values,
    stacked,
    statement,
    writers,
)

SHAPES = [(3, 3), (3, 48), (7, 5), (16, 16), (31, 33), (48, 20), (48, 129)]
BASE = {"commitment": "base"}
LOST = {
    "spectral-norm at_most": 5e-4,
    "spectral-norm at_least": 5e-4,
    "smallest-singular-value": 2e-3,
    # its factor is a multiple of 1/16
    "stable-rank": 0.04,
    "no-ablated-direction": 0.09,
    "no-single-direction-edit": 0.02,
}
"""How much of a threshold rounding and certificate may cost, relatively, in these models."""


def examine(case: Case, folder: Path) -> None:
    """The value is numpy's, what is called needed is the value that would just do, and certification stops on the
    stricter side of the truth, not far from it; certificates up to there satisfy the program (`passes` asserts it)."""
    setting = Setting.of(folder, case.tensors, case.base)
    inside, outside = case.boundary(setting)
    worst = max if case.above else min
    for threshold in (inside, outside):
        rows = [certificate for _, certificate in certify(setting, case.make(threshold))]
        assert worst(float(row.value) for row in rows) == pytest.approx(case.value, rel=2e-3)
        assert all(row.passed for row in rows) == (threshold == inside)
        assert all(row.passed or not row.advice for row in rows)
        coarse = 0.07 / case.value if case.name == "stable-rank" else 1e-4
        assert any(float(row.needed) == pytest.approx(float(row.value), rel=coarse) for row in rows)
    ratio = inside / case.value if case.above else case.value / inside
    assert 1 < ratio < 1 + LOST[case.name]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SINGLE)
def test_one_matrix(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    examine(single(name, shape), tmp_path)


@pytest.mark.parametrize("size", [3, 10, 33])
@pytest.mark.parametrize(("layers", "windows"), [(2, None), (3, 2), (3, 1)])
def test_writers_of_both_axes(tmp_path: Path, size: int, layers: int, windows: int | None) -> None:
    examine(ablation(size, layers, windows), tmp_path)


@pytest.mark.parametrize("size", [3, 10, 33])
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_common_edits(tmp_path: Path, size: int, noise: float) -> None:
    examine(common_edit(size, noise, BASE), tmp_path)


# ---------------------------------------------------------------- what the checks see, and what they do not


def ablated(strength: float, size: int = 12, layers: int = 4, late: int = 0) -> dict[str, Array]:
    """Writers with (1 - strength r r^T) applied on the residual axis of the layers from `late` on."""
    direction = np.random.default_rng(9).normal(size=size)
    direction /= np.linalg.norm(direction)
    found = {}
    for name, (w, axis) in writers(size, layers).items():
        turned = w if axis == 0 else w.T
        if int(name.split(".")[1]) >= late:
            turned = turned - strength * np.outer(direction, direction @ turned)
        found[name] = turned if axis == 0 else turned.T
    return found


def lambda_min(tensors: dict[str, Array], layers: range) -> float:
    chosen = [(tensors[f"layers.{i}.{part}.weight"], axis) for i in layers for part, axis in (("o", 0), ("down", 1))]
    return float(singular_values(stacked(chosen))[-1] ** 2)


def test_an_ablated_direction_is_seen_and_a_reflection_is_not(tmp_path: Path) -> None:
    clean = lambda_min(ablated(0), range(4))
    check = statement("no-ablated-direction", group=GROUP, at_least=f"{clean * 0.8:.6f}".rstrip("0"), precision_bits=12)
    for number, (strength, expected) in enumerate([(0, True), (0.5, False), (1, False), (2, True)]):
        tensors = ablated(strength)
        (tmp_path / str(number)).mkdir()
        setting = Setting.of(tmp_path / str(number), tensors)
        ((_, certificate),) = certify(setting, check)
        assert certificate.passed is expected
        assert float(certificate.value) == pytest.approx(lambda_min(tensors, range(4)), rel=2e-3, abs=1e-6)


def test_late_layers_are_seen_by_windows_only(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, ablated(1, late=2))
    at_least = f"{lambda_min(ablated(0), range(4)) / 5:.6f}"
    assert passes(setting, statement("no-ablated-direction", group=GROUP, at_least=at_least, precision_bits=12))
    check = statement(
        "no-ablated-direction", group=GROUP, at_least=at_least, precision_bits=12, windows={"of_layers": 2}
    )
    rows = {instance.label: certificate.passed for instance, certificate in certify(setting, check)}
    assert rows == {"layers 0 to 1": True, "layers 1 to 2": True, "layers 2 to 3": False}


def test_the_wrong_axis_hides_an_ablation(tmp_path: Path) -> None:
    """Square writers: contracted on the side where nothing was removed, they look whole."""
    direction = np.eye(12)[3]
    square = {f"layers.{i}.o.weight": random_matrix(i, (12, 12)) for i in range(3)}
    edited = {name: w - np.outer(direction, direction @ w) for name, w in square.items()}
    setting = Setting.of(tmp_path, edited)
    for axis, expected in ((0, False), (1, True)):
        group = ({"tensors": "layers.*.o.weight", "residual_axis": axis},)
        check = statement("no-ablated-direction", group=group, at_least="0.01", precision_bits=12)
        assert passes(setting, check) is expected


@pytest.mark.parametrize("strength", [0.1, 1.0, 2.0])
def test_a_clean_common_edit_has_the_whole_share_at_any_strength(tmp_path: Path, strength: float) -> None:
    case = common_edit(12, 0.0, BASE)
    assert case.base is not None
    tensors = {name: w + strength * (case.tensors[name] - w) for name, w in case.base.items()}
    setting = Setting.of(tmp_path, tensors, case.base)
    least = min(np.linalg.norm(tensors[name] - w) for name, w in case.base.items()) * 0.9
    check = statement(
        "no-single-direction-edit", group=GROUP, base=BASE, at_most="0.999", norm_at_least=decimal(least, 3)
    )
    ((_, certificate),) = certify(setting, check)
    assert not certificate.passed
    assert float(certificate.value) == pytest.approx(1, abs=1e-3)


def test_a_tensor_that_did_not_change_is_said_to_be_too_close(tmp_path: Path) -> None:
    case = common_edit(12, 1.0, BASE)
    assert case.base is not None
    name = "layers.1.o.weight"
    setting = Setting.of(tmp_path, {**case.tensors, name: case.base[name]}, case.base, own=13, other=13)
    ((_, certificate),) = certify(setting, case.make(0.9))
    assert (certificate.value, certificate.passed) == ("|D| = 0", False)


def test_patterns_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, ablated(0), ablated(0))
    twice = (*GROUP, {"tensors": "layers.0.o.weight", "residual_axis": 0})
    mixed = (GROUP[0], {"tensors": "layers.*.down.weight", "residual_axis": 0})
    for group, message in ((twice, "matched twice"), (mixed, "different sizes")):
        for name, more in (
            ("no-ablated-direction", {"at_least": "0.01"}),
            ("no-single-direction-edit", {"at_most": "0.5", "norm_at_least": "1", "base": BASE}),
        ):
            with pytest.raises(PolicyError, match=message):
                setting.instances(statement(name, group=group, **more))
    wide = statement("no-ablated-direction", group=GROUP, at_least="0.01", windows={"of_layers": 5})
    with pytest.raises(PolicyError, match="needs as many layers"):
        setting.instances(wide)
    other = statement(
        "no-single-direction-edit", group=GROUP, base={"commitment": "other"}, at_most="0.5", norm_at_least="1"
    )
    with pytest.raises(PolicyError, match="was not given"):
        setting.instances(other)
    with pytest.raises(PolicyError, match="exceeds the rank"):
        setting.instances(statement("stable-rank", tensors="layers.0.o.weight", at_least="13"))


def test_an_estimate_of_the_norm_only_costs_precision(tmp_path: Path) -> None:
    """norm_at_most is not proved: the wider, the more slack."""
    w = random_matrix(2, (20, 30), least=0.3)
    setting = Setting.of(tmp_path, {"w": w})
    slacks = []
    for norm in ("1.1", "11", "110"):
        check = statement("smallest-singular-value", tensors="w", at_least="0.2", norm_at_most=norm)
        ((instance, certificate),) = certify(setting, check)
        assert isinstance(instance.spec, SmallestSpec)
        slacks.append(instance.spec.sizes.slack)
        assert certificate.passed == (float(certificate.needed) <= 0.3)
    assert slacks == sorted(slacks)

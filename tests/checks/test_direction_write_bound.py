"""direction-write-bound against numpy: |r^T W| for r normalised, erased and present."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Context, Instance
from circuits.checks.direction_write_bound import Direction, DirectionWriteBound
from circuits.errors import PolicyError, StatementError
from circuits.intervals import analyse
from circuits.manifest import Manifest, TensorEntry
from prover.certificates.direction_write_bound import certify
from tests.checks.models import Array, Setting, decimal, integers_of

WRITERS = [{"tensors": "out", "residual_axis": 0}, {"tensors": "conv", "residual_axis": 1}]


def bound(setting: Setting, direction: Any, group: list[dict[str, Any]] | None = None, **limits: str) -> list[Instance]:
    values = direction if isinstance(direction, dict) else tuple(direction)
    check = {"check": "direction-write-bound", "group": tuple(group or WRITERS), "direction": values, **limits}
    return setting.instances(DirectionWriteBound.model_validate(check))


@pytest.fixture
def direction() -> Array:
    return np.random.default_rng(1).normal(size=16).round(5)


def decimals(direction: Array, places: int = 20) -> list[str]:
    return [decimal(float(v), places) for v in direction]


@pytest.mark.parametrize("places", [5, 30])
def test_both_axes_against_numpy(tmp_path: Path, direction: Array, places: int) -> None:
    rng = np.random.default_rng(2)
    out, conv = rng.normal(size=(16, 30)), rng.normal(size=(20, 16))
    setting = Setting.of(tmp_path, {"out": out, "conv": conv}, own=12)
    r = direction / np.linalg.norm(direction)
    values = [np.linalg.norm(r @ out), np.linalg.norm(conv @ r)]
    margin = 2.0**-12 * np.abs(r).sum() * 30**0.5
    for index, value in enumerate(values):
        group = [WRITERS[index]]
        for limits, expected in (
            ({"at_most": value + margin}, True),
            ({"at_most": value}, False),
            ({"at_least": value - margin}, True),
            ({"at_least": value}, False),
        ):
            (instance,) = bound(
                setting, decimals(direction, places), group, **{k: decimal(v) for k, v in limits.items()}
            )
            assert setting.holds(instance, certify) is expected
            assert float(certify(instance, setting.access).value) == pytest.approx(value, abs=margin)


def test_an_erased_direction(tmp_path: Path, direction: Array) -> None:
    rng = np.random.default_rng(3)
    out = rng.normal(size=(16, 30))
    r = direction / np.linalg.norm(direction)
    erased = out - np.outer(r, r @ out)
    for tensors, expected in (({"out": erased}, True), ({"out": out}, False)):
        setting = Setting.of(tmp_path, tensors)
        (instance,) = bound(setting, decimals(direction), WRITERS[:1], at_most="0.01")
        assert setting.holds(instance, certify) is expected
        (instance,) = bound(setting, decimals(direction), WRITERS[:1], at_least="0.1")
        assert setting.holds(instance, certify) is not expected


def test_the_length_of_the_direction_does_not_matter(tmp_path: Path, direction: Array) -> None:
    setting = Setting.of(tmp_path, {"out": np.random.default_rng(4).normal(size=(16, 3))})
    verdicts = set()
    for factor in (1, 1000, 3e-7):
        (instance,) = bound(setting, decimals(direction * factor, 39), WRITERS[:1], at_most="2")
        verdicts.add((setting.holds(instance, certify), certify(instance, setting.access).value))
    assert len(verdicts) == 1


def test_few_decimals_are_exact_and_many_are_close() -> None:
    exact = Direction.of([Fraction("0.125"), Fraction("-3.5"), Fraction(0)])
    assert exact.error == 0 and exact.integers.tolist() == [1, -28, 0] and exact.sigma == 8
    values = [Fraction(1, 10**38) + Fraction(i, 7) for i in range(-300, 300)]
    close = Direction.of(values)
    assert 0 < close.error < Fraction(1, 2**20)
    assert int(np.abs(close.integers).sum()) <= 2**40 + 600


@pytest.mark.parametrize("seed", range(10))
def test_rounding_never_helps(tmp_path: Path, seed: int) -> None:
    """Every weight is rounded towards the claim; the exact value, moved by 10^-12 to the wrong side, stays unproved."""
    rng = np.random.default_rng(seed)
    v = rng.integers(1, 9, 16) * rng.choice([-1, 1], 16)
    erased = seed % 2 == 0
    integers = rng.integers(0, 300, (16, 5)) * np.sign(v)[:, None]  # every product is positive
    w = np.ldexp(integers + (0.499 if erased else -0.499) * np.sign(v)[:, None], -10)
    setting = Setting.of(tmp_path, {"out": w}, own=10)
    y = [sum(int(a) * Fraction(float(b)) for a, b in zip(v, column, strict=True)) for column in w.T]
    square = sum(x * x for x in y) / int((v * v).sum())
    root = isqrt(int(square * 10**24))
    limits = (
        {"at_most": decimal(Fraction(root, 10**12))} if erased else {"at_least": decimal(Fraction(root + 1, 10**12))}
    )
    (instance,) = bound(setting, [str(x) for x in v], WRITERS[:1], **limits)
    assert not setting.holds(instance, certify)


def test_a_pinned_direction(tmp_path: Path, direction: Array) -> None:
    setting = Setting.of(tmp_path, {"out": np.ones((16, 3))})
    values = tuple(decimals(direction, 5))
    digest = hashlib.sha256("".join(f"{value}\n" for value in values).encode()).hexdigest()
    pinned = {"file_sha256": digest, "values": values}
    listed = bound(setting, values, WRITERS[:1], at_most="9")[0]
    assert bound(setting, pinned, WRITERS[:1], at_most="9")[0].graph.canonical() == listed.graph.canonical()
    with pytest.raises(PolicyError, match="as a file"):
        bound(setting, {"file_sha256": digest, "values": values[::-1]}, WRITERS[:1], at_most="9")


def test_vectors_and_wrong_parameters(tmp_path: Path, direction: Array) -> None:
    bias = np.random.default_rng(5).normal(size=16)
    setting = Setting.of(tmp_path, {"bias": bias, "out": np.ones((16, 3)), "conv": np.ones((2, 16, 2))})
    value = float(abs(bias @ direction)) / np.linalg.norm(direction)
    group = [{"tensors": "bias", "residual_axis": 0}]
    for at_most, expected in ((value + 0.01, True), (value, False)):
        (instance,) = bound(setting, decimals(direction), group, at_most=decimal(at_most))
        assert setting.holds(instance, certify) is expected
    wrong: list[tuple[Any, list[dict[str, Any]], dict[str, str], str]] = [
        (direction, [{"tensors": "bias", "residual_axis": 1}], {"at_most": "9"}, "no residual axis"),
        (direction, [{"tensors": "conv", "residual_axis": 1}], {"at_most": "9"}, "no residual axis"),
        (direction, [{"tensors": "out", "residual_axis": 1}], {"at_most": "9"}, "16 components"),
        (direction, [{"tensors": "out", "residual_axis": 0}] * 2, {"at_most": "9"}, "twice"),
        (direction, group, {}, "needs at_most"),
        (np.zeros(16), group, {"at_most": "9"}, "direction is zero"),
    ]
    for values, writers, limits, message in wrong:
        with pytest.raises(PolicyError, match=message):
            bound(setting, decimals(values), writers, **limits)
    with pytest.raises(StatementError, match="below the rounding"):
        bound(setting, decimals(direction), group, at_most="0.0001")


@pytest.mark.parametrize("shape", [(384, 1536), (50_257, 768), (4096, 4096), (8192, 28_672)])
@pytest.mark.parametrize("places", [3, 30])
def test_real_sizes_stay_within_62_bits(shape: tuple[int, int], places: int) -> None:
    manifest = Manifest((TensorEntry("out", shape, "float32", 17, 0),), (), {}, {})
    for axis in (0, 1):
        values = tuple(decimals(np.random.default_rng(6).normal(size=shape[axis]), places))
        group = ({"tensors": "out", "residual_axis": axis},)
        check = {"check": "direction-write-bound", "group": group, "direction": values, "at_most": "5", "at_least": "1"}
        for instance in DirectionWriteBound.model_validate(check).instances(Context(manifest)):
            analyse(instance.graph.nodes)


def test_a_direction_projected_out_of_a_trained_model(shared_data: Path) -> None:
    model = Setting.among([integers_of(shared_data / "stories260k" / "model.safetensors")])
    group = [{"tensors": "model.layers.*.mlp.down_proj.weight", "residual_axis": 0}]
    values = np.random.default_rng(7).normal(size=64)
    r = values / np.linalg.norm(values)
    instances = bound(model, decimals(values, 12), group, at_least="0.3")
    for instance in instances:
        w = model.access.floats(model.context.tensors[instance.label])
        assert model.holds(instance, certify) is bool(np.linalg.norm(r @ w) > 0.31)

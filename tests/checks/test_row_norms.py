"""row-norms against numpy: extremes, the census, and rounding that never turns a false claim into a true one."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Context, Instance
from circuits.checks.row_norms import CensusSpec, RowNorms
from circuits.errors import PolicyError, StatementError
from circuits.intervals import analyse
from circuits.manifest import Manifest, TensorEntry
from prover.certificates.row_norms import certify
from tests.checks.models import Setting, decimal, integers_of


def rows(setting: Setting, **parameters: Any) -> Instance:
    (instance,) = setting.instances(RowNorms(check="row-norms", tensors="w", **parameters))
    return instance


@pytest.fixture
def setting(tmp_path: Path) -> tuple[Setting, np.ndarray[Any, Any]]:
    w = np.random.default_rng(1).normal(size=(37, 23)).astype(np.float32)
    w[5] *= 0.01
    w[11] *= 0.02
    return Setting.of(tmp_path, {"w": w}), w.astype(np.float64)


@pytest.mark.parametrize("axis", [0, 1])
def test_bounds_just_inside_hold_and_just_outside_fail(setting: tuple[Setting, Any], axis: int) -> None:
    model, w = setting
    norms = np.linalg.norm(w, axis=1 - axis)
    margin = 2 * 2.0**-13 * 40**0.5  # twice the rounding of the finest scale: max|w| < 4
    top, bottom = norms.max(), norms.min()
    assert model.holds(rows(model, axis=axis, at_most=decimal(top + margin)), certify)
    assert not model.holds(rows(model, axis=axis, at_most=decimal(top)), certify)
    assert model.holds(rows(model, axis=axis, at_least=decimal(bottom - margin)), certify)
    assert not model.holds(rows(model, axis=axis, at_least=decimal(bottom)), certify)
    measured = certify(rows(model, axis=axis, at_most="100"), model.access)
    assert float(measured.value) == pytest.approx(top, abs=margin)


def test_a_kernel_has_one_row_for_every_output_channel(tmp_path: Path) -> None:
    kernel = np.random.default_rng(2).normal(size=(5, 3, 2, 4)).astype(np.float32)
    model = Setting.of(tmp_path, {"w": kernel})
    for axis, norms in (
        (0, np.linalg.norm(kernel.reshape(5, -1), axis=1)),
        (1, np.linalg.norm(kernel.reshape(-1, 4), axis=0)),
    ):
        assert model.holds(rows(model, axis=axis, at_most=decimal(norms.max() + 0.01)), certify)
        assert not model.holds(rows(model, axis=axis, at_most=decimal(norms.max() - 0.01)), certify)


def test_the_census_counts_short_rows(setting: tuple[Setting, Any]) -> None:
    model, w = setting
    norms = np.sort(np.linalg.norm(w, axis=1))
    tau = decimal((norms[1] + norms[2]) / 2)
    assert model.holds(rows(model, count_below=tau, at_most_rows=2), certify)
    assert not model.holds(rows(model, count_below=tau, at_most_rows=1), certify)
    assert model.holds(rows(model, count_below=tau, at_least_rows=2), certify)
    assert not model.holds(rows(model, count_below=tau, at_least_rows=3), certify)
    instance = rows(model, count_below=tau, disclose=True)
    assert model.disclosed(instance, {}) == {"possibly_below": 2, "certainly_below": 2}


def test_a_row_at_the_threshold_is_counted_on_the_stricter_side(setting: tuple[Setting, Any]) -> None:
    model, w = setting
    tau = decimal(np.sort(np.linalg.norm(w, axis=1))[1])
    instance = rows(model, count_below=tau, at_most_rows=1, at_least_rows=1, disclose=True)
    assert model.disclosed(instance, {}) == {"possibly_below": 2, "certainly_below": 1}
    assert isinstance(instance.spec, CensusSpec)
    assert not model.holds(instance, certify)
    assert certify(instance, model.access).value == "1 .. 2"


@pytest.mark.parametrize("seed", range(12))
def test_rounding_never_helps(tmp_path: Path, seed: int) -> None:
    """Weights whose rounding moves every norm as far as it can towards the claim: what is false stays unproved."""
    rng = np.random.default_rng(seed)
    integers = rng.integers(-32767, 32767, (3, 6)).astype(np.float64)
    integers[0, 0] = 32767
    towards = -1 if seed % 2 else 1  # the copy is shorter or longer than the weights
    w = integers - towards * np.sign(integers) * 0.499
    w[0, 0] = 32767 if towards > 0 else 32767.25
    model = Setting.of(tmp_path, {"w": np.ldexp(w, -10)})
    square = [sum(Fraction(float(x)) ** 2 for x in row) for row in np.ldexp(w, -10)]
    # one unit in the twelfth place beside the exact extreme: the claim is false
    below = Fraction(isqrt(int(max(square) * 10**24)), 10**12)
    above = Fraction(isqrt(int(min(square) * 10**24)) + 1, 10**12)
    assert not model.holds(rows(model, at_most=decimal(below)), certify)
    assert not model.holds(rows(model, at_least=decimal(above)), certify)
    assert not model.holds(rows(model, count_below=decimal(above), at_most_rows=0), certify)
    if below > 0:
        assert not model.holds(rows(model, count_below=decimal(below), at_least_rows=3), certify)


def test_parameters_that_make_no_sense_are_refused(setting: tuple[Setting, Any], tmp_path: Path) -> None:
    model, _ = setting
    for wrong in ({}, {"count_below": "1"}, {"at_most_rows": 3}, {"at_most": "-1"}, {"disclose": True}):
        with pytest.raises(PolicyError):
            rows(model, **wrong)
    with pytest.raises(StatementError, match="below the rounding"):
        rows(model, at_most="0.0001")
    with pytest.raises(StatementError, match="below the rounding"):
        rows(model, count_below="0.0001", disclose=True)
    vector = Setting.of(tmp_path, {"w": np.ones(4, np.float32)})
    with pytest.raises(PolicyError, match="has no rows"):
        rows(vector, at_most="3")


@pytest.mark.parametrize("shape", [(30_522, 384), (50_257, 768), (4096, 4096), (128_256, 8192)])
def test_real_sizes_stay_within_62_bits(shape: tuple[int, int]) -> None:
    manifest = Manifest((TensorEntry("w", shape, "float32", 16, 0),), (), {}, {})
    check = RowNorms(check="row-norms", tensors="w", at_most="5", count_below="1", at_most_rows=9, disclose=True)
    for axis in (0, 1):
        for instance in check.model_copy(update={"axis": axis}).instances(Context(manifest)):
            analyse(instance.graph.nodes)


def test_the_embeddings_of_a_trained_model(shared_data: Path) -> None:
    path = shared_data / "stories260k" / "model.safetensors"
    model = Setting.among([integers_of(path)])
    name = "model.embed_tokens.weight"
    (tensor,) = model.context.select(name)
    norms = np.linalg.norm(model.access.floats(tensor), axis=1)
    tau = decimal(np.sort(norms)[7:9].mean(), 6)
    (instance,) = model.instances(
        RowNorms(check="row-norms", tensors=name, count_below=tau, at_most_rows=8, disclose=True)
    )
    assert model.holds(instance, certify)
    assert model.disclosed(instance, {})["possibly_below"] == int((norms < float(tau)).sum()) == 8

"""The spectral checks on a real trained transformer of 64 columns, against numpy and the figures of the design page."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.checks.models import Array, Setting, decimal
from tests.checks.spectra_support import certify, passes, singular_values, stacked, statement

ATTENTION, DOWN = "model.layers.*.self_attn.o_proj.weight", "model.layers.*.mlp.down_proj.weight"
GROUP = ({"tensors": ATTENTION, "residual_axis": 0}, {"tensors": DOWN, "residual_axis": 0})
LAYERS = range(5)


@pytest.fixture(scope="module")
def clean(shared_data: Path) -> dict[str, Array]:
    path = shared_data / "stories260k" / "model.safetensors"
    if not path.is_file():
        pytest.skip(f"no test data: {path} is not a file")
    return dict(load_file(path))


@pytest.fixture(scope="module")
def setting(clean: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting.of(tmp_path_factory.mktemp("stories"), clean)


def writers(tensors: dict[str, Array], layers: range = LAYERS) -> list[str]:
    names = (pattern.replace("*", str(layer)) for layer in layers for pattern in (ATTENTION, DOWN))
    return [name for name in names if name in tensors]


def lambda_min(tensors: dict[str, Array], layers: range = LAYERS) -> float:
    chosen = [(tensors[name].astype(np.float64), 0) for name in writers(tensors, layers)]
    return float(singular_values(stacked(chosen))[-1] ** 2)


def ablated(tensors: dict[str, Array], strength: float) -> dict[str, Array]:
    direction = np.random.default_rng(0).standard_normal(64)
    direction /= np.linalg.norm(direction)
    changed = {
        name: (tensors[name] - strength * np.outer(direction, direction @ tensors[name])).astype(np.float32)
        for name in writers(tensors)
    }
    return tensors | changed


def test_values(clean: dict[str, Array], setting: Setting) -> None:
    """Every singular value statistic of every writer, at a threshold that holds and at one that does not."""
    for pattern in (ATTENTION, DOWN):
        names = [pattern.replace("*", str(layer)) for layer in LAYERS]
        s = {name: singular_values(clean[name].astype(np.float64)) for name in names}
        rank = {name: float(v @ v / v[0] ** 2) for name, v in s.items()}
        top, bottom = max(v[0] for v in s.values()), min(v[0] for v in s.values())
        for key, inside, outside, value in (
            ("at_most", top * 1.001, bottom * 0.999, {name: v[0] for name, v in s.items()}),
            ("at_least", bottom * 0.99, top * 1.001, {name: v[0] for name, v in s.items()}),
            ("stable-rank", min(rank.values()) * 0.98, max(rank.values()) * 1.001, rank),
        ):
            check, key = ("stable-rank", "at_least") if key == "stable-rank" else ("spectral-norm", key)
            rows = certify(setting, statement(check, tensors=pattern, **{key: decimal(inside, 9)}))
            assert all(row.passed and setting.failures(one, row.advice) == [] for one, row in rows)
            assert {one.label: float(row.value) for one, row in rows} == pytest.approx(value, rel=1e-3)
            rows = certify(setting, statement(check, tensors=pattern, **{key: decimal(outside, 9)}))
            assert not any(row.passed for _, row in rows)


def test_smallest_singular_values(clean: dict[str, Array], setting: Setting) -> None:
    least = min(singular_values(clean[DOWN.replace("*", str(layer))].astype(np.float64))[-1] for layer in LAYERS)
    for at_least, expected in ((least * 0.98, True), (least * 1.001, False)):
        check = statement(
            "smallest-singular-value", tensors=DOWN, at_least=decimal(float(at_least), 9), norm_at_most="3.5"
        )
        assert passes(setting, check) is expected


def test_clean_lambda_min(clean: dict[str, Array], setting: Setting) -> None:
    """0.082, of all layers and, smaller, of windows."""
    assert lambda_min(clean) == pytest.approx(0.082, abs=5e-4)
    for windows in (None, 2):
        value = min(lambda_min(clean, range(i, i + (windows or 5))) for i in range(6 - (windows or 5)))
        more = {} if windows is None else {"windows": {"of_layers": windows}}
        for factor, expected in ((0.9, True), (1.001, False)):
            check = statement(
                "no-ablated-direction", group=GROUP, precision_bits=10, at_least=decimal(value * factor, 9), **more
            )
            assert passes(setting, check) is expected


@pytest.mark.parametrize(("strength", "figure"), [(0.5, 0.032), (1.0, 4e-7), (2.0, 0.082)])
def test_edited_lambda_min(clean: dict[str, Array], tmp_path: Path, strength: float, figure: float) -> None:
    """Half strength, removal stored in bf16, reflection."""
    edited = ablated(clean, strength)
    if strength == 1:
        edited = {name: w.astype(ml_dtypes.bfloat16).astype(np.float32) for name, w in edited.items()}
    assert lambda_min(edited) == pytest.approx(figure, rel=0.05)
    check = statement("no-ablated-direction", group=GROUP, precision_bits=10, at_least="0.04")
    ((_, row),) = certify(Setting.of(tmp_path, edited), check)
    assert float(row.value) == pytest.approx(figure, rel=0.05)
    assert row.passed is (figure > 0.04)

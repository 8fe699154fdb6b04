"""What is certified holds for the float weights, however badly they were rounded.

The copy is always made to look better than the model is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.checks.models import Array, Setting, decimal
from tests.checks.spectra_support import GROUP, Case, bounded, passes, singular_values, stacked

SCALE = 12
EDGE = 0.4999
"""Weights lie this far from the integers that they are rounded to."""
EXACT = 1e-9
"""Far above the error of numpy's decompositions, far below every margin."""


def worse(name: str, w: Array) -> Array:
    """The signs of the gradient of the true value, times -1 where a low value is bad."""
    u, s, v = np.linalg.svd(w, full_matrices=False)
    top, last = np.outer(u[:, 0], v[0]), np.outer(u[:, -1], v[-1])
    match name:
        case "spectral-norm at_most":
            return np.asarray(np.sign(top))
        case "stable-rank":
            # d(F^2 / s^2) = 2 (W - (F^2 / s) u v^T) / s^2
            return np.asarray(-np.sign(w - (s @ s) / s[0] * top))
        case "spectral-norm at_least":
            return np.asarray(-np.sign(top))
    return np.asarray(-np.sign(last))


def rounded_badly(integers: Array, direction: Array) -> Array:
    """Floats that round to these integers at SCALE, displaced by almost half a unit."""
    w = np.ldexp(integers + EDGE * direction, -SCALE)
    assert (np.rint(np.ldexp(w, SCALE)) == integers).all()
    return np.asarray(w)


def sound(case: Case, setting: Setting) -> None:
    """Thresholds around the true value, ever further: none beyond it is certified, and some on the right side are."""
    offsets = [EXACT, 1e-6, 1e-4, 1e-2, 0.05, 0.3]
    for offset in offsets:
        assert not passes(setting, case.make(case.threshold(-offset))), (case.name, offset)
    accepted = [passes(setting, case.make(case.threshold(offset))) for offset in offsets]
    assert accepted == sorted(accepted)
    assert accepted[-1], case


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "name", ["spectral-norm at_most", "spectral-norm at_least", "stable-rank", "smallest-singular-value"]
)
def test_one_matrix(tmp_path: Path, name: str, seed: int) -> None:
    """Small integers, so that rounding matters: singular values move by a per cent and more."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(3, 12)), int(rng.integers(3, 12)))
    most = 400 if name == "stable-rank" else 40
    integers = rng.integers(-most, most + 1, shape).astype(np.float64)
    if name == "smallest-singular-value":
        integers = np.rint(orthogonal(rng, shape) * 120)
    w = rounded_badly(integers, worse(name, integers))
    s, copy = singular_values(w), singular_values(np.ldexp(integers, -SCALE))
    if name == "stable-rank":
        value, looks = float(s @ s / s[0] ** 2), float(copy @ copy / copy[0] ** 2)
        case = Case(name, {"w": w}, bounded(name, "at_least", tensors="w"), value, above=False)
    elif name == "smallest-singular-value":
        value, looks = s[-1], copy[-1]
        make = bounded(name, "at_least", tensors="w", norm_at_most="1")
        case = Case(name, {"w": w}, make, value, above=False)
    else:
        value, looks, key = s[0], copy[0], name.rpartition(" ")[2]
        case = Case(name, {"w": w}, bounded("spectral-norm", key, tensors="w"), value, above=key == "at_most")
    assert (looks < value) == case.above, "the copy looks no better than the model"
    sound(case, Setting.of(tmp_path, {"w": w}, own=SCALE))


def orthogonal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Singular values in [0.6, 1]."""
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    return np.asarray((u * np.linspace(1, 0.6, min(shape))) @ v)


def turned(w: Array, axis: int) -> Array:
    return w if axis == 0 else w.T


@pytest.mark.parametrize("seed", range(5))
def test_writers(tmp_path: Path, seed: int) -> None:
    """Every entry moves against the weakest direction: the copy has more of it than the model."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(30, 40))
    shapes = {"layers.0.o.weight": ((size, size + 4), 0), "layers.0.down.weight": ((3 * size, size), 1)}
    integers = {name: rng.integers(-1000, 1001, shape).astype(np.float64) for name, (shape, _) in shapes.items()}
    copy = stacked([(integers[name], axis) for name, (_, axis) in shapes.items()])
    weakest = np.linalg.svd(copy)[0][:, -1]
    tensors = {}
    for name, (_, axis) in shapes.items():
        w = turned(integers[name], axis)
        part = weakest @ w
        gradient = np.outer(weakest, part) - (part @ part) / (w * w).sum() * w
        tensors[name] = rounded_badly(integers[name], turned(-np.sign(gradient), axis))
    value = singular_values(stacked([(tensors[name], axis) for name, (_, axis) in shapes.items()]))[-1] ** 2
    assert value < singular_values(copy)[-1] ** 2
    make = bounded("no-ablated-direction", "at_least", group=GROUP, precision_bits=10)
    sound(Case("no-ablated-direction", tensors, make, value, above=False), Setting.of(tmp_path, tensors, own=SCALE))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("other", [SCALE, SCALE - 2])
def test_changes(tmp_path: Path, seed: int, other: int) -> None:
    """Model and base move apart along the strongest common direction; the copies show less of it."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(8, 14))
    shapes = {"layers.0.o.weight": ((size, size + 4), 0), "layers.0.down.weight": ((3 * size, size), 1)}
    own, base, differences = {}, {}, {}
    for name, (shape, axis) in shapes.items():
        step = 2.0 ** (SCALE - other)
        base[name] = rng.integers(-900, 901, shape) * step
        common = np.outer(rng.normal(size=size), rng.normal(size=size * shape[0] * shape[1] // size**2))
        own[name] = np.rint(base[name] + turned(40 * common, axis) + 150 * rng.normal(size=shape))
        differences[name] = own[name] - base[name]
    copy = stacked([(differences[name], axis) for name, (_, axis) in shapes.items()])
    top = np.linalg.svd(copy)[0][:, 0]
    for name, (_, axis) in shapes.items():
        d = turned(differences[name], axis)
        part = top @ d
        sign = turned(np.sign(np.outer(top, part) - (part @ part) / (d * d).sum() * d), axis)
        own[name] = rounded_badly(own[name], sign)
        base[name] = np.ldexp(base[name] / 2.0 ** (SCALE - other) - EDGE * sign, -other)
    changes = {name: own[name] - base[name] for name in shapes}
    value = singular_values(stacked([(changes[name], axis) for name, (_, axis) in shapes.items()]))[0] ** 2 / 2
    assert value > singular_values(copy)[0] ** 2 / 2
    setting = Setting.of(tmp_path, own, base, own=SCALE, other=other)
    least = min(float(np.linalg.norm(d)) for d in changes.values())
    parameters = {"group": GROUP, "base": {"commitment": "base"}}
    make = bounded("no-single-direction-edit", "at_most", **parameters, norm_at_least=decimal(least * 0.95, 6))
    sound(Case("no-single-direction-edit", own, make, value, True, base), setting)
    too_close = bounded("no-single-direction-edit", "norm_at_least", **parameters, at_most="0.999")
    assert not passes(setting, too_close(least * (1 + EXACT)))
    assert passes(setting, too_close(least * 0.9))

"""logit-bound against numpy: the bound, hidden states that attain it, and forward passes that never exceed it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Context, Instance
from circuits.checks.logit_bound import LogitBound, ratio_below
from circuits.errors import PolicyError, StatementError
from circuits.intervals import analyse
from circuits.manifest import Manifest, TensorEntry, assign_groups
from prover.certificates.logit_bound import certify, logit_bounds
from tests.checks.models import Array, Setting, decimal, integers_of

NAMES = {"gamma": "norm.weight", "beta": "norm.bias", "bias": "head.bias"}


def logits(setting: Setting, norm: str, at_most: str, *parts: str, **parameters: Any) -> Instance:
    named = {part: NAMES[part] for part in parts}
    check = {"check": "logit-bound", "unembedding": "head.weight", "norm": norm, "at_most": at_most}
    (instance,) = setting.instances(LogitBound.model_validate(check | named | parameters))
    return instance


def model(seed: int, tokens: int = 50, width: int = 24, outlier: float = 1.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    gamma = rng.normal(1.0, 0.2, width)
    gamma[0] *= outlier
    return {
        "head.weight": rng.normal(0.05, 0.3, (tokens, width)).astype(np.float32),
        "norm.weight": gamma.astype(np.float32),
        "norm.bias": rng.normal(0, 0.1, width).astype(np.float32),
        "head.bias": rng.normal(0, 0.5, tokens).astype(np.float32),
    }


def normalised(x: Array, norm: str) -> Array:
    """Rows of hidden states through the normalisation, without its parameters."""
    x = x - x.mean(axis=-1, keepdims=True) if norm == "layernorm" else x
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-12))


def forward(tensors: dict[str, Array], x: Array, norm: str, parts: tuple[str, ...]) -> Array:
    """The logits of hidden states x (rows), in float64."""
    t = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    h = normalised(x, norm)
    h = h * t["norm.weight"] if "gamma" in parts else h
    h = h + t["norm.bias"] if "beta" in parts else h
    z = h @ t["head.weight"].T
    return np.asarray(z + t["head.bias"] if "bias" in parts else z)


def worst_states(tensors: dict[str, Array], norm: str, parts: tuple[str, ...]) -> Array:
    """For every token the hidden states that make its logit as large and as small as it can be."""
    u = tensors["head.weight"].astype(np.float64)
    u = u * tensors["norm.weight"] if "gamma" in parts else u
    u = u - u.mean(axis=1, keepdims=True) if norm == "layernorm" else u
    return np.concatenate([u, -u])


CASES = [(), ("gamma",), ("bias",), ("beta",), ("gamma", "beta"), ("gamma", "beta", "bias")]


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("parts", CASES, ids="-".join)
@pytest.mark.parametrize("outlier", [1.0, 40.0])
def test_just_inside_holds_and_just_outside_fails(
    tmp_path: Path, norm: str, parts: tuple[str, ...], outlier: float
) -> None:
    """The largest logit over all hidden states is attained, so nothing below it may be proved."""
    tensors = model(1, tokens=700, width=96, outlier=outlier)  # large enough for a scale for every tensor
    setting = Setting.of(tmp_path, tensors)
    attained = float(np.abs(forward(tensors, worst_states(tensors, norm, parts), norm, parts)).max())
    instance = logits(setting, norm, decimal(attained * 1.1 + 1), *parts)
    assert float(certify(instance, setting.access).value) == pytest.approx(attained, rel=0.01)
    slack = float(instance.limit) - float(instance.spec.tightened)
    assert slack < 0.1 * attained
    inside = logits(setting, norm, decimal((attained + 2 * slack) * 1.001), *parts)
    assert setting.holds(inside, certify)
    assert not setting.holds(logits(setting, norm, decimal(attained * (1 - 1e-6)), *parts), certify)


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_sampled_hidden_states_never_exceed_the_bound(tmp_path: Path, norm: str) -> None:
    tensors, parts = model(2), CASES[-1]
    setting = Setting.of(tmp_path, tensors)
    bounds = logit_bounds(logits(setting, norm, "99", *parts).spec, setting.access)
    rng = np.random.default_rng(3)
    states = rng.normal(size=(20_000, 24)) * rng.exponential(size=(20_000, 1)) + rng.normal(size=(20_000, 1))
    states[::3] = rng.standard_t(1, size=states[::3].shape)
    worst = np.abs(forward(tensors, states, norm, parts)).max(axis=0)
    assert (worst <= bounds * (1 + 1e-4) + 1e-3).all()
    assert (np.abs(forward(tensors, worst_states(tensors, norm, parts), norm, parts)) <= bounds * 1.001 + 1e-3).all()


def test_an_unembedding_stored_the_other_way(tmp_path: Path) -> None:
    tensors = model(4)
    setting = Setting.of(tmp_path, tensors)
    instance = logits(setting, "layernorm", "99", *CASES[-1])
    turned = Setting.of(tmp_path, tensors | {"head.weight": tensors["head.weight"].T})
    other = logits(turned, "layernorm", "99", *CASES[-1], token_axis=1)
    assert turned.holds(other, certify)
    assert certify(other, turned.access).value == certify(instance, setting.access).value
    with pytest.raises(PolicyError, match="should be a vector of 50"):
        logits(turned, "layernorm", "99", "gamma")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_rounding_never_helps(tmp_path: Path, seed: int, norm: str) -> None:
    """All parameters are rounded so that the bound shrinks; a logit that is attained stays unproved."""
    rng = np.random.default_rng(seed)
    parts = CASES[1 + seed % 5]
    tensors = {
        "head.weight": rng.integers(9000, 32_000, (3, 6)) + 0.49,
        "norm.weight": rng.integers(9000, 32_000, 6) + 0.49,
        "norm.bias": rng.integers(9000, 32_000, 6) + 0.49,
        "head.bias": rng.integers(9000, 32_000, 3) + 0.49,
    }
    tensors = {name: np.ldexp(tensor, -15) for name, tensor in tensors.items()}
    setting = Setting.of(tmp_path, tensors, own=15)
    attained = float(np.abs(forward(tensors, worst_states(tensors, norm, parts), norm, parts)).max())
    assert not setting.holds(logits(setting, norm, decimal(attained * (1 - 1e-9)), *parts), certify)
    assert setting.holds(logits(setting, norm, decimal(attained + 0.01), *parts), certify)


def test_parameters_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, model(5))
    with pytest.raises(StatementError, match="below the rounding"):
        logits(setting, "rmsnorm", "0.0001")
    with pytest.raises(PolicyError, match="positive"):
        logits(setting, "rmsnorm", "0")
    with pytest.raises(PolicyError, match="no matrix"):
        logits(setting, "rmsnorm", "9", unembedding="norm.weight")
    with pytest.raises(PolicyError, match="must name one tensor"):
        logits(setting, "rmsnorm", "9", gamma="norm.*")
    assert not setting.holds(logits(setting, "rmsnorm", "1"), certify)


def test_ratios() -> None:
    for value in (Fraction(1, 3), Fraction(7, 5), Fraction(2) ** 40, Fraction(3, 2**50), Fraction(1, 2**80)):
        a, b = ratio_below(value, 13)
        assert Fraction(a, b) <= value and 0 <= a < 2**13 and 1 <= b <= 2**61
        if 2**-40 < value < 2**12:
            assert Fraction(a, b) > value * (1 - Fraction(1, 2**11))


@pytest.mark.parametrize("shape", [(30_522, 384), (50_257, 768), (151_936, 5120), (128_256, 8192)])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("at_most", ["100", "99999999"])
def test_real_sizes_stay_within_62_bits(shape: tuple[int, int], norm: str, at_most: str) -> None:
    tokens, width = shape
    tensors = [
        TensorEntry("head.bias", (tokens,), "float32", 13, 1),
        TensorEntry("head.weight", shape, "float32", 16, 0),
        TensorEntry("norm.bias", (width,), "float32", 16, 2),
        TensorEntry("norm.weight", (width,), "float32", 14, 3),
    ]
    sizes, scales = [t.entries for t in tensors], [t.scale for t in tensors]
    groups = assign_groups(sizes, scales)
    manifest = Manifest(
        tuple(TensorEntry(t.name, t.shape, t.dtype, t.scale, g) for t, g in zip(tensors, groups, strict=True)),
        (),
        {},
        {},
    )
    check = {"check": "logit-bound", "unembedding": "head.weight", "norm": norm, "at_most": at_most}
    for parts in CASES:
        (instance,) = LogitBound.model_validate(check | {p: NAMES[p] for p in parts}).instances(Context(manifest))
        analyse(instance.graph.nodes)


def test_a_trained_model(shared_data: Path) -> None:
    setting = Setting.among([integers_of(shared_data / "stories260k" / "model.safetensors")])
    named = {"unembedding": "model.embed_tokens.weight", "gamma": "model.norm.weight"}
    instance = logits(setting, "rmsnorm", "1000", **named)
    floats = {name: setting.access.floats(tensor) for name, tensor in setting.context.tensors.items()}
    u = floats["model.embed_tokens.weight"] * floats["model.norm.weight"]
    states = np.random.default_rng(6).normal(size=(5000, 64)) * 3
    sampled = float(np.abs(normalised(states, "rmsnorm") @ u.T).max())
    bound = 8 * float(np.linalg.norm(u, axis=1).max())
    assert sampled < bound
    assert float(certify(instance, setting.access).value) == pytest.approx(bound, rel=1e-5)
    assert setting.holds(logits(setting, "rmsnorm", decimal(bound * 1.005 + 0.05), **named), certify)
    assert not setting.holds(logits(setting, "rmsnorm", decimal(bound * 0.999), **named), certify)

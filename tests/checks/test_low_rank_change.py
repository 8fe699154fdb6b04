"""low-rank-change against numpy.linalg.svd: adapters are recognised, everything else is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from circuits.checks.base import Context, Instance
from circuits.checks.low_rank_change import LowRankChange
from circuits.errors import PolicyError, StatementError
from circuits.intervals import analyse
from circuits.manifest import Manifest, TensorEntry
from prover.certificates.base import Certificate, CertificateError
from prover.certificates.low_rank_change import certify, exact_product, factors
from tests.checks.models import Array, Setting, decimal, integers_of, write


def low_rank(setting: Setting, rank: int, at_most: str, norm: str = "frobenius", name: str = "w") -> Instance:
    parameters = {"check": "low-rank-change", "tensors": name, "base": {"commitment": "base"}}
    check = LowRankChange.model_validate(parameters | {"rank": rank, "at_most": at_most, "norm": norm})
    (instance,) = setting.instances(check)
    return instance


def adapted(seed: int, rank: int, shape: tuple[int, int] = (40, 60), noise: float = 0.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    w0 = rng.normal(size=shape)
    change = 0.1 * rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return w0 + change + noise * rng.normal(size=shape), w0


@pytest.mark.parametrize("norm", ["frobenius", "max"])
@pytest.mark.parametrize("scales", [(12, 12), (12, 10), (9, 12)])
def test_an_adapter_has_its_rank_and_no_less(tmp_path: Path, norm: str, scales: tuple[int, int]) -> None:
    w, w0 = adapted(1, 3)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0}, own=scales[0], other=scales[1])
    rounding = 2.0 ** -(scales[0] + 1) + 2.0 ** -(scales[1] + 1)
    margin = 4 * rounding * (w.size**0.5 if norm == "frobenius" else 1)
    assert setting.holds(low_rank(setting, 3, decimal(margin), norm), certify)
    assert setting.holds(low_rank(setting, 5, decimal(margin), norm), certify)
    assert not setting.holds(low_rank(setting, 2, decimal(margin), norm), certify)


def test_the_residual_is_the_tail_of_the_spectrum(tmp_path: Path) -> None:
    w, w0 = adapted(2, 4, noise=0.05)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0}, own=12, other=12)
    tail = float(np.sqrt((np.linalg.svd(w - w0, compute_uv=False)[4:] ** 2).sum()))
    margin = 2.0**-12 * w.size**0.5
    inside = low_rank(setting, 4, decimal(tail + 2 * margin + 0.005 * tail))
    assert setting.holds(inside, certify)
    assert float(certify(inside, setting.access).value) == pytest.approx(tail, abs=margin)
    assert not setting.holds(low_rank(setting, 4, decimal(tail)), certify)


def test_a_limit_that_only_rounding_misses_is_named_as_such(tmp_path: Path) -> None:
    w, w0 = adapted(3, 2)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0}, own=12, other=12)
    d = setting.access.matrix("w") - setting.access.matrix("w", 1)
    left, right = factors(d.astype(np.float64), 2)
    tail = float(np.linalg.norm(d - left @ right))
    tight = (tail * 1.00001 + w.size**0.5) * 2.0**-12
    with pytest.raises(CertificateError, match="raise at_most"):
        certify(low_rank(setting, 2, decimal(tight)), setting.access)


def test_forged_certificates_are_rejected(tmp_path: Path) -> None:
    w, w0 = adapted(4, 3, noise=0.02)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0}, own=12, other=12)
    for norm, at_most in (("frobenius", "2"), ("max", "0.2")):
        instance = low_rank(setting, 3, at_most, norm)
        advice = dict(certify(instance, setting.access).advice)
        assert setting.failures(instance, advice) == []
        for name in advice:
            wrong = advice[name].copy()
            wrong[0, 0] += 1
            assert setting.refused(instance, Certificate("", True, "", {**advice, name: wrong}))
        # everything into the residual: a true equation, but too large a residual
        nothing = {name: np.zeros_like(part) for name, part in advice.items()}
        nothing["residual"] = (setting.access.matrix("w") - setting.access.matrix("w", 1)) << instance.spec.exponent
        assert setting.refused(low_rank(setting, 3, at_most, norm), Certificate("", True, "", nothing))


@pytest.mark.parametrize("seed", range(8))
def test_rounding_never_helps(tmp_path: Path, seed: int) -> None:
    """Every weight is rounded so that the change shrinks, once to nothing at all: its true residual stays unproved."""
    rng = np.random.default_rng(seed)
    d = rng.integers(-40, 40, (6, 7)) if seed else np.zeros((6, 7), np.int64)
    integers = rng.integers(-500, 500, (6, 7))
    hidden = 0.499 * np.where(d == 0, rng.choice([-1, 1], d.shape), np.sign(d))
    w, w0 = np.ldexp(integers + d + hidden, -10), np.ldexp(integers - hidden, -10)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0}, own=10, other=10)
    tail = float(np.sqrt((np.linalg.svd(w - w0, compute_uv=False)[2:] ** 2).sum()))
    if seed == 0:
        with pytest.raises(StatementError, match="below the rounding"):
            low_rank(setting, 2, decimal(tail))
        return
    instance = low_rank(setting, 2, decimal(tail))
    assert not setting.holds(instance, certify)
    assert setting.holds(low_rank(setting, 2, decimal(2 * tail)), certify)


def test_an_adapter_on_a_trained_model(shared_data: Path, tmp_path: Path) -> None:
    base = integers_of(shared_data / "stories260k" / "model.safetensors")
    name = "model.layers.2.mlp.down_proj.weight"
    tensors: dict[str, Any] = dict(load_file(shared_data / "stories260k" / "model.safetensors"))
    rng = np.random.default_rng(5)
    tensors[name] = (tensors[name] + 0.02 * rng.normal(size=(64, 4)) @ rng.normal(size=(4, 172))).astype(np.float32)
    setting = Setting.among([integers_of(write(tmp_path / "tuned.safetensors", tensors)), base])
    assert setting.holds(low_rank(setting, 4, "0.05", name=name), certify)
    assert not setting.holds(low_rank(setting, 3, "0.05", name=name), certify)


def test_numerics() -> None:
    rng = np.random.default_rng(6)
    left, right = rng.integers(-(2**28), 2**28, (5, 7)), rng.integers(-(2**28), 2**28, (7, 4))
    assert (exact_product(left, right) == left.astype(object) @ right.astype(object)).all()
    matrix = rng.normal(size=(1100, 5)) @ rng.normal(size=(5, 1300))
    u, v = factors(matrix, 5)
    assert np.abs(u @ v - matrix).max() < 1e-9


def test_parameters_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    w, w0 = adapted(7, 2)
    setting = Setting.of(tmp_path, {"w": w}, {"w": w0})
    with pytest.raises(PolicyError, match="rank at most 40"):
        low_rank(setting, 40, "1")
    with pytest.raises(PolicyError, match="positive"):
        low_rank(setting, 2, "0")


@pytest.mark.parametrize("shape", [(30_522, 384), (50_257, 768), (4096, 4096), (128_256, 4096)])
@pytest.mark.parametrize("at_most", ["0.5", "10", "500", "99999999"])
@pytest.mark.parametrize("norm", ["frobenius", "max"])
def test_real_sizes_stay_within_62_bits(shape: tuple[int, int], at_most: str, norm: str) -> None:
    for scales in ((18, 18), (18, 12), (0, 18)):
        own, other = (Manifest((TensorEntry("w", shape, "float32", s, 0),), (), {}, {}) for s in scales)
        parameters = {"check": "low-rank-change", "tensors": "w", "base": {"commitment": "base"}, "norm": norm}
        for rank in (1, 16, 256):
            check = LowRankChange.model_validate(parameters | {"rank": rank, "at_most": at_most})
            try:
                (instance,) = check.instances(Context(own, {"base": other}))
            except StatementError as error:
                assert "below the rounding" in str(error)
                continue
            analyse(instance.graph.nodes)

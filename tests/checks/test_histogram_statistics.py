"""The statistics against numpy and scipy.stats, and every threshold from both sides."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file
from scipy import stats

from circuits.checks.histogram_block import HistogramSpec
from prover.certificates.histogram_statistics import certify, population_counts
from tests.checks.histogram_models import Floats, Model, accepts, only, published, statement
from tests.checks.models import decimal


class Case(NamedTuple):
    """A check with its reference, and how far from the value of the weights a threshold must be to be decided.

    Attributes:
        loss: in terms of the standard deviation in units of 2^-F and the value.
    """

    name: str
    parameters: dict[str, str]
    reference: Callable[[Floats], float]
    loss: Callable[[float, float], float]
    relative: float = 1e-4


def cases(scale: int) -> list[Case]:
    unit = 2.0**-scale
    width = 64 * unit

    def entropy(w: Floats) -> float:
        bins = np.floor((w / unit + 0.5) / 64).astype(np.int64)
        return float(stats.entropy(np.unique(bins, return_counts=True)[1], base=2))

    def far(w: Floats) -> float:
        return float(np.mean(np.abs(w - w.mean()) > 2.5 * w.std()))

    return [
        Case("max-abs", {}, lambda w: float(np.abs(w).max()), lambda sd, v: unit),
        Case("mean", {}, lambda w: float(w.mean()), lambda sd, v: unit),
        Case("variance", {}, lambda w: float(w.var()), lambda sd, v: 2.2 * v / sd),
        Case("skewness", {}, lambda w: float(stats.skew(w)), lambda sd, v: (7 + 3 * abs(v)) / sd, 0.02),
        Case("kurtosis", {}, lambda w: float(stats.kurtosis(w, fisher=False)), lambda sd, v: 7 * v / sd),
        Case(
            "quantile",
            {"level": "0.99"},
            lambda w: float(np.quantile(np.abs(w), 0.99, method="inverted_cdf")),
            lambda sd, v: 1.01 * unit,
        ),
        Case("sparsity", {"tau": "0.05"}, lambda w: float(np.mean(np.abs(w) <= 0.05)), lambda sd, v: 2 / sd),
        Case("outlier-fraction", {"tau": "0.2"}, lambda w: float(np.mean(np.abs(w) > 0.2)), lambda sd, v: 2 / sd),
        Case("outlier-fraction", {"deviations": "2.5"}, far, lambda sd, v: 4 / sd, 0.02),
        Case("entropy", {"bin_width": decimal(width, 40)}, entropy, lambda sd, v: 0.02),
    ]


NUMBER = len(cases(0))
MODELS = {
    "normal": lambda rng: rng.normal(0.001, 0.1, (260, 260)),
    "heavy tails": lambda rng: 0.05 * rng.standard_t(4, (300, 230)),
    "shifted, skewed": lambda rng: 0.07 * rng.gamma(3.0, size=(70, 40)) + 0.01,
    "far from zero": lambda rng: rng.normal(1.0, 0.02, (20, 100)),
}


def check_case(tensor: Floats, number: int) -> None:
    """The measured value is the reference's; thresholds beyond the loss are decided rightly on both sides."""
    model = Model({"w": tensor})
    scale = model.manifest.tensors[0].scale
    case = cases(scale)[number]
    w = tensor.astype(np.float64).reshape(-1)
    value = case.reference(w)
    deviation = float(w.std()) * 2.0**scale
    loss = case.loss(deviation, value)
    instance = only(statement(case.name, **case.parameters, at_most="1" if case.name != "kurtosis" else "3"), model)
    certificate = certify(instance, model.access)
    assert float(certificate.value) == pytest.approx(value, rel=case.relative, abs=loss)
    assert certificate.needed

    def at(side: str, threshold: float) -> bool:
        share = case.name in ("sparsity", "outlier-fraction")
        low = 1 if case.name == "kurtosis" else -np.inf if case.name in ("mean", "skewness") else 0
        clipped = max(low, min(threshold, 1.0 if share else np.inf))
        return accepts(model, case.name, **case.parameters, **{side: decimal(clipped, 15)})

    tiny = 1e-9 + 1e-9 * abs(value)
    assert at("at_most", value + loss + tiny)
    assert at("at_least", value - loss - tiny)
    if value - loss > 0:
        assert not at("at_most", value - tiny)
    if value + loss < 1 or case.name not in ("sparsity", "outlier-fraction"):
        assert not at("at_least", value + tiny)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("number", range(NUMBER))
def test_random_weights(kind: str, number: int) -> None:
    rng = np.random.default_rng([number, len(kind)])
    check_case(MODELS[kind](rng).astype(np.float32), number)


@pytest.mark.parametrize("number", range(NUMBER))
def test_a_real_model(shared_data: Path, number: int) -> None:
    file = shared_data / "stories260k" / "model.safetensors"
    if not file.is_file():
        pytest.skip(f"no such model: {file}")
    tensors = {name: array for name, array in load_file(file).items() if array.dtype == np.float32}
    largest = max(tensors.values(), key=lambda array: array.size)
    check_case(largest, number)


def test_half_precision_weights() -> None:
    weights = np.random.default_rng(5).normal(0, 0.1, (50, 40)).astype(np.float16)
    model = Model({"w": weights})
    value = float(stats.kurtosis(weights.astype(np.float64).reshape(-1), fisher=False))
    assert accepts(model, "kurtosis", at_most=decimal(value * 1.01))
    assert not accepts(model, "kurtosis", at_most=decimal(value))


def disclosure(name: str, weights: Floats, **parameters: Any) -> tuple[dict[str, int], np.ndarray[Any, Any], float]:
    model = Model({"w": weights})
    instance = only(statement(name, disclose=True, **parameters), model)
    assert (instance.comparator, instance.limit) == ("=", "disclosed")
    return published(instance, model), model.integers["w"].reshape(-1), 2.0 ** model.manifest.tensors[0].scale


def test_disclosed_power_sums_are_exact() -> None:
    weights = np.random.default_rng(6).normal(0.03, 0.1, (300, 300)).astype(np.float32)
    values, integers, _ = disclosure("kurtosis", weights)
    base = 30 if weights.size <= 1 << 26 else 0
    for k in range(1, 5):
        limbs = [values[f"power-sum-{k}"]] if f"power-sum-{k}" in values else []
        limbs = limbs or [values[f"power-sum-{k}/limb-{i}"] for i in range(2)]
        assert sum(limb << (base * i) for i, limb in enumerate(limbs)) == sum(int(t) ** k for t in integers)
    assert disclosure("mean", weights)[0] == {"power-sum-1": int(integers.sum())}
    assert disclosure("variance", weights)[0]["power-sum-2"] == int((integers**2).sum())


@pytest.mark.parametrize("level", ["0.0001", "0.5", "0.999", "1"])
def test_a_disclosed_quantile_is_that_of_the_copy(level: str) -> None:
    weights = np.random.default_rng(7).normal(0, 0.1, 2_000).astype(np.float32)
    values, integers, scale = disclosure("quantile", weights, level=level)
    assert values == {"quantile": int(np.sort(np.abs(integers))[ceil(float(level) * integers.size) - 1])}
    reference = float(np.quantile(np.abs(weights), float(level), method="inverted_cdf"))
    assert abs(values["quantile"] - reference * scale) <= 0.5
    if level == "1":
        assert disclosure("max-abs", weights)[0] == {"max-abs": values["quantile"]}


def test_a_disclosed_quantile_of_zeros_is_zero() -> None:
    assert disclosure("quantile", np.zeros(1_000, np.float32), level="0.5")[0] == {"quantile": 0}
    assert disclosure("max-abs", np.zeros(1_000, np.float32))[0] == {"max-abs": 0}


def test_disclosed_counts_enclose_the_real_one() -> None:
    weights = np.random.default_rng(8).normal(0, 0.1, 5_000).astype(np.float32)
    for name, count in (("sparsity", np.abs(weights) <= 0.1), ("outlier-fraction", np.abs(weights) > 0.1)):
        values, _, _ = disclosure(name, weights, tau="0.1")
        assert values["at-least"] <= int(count.sum()) <= values["at-most"] <= values["at-least"] + 5


@pytest.mark.parametrize("number", range(NUMBER))
def test_the_graph_as_onnx_says_the_same(number: int) -> None:
    """The reference evaluator of the onnx package runs the graph on the certificate, true and spoiled."""
    model = Model({"w": np.random.default_rng(number).normal(0.01, 0.1, (40, 50)).astype(np.float32)})
    case = cases(model.manifest.tensors[0].scale)[number]
    limit = "0.9" if "fraction" in case.name or case.name == "sparsity" else "50"
    spec: HistogramSpec = only(statement(case.name, **case.parameters, at_most=limit), model).spec
    counts = population_counts(spec.population, model.access)
    for clear, passed in ((counts, True), (np.roll(counts, 1), False)):
        work = spec.statement.work(spec.population, 1, counts)
        assert work.passed
        proto, ranges = work.g.build()
        onnx.checker.check_model(proto)
        inputs = {f"advice/{name}": array for name, array in work.advice.items()}
        outputs = ReferenceEvaluator(proto).run(None, {"hist/0": clear, **inputs})
        assert ranges.keys() == {"hist/0", *inputs}
        # the centre is that of the true histogram; without one, other counts may satisfy the threshold as well
        if passed or "advice/centre" in inputs:
            assert all(np.all(output) for output in outputs) == passed

"""Which weights a statistic speaks of, what is refused, and statements of every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Context
from circuits.checks.entropy_lines import breakpoints, lines, scaled_above, scaled_below, segments
from circuits.checks.histogram_block import Population
from circuits.errors import PolicyError, StatementError
from circuits.lowering import lower
from circuits.manifest import Manifest, TensorEntry
from prover.certificates.histogram_statistics import certify, population_counts
from tests.checks.histogram_models import CHECKS, Floats, Model, accepts, holds, only, statement
from tests.checks.models import decimal, evaluate

EXTRA: dict[str, dict[str, str]] = {
    "quantile": {"level": "0.999"},
    "sparsity": {"tau": "0.5"},
    "outlier-fraction": {"tau": "0.5"},
    "entropy": {"bin_width": "0.0078125"},
}
SIZES = (1, 2, 999, 65_536, 10**6 + 7, 2**24, 2**27)
LARGEST = 2**31 - 2**20


def random(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def manifest(entries: int, scale: int = 14) -> Manifest:
    return Manifest((TensorEntry("w", (entries,), "float32", scale, 0),), (), {}, {})


def statements(name: str, **parameters: str) -> list[dict[str, Any]]:
    """Parameters of a check: loose, tight and absurd thresholds on both sides."""
    share = name in ("sparsity", "outlier-fraction")
    thresholds = ("0.25", "1") if share else ("1", "3.5", "1000", "9" * 30)
    if name in ("mean", "skewness"):
        thresholds = (*thresholds, "0", "-0.5", "-" + "9" * 30)
    return [{**parameters, side: threshold} for side in ("at_most", "at_least") for threshold in thresholds]


@pytest.mark.parametrize("entries", [*SIZES, LARGEST])
@pytest.mark.parametrize("name", CHECKS)
def test_every_size_fits_the_intervals(name: str, entries: int) -> None:
    """No interval is refused; what the public bounds decide may be."""
    context = Context(manifest(entries))
    cases = statements(name, **EXTRA.get(name, {}))
    if name == "outlier-fraction":
        cases += [one for k in ("0.5", "6", "1000") for one in statements(name, deviations=k)]
    for parameters in cases:
        for instance in statement(name, **parameters).instances(context):
            try:
                lower([instance.graph])
            except StatementError as error:
                assert "can never be proved" in str(error)
    if entries >= 1_000 and name != "entropy":
        lower([i.graph for i in statement(name, **EXTRA.get(name, {}), disclose=True).instances(context)])


SHAPES = {"bell": (1 / 3, 1 / 3), "ends": (0.5, 0.5), "one end": (0.21, 0.79), "nearly constant": (1e-6, 1 - 2e-6)}
LIMITS = {
    "kurtosis": {"at_most": "2000000", "at_least": "1"},
    "skewness": {"at_most": "20", "at_least": "-2000"},
    "variance": {"at_most": "5", "at_least": "0.000001"},
    "outlier-fraction": {"at_most": "0.7", "at_least": "0"},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LIMITS)
def test_a_hundred_million_weights_over_the_whole_range(name: str, shape: str) -> None:
    """As a histogram: certified if numpy says so, and the graph agrees."""
    counts = np.zeros(65_536, np.int64)
    counts[[0, 65_535]] = np.rint(2**27 * np.array(SHAPES[shape])).astype(np.int64)
    rest = 2**27 - int(counts.sum())
    density = np.exp(-(((np.arange(65_536) - 33_000) / 9_000) ** 2))
    counts += np.random.default_rng(3).multinomial(rest, density / density.sum())
    value = {"variance": 0.0, "kurtosis": kurtosis(counts)}.get(name, 1.0)
    context = Context(manifest(int(counts.sum())))
    extra = {"deviations": "1.5"} if name == "outlier-fraction" else {}
    for side, limit in LIMITS[name].items():
        (instance,) = statement(name, **extra, **{side: limit}).instances(context)
        work = instance.spec.statement.work(instance.spec.population, 1, counts)
        # a kurtosis of 1 is the least there is
        assert work.passed != (name == "kurtosis" and side == "at_least" and value < 1.01)
        if work.passed:
            assert evaluate(instance, Counts(counts), work.advice)[0] == []  # type: ignore[arg-type]


def kurtosis(counts: np.ndarray[Any, Any]) -> float:
    values, share = np.arange(65_536) - 32_768.0, counts / counts.sum()
    centred = values - np.dot(share, values)
    return float(np.dot(share, centred**4) / np.dot(share, centred**2) ** 2)


class Counts:
    """Stands for an owner whose model is too large for a test: one histogram."""

    def __init__(self, counts: np.ndarray[Any, Any]) -> None:
        self.counts = counts

    def histogram(self, group: int, commitment: int = 0) -> np.ndarray[Any, Any]:
        return self.counts


MIXED = {
    "a.big": random(1, 300, 300),
    "b.small": random(2, 40, 30),
    "b.tiny": random(3, 50),
    "c.other": random(4, 20, 20) * 100,
}


def test_whole_groups_are_read_and_others_are_counted_afresh() -> None:
    model = Model(MIXED, {"a.big": 14, "b.small": 14, "b.tiny": 14})
    groups = {tensor.name: tensor.group for tensor in model.manifest.tensors}
    assert groups["b.small"] == groups["b.tiny"] != groups["c.other"]

    def inputs(**parameters: str) -> list[set[str]]:
        found = statement("mean", at_most="0.01", **parameters).instances(model.context)
        return [{node.name for node in instance.graph.nodes if node.name} for instance in found]

    assert inputs(tensors="a.big") == [{"hist/0"}]
    assert inputs(tensors="b.*", over="together") == [{f"hist/{groups['b.small']}"}]
    assert inputs(tensors="b.*") == [{"w/b.small"}, {"w/b.tiny"}]
    assert inputs(tensors="c.other") == [{f"hist/{groups['c.other']}"}]


@pytest.mark.parametrize("name", CHECKS)
def test_fresh_histograms_give_the_same_statistic(name: str) -> None:
    model = Model(MIXED, {"a.big": 14, "b.small": 14, "b.tiny": 14})
    alone = Model({"b.small": MIXED["b.small"]}, 14)
    limit = "1" if name in ("sparsity", "outlier-fraction") else "50"
    fresh = only(statement(name, tensors="b.small", **EXTRA.get(name, {}), at_most=limit), model)
    own = only(statement(name, tensors="b.small", **EXTRA.get(name, {}), at_most=limit), alone)
    assert holds(fresh, model) and holds(own, alone)
    assert certify(fresh, model.access).value == certify(own, alone.access).value


def test_outliers_are_not_hidden_by_other_tensors() -> None:
    """One outlier of a small tensor in a large set."""
    weights = random(9, 20, 20)
    weights[3, 3] = 1.5
    model = Model({**MIXED, "b.small": weights}, {"a.big": 14, "b.small": 14, "b.tiny": 14})
    assert accepts(model, "kurtosis", tensors="a.big", at_most="4")
    assert not accepts(model, "kurtosis", tensors="b.small", at_most="4")


def test_several_fresh_histograms_are_added() -> None:
    tensors = {f"t.{i}": random(i, 30, 30 + i) for i in range(4)} | {"u.rest": random(99, 70)}
    model = Model(tensors, dict.fromkeys(tensors, 14))
    instance = only(statement("variance", tensors="t.*", over="together", at_most="0.011"), model)
    assert sum(node.op == "histogram" for node in instance.graph.nodes) == 4
    assert holds(instance, model)
    population: Population = instance.spec.population
    assert int(population_counts(population, model.access).sum()) == population.entries == 30 * (30 + 31 + 32 + 33)


def test_scales_cannot_be_mixed() -> None:
    model = Model(MIXED)
    with pytest.raises(StatementError, match="use over: each"):
        statement("kurtosis", at_most="4", over="together").instances(model.context)
    assert len(statement("kurtosis", at_most="4").instances(model.context)) == len(MIXED)


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {"entropy"}))
def test_small_populations_are_not_published(name: str) -> None:
    model = Model({"w": random(1, 999)})
    check = statement(name, **EXTRA.get(name, {}), disclose=True)
    with pytest.raises(PolicyError, match="at least 1000"):
        check.instances(model.context)
    assert len(check.instances(Model({"w": random(1, 1_000)}).context)) == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("kurtosis", {}, "needs at_most"),
    ("kurtosis", {"at_most": "0.5"}, "at least 1"),
    ("mean", {"at_most": "0.1", "at_least": "0.2"}, "above at_most"),
    ("max-abs", {"at_most": "-1"}, "negative"),
    ("variance", {"at_least": "0"}, "says nothing"),
    ("quantile", {"level": "0", "at_most": "1"}, "level"),
    ("quantile", {"level": "1.1", "at_most": "1"}, "level"),
    ("sparsity", {"tau": "0.1", "at_least": "1.5"}, "share"),
    ("sparsity", {"tau": "0", "at_least": "0.5"}, "positive"),
    ("outlier-fraction", {"at_most": "0.1"}, "either"),
    ("outlier-fraction", {"tau": "1", "deviations": "3", "at_most": "0.1"}, "either"),
    ("outlier-fraction", {"deviations": "3", "disclose": True}, "tau only"),
    ("outlier-fraction", {"deviations": "1001", "at_most": "0.1"}, "up to 1000"),
    ("entropy", {"bin_width": "0.3", "at_most": "3"}, "power of two"),
    ("entropy", {"bin_width": "1", "disclose": True}, "cannot be disclosed"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), BAD)
def test_bad_parameters(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        statement(name, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("max-abs", {"at_most": "0.00001"}),
        ("quantile", {"level": "0.5", "at_most": "0.00001"}),
        ("variance", {"at_most": "0.0000000001"}),
        ("sparsity", {"tau": "0.00001", "at_least": "0.1"}),
        ("entropy", {"bin_width": decimal(2.0**-12), "at_most": "3"}),
    ],
)
def test_thresholds_below_the_rounding(name: str, parameters: dict[str, str]) -> None:
    with pytest.raises(StatementError, match="below"):
        statement(name, **parameters).instances(Context(manifest(10_000)))


@pytest.mark.parametrize("name", CHECKS)
def test_what_every_check_says_of_itself(name: str) -> None:
    check = CHECKS[name]
    assert check.strength == "exact" and check.version == 1
    assert check.does_not_mean.endswith(".")


@pytest.mark.parametrize("log", [0, 4, 12, 20])
def test_lines_around_n_log_n(log: int) -> None:
    entries = 5_000
    chords, below = segments(entries, log), lines(entries, log)
    assert breakpoints(entries)[-1] >= entries
    for count in range(entries + 1):
        low, high = scaled_below(count, log), scaled_above(count, log)
        exact = count * np.log2(max(count, 1)) * 2.0**log
        assert low <= exact * (1 + 1e-12) and exact * (1 - 1e-12) <= high <= low + 1
        assert np.all(below.slope * count - below.drop <= low)
        i = int(np.searchsorted(chords.start, count, side="right")) - 1
        rest = count - int(chords.start[i])
        assert 0 <= rest <= chords.width[i]
        assert int(chords.value[i]) + rest * int(chords.slope[i]) >= high

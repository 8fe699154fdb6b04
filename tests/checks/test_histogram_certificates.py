"""Certificates of the prover's choice: none makes a false statement true, and what must be exact is exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from circuits.checks.base import Instance
from circuits.checks.histogram_block import HistogramSpec
from prover.certificates.base import Integers
from prover.certificates.histogram_statistics import certify, population_counts
from tests.checks.histogram_models import Model, only, refused, statement

WEIGHTS = np.random.default_rng(1).gamma(4.0, size=3_000) * 0.02 - 0.05
MODEL = Model({"w": WEIGHTS.astype(np.float32)})


def attempt(instance: Instance) -> Mapping[str, Integers]:
    """The advice that the certifier would give, whether it suffices or not."""
    spec: HistogramSpec = instance.spec
    return spec.statement.work(spec.population, 1, population_counts(spec.population, MODEL.access)).advice


def instance(name: str, **parameters: Any) -> Instance:
    return only(statement(name, **parameters), MODEL)


FALSE = {
    "variance-upper": instance("variance", at_most="0.00145"),
    "variance-lower": instance("variance", at_least="0.0018"),
    "skewness-upper": instance("skewness", at_most="0.8"),
    "skewness-negative": instance("skewness", at_most="-0.5"),
    "skewness-lower": instance("skewness", at_least="1.2"),
    "kurtosis-upper": instance("kurtosis", at_most="3.5"),
    "kurtosis-lower": instance("kurtosis", at_least="6"),
    "deviations-upper": instance("outlier-fraction", deviations="2", at_most="0.03"),
    "deviations-lower": instance("outlier-fraction", deviations="2", at_least="0.06"),
    "entropy-upper": instance("entropy", bin_width="0.0078125", at_most="4"),
    "entropy-lower": instance("entropy", bin_width="0.0078125", at_least="5"),
}


@pytest.mark.parametrize("name", FALSE)
def test_no_small_change_rescues_a_false_statement(name: str) -> None:
    """One to three of the prover's numbers are moved, a little or far, within their ranges."""
    false = FALSE[name]
    assert not certify(false, MODEL.access).passed
    honest = attempt(false)
    ranges = {
        node.name.removeprefix("advice/"): node.numbers for node in false.graph.nodes if node.name.startswith("advice/")
    }
    assert refused(false, MODEL, honest)
    rng = np.random.default_rng(len(name))
    for _ in range(25):
        changed = {key: array.copy() for key, array in honest.items()}
        for key in rng.choice(list(changed), size=min(len(changed), int(rng.integers(1, 4))), replace=False):
            low, high = ranges[key]
            cell = tuple(int(rng.integers(0, size)) for size in changed[key].shape)
            step = int(rng.choice([-1000, -2, -1, 1, 2, 1000]))
            changed[key][cell] = min(high, max(low, int(changed[key][cell]) + step))
        if any(np.any(changed[key] != honest[key]) for key in honest):
            assert refused(false, MODEL, changed)


EXACT = {
    "kurtosis": ("centre", "offset", "square", "carry/1/low", "carry/1/high"),
    "skewness": ("centre", "offset", "square"),
    "variance": ("centre", "offset"),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("step", [-1, 1])
def test_numbers_that_are_determined(name: str, step: int) -> None:
    true = instance(name, at_most="100")
    certificate = certify(true, MODEL.access)
    assert certificate.passed
    for key in EXACT[name]:
        assert refused(true, MODEL, {**certificate.advice, key: certificate.advice[key] + step}), key


def test_another_centre_with_its_offset_is_too_far() -> None:
    true = instance("variance", at_most="100")
    advice = certify(true, MODEL.access).advice
    for step in (-1, 1):
        moved = {"centre": advice["centre"] + step, "offset": advice["offset"] - step * 3_000}
        assert refused(true, MODEL, {**advice, **moved})


def test_roots_and_lines_are_bounded_on_the_side_that_matters() -> None:
    upper, lower = instance("kurtosis", at_most="100"), instance("kurtosis", at_least="1.5")
    for true, stronger in ((upper, 2), (lower, -2)):
        advice = certify(true, MODEL.access).advice
        for key in ("root", "line", "half-square"):
            assert refused(true, MODEL, {**advice, key: advice[key] + stronger}), key


def test_an_interval_is_one_run_with_the_ends_that_are_named() -> None:
    true = instance("outlier-fraction", deviations="2", at_most="0.2")
    advice = certify(true, MODEL.access).advice
    run, low, high = advice["run"], int(advice["low"]), int(advice["high"])
    first, last = low + 32_768, high + 32_768
    hole, far, longer = run.copy(), run.copy(), run.copy()
    hole[(first + last) // 2] = 0
    far[last + 100] = 1
    longer[last + 1] = 1
    shifted = np.roll(run, 1)
    for bits in (hole, far, longer, shifted, np.zeros_like(run), np.ones_like(run)):
        assert refused(true, MODEL, {**advice, "run": bits})
    # a longer interval is not inside the radius
    assert refused(true, MODEL, {**advice, "run": longer, "high": advice["high"] + 1})
    # two cells swapped for two others of the same number and sum
    moved = run.copy()
    moved[[first, last]] = 0
    moved[[first - 1, last + 1]] = 1
    assert refused(true, MODEL, {**advice, "run": moved})


def test_a_disclosed_quantile_is_determined() -> None:
    for disclosed in (instance("quantile", level="0.9", disclose=True), instance("max-abs", disclose=True)):
        name = disclosed.graph.disclosed[0][0]
        steps = certify(disclosed, MODEL.access).advice[name]
        size = int(steps.sum())
        occupied = np.unique(np.abs(MODEL.integers["w"]))
        below = int(occupied[np.searchsorted(occupied, size) - 1])
        up, down, gap = steps.copy(), steps.copy(), steps.copy()
        up[size] = 1
        down[below:] = 0
        gap[size - 1], gap[size] = 0, 1
        for bits in (up, down, gap, np.zeros_like(steps), np.ones_like(steps)):
            assert refused(disclosed, MODEL, {name: bits})


def test_a_bin_has_one_segment_that_holds_it() -> None:
    true = instance("entropy", bin_width="0.0078125", at_least="3")
    advice = certify(true, MODEL.access).advice
    row = int(np.argmax(advice["choice"][:, 3:].sum(axis=1)))
    own = int(np.argmax(advice["choice"][row]))
    for column in (own - 1, own + 1):
        choice = advice["choice"].copy()
        choice[row, column] = 1
        assert refused(true, MODEL, {**advice, "choice": choice})
        choice[row, own] = 0
        assert refused(true, MODEL, {**advice, "choice": choice})
    rest = advice["rest"].copy()
    rest[row] += 1
    assert refused(true, MODEL, {**advice, "rest": rest})

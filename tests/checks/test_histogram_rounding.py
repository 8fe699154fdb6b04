"""Whenever a statement is accepted, the float weights have the property, however the rounding fell.

The integers are small, so that rounding is large beside them. Every vector of rounding errors at the ends of
[-1/2, 1/2] is tried, and others at random: a threshold just on the false side of any real value must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from circuits.errors import PolicyError, StatementError
from prover.certificates.histogram_statistics import certify
from tests.checks.histogram_models import Model, accepts, only, statement
from tests.checks.models import decimal

Floats = npt.NDArray[np.float64]
SCALE = 4
EDGE = 0.499_999
SIGNS = np.array(list(product((-EDGE, EDGE), repeat=9)))
TINY = 1e-7

POPULATIONS: list[list[int]] = [
    [3, -5, 8, 20, -17, 2, 0, 1, -2],
    [-40, -41, -39, -40, -40, 60, -40, -42, -38],
    [100, 100, 101, 99, 130, 100, 102, 98, 70],
    [0, 0, 0, 0, 0, 0, 0, 0, 50],
    [7, 7, 7, 7, 7, 7, 7, 7, 7],
    [1000, -1000, 1000, -1000, 3, -3, 1000, -1000, 0],
    [32767, -32767, 32767, 32767, 32767, 32767, 32767, 32767, 32766],
]


def moment(x: Floats, k: int) -> Floats:
    return np.asarray(np.mean((x - x.mean(axis=-1, keepdims=True)) ** k, axis=-1))


def skewness(x: Floats) -> Floats:
    return np.asarray(moment(x, 3) / moment(x, 2) ** 1.5)


def kurtosis(x: Floats) -> Floats:
    return np.asarray(moment(x, 4) / moment(x, 2) ** 2)


def quantile(x: Floats) -> Floats:
    return np.asarray(np.quantile(np.abs(x), 0.625, axis=-1, method="inverted_cdf"))


def far(x: Floats) -> Floats:
    deviation = np.sqrt(moment(x, 2))[..., None]
    return np.asarray(np.mean(np.abs(x - x.mean(axis=-1, keepdims=True)) > 1.5 * deviation, axis=-1))


Statistic = tuple[str, dict[str, str], Callable[[Floats], Floats]]
STATISTICS: dict[str, Statistic] = {
    "max-abs": ("max-abs", {}, lambda x: np.asarray(np.abs(x).max(axis=-1))),
    "mean": ("mean", {}, lambda x: np.asarray(x.mean(axis=-1))),
    "variance": ("variance", {}, lambda x: moment(x, 2)),
    "skewness": ("skewness", {}, skewness),
    "kurtosis": ("kurtosis", {}, kurtosis),
    "quantile": ("quantile", {"level": "0.625"}, quantile),
    # 2.5 and 40 units
    "sparsity": ("sparsity", {"tau": "0.15625"}, lambda x: np.asarray(np.mean(np.abs(x) <= 2.5 / 16, axis=-1))),
    "outliers": ("outlier-fraction", {"tau": "2.5"}, lambda x: np.asarray(np.mean(np.abs(x) > 2.5, axis=-1))),
    "deviations": ("outlier-fraction", {"deviations": "1.5"}, far),
}


def certified(model: Model, statistic: Statistic, side: str, threshold: float) -> bool:
    """Is there a certificate at this threshold?"""
    name, parameters, _ = statistic
    try:
        instance = only(statement(name, **parameters, **{side: decimal(threshold)}), model)
    except (StatementError, PolicyError):
        return False
    return certify(instance, model.access).passed


def check_roundings(model: Model, statistic: Statistic, x: Floats) -> None:
    """No threshold is accepted that some row of `x`, weights in units of 2^-F, violates."""
    with np.errstate(invalid="ignore"):
        real = statistic[2](x / 2**SCALE)
    # constant rows have no skewness and no kurtosis
    assert not certified(model, statistic, "at_most", float(np.nanmax(real)) - TINY)
    assert not certified(model, statistic, "at_least", float(np.nanmin(real)) + TINY)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("integers", POPULATIONS, ids=str)
def test_all_roundings_of_small_populations(statistic: str, integers: list[int]) -> None:
    t = np.array(integers, np.float64)
    model = Model({"w": t / 2**SCALE}, SCALE)
    assert model.integers["w"].tolist() == integers
    inside = np.random.default_rng(len(integers)).uniform(-EDGE, EDGE, (500, t.size))
    check_roundings(model, STATISTICS[statistic], t + np.concatenate([SIGNS, inside]))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("seed", range(4))
def test_roundings_of_random_populations(statistic: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(statistic)])
    for spread in (2, 5, 20, 300):
        size = int(rng.integers(2, 60))
        t = np.rint(rng.standard_t(2, size) * spread + rng.integers(-9, 9)).clip(-32_767, 32_767)
        model = Model({"w": t / 2**SCALE}, SCALE)
        errors = rng.choice([-EDGE, EDGE], (2_000, size)) * rng.choice([1.0, 1.0, 0.3], (2_000, 1))
        # away from and towards the mean or 0, and the tails against the rest: the worst for the moments
        centred = t - t.mean()
        tails = np.sign(centred**2 - np.mean(centred**2))
        worst = EDGE * np.array([np.sign(centred), tails, np.sign(t), tails * np.sign(centred)])
        check_roundings(model, STATISTICS[statistic], t + np.concatenate([errors, worst, -worst]))


@pytest.mark.parametrize("statistic", ["max-abs", "mean", "quantile"])
@pytest.mark.parametrize("integers", POPULATIONS, ids=str)
def test_some_margins_are_the_rounding_and_no_more(statistic: str, integers: list[int]) -> None:
    t = np.array(integers, np.float64)
    model = Model({"w": t / 2**SCALE}, SCALE)
    name, parameters, reference = STATISTICS[statistic]
    real = reference((t + SIGNS) / 2**SCALE)
    assert accepts(model, name, **parameters, at_most=decimal(float(real.max()) + TINY * 10))
    if real.min() > 0.1 or statistic == "mean":
        assert accepts(model, name, **parameters, at_least=decimal(float(real.min()) - TINY * 10))


def entropy(x: Floats, width: int) -> float:
    """In bits, of x in units, edges half a unit below the multiples of `width`."""
    counts = np.unique(np.floor((x + 0.5) / width), return_counts=True)[1]
    share = counts / counts.sum()
    return float(-np.sum(share * np.log2(share)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 2, 30, 3_000])
def test_entropy_of_the_weights_is_that_of_the_copy(size: int, seed: int) -> None:
    rng = np.random.default_rng([size, seed])
    t = np.rint(rng.normal(0, 200, size))
    value = entropy(t, 16)
    for _ in range(20):
        assert entropy(t + rng.uniform(-EDGE, EDGE, t.size), 16) == value
    # a weight on an edge is a tie, which goes to the even integer above the edge
    edge = np.where(t % 16 == 0, t - 0.5, t)
    assert np.rint(edge).tolist() == t.tolist() and entropy(edge, 16) == value
    model = Model({"w": t / 2**SCALE}, SCALE)
    assert not accepts(model, "entropy", bin_width="1", at_least=decimal(value + TINY))
    if value > 0.02:
        assert not accepts(model, "entropy", bin_width="1", at_most=decimal(value - TINY))
        assert accepts(model, "entropy", bin_width="1", at_least=decimal(value - 0.02))
    assert accepts(model, "entropy", bin_width="1", at_most=decimal(value + 0.02))


@pytest.mark.parametrize("side", ["at_most", "at_least"])
@pytest.mark.parametrize("name", ["kurtosis", "skewness"])
def test_a_constant_population_has_no_shape(name: str, side: str) -> None:
    model = Model({"w": np.full(50, 3.0)}, SCALE)
    assert not accepts(model, name, **{side: "1" if side == "at_least" else "40"})

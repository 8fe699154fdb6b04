"""Disclosed integers in real units: the exact statistic of the copy, and a bracket that the float weights lie in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
import scipy.stats

from circuits.checks.base import Check
from circuits.checks.disclosed import Disclosure, decimal_text
from circuits.checks.histogram_block import HistogramSpec
from circuits.disclosures import disclosing, read_disclosures
from circuits.errors import FormatError
from circuits.policy import AnyCheck, Policy
from tests.checks.histogram_models import Floats, Model, only, published, statement

REFERENCES = {
    "mean": np.mean,
    "variance": np.var,
    "skewness": scipy.stats.skew,
    "kurtosis": lambda weights: scipy.stats.kurtosis(weights, fisher=False),
}


def model_of(*tensors: Floats) -> Model:
    return Model({f"w{number}": weights for number, weights in enumerate(tensors)})


def policy_of(*checks: dict[str, Any]) -> Policy:
    return Policy.model_validate({"policy": "weightproof/policy/v1", "name": "p", "checks": checks}, strict=False)


def disclosed(model: Model, *checks: dict[str, Any]) -> list[Disclosure]:
    """What an honest prover's integers are read as."""
    policy = policy_of(*checks)
    instances = disclosing(policy, model.context)
    integers = [value for _, instance in instances for value in published(instance, model).values()]
    return read_disclosures(policy, instances, integers)


def within(one: Disclosure, value: float) -> bool:
    """Is the float statistic inside the bracket? Room for the reference's own rounding."""
    room = 1e-9 * (1 + abs(value))
    return (one.low is None or float(one.low) - room <= value) and (one.high is None or value <= float(one.high) + room)


@pytest.mark.parametrize("scale", [None, 9, 4])
def test_disclosed_moments_enclose_those_of_the_real_weights(scale: int | None) -> None:
    random = np.random.default_rng(21)
    weights = (random.gamma(2.0, 0.2, 4_000) - 0.3).astype(np.float32)
    model = Model({"w": weights}, scale)
    check = {"check": "kurtosis", "tensors": "*", "disclose": True}
    found = disclosed(model, check)
    assert [one.metric for one in found] == ["kurtosis", "skewness", "variance", "mean"]
    copy = model.integers["w"].reshape(-1) / 2.0 ** model.manifest.tensors[0].scale
    for one in found:
        assert one.value is not None and one.label == "w"
        assert float(one.value) == pytest.approx(float(REFERENCES[one.metric](copy)), rel=1e-9)
        assert within(one, float(REFERENCES[one.metric](weights.astype(np.float64)))), one
        assert within(one, float(one.value))
        if scale is None:
            assert one.low is not None and one.high is not None
            assert one.high - one.low < Fraction(1, 100)


@pytest.mark.parametrize(("check", "count"), [("mean", 1), ("variance", 2), ("skewness", 3)])
def test_lower_moments_follow_from_what_is_published(check: str, count: int) -> None:
    model = model_of(np.random.default_rng(22).normal(0.5, 0.1, 2_000).astype(np.float32))
    found = disclosed(model, {"check": check, "tensors": "*", "disclose": True})
    assert (len(found), found[0].metric, found[-1].metric) == (count, check, "mean")


def test_disclosed_orders_and_shares_enclose_those_of_the_real_weights() -> None:
    weights = np.random.default_rng(23).normal(0, 0.1, 3_000).astype(np.float32)
    checks = [
        {"check": "max-abs", "tensors": "*", "disclose": True},
        {"check": "quantile", "tensors": "*", "level": "0.9", "disclose": True},
        {"check": "sparsity", "tensors": "*", "tau": "0.05", "disclose": True},
        {"check": "outlier-fraction", "tensors": "*", "tau": "0.2", "disclose": True},
    ]
    magnitudes = np.abs(weights.astype(np.float64))
    expected = [
        magnitudes.max(),
        np.quantile(magnitudes, 0.9, method="inverted_cdf"),
        np.mean(magnitudes <= 0.05),
        np.mean(magnitudes > 0.2),
    ]
    found = disclosed(model_of(weights), *checks)
    assert [one.name for one in found] == [
        "max-abs",
        "quantile (level 0.9)",
        "sparsity (tau 0.05)",
        "outlier-fraction (tau 0.2)",
    ]
    assert all(within(one, float(value)) for one, value in zip(found, expected, strict=True))


def test_only_checks_that_disclose_are_read_and_each_keeps_its_tensor() -> None:
    model = model_of(*(np.random.default_rng(k).normal(0, 0.1 * k, (40, 30)).astype(np.float32) for k in (1, 2)))
    found = disclosed(
        model,
        {"check": "max-abs", "tensors": "*", "at_most": "9"},
        {"check": "mean", "tensors": "*", "at_most": "1", "at_least": "-1", "disclose": True},
        {"check": "frobenius-norm", "tensors": "*", "at_most": "900"},
    )
    assert [(one.metric, one.label) for one in found] == [("mean", "w0"), ("mean", "w1")]
    copies = [float(np.mean(model.integers[f"w{k}"])) / 2.0 ** model.manifest.tensors[0].scale for k in (0, 1)]
    assert [float(one.value or 0) for one in found] == pytest.approx(copies, rel=1e-12)


def test_equal_weights_have_a_variance_and_no_kurtosis() -> None:
    found = disclosed(
        model_of(np.full(1_000, 0.5, np.float32)), {"check": "kurtosis", "tensors": "*", "disclose": True}
    )
    assert [one.value for one in found] == [None, None, 0, Fraction(1, 2)]
    assert found[0].sentence == "disclosed: kurtosis of w0 is at least 1"
    assert found[1].sentence == "disclosed: skewness of w0 is not bounded"


def test_what_no_weights_give_is_refused() -> None:
    model = model_of(np.random.default_rng(24).normal(0, 0.1, 2_000).astype(np.float32))
    for name, values in (
        ("variance", {"power-sum-1": 2_000, "power-sum-2": 5}),
        ("max-abs", {"max-abs": 40_000}),
        ("max-abs", {"max-abs": -1}),
        ("sparsity", {"at-least": 7, "at-most": 6}),
        ("sparsity", {"at-least": 7, "at-most": 2_001}),
    ):
        parameters = {"tau": "0.1"} if name == "sparsity" else {}
        check = statement(name, disclose=True, **parameters)
        spec: HistogramSpec = only(check, model).spec
        with pytest.raises(FormatError, match="belong to no weights"):
            check.read_integers(spec.population, values)


def test_too_few_and_too_many_integers_are_refused() -> None:
    model = model_of(np.random.default_rng(25).normal(0, 0.1, 2_000).astype(np.float32))
    policy = policy_of({"check": "mean", "tensors": "*", "disclose": True})
    instances = disclosing(policy, model.context)
    for integers in ((), (1, 2)):
        with pytest.raises(FormatError, match="the policy asks for"):
            read_disclosures(policy, instances, integers)


def test_every_check_with_a_disclose_parameter_is_read() -> None:
    kinds = [kind for kind in get_args(get_args(AnyCheck)[0]) if "disclose" in kind.model_fields]
    assert kinds
    for kind in kinds:
        assert kind.discloses is not Check.discloses and kind.read is not Check.read, kind


@pytest.mark.parametrize(
    ("value", "side", "text"),
    [
        (Fraction(0), 0, "0"),
        (Fraction(1, 3), 0, "0.333333"),
        (Fraction(1, 3), 1, "0.333334"),
        (Fraction(-1, 3), -1, "-0.333334"),
        (Fraction(5, 2), 0, "2.5"),
        (Fraction(1200), 0, "1200"),
        (Fraction(1234567), -1, "1234560"),
        (Fraction(1, 10**9), 0, "1e-9"),
        (Fraction(7, 10**7), 0, "0.0000007"),
        (Fraction(15 * 10**39), 0, "1.5e40"),
    ],
)
def test_rationals_as_decimals(value: Fraction, side: int, text: str) -> None:
    assert decimal_text(value, side) == text


def test_the_sentence_of_a_disclosure() -> None:
    one = Disclosure("kurtosis", (), "emb", Fraction(421, 100), Fraction(42, 10), Fraction(422, 100))
    assert one.sentence == "disclosed: kurtosis of emb = 4.21 in fixed point, between 4.2 and 4.22 for the real weights"
    assert one.to_json()["value"] == "421/100"

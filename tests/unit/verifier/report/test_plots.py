"""Plots: where things are drawn, round ticks, what is left out, and no place for a value that is not public."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.checks.disclosed import Disclosure
from tests.unit.verifier.attestation.examples import audit, report
from tests.unit.verifier.report.models import commitment
from verifier.attestation.predicate import Claim
from verifier.report.axis import Axis
from verifier.report.plots import MAX_ROWS, Curve, Rows, plots

RATIONALS = st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**9)


@pytest.mark.parametrize(
    ("values", "logarithmic", "ticks"),
    [
        ([0, 20], False, ["0", "5", "10", "15", "20"]),
        ([12], False, ["0", "5", "10"]),
        ([0], False, ["0", "0.5", "1"]),
        ([-3, -1], False, ["-3", "-2", "-1", "0"]),
        ([2, 300], True, ["2", "5", "10", "20", "50", "100", "200"]),
        ([1, 1000], True, ["1", "10", "100", "1000"]),
        ([1, 10**12], True, ["1", "1000", "1000000", "1000000000", "1000000000000"]),
    ],
)
def test_ticks_are_round(values: list[int], logarithmic: bool, ticks: list[str]) -> None:
    axis = Axis.around([Fraction(value) for value in values], 10, 470)
    assert axis.logarithmic == logarithmic
    assert [tick.text for tick in axis.ticks()] == ticks


@given(st.lists(RATIONALS, min_size=1, max_size=6))
def test_every_value_has_a_place_in_order(values: list[Fraction]) -> None:
    axis = Axis.around(values, 10, 470)
    places = [Fraction(axis.at(value)) for value in sorted(values)]
    assert places == sorted(places) and places[0] >= 10 and places[-1] <= 470
    assert 1 <= len(axis.ticks()) <= 12
    assert all(10 <= Fraction(tick.at) <= 470 for tick in axis.ticks())


def claims(number: int) -> tuple[Claim, ...]:
    """A claim about that many tensors."""
    first = {**report()["claims"][0], "about": [f"t{k}" for k in range(number)]}
    return audit(claims=[first]).claims


def value(label: str, metric: str = "frobenius-norm", parameters: tuple[tuple[str, str], ...] = ()) -> Disclosure:
    return Disclosure(metric, parameters, label, Fraction(3), Fraction(5, 2), Fraction(7, 2))


def test_tensors_without_values_share_a_line() -> None:
    (plot,) = plots(claims(500), (), None)
    assert isinstance(plot, Rows)
    assert [(row.label, row.amount) for row in plot.rows] == [("500 tensors, *", "≤ 20.5")]
    assert all(row.dot is None and row.bracket is None for row in plot.rows)


def test_values_have_a_line_each_and_the_rest_is_counted() -> None:
    (plot,) = plots(claims(100), [value(f"t{k}") for k in range(100)], None)
    assert isinstance(plot, Rows)
    assert (len(plot.rows), plot.more, len(plot.table)) == (MAX_ROWS, 100 - MAX_ROWS, 100)
    row = plot.rows[0]
    assert row.limits and row.dot is not None and row.bracket is not None
    left, width = map(Fraction, row.bracket)
    assert left <= Fraction(row.dot) <= left + width < Fraction(row.limits[0])


def test_disclosed_points_of_one_tensor_make_a_curve_instead_of_lines() -> None:
    points = [
        value("w", "max-abs"),
        Disclosure("quantile", (("level", "0.5"),), "w", Fraction(1), Fraction(1), Fraction(1)),
        Disclosure("outlier-fraction", (("tau", "2"),), "w", None, Fraction(1, 10), Fraction(2, 10)),
    ]
    (plot,) = plots((), points, None)
    assert isinstance(plot, Curve)
    assert len(plot.points) == len(plot.boxes) == 3
    assert [share for _, share in plot.table] == ["0.5 of the weights", "0.8 to 0.9 of the weights", "1 of the weights"]
    heights = [Fraction(y) for _, y in plot.points]
    assert heights == sorted(heights, reverse=True)


def test_the_commitment_alone_gives_weights_by_scale() -> None:
    (plot,) = plots((), (), commitment(5).manifest)
    assert isinstance(plot, Rows)
    assert plot.table == (("|w| at most 32.0005 (F = 10), 5 tensors", "7,500 weights"),)

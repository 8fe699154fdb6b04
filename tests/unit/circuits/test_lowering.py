"""Lowered programs say what ONNX runtimes say: the same integers, and zeros that all hold exactly if all is true."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits.builder import GraphBuilder, Tensor
from circuits.errors import StatementError
from circuits.evaluate import Evaluation, Witness, check, disclosed, sources_of
from circuits.lowering import lower
from circuits.program import Advice, Einsum, Histogram, Program, Quotient, Sign, Slack, Sum, Value, Weight
from tests.unit.circuits.graph_inputs import (
    random_statement,
    reference_outputs,
    runtime_is_exact,
    runtime_outputs,
    witness,
)


def reachable(program: Program) -> list[Value]:
    """All values of a program."""
    found: dict[Value, None] = {}
    stack = [value for _, value in (*program.zeros, *program.published)]
    while stack:
        value = stack.pop()
        if value not in found:
            found[value] = None
            stack.extend(sources_of(value))
    return list(found)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_programs_agree_with_onnx_runtimes(random: Random) -> None:
    statement = random_statement(random)
    model, _ = statement.builder.build()
    onnx.checker.check_model(model)
    graph = statement.builder.graph()
    expected = reference_outputs(model, statement.inputs)
    if runtime_is_exact(graph):
        other = runtime_outputs(model, statement.inputs)
        assert all(np.array_equal(other[name], array) for name, array in expected.items())
    holds = all(array.all() for name, array in expected.items() if name.startswith("assert/"))
    try:
        program = lower([graph])
    except StatementError as error:
        assert "can never be proved" in str(error) and not holds
        return
    values = Evaluation(program, witness(statement.inputs))
    for name, array in disclosed(program, values).items():
        assert array.dtype == np.int64 and np.array_equal(array, expected[name.partition("/")[2]]), name
    assert (check(program, values) == []) == holds
    slack = {recipe.advice for recipe in program.recipes if hasattr(recipe, "advice")}
    for value in reachable(program):
        assert value.shape == values[value].shape
        if value not in slack or holds:
            assert value.low <= values[value].min() and values[value].max() <= value.high, value
        assert value.low > -(2**63) and value.high < 2**63
    names = [value.name for value in reachable(program) if isinstance(value, Advice)]
    assert len(set(names)) == len(names)


def count(program: Program, kind: type) -> int:
    """Recipes of a kind."""
    return sum(isinstance(recipe, kind) for recipe in program.recipes)


def statement(shape: tuple[int, ...] = (3,), low: int = -100, high: int = 100) -> tuple[GraphBuilder, Tensor]:
    """A builder and a certificate x."""
    g = GraphBuilder("g", 1)
    return g, g.advice("x", shape, low, high)


def no_weight(commitment: int, name: str) -> np.ndarray:
    raise AssertionError(name)


def no_histogram(commitment: int, group: int) -> np.ndarray:
    raise AssertionError(group)


def on(program: Program, x: object, given: Mapping[Advice, object] | None = None) -> Evaluation:
    """A program on the certificate x; `given` replaces what recipes would compute: a cheating prover."""
    certificates = {advice.name: np.array(value, np.int64) for advice, value in (given or {}).items()}
    return Evaluation(program, Witness(no_weight, no_histogram, {"0/advice/x": np.array(x, np.int64), **certificates}))


@pytest.mark.parametrize(
    ("low", "high"), [(-4, 4), (-8, 7), (-1, 0), (0, 1), (-3, 0), (-1, 5), (-6, 2), (3, 5), (-5, -2)]
)
def test_a_sign_is_unique_at_zero_and_at_the_ends(low: int, high: int) -> None:
    """Over all x, bits and magnitudes that the lookups allow, the zero leaves exactly the honest one."""
    g, x = statement((), low, high)
    g.disclose("abs", g.abs(x))
    program = lower([g.graph()])
    signs = [recipe for recipe in program.recipes if isinstance(recipe, Sign)]
    if low >= 0 or high <= 0:
        assert not signs  # decided by the interval
    advice = [part for sign in signs for part in (sign.negative, sign.magnitude)]
    for value in range(low, high + 1):
        found = []
        for chosen in product(*(range(part.low, part.high + 1) for part in advice)):
            values = on(program, value, dict(zip(advice, chosen, strict=True)))
            if not check(program, values):
                found.append((chosen, int(disclosed(program, values)["0/disclose/abs"])))
        assert found == [((int(value < 0), abs(value) - int(value < 0)) if signs else (), abs(value))]


@pytest.mark.parametrize("divisor", [2, 3, 7])
def test_a_quotient_is_unique_also_below_zero(divisor: int) -> None:
    g, x = statement((), -9, 8)
    g.disclose("q", g.floor_div(x, divisor))
    program = lower([g.graph()])
    (recipe,) = program.recipes
    assert isinstance(recipe, Quotient) and (recipe.remainder.low, recipe.remainder.high) == (0, divisor - 1)
    for value in range(-9, 9):
        pairs = product(range(recipe.quotient.low, recipe.quotient.high + 1), range(divisor))
        found = [
            q for q, r in pairs if not check(program, on(program, value, {recipe.quotient: q, recipe.remainder: r}))
        ]
        assert found == [value // divisor]


def test_a_remainder_that_lookups_bound_too_widely_is_bounded_again() -> None:
    """Divisor 100003: limbs show r < 131072, so r <= 100002 is shown by a slack."""
    g, x = statement((), -(2**20), 2**20 - 1)
    g.disclose("q", g.floor_div(x, 100_003))
    program = lower([g.graph()])
    quotient, slack = program.recipes
    assert isinstance(quotient, Quotient) and isinstance(slack, Slack)
    assert quotient.remainder.high == 2**17 - 1
    honest = on(program, 100_005)
    assert check(program, honest) == [] and int(disclosed(program, honest)["0/disclose/q"]) == 1
    cheating = on(program, 100_005, {quotient.quotient: 0, quotient.remainder: 100_005})
    assert check(program, cheating) == ["0/1/below"]


def test_an_asserted_comparison_needs_no_bit() -> None:
    g, x = statement()
    g.assert_true("all", g.and_(g.less(x, 50), g.not_(g.or_(g.greater(x, 60), g.less(x, -70)))))
    program = lower([g.graph()])
    assert count(program, Slack) == len(program.recipes) == len(program.zeros) == 3
    assert [name for name, _ in program.zeros] == ["0/assert/all", "0/assert:2/all", "0/assert:3/all"]
    assert check(program, on(program, [49, -70, 0])) == []
    assert check(program, on(program, [50, -71, 0])) == ["0/assert/all", "0/assert:3/all"]


def test_a_comparison_that_is_used_elsewhere_is_asserted_by_its_bit() -> None:
    g, x = statement()
    small = g.less(x, 50)
    g.assert_true("small", small)
    g.disclose("count", g.reduce_sum(g.cast(small, int)))
    program = lower([g.graph()])
    assert count(program, Sign) == len(program.recipes) == 1
    assert check(program, on(program, [50, 0, 0])) == ["0/assert/small"]


def test_equalities_that_are_asserted_need_no_advice() -> None:
    g, x = statement()
    g.assert_true("fixed", g.equal(x, np.array([1, 2, 3])))
    g.assert_true("zero", g.not_(g.cast(g.sub(x, np.array([1, 2, 3])), bool)))
    program = lower([g.graph()])
    assert not program.recipes and len(program.zeros) == 2
    assert check(program, on(program, [1, 2, 3])) == []
    assert check(program, on(program, [1, 2, 4])) == ["0/assert/fixed", "0/assert/zero"]


def test_what_intervals_decide_costs_nothing() -> None:
    g, x = statement()
    g.assert_true("true", g.and_(g.less(x, 101), g.greater_or_equal(g.abs(x), 0)))
    program = lower([g.graph()])
    assert not program.zeros and not program.recipes


@pytest.mark.parametrize("number", range(4))
def test_what_can_never_hold_is_refused(number: int) -> None:
    g, x = statement()
    false = [g.greater(x, 100), g.equal(x, 101), g.less(x, x), g.not_(g.equal(x, x))][number]
    g.assert_true("false", g.or_(g.less(x, -100), false))
    with pytest.raises(StatementError, match=r"assert/false.* can never be proved"):
        lower([g.graph()])


def test_scalar_factors_are_sums_and_products_of_values_are_einsums() -> None:
    g, x = statement((2, 3))
    g.disclose("scaled", g.add(g.mul(x, 3), g.mul(-2, x)))
    assert not any(isinstance(value, Einsum) for value in reachable(lower([g.graph()])))
    g, x = statement((2, 3))
    g.disclose("outer", g.mul(g.slice(x, 0, 0, 1), g.slice(x, 1, 0, 1)))
    (einsum,) = [value for value in reachable(lower([g.graph()])) if isinstance(value, Einsum)]
    assert (einsum.left_labels, einsum.right_labels, einsum.output) == ((1,), (0,), (0, 1))


def test_what_is_disclosed_is_tied_to_its_value() -> None:
    g, x = statement()
    g.disclose("twice", g.mul(x, 2))
    program = lower([g.graph()])
    ((published, value),) = program.published
    ((name, zero),) = program.zeros
    assert name == published.name == "0/disclose/twice" and (published.low, published.high) == (-200, 200)
    assert isinstance(zero, Sum) and dict((part, factor) for factor, part in zero.parts) == {value: 1, published: -1}


@pytest.mark.parametrize(
    ("low", "high", "magnitude"), [(-8, 7, 7), (-9, 7, 8), (-8, 8, 8), (-(2**20), 2**20 - 1, 2**20 - 1)]
)
def test_magnitudes_take_no_more_limbs_than_needed(low: int, high: int, magnitude: int) -> None:
    g, x = statement((), low, high)
    g.disclose("abs", g.abs(x))
    (sign,) = lower([g.graph()]).recipes
    assert isinstance(sign, Sign) and (sign.magnitude.low, sign.magnitude.high) == (0, magnitude)


def test_signs_are_shared() -> None:
    g, x = statement()
    g.disclose("a", g.abs(x))
    g.disclose("r", g.relu(x))
    g.disclose("s", g.cast(g.less(x, 0), int))
    assert count(lower([g.graph()]), Sign) == 1


@pytest.mark.parametrize(
    ("shape", "axes"), [((9,), [0]), ((8, 3), [0]), ((5, 7), [1]), ((2, 3, 4), [0, 2]), ((1, 4), [0])]
)
def test_a_maximum_of_n_takes_n_minus_1_comparisons(shape: tuple[int, ...], axes: list[int]) -> None:
    g, x = statement(shape)
    g.disclose("m", g.reduce_max(x, axes))
    program = lower([g.graph()])
    cells = np.random.default_rng(0).integers(-100, 101, shape)
    values = on(program, cells.tolist())
    expected = cells.max(axis=tuple(axes))
    assert np.array_equal(disclosed(program, values)["0/disclose/m"], expected) and not check(program, values)
    compared = sum(int(np.prod(recipe.source.shape)) for recipe in program.recipes)
    assert compared == cells.size - expected.size


def test_graphs_share_tensors_and_histograms() -> None:
    graphs = []
    for threshold in (10, 20):
        g = GraphBuilder("g", 1)
        w, h, other = g.weight("a", (2, 2)), g.histogram(0, 4), g.weight("a", (2, 2), commitment=1)
        g.assert_true("x", g.less(g.einsum("ij,ij->", w, other), threshold))
        g.assert_true("h", g.less(g.matmul(h, np.arange(65536)), threshold))
        g.disclose("advice", g.mul(g.advice("L", (), 0, 9), 2))
        graphs.append(g.graph())
    program = lower(graphs)
    values = reachable(program)
    assert sorted(v.commitment for v in values if isinstance(v, Weight)) == [0, 1]
    assert sum(isinstance(value, Histogram) for value in values) == 1
    names = {value.name for value in values if isinstance(value, Advice)}
    assert {"0/advice/L", "1/advice/L", "0/assert/x", "1/assert/x"} <= names
    assert [published.name for published, _ in program.published] == ["0/disclose/advice", "1/disclose/advice"]
    g = GraphBuilder("g", 1)
    g.disclose("a", g.weight("a", (4, 1)))
    with pytest.raises(StatementError, match="different shapes"):
        lower([*graphs, g.graph()])


def test_a_fresh_histogram_is_a_tally() -> None:
    g, x = statement((2, 3), -3, 9)
    g.disclose("mean", g.matmul(g.histogram_of(x), np.arange(-32768, 32768)))
    program = lower([g.graph()])
    (tally,) = program.tallies
    cells = [[1, -3, 9], [0, 0, 1]]
    values = on(program, cells)
    assert check(program, values) == [] and int(disclosed(program, values)["0/disclose/mean"]) == np.sum(cells)
    wrong = values[tally.counts].copy()
    wrong[[32768, 32769]] += (1, -1)
    assert check(program, on(program, cells, {tally.counts: wrong})) == [tally.name]

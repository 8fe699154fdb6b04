"""Group 23 on comparisons, absolute values, maxima and choices: all that is made of a bit s and a magnitude m with
m = (1 - 2 s) x - s. Each lie is consistent mod p but for one defence, and succeeds without it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from circuits.builder import GraphBuilder, Tensor
from circuits.errors import VerificationError
from circuits.program import Sign
from tests.support.cheating import accepts, rejects
from tests.support.graphs import Case, about, claiming, fresh
from tests.support.lies import Lie, Numbers, quotients, stopped_by
from verifier.argument.field import HALF, P

CELLS = (31000, -1, 0, 5, -32000)
EXTREMES = (-32768, -1, 0, 1, 32767)
WIDE = 1 << 20
"""Times this, a weight has a magnitude of three limbs."""

Statement = Callable[[GraphBuilder, Tensor], None]


@cache
def case(statement: Statement, cells: tuple[int, ...] = CELLS) -> Case:
    return about(cells, statement)


def signs(case: Case) -> list[Sign]:
    return [recipe for recipe in case.statement.statements.program.recipes if isinstance(recipe, Sign)]


def last(case: Case) -> tuple[Sign, Numbers, Numbers, Numbers]:
    """The last sign of a statement with its x, bits and magnitudes: copies to bend."""
    sign = signs(case)[-1]
    x, bits, magnitudes = (case.values[v].astype(object) for v in (sign.source, sign.negative, sign.magnitude))
    return sign, x, bits, magnitudes


def showing(case: Case, wanted: Callable[[Numbers], Numbers]) -> Lie:
    """The lie by which the last |x| becomes v = `wanted(x)`: m + s = v and m = (1 - 2 s) x - s give
    s = (x - v) / 2 x."""
    sign, x, _, _ = last(case)
    bits = quotients(x - wanted(x), 2 * x)
    return Lie(case, {sign.negative.name: bits, sign.magnitude.name: wanted(x) - bits})


def below_zero(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("below", g.cast(g.less(x, 0), int))


def wide_below_zero(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("below", g.cast(g.less(g.mul(x, WIDE), 0), int))


def counted(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("below", g.reduce_sum(g.cast(g.less(x, 0), int)))


def absolute(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("abs", g.abs(g.mul(g.add(g.mul(x, 2), 1), WIDE)))


def maximum(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("max", g.max(g.mul(x, 3), 16))


def minimum(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("min", g.min(g.mul(x, 3), 16))


def largest(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("max", g.reduce_max(x))


def positive_part(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("relu", g.relu(g.add(g.mul(x, 2), 1)))


def equality(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("equal", g.cast(g.equal(x, 5), int))


def choice(g: GraphBuilder, x: Tensor) -> None:
    g.disclose("chosen", g.where(g.less(x, 0), 100, 30))


ALL = [below_zero, wide_below_zero, counted, absolute, maximum, minimum, largest, positive_part, equality, choice]


@pytest.mark.parametrize("statement", ALL)
def test_the_truth(statement: Statement) -> None:
    """What the attacks are measured against: the honest prover; the machinery of lies, without a lie, claims the
    same."""
    claim, proof = case(statement).prove()
    accepts(fresh(claim), proof)
    truth = Lie(case(statement))
    assert truth.claim.values == claim.values and not truth.failing and not truth.outside


@pytest.mark.parametrize(
    ("statement", "cell"), [*((below_zero, cell) for cell in range(5)), (wide_below_zero, 0), (wide_below_zero, 2)]
)
def test_a_flipped_bit(statement: Statement, cell: int) -> None:
    """With the magnitude that belongs to it, mod p: negative. Zero is not below zero either."""
    own = case(statement, EXTREMES)
    sign, _, bits, _ = last(own)
    bits[0, cell] = 1 - bits[0, cell]
    lie = Lie(own, {sign.negative.name: bits})
    assert lie.claim.values != own.claim.values
    assert lie.outside == [name for name in lie.committed if name.startswith(sign.magnitude.name)][-1:]
    stopped_by("ranges", lie)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_flipped_bit_with_a_magnitude_in_range(mirrored: bool) -> None:
    """Every lookup holds; the bit and the magnitude do not belong to x."""
    sign, x, bits, magnitudes = last(case(below_zero))
    bits[0, 3] = 1
    if mirrored:
        magnitudes[0, 3] = x[0, 3] - 1  # that of -x
    stopped_by("0/1", Lie(case(below_zero), {sign.negative.name: bits, sign.magnitude.name: magnitudes}))


@pytest.mark.parametrize(
    ("bits", "outside"),
    [
        ({1: 2}, {"0/1/negative#0"}),
        ({3: -1}, {"0/1/negative#0"}),
        ({3: HALF[0], 4: HALF[0]}, {"0/1/negative#0", "0/1/magnitude#0"}),
        ({2: 2}, {"0/1/negative#0", "0/1/magnitude#0"}),
    ],
    ids=["two below zero", "minus one above zero", "two halves", "two at zero"],
)
def test_a_bit_that_is_none(bits: dict[int, int], outside: set[str]) -> None:
    """2 at x = -1 leaves the magnitude 1, and -1 at x = 5 leaves 16: only the range of the bit itself objects."""
    sign, _, bent, _ = last(case(counted))
    for cell, value in bits.items():
        bent[0, cell] = value
    lie = Lie(case(counted), {sign.negative.name: bent})
    assert set(lie.outside) == outside
    stopped_by("ranges", lie)


@pytest.mark.parametrize(
    "wanted",
    [lambda x: 0 * x, lambda x: abs(x) + 1, lambda x: abs(x) - 1, lambda x: abs(x)[:, ::-1]],
    ids=["nothing at all", "one more", "one less", "those of other cells"],
)
def test_an_absolute_value_of_choice(wanted: Callable[[Numbers], Numbers]) -> None:
    """A fractional bit and a fractional magnitude add up to any absolute value that the liar wants."""
    lie = showing(case(absolute), wanted)
    assert {"0/1/negative#0", "0/1/magnitude#2"} <= set(lie.outside)
    stopped_by("ranges", lie)


def test_a_magnitude_beside_its_bit() -> None:
    """In range, with the right bit, and one too large."""
    sign, _, bits, magnitudes = last(case(absolute))
    magnitudes[0, 3] += 1
    stopped_by("0/1", Lie(case(absolute), {sign.negative.name: bits, sign.magnitude.name: magnitudes}))


@pytest.mark.parametrize(("statement", "cell"), [(maximum, 0), (minimum, 4), (largest, 0), (positive_part, 0)])
@pytest.mark.parametrize("more", [1, -1])
def test_an_extremum_that_no_cell_has(statement: Statement, cell: int, more: int) -> None:
    """max(a, b) = (a + b + |a - b|) / 2: two more in one absolute value are one more in the maximum."""
    own = case(statement)
    lie = showing(own, lambda gap: abs(gap) + 2 * more * (np.arange(gap.size).reshape(gap.shape) == cell))
    assert abs(sum(lie.claim.values) - sum(own.claim.values)) == 1
    assert set(lie.claim.values) - {3 * x for x in CELLS} - set(CELLS)
    stopped_by("ranges", lie)


@pytest.mark.parametrize("number", range(3))
def test_a_cell_that_is_not_the_largest(number: int) -> None:
    """One round of comparisons is lost by the larger cells: another cell of the tensor is shown."""
    own = case(largest)
    sign = signs(own)[number]
    lie = Lie(own, {sign.negative.name: 1 - own.values[sign.negative]})
    assert lie.claim.values[0] in CELLS[1:]
    stopped_by("ranges", lie)


@pytest.mark.parametrize(("cell", "number"), [(2, 0), (3, 0), (3, 1)])
def test_an_equality_that_does_not_hold(cell: int, number: int) -> None:
    """[x = 5] = 1 - [x < 5] - [5 < x]: at 0 the first bit is denied, at 5 one of both is asserted."""
    own = case(equality)
    sign = signs(own)[number]
    bits = own.values[sign.negative].copy()
    bits[0, cell] = 1 - bits[0, cell]
    lie = Lie(own, {sign.negative.name: bits})
    assert lie.claim.values[cell] == 1 - own.claim.values[cell]
    stopped_by("ranges", lie)


@pytest.mark.parametrize("wanted", [100, 31])
def test_a_choice_between_both(wanted: int) -> None:
    """b + c (a - b) with c = (wanted - b) / (a - b): the other branch, or anything in between."""
    own = case(choice)
    sign, _, bits, _ = last(own)
    bits[0, 3] = (wanted - 30) * pow(70, -1, P)
    lie = Lie(own, {sign.negative.name: bits})
    assert lie.claim.values[3] == wanted
    stopped_by("ranges", lie)


@pytest.mark.parametrize("value", [2, -1])
def test_a_disclosed_bit_that_is_none(value: int) -> None:
    """The interval of what is disclosed is checked before anything else."""
    claim, proof = case(below_zero).prove()
    false = fresh(claiming(claim, {"0/disclose/below": np.array([[0, value, 0, 0, 1]])}))
    rejects(VerificationError, false, proof)

"""Limbs and blocks of advice: exactly the announced range can be shown, and every cell is where its terms say."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import StatementError
from circuits.program import Advice, rounded_high
from verifier.argument.field import ZERO, K, P, k_list
from verifier.argument.forms import dense
from verifier.argument.program.regions import (
    TABLE,
    BlockLayout,
    axis_bits,
    axis_pieces,
    limb_values,
    limbs_of,
    multiplicities,
)

shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)
scalars = st.tuples(*[st.integers(0, P - 1)] * 3).map(K)
EDGES = [0, 1, 2, TABLE - 2, TABLE - 1, TABLE, TABLE + 1, 3 * TABLE - 1, 2**31, 2**32 - 1, 2**32, 2**48 - 1, 2**48]
spans = st.sampled_from(EDGES) | st.integers(0, 2**60)
lows = st.sampled_from([0, -1, -(2**15), 5]) | st.integers(-(2**60), 2**60)


def advice(low: int, high: int, shape: tuple[int, ...] = ()) -> Advice:
    return Advice(shape, low, rounded_high(low, high), "a")


@given(lows, spans)
def test_the_limbs_show_the_range_and_nothing_else(low: int, span: int) -> None:
    """All limbs full but the top one: as many values as the range has, the largest of them its end."""
    atom = advice(low, low + span)
    limbs = limbs_of(atom)
    assert all(limb.bound == TABLE - 1 for limb in limbs[:-1])
    assert [limb.shift for limb in limbs] == [16 * i for i in range(len(limbs))]
    assert sum(limb.bound << limb.shift for limb in limbs) == atom.high - atom.low
    assert math.prod(limb.bound + 1 for limb in limbs) == atom.high - atom.low + 1
    assert atom.high >= low + span


@pytest.mark.parametrize("span", [0, 1, 5, 255, TABLE - 1, TABLE, TABLE + 77, 2 * TABLE - 1])
def test_every_value_of_a_small_range(span: int) -> None:
    """By enumeration: the limbs give each value once."""
    atom = advice(-3, -3 + span)
    limbs = limbs_of(atom)
    shown = [
        sum(x << limb.shift for x, limb in zip(xs, limbs, strict=True))
        for xs in product(*(range(b.bound + 1) for b in limbs))
    ]
    assert sorted(shown) == list(range(atom.high - atom.low + 1))


@given(lows, spans, st.data())
def test_values_and_back(low: int, span: int, data: st.DataObject) -> None:
    atom = advice(low, low + span, (3,))
    values = data.draw(st.lists(st.integers(low, atom.high), min_size=3, max_size=3))
    cells = limb_values(atom, np.array(values, np.int64))
    limbs = limbs_of(atom)
    total = [low + sum(int(cells[limb.name][i]) << limb.shift for limb in limbs) for i in range(3)]
    assert sorted(total) == sorted(values)
    assert all(0 <= int(x) <= limb.bound for limb in limbs for x in cells[limb.name])


def test_values_outside_the_range_have_no_limbs() -> None:
    atom = advice(-5, 100, (2,))
    for values in ([-6, 0], [0, 101]):
        with pytest.raises(ValueError, match="leaves"):
            limb_values(atom, np.array(values, np.int64))
    with pytest.raises(ValueError, match="another shape"):
        limb_values(atom, np.zeros(3, np.int64))


@pytest.mark.parametrize(("low", "high"), [(0, -1), (0, TABLE + 5), (0, 2**62), (-(2**61), 2**61), (0, 2**63)])
def test_ranges_that_limbs_cannot_show(low: int, high: int) -> None:
    """Empty, not rounded, or so wide that a difference could wrap around the field."""
    with pytest.raises(StatementError, match="cannot be shown by limbs"):
        limbs_of(Advice((), low, high, "a"))


def test_the_widest_range_cannot_wrap() -> None:
    """Section 6: 2B - 2 - (high - low) < p for the limb bound B, which here is the range itself."""
    atom = Advice((), 0, 2**62 - 1, "a")
    span = sum(limb.bound << limb.shift for limb in limbs_of(atom))
    assert 2 * (span + 1) - 2 - span < P


def test_multiplicities_count_every_lookup() -> None:
    """A narrow top limb is looked up from both sides, a full one once."""
    atoms = [Advice((4,), 0, 9, "narrow"), Advice((2,), 0, rounded_high(0, 3 * TABLE), "wide")]
    cells = {
        **limb_values(atoms[0], np.array([0, 9, 3, 3])),
        **limb_values(atoms[1], np.array([0, 3 * TABLE + 7])),
    }
    counts = multiplicities(atoms, cells)
    expected = np.zeros(TABLE, np.int64)
    for value in (0, 9, 3, 3, 9, 0, 6, 6):
        expected[value] += 1
    for value in (0, 7, 0, 3, 3, 0):  # low limbs, high limbs, high limbs from above
        expected[value] += 1
    assert np.array_equal(counts, expected)
    assert counts.sum() == 4 * 2 + 2 + 2 * 2


# ---------------------------------------------------------------- blocks


@given(st.integers(1, 1000))
def test_axis_pieces(size: int) -> None:
    pieces = axis_pieces(size)
    assert [i for start, log in pieces for i in range(start, start + (1 << log))] == list(range(size))
    assert [log for _, log in pieces] == sorted({log for _, log in pieces}, reverse=True)
    assert all(start % (1 << log) == 0 for start, log in pieces)
    assert 1 << axis_bits(size) >= size > (1 << axis_bits(size)) // 2


@given(shapes)
def test_blocks_are_aligned_and_cover_every_cell_once(shape: tuple[int, ...]) -> None:
    layout = BlockLayout(shape)
    size = math.prod(shape)
    order = layout.flatten(np.arange(size, dtype=np.int64).reshape(shape))
    assert sorted(order.tolist()) == list(range(size))
    for pieces, offset in layout.blocks:
        assert offset % (1 << sum(log for _, log in pieces)) == 0


@given(shapes, st.data())
def test_terms_are_the_functional_on_the_laid_out_cells(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Cell (i, j, ...) has the weight prod over axes and bits of a + b bit, wherever it lies."""
    layout = BlockLayout(shape)
    factors = [[(data.draw(scalars), data.draw(scalars)) for _ in range(axis_bits(size))] for size in shape]
    coefficient = data.draw(scalars)
    size = math.prod(shape)
    address = 1 << axis_bits(size)
    terms = layout.terms(factors, coefficient, address)
    weights = k_list(dense(terms, axis_bits(size) + 1))
    order = layout.flatten(np.arange(size, dtype=np.int64).reshape(shape)).tolist()
    expected = [ZERO] * (2 * address)
    for place, cell in enumerate(order):
        weight = coefficient
        for axis, index in zip(factors, np.unravel_index(cell, shape) if shape else (), strict=True):
            for v, (a, b) in enumerate(axis):
                weight = weight * (a + b if int(index) >> v & 1 else a)
        expected[address + place] = weight
    assert weights == expected

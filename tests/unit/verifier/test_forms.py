"""Product-form terms and their public sums against vectors that are written out in full."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verifier.argument.field import ONE, ZERO, K, P, k_list
from verifier.argument.forms import (
    Selectors,
    Term,
    bind_high,
    bind_rows,
    dense,
    dyadic_intervals,
    eq_factors,
    eq_term,
    interval_terms,
    merge,
    prefix_sum,
    prefix_sums,
    selector,
)

elements = st.sampled_from([0, 1, 2, P - 1, P // 2]) | st.integers(0, P - 1)
scalars = st.tuples(elements, elements, elements).map(K) | st.sampled_from([ZERO, ONE])
points = st.lists(scalars, max_size=5)


def eq(point: list[K], index: int) -> K:
    value = ONE
    for v, z in enumerate(point):
        value = value * (z if index >> v & 1 else 1 - z)
    return value


def cell(term: Term, index: int) -> K:
    """The entry of the term's vector at an index, by definition."""
    inside = index - term.address
    if not 0 <= inside < 1 << len(term.factors):
        return ZERO
    value = term.coefficient
    for v, (a, b) in enumerate(term.factors):
        value = value * (a + b if inside >> v & 1 else a)
    return value


def total(terms: list[Term], size: int) -> list[K]:
    return [sum((cell(term, i) for term in terms), ZERO) for i in range(size)]


@st.composite
def terms_below(draw: st.DrawFn, log_size: int) -> Term:
    size = draw(st.integers(0, log_size))
    address = draw(st.integers(0, (1 << (log_size - size)) - 1)) << size
    return Term(draw(scalars), tuple((draw(scalars), draw(scalars)) for _ in range(size)), address)


@given(st.lists(terms_below(4), max_size=4))
def test_dense(terms: list[Term]) -> None:
    assert k_list(dense(terms, 4)) == total(terms, 16)


@given(points)
def test_eq_terms(point: list[K]) -> None:
    size = 1 << len(point)
    assert k_list(dense([eq_term(point, 0)], len(point))) == [eq(point, i) for i in range(size)]
    assert [selector(point, i) for i in range(size)] == [eq(point, i) for i in range(size)]


@given(st.integers(0, 200), st.integers(0, 200))
def test_dyadic_intervals(a: int, b: int) -> None:
    start, stop = min(a, b), max(a, b)
    pieces = dyadic_intervals(start, stop)
    assert [i for address, size in pieces for i in range(address, address + (1 << size))] == list(range(start, stop))
    assert all(address % (1 << size) == 0 for address, size in pieces)
    sizes = [size for _, size in pieces]
    assert all(sizes.count(size) <= 2 for size in sizes)


@given(points, st.data())
def test_interval_terms(point: list[K], data: st.DataObject) -> None:
    size = 1 << len(point)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    expected = [eq(point, i) if start <= i < stop else ZERO for i in range(size)]
    assert total(interval_terms(point, start, stop), size) == expected
    scale, blocks = data.draw(scalars), data.draw(st.integers(0, 2))
    elsewhere = interval_terms(point, start, stop, scale, size * blocks)
    assert total(elsewhere, 3 * size)[size * blocks : size * (blocks + 1)] == [scale * x for x in expected]
    assert all(size * blocks <= term.address < size * (blocks + 1) for term in elsewhere)


@given(points, scalars, st.data())
def test_selectors_of_blocks(point: list[K], scale: K, data: st.DataObject) -> None:
    """Asked for in any order, also again."""
    blocks = [(size, i) for size in range(len(point) + 1) for i in range(1 << (len(point) - size))]
    selectors = Selectors(point, scale)
    for size, index in data.draw(st.lists(st.sampled_from(blocks), max_size=8)):
        assert selectors.of(size, index) == scale * eq(point[size:], index)


@given(points)
def test_prefix_sums(point: list[K]) -> None:
    stops = np.arange((1 << len(point)) + 1)
    expected = [sum((eq(point, i) for i in range(stop)), ZERO) for stop in stops.tolist()]
    assert k_list(prefix_sums(point, stops)) == expected
    assert [prefix_sum(point, stop) for stop in stops.tolist()] == expected
    assert expected[-1] == ONE


@given(terms_below(5), st.integers(0, 5), st.lists(scalars, min_size=5, max_size=5))
def test_bind_high(term: Term, columns: int, challenges: list[K]) -> None:
    """Fixing the high variables is evaluating the multilinear extension of the whole vector in them."""
    point = challenges[: 5 - columns]
    bound = bind_high(term, columns, point)
    expected = [
        sum((cell(term, low + (high << columns)) * eq(point, high) for high in range(1 << len(point))), ZERO)
        for low in range(1 << columns)
    ]
    assert total([bound], 1 << columns) == expected
    assert len(bound.factors) <= columns and bound.address < 1 << columns


@given(st.lists(terms_below(5), max_size=6), st.integers(0, 5), st.lists(scalars, min_size=5, max_size=5))
def test_bind_rows(terms: list[Term], columns: int, challenges: list[K]) -> None:
    """Binding all terms is binding each, and merging what falls together."""
    point = challenges[: 5 - columns]
    bound = bind_rows(terms, columns, point)
    assert total(bound, 1 << columns) == total([bind_high(term, columns, point) for term in terms], 1 << columns)
    assert len({(term.address, term.factors) for term in bound}) == len(bound)


@given(st.lists(st.tuples(st.integers(0, 3), scalars), max_size=8), st.lists(scalars, min_size=2, max_size=2))
def test_merge(parts: list[tuple[int, K]], point: list[K]) -> None:
    """The same vector with one term for each pair of address and factors."""
    terms = [Term(c, eq_factors(point), 4 * block) for block, c in parts]
    terms += [Term(c, (), 5) for _, c in parts]
    merged = merge(terms)
    assert total(merged, 16) == total(terms, 16)
    assert len({(term.address, term.factors) for term in merged}) == len(merged)


@given(terms_below(3), scalars, st.integers(0, 3))
def test_scaled_and_moved(term: Term, scale: K, blocks: int) -> None:
    vector = total([term], 8)
    assert total([term.scaled(scale)], 8) == [scale * x for x in vector]
    assert total([term.moved(8 * blocks)], 32) == [*[ZERO] * (8 * blocks), *vector, *[ZERO] * (24 - 8 * blocks)]

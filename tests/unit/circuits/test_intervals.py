"""Interval analysis: exact bounds of every rule, and refusal of what could overflow, by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from circuits.builder import GraphBuilder, Tensor
from circuits.errors import StatementError
from circuits.intervals import LIMIT
from circuits.lowering import lower

Rule = Callable[[GraphBuilder, Tensor, Tensor], Tensor]

RULES: dict[str, tuple[Rule, tuple[int, int]]] = {
    # x is (2, 3) in [-5, 9], y is (2, 3) in [2, 4].
    "add": (lambda g, x, y: g.add(x, y), (-3, 13)),
    "sub": (lambda g, x, y: g.sub(x, y), (-9, 7)),
    "neg": (lambda g, x, y: g.neg(x), (-9, 5)),
    "mul": (lambda g, x, y: g.mul(x, y), (-20, 36)),
    "square": (lambda g, x, y: g.mul(x, x), (0, 81)),
    "square of a positive": (lambda g, x, y: g.mul(y, y), (4, 16)),
    "sum of squares": (lambda g, x, y: g.einsum("ij,ij->", x, x), (0, 6 * 81)),
    "gram": (lambda g, x, y: g.einsum("ij,kj->ik", x, x), (-3 * 45, 3 * 81)),
    "matmul": (lambda g, x, y: g.matmul(x, g.transpose(y, (1, 0))), (-60, 108)),
    "sum over an axis": (lambda g, x, y: g.reduce_sum(x, [1]), (-15, 27)),
    "public vector": (lambda g, x, y: g.matmul(x, np.array([1, -2, 0])), (-5 - 18, 9 + 10)),
    "public matrix": (lambda g, x, y: g.matmul(x, np.array([[1, 0], [-2, 3], [0, 0]])), (-23, 27)),
    "times public cells": (lambda g, x, y: g.mul(x, np.array([3, -2, 0])), (-18, 27)),
    "public cells of one axis": (lambda g, x, y: g.einsum("ij,i->", x, np.array([1, -1])), (-3 * 14, 3 * 14)),
    "identity": (lambda g, x, y: g.identity(3), (0, 1)),
    "identity of one cell": (lambda g, x, y: g.identity(1), (1, 1)),
    "public diagonal": (lambda g, x, y: g.mul(g.identity(3), -7), (-7, 0)),
    "times the identity": (lambda g, x, y: g.matmul(x, g.identity(3)), (-5, 9)),
    "cells of the identity": (lambda g, x, y: g.einsum("ij,jk->ijk", y, g.identity(3)), (0, 4)),
    "trace": (lambda g, x, y: g.einsum("ij,ij->", g.matmul(g.transpose(x, (1, 0)), y), g.identity(3)), (-120, 216)),
    "abs": (lambda g, x, y: g.abs(x), (0, 9)),
    "abs of a positive": (lambda g, x, y: g.abs(y), (2, 4)),
    "max": (lambda g, x, y: g.max(x, y), (2, 9)),
    "min": (lambda g, x, y: g.min(x, y), (-5, 4)),
    "relu": (lambda g, x, y: g.relu(x), (0, 9)),
    "reduce_max": (lambda g, x, y: g.reduce_max(x), (-5, 9)),
    "where": (lambda g, x, y: g.where(g.greater(x, 0), y, 7), (2, 7)),
    "floor_div": (lambda g, x, y: g.floor_div(x, 4), (-2, 2)),
    "concat": (lambda g, x, y: g.concat([x, y], 0), (-5, 9)),
    "slice": (lambda g, x, y: g.slice(y, 1, 0, 2), (2, 4)),
    "a comparison": (lambda g, x, y: g.greater(x, y), (0, 1)),
    "true": (lambda g, x, y: g.less(y, 5), (1, 1)),
    "false": (lambda g, x, y: g.less(y, 2), (0, 0)),
    "equality of constants": (lambda g, x, y: g.equal(g.constant([3]), 5), (0, 0)),
    "decided equality": (lambda g, x, y: g.equal(x, 10), (0, 0)),
    "and": (lambda g, x, y: g.and_(g.less(y, 5), g.less(x, 0)), (0, 1)),
    "or": (lambda g, x, y: g.or_(g.less(y, 5), g.less(x, 0)), (1, 1)),
    "not": (lambda g, x, y: g.not_(g.less(y, 2)), (1, 1)),
    "nonzero": (lambda g, x, y: g.cast(y, bool), (1, 1)),
}


@pytest.mark.parametrize(("rule", "expected"), RULES.values(), ids=RULES.keys())
def test_rules(rule: Rule, expected: tuple[int, int]) -> None:
    g = GraphBuilder("g", 1)
    x, y = g.advice("x", (2, 3), -5, 9), g.advice("y", (2, 3), 2, 4)
    assert g.bounds(rule(g, x, y)) == expected


CELLS = np.arange(-32768, 32768, dtype=np.int64)
SIZE = 10**6
HISTOGRAM: dict[str, tuple[Callable[[GraphBuilder, Tensor], Tensor], tuple[int, int]]] = {
    "mean": (lambda g, h: g.einsum("t,t->", h, CELLS), (-32768 * SIZE, 32767 * SIZE)),
    "squares": (lambda g, h: g.matmul(h, CELLS**2), (0, SIZE << 30)),
    "positive weights": (lambda g, h: g.matmul(h, CELLS + 40_000), (7232 * SIZE, 72767 * SIZE)),
    "several at once": (lambda g, h: g.matmul(h, np.stack([CELLS, CELLS**2], 1)), (-32768 * SIZE, SIZE << 30)),
    "by steps": (lambda g, h: g.reduce_sum(g.mul(h, CELLS)), (-32768 * SIZE, 32767 * SIZE)),
    "cells beyond": (lambda g, h: g.reduce_sum(g.slice(h, 0, 40_000, 70_000)), (0, SIZE)),
    "all cells": (lambda g, h: g.reduce_sum(g.reshape(h, (256, 256))), (SIZE, SIZE)),
    "some cells": (lambda g, h: g.reduce_sum(g.reshape(h, (256, 256)), [0]), (0, SIZE)),
    "a slice, weighted": (
        lambda g, h: g.einsum("t,t->", g.slice(h, 0, 40_000, 70_000), np.full(25_536, 3)),
        (0, 3 * SIZE),
    ),
    "two histograms": (
        lambda g, h: g.matmul(g.add(h, g.histogram(1, 5)), CELLS + 40_000),
        (7232 * (SIZE + 5), 72767 * (SIZE + 5)),
    ),
    "a slice, subtracted": (
        lambda g, h: g.einsum("t,t->", g.slice(h, 0, 40_000, 70_000), np.full(25_536, -3)),
        (-3 * SIZE, 0),
    ),
    "difference": (lambda g, h: g.reduce_sum(g.sub(h, g.histogram(1, 5))), (SIZE - 5, SIZE - 5)),
    "repeated cells": (lambda g, h: g.reduce_sum(g.gather(h, [7, 7])), (0, 2 * SIZE)),
    "partly contracted": (lambda g, h: g.einsum("ab,a->b", g.reshape(h, (256, 256)), np.full(256, 9)), (0, 9 * SIZE)),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "expected"), HISTOGRAM.values(), ids=HISTOGRAM.keys())
def test_functionals_of_a_histogram(rule: Callable[[GraphBuilder, Tensor], Tensor], expected: tuple[int, int]) -> None:
    g = GraphBuilder("g", 1)
    assert g.bounds(rule(g, g.histogram(0, SIZE))) == expected


def test_a_fourth_moment_fits_if_scaled() -> None:
    """sum_t m_t (t^4 / 2^24) over 2^23 weights: cell by cell it would overflow by a factor of 2^13."""
    g = GraphBuilder("g", 1)
    fourth = g.matmul(g.histogram(0, 2**23), (CELLS // 2**6) ** 4)
    assert g.bounds(fourth) == (0, 2**23 * 512**4)


def test_a_fresh_histogram_has_the_mass_of_its_tensor() -> None:
    g = GraphBuilder("g", 1)
    h = g.histogram_of(g.weight("a", (300, 400)))
    assert g.bounds(h) == (0, 120_000)
    assert g.bounds(g.matmul(h, CELLS**2)) == (0, 120_000 << 30)
    with pytest.raises(StatementError, match=r"Histogram .*are counted"):
        g.bounds(g.histogram_of(g.mul(g.weight("a", (300, 400)), 2)))


OVERFLOW: dict[str, tuple[Rule, str]] = {
    # x and y are (4, 4) in [-2^40, 2^40 - 1].
    "product": (lambda g, x, y: g.mul(x, y), "Mul 'Mul_0'"),
    "sum": (lambda g, x, y: g.add(g.mul(x, 2**21), g.mul(y, 2**21)), "Add 'Add_2'"),
    "matmul": (lambda g, x, y: g.matmul(g.floor_div(x, 2**10), g.floor_div(y, 2**10)), "MatMul 'MatMul_2'"),
    "constant": (lambda g, x, y: g.sub(x, 2**62), "constant 'constant_0'"),
    "public vector": (lambda g, x, y: g.matmul(x, np.full(4, 2**20)), "MatMul 'MatMul_0'"),
    "partial sums": (lambda g, x, y: g.matmul(x, np.array([2**22, -(2**22), 0, 0])), "MatMul 'MatMul_0'"),
    "comparison": (lambda g, x, y: g.less(g.mul(x, 2**21), g.mul(y, -(2**21))), "Less 'Less_2'"),
    "max": (lambda g, x, y: g.max(g.mul(x, 3 << 20), g.mul(y, 3 << 20)), "Max 'Max_2'"),
    "where": (lambda g, x, y: g.where(g.less(x, y), g.mul(x, 3 << 20), g.mul(y, 3 << 20)), "Where 'Where_3'"),
}


@pytest.mark.parametrize(("rule", "where"), OVERFLOW.values(), ids=OVERFLOW.keys())
def test_overflow_is_refused_by_name_and_bound(rule: Rule, where: str) -> None:
    g = GraphBuilder("g", 1)
    made = rule(g, g.advice("x", (4, 4), -(2**40), 2**40 - 1), g.advice("y", (4, 4), -(2**40), 2**40 - 1))
    g.disclose("d", g.cast(made, int) if made.boolean else made)
    with pytest.raises(
        StatementError, match=f"{re.escape(where)}: a value may reach -?[0-9]+, and must stay"
    ) as caught:
        lower([g.graph()])
    assert abs(int(re.findall(r"reach (-?\d+)", str(caught.value))[0])) >= LIMIT


def test_the_limit_is_exact() -> None:
    g = GraphBuilder("g", 1)
    x = g.advice("x", (1,), 0, 1)
    assert g.bounds(g.mul(x, 2**62 - 1)) == (0, 2**62 - 1)
    with pytest.raises(StatementError, match="constant"):
        g.bounds(g.mul(x, 2**62))
    with pytest.raises(StatementError, match="may reach 4611686018427387904"):
        g.bounds(g.add(g.mul(x, 2**62 - 1), 1))


def test_partial_sums_of_constants_that_cancel_are_seen() -> None:
    """The result is in [-2^42, 2^42], the sum on the way to it is not bounded by it."""
    g = GraphBuilder("g", 1)
    x = g.advice("x", (2,), 2**40, 2**40)
    with pytest.raises(StatementError, match="MatMul"):
        g.bounds(g.matmul(x, np.array([2**22, -(2**22)])))


def test_entrywise_sums_of_large_constants_are_exact() -> None:
    """The intermediate sums of the analysis itself exceed 64 bits."""
    g = GraphBuilder("g", 1)
    x = g.advice("x", (64,), 0, 0)
    assert g.bounds(g.matmul(x, np.full(64, 2**61))) == (0, 0)

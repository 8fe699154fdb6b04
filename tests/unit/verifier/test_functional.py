"""Functionals on public tensors: the fast ways give the plain sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from circuits.graph_nodes import WIDTHS
from circuits.program import Stored
from verifier.argument.field import ZERO, K, P, k_list
from verifier.argument.program.functional import Factors, contract, row_products, trace
from verifier.argument.program.regions import axis_bits, chosen


@pytest.mark.parametrize(
    ("shape", "limit"),
    [((50, 130), 40_000), ((1, 5000), 1 << 20), ((5000, 2), 32_768), ((70, 80), 1 << 40), ((3, 4), 9)],
)
def test_rows_against_a_table(shape: tuple[int, int], limit: int) -> None:
    """Small integers go through float64: exactly, at the ends of the range and of the field too."""
    rng = np.random.default_rng(1)
    matrix = rng.integers(-limit, limit, shape)
    matrix[0, 0], matrix[-1, -1] = -limit, limit
    table = rng.integers(0, P, (3, shape[1]), dtype=np.uint64)
    table[:, 0], table[:, -1] = P - 1, (1 << 32) - 1
    columns = k_list(table)
    products = k_list(row_products(matrix, table))
    for row in (0, shape[0] // 2, shape[0] - 1):
        expected = sum((x * int(value) for x, value in zip(columns, matrix[row], strict=True)), ZERO)
        assert products[row] == expected


def random_factors(shape: tuple[int, ...]) -> Factors:
    """A product form in K for every axis."""
    rng = np.random.default_rng(2)

    def element() -> K:
        return K(tuple(int(x) for x in rng.integers(0, P, 3, dtype=np.uint64)))

    return tuple(tuple((element(), element()) for _ in range(axis_bits(size))) for size in shape)


def by_cells(matrix: Stored, factors: Factors) -> K:
    """The sum over the cells."""
    expected = ZERO
    for i, j in zip(*np.nonzero(matrix), strict=True):
        expected = expected + chosen(factors[0], int(i)) * chosen(factors[1], int(j)) * int(matrix[i, j])
    return expected


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_matrix_under_a_functional(kind: np.dtype[Any]) -> None:
    """contract() is the sum over the cells, in whatever type they are stored."""
    shape, ends = (70, 90), np.iinfo(kind)
    low, high = max(ends.min, -(2**61)), min(ends.max, 2**61)
    matrix = np.random.default_rng(1).integers(low, high, shape).astype(kind)
    matrix[0, 0], matrix[-1, -1] = low, high
    factors = random_factors(shape)
    assert contract(matrix, factors) == by_cells(matrix, factors)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 37, 64, 100])
def test_the_identity_under_a_functional(size: int) -> None:
    """trace() is the sum over the diagonal."""
    rows, columns = random_factors((size, size))
    assert trace(rows, columns, size) == by_cells(np.eye(size, dtype=np.int64), (rows, columns))

"""Functionals on public tensors: the fast and the sparse way give the plain sum."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.argument.field import ONE, ZERO, K, P, k_list
from verifier.argument.forms import eq_factors
from verifier.argument.program.functional import contract, row_products
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


@pytest.mark.parametrize("sparse", [False, True])
def test_a_matrix_under_a_functional(sparse: bool) -> None:
    """contract() is the sum over the cells, for dense matrices and for the identities of certificates."""
    shape = (70, 90)
    rng = np.random.default_rng(2)
    matrix = np.eye(*shape, dtype=np.int64) * -5 if sparse else rng.integers(-99, 99, shape)
    factors = tuple(
        eq_factors([K(tuple(int(x) for x in rng.integers(0, P, 3, dtype=np.uint64))) for _ in range(axis_bits(size))])
        for size in shape
    )
    expected = ZERO
    for i, j in zip(*np.nonzero(matrix), strict=True):
        expected = expected + chosen(factors[0], int(i)) * chosen(factors[1], int(j)) * int(matrix[i, j])
    assert contract(matrix, factors) == expected != ONE

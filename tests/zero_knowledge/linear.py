"""Linear algebra over F in Python integers, and the matrices that decide whether openings hide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prover.argument.kernels.interface import Cells, Kernels
from tests.zero_knowledge.statements import KERNELS
from verifier.argument.field import P, Words, f_sub, root_of_unity

Matrix = list[list[int]]


class SingularError(ArithmeticError):
    """The matrix has no inverse, or the system no solution."""


def reduce(matrix: Matrix, columns: int) -> tuple[Matrix, list[int]]:
    """Reduced row echelon form with pivots among the first `columns` columns; the pivot columns."""
    rows = [list(row) for row in matrix]
    pivots: list[int] = []
    for column in range(columns):
        rank = len(pivots)
        found = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if found is None:
            continue
        rows[rank], rows[found] = rows[found], rows[rank]
        scale = pow(rows[rank][column], -1, P)
        rows[rank] = [x * scale % P for x in rows[rank]]
        for i, row in enumerate(rows):
            if i != rank and row[column]:
                factor = row[column]
                rows[i] = [(x - factor * y) % P for x, y in zip(row, rows[rank], strict=True)]
        pivots.append(column)
    return rows, pivots


def solve(matrix: Matrix, right: Matrix) -> Matrix:
    """The unique X with matrix X = right. Raises SingularError if there is none, or more than one."""
    width = len(matrix[0])
    joined = [row + list(extra) for row, extra in zip(matrix, right, strict=True)]
    rows, pivots = reduce(joined, width)
    if len(pivots) < width or any(any(row) for row in rows[width:]):
        raise SingularError(f"rank {len(pivots)} of {width}, {len(matrix)} equations")
    return [row[width:] for row in rows[:width]]


def rank(matrix: Matrix) -> int:
    return len(reduce(matrix, len(matrix[0]))[1])


def left_kernel(matrix: Matrix) -> Matrix:
    """A basis of the vectors v with v matrix = 0."""
    width, count = len(matrix[0]), len(matrix)
    joined = [row + [int(i == j) for j in range(count)] for i, row in enumerate(matrix)]
    rows, pivots = reduce(joined, width)
    return [row[width:] for row in rows[len(pivots) :]]


def power_matrix(positions: Sequence[int], n: int, exponents: range) -> Matrix:
    """x_j^k for the n-th roots of unity x_j at the positions and k in the exponents."""
    w = root_of_unity(n)
    return [[pow(w, j * k, P) for k in exponents] for j in positions]


def matching_tails(
    cells: Cells, log_length: int, positions: Sequence[int], wanted: Words, kernels: Kernels = KERNELS
) -> Words:
    """The hiding coefficients (rows, positions), one per position, that give rows of cells the codewords `wanted`
    (positions, rows) there."""
    columns, count = cells.shape[1], len(positions)
    plain = kernels.columns(kernels.encode(cells, None, log_length), positions)
    matrix = power_matrix(positions, 1 << log_length, range(columns, columns + count))
    tails = solve(matrix, f_sub(wanted, plain).tolist())
    return np.ascontiguousarray(np.array(tails, np.uint64).T)


def extended(positions: Sequence[int], count: int) -> list[int]:
    """The positions and further ones, `count` in all. Raises SingularError if there are more."""
    if len(positions) > count:
        raise SingularError(f"{len(positions)} positions, {count} hiding coefficients")
    others = (j for j in range(2 * count) if j not in positions)
    return [*positions, *(next(others) for _ in range(count - len(positions)))]

"""What an attacker computes: linear systems mod p and short vectors of a lattice. Plain Python, small sizes."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.argument.field import P


def reduce_rows(rows: Sequence[Sequence[int]], columns: int) -> tuple[list[list[int]], list[int]]:
    """Row echelon form mod p, pivots sought in the first `columns` columns: (rows, pivot column of each)."""
    matrix = [[x % P for x in row] for row in rows]
    pivots: list[int] = []
    for column in range(columns):
        rank = len(pivots)
        found = next((i for i in range(rank, len(matrix)) if matrix[i][column]), None)
        if found is None:
            continue
        matrix[rank], matrix[found] = matrix[found], matrix[rank]
        inverse = pow(matrix[rank][column], -1, P)
        matrix[rank] = [x * inverse % P for x in matrix[rank]]
        for i, row in enumerate(matrix):
            if i != rank and row[column]:
                scale = row[column]
                matrix[i] = [(x - scale * y) % P for x, y in zip(row, matrix[rank], strict=True)]
        pivots.append(column)
    return matrix, pivots


def solve(rows: Sequence[Sequence[int]], right: Sequence[int]) -> list[int] | None:
    """One solution x of rows * x = right mod p, free variables 0; None if there is none."""
    width = len(rows[0])
    matrix, pivots = reduce_rows([[*row, value] for row, value in zip(rows, right, strict=True)], width)
    if any(row[width] for row in matrix[len(pivots) :]):
        return None
    solution = [0] * width
    for row, column in zip(matrix, pivots, strict=False):
        solution[column] = row[width]
    return solution


def kernel(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """A basis of all x with rows * x = 0 mod p."""
    width = len(rows[0])
    matrix, pivots = reduce_rows(rows, width)
    basis = []
    for free in sorted(set(range(width)) - set(pivots)):
        vector = [0] * width
        vector[free] = 1
        for row, column in zip(matrix, pivots, strict=False):
            vector[column] = -row[free] % P
        basis.append(vector)
    return basis


def shortest_row(basis: Sequence[Sequence[int]]) -> list[int]:
    """The first vector of an LLL-reduced basis (delta 3/4), exact: Cohen, algorithm 2.6.7, rows independent."""
    b = [list(row) for row in basis]
    n = len(b)
    lam = [[0] * n for _ in range(n)]
    d = [1] + [0] * n

    def dot(x: list[int], y: list[int]) -> int:
        return sum(s * t for s, t in zip(x, y, strict=True))

    def size_reduce(k: int, l: int) -> None:
        if 2 * abs(lam[k][l]) <= d[l + 1]:
            return
        q = (2 * lam[k][l] + d[l + 1]) // (2 * d[l + 1])
        b[k] = [x - q * y for x, y in zip(b[k], b[l], strict=True)]
        lam[k][l] -= q * d[l + 1]
        for i in range(l):
            lam[k][i] -= q * lam[l][i]

    def gram_schmidt(k: int) -> None:
        for j in range(k + 1):
            u = dot(b[k], b[j])
            for i in range(j):
                u = (d[i + 1] * u - lam[k][i] * lam[j][i]) // d[i]
            if j < k:
                lam[k][j] = u
            else:
                d[k + 1] = u

    def swap(k: int, known: int) -> None:
        b[k], b[k - 1] = b[k - 1], b[k]
        for j in range(k - 1):
            lam[k][j], lam[k - 1][j] = lam[k - 1][j], lam[k][j]
        shared = lam[k][k - 1]
        middle = (d[k - 1] * d[k + 1] + shared * shared) // d[k]
        for i in range(k + 1, known + 1):
            t = lam[i][k]
            lam[i][k] = (d[k + 1] * lam[i][k - 1] - shared * t) // d[k]
            lam[i][k - 1] = (middle * t + shared * lam[i][k]) // d[k + 1]
        d[k] = middle

    gram_schmidt(0)
    k, known = 1, 0
    while k < n:
        if k > known:
            known = k
            gram_schmidt(k)
        size_reduce(k, k - 1)
        if 4 * d[k + 1] * d[k - 1] < 3 * d[k] * d[k] - 4 * lam[k][k - 1] ** 2:
            swap(k, known)
            k = max(1, k - 1)
        else:
            for l in range(k - 2, -1, -1):
                size_reduce(k, l)
            k += 1
    return b[0]

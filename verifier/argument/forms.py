"""Linear functionals on committed vectors in product form, and the public sums that go with them.

A `Term` stands for the vector that is 0 outside the aligned subcube [address, address + 2^s) and
coefficient * prod_{v<s} (a_v + b_v X_v) inside, X_v the bits of the index, lowest first (protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verifier.argument.field import ONE, ZERO, K, Words, eq_table, k_add, k_mul, k_scalar, k_sub

Factor = tuple[K, K]


@dataclass(frozen=True)
class Term:
    """coefficient * prod_v (a_v + b_v X_v) on the 2^s cells from `address` (a multiple of 2^s), s = len(factors)."""

    coefficient: K
    factors: tuple[Factor, ...]
    address: int

    def scaled(self, scale: K) -> Term:
        return Term(self.coefficient * scale, self.factors, self.address)

    def moved(self, offset: int) -> Term:
        """The same term `offset` cells further on; offset must keep the alignment."""
        return Term(self.coefficient, self.factors, self.address + offset)


def eq_factors(point: Sequence[K]) -> tuple[Factor, ...]:
    """Factors of eq(point, .): (1 - z) + (2z - 1) X."""
    return tuple((1 - z, 2 * z - 1) for z in point)


def selector(point: Sequence[K], index: int) -> K:
    """eq(point, index) at a vertex: prod_v (z_v if bit v of index else 1 - z_v)."""
    value = ONE
    for v, z in enumerate(point):
        value = value * (z if index >> v & 1 else 1 - z)
    return value


def eq_term(point: Sequence[K], address: int, coefficient: K = ONE) -> Term:
    """The multilinear extension at `point` of the block of 2^len(point) cells from `address`."""
    return Term(coefficient, eq_factors(point), address)


def dyadic_intervals(start: int, stop: int) -> list[tuple[int, int]]:
    """[start, stop) as aligned pieces (address, log_size), ascending; at most two of each size."""
    pieces = []
    while start < stop:
        size = (start & -start).bit_length() - 1 if start else (stop - start).bit_length() - 1
        while start + (1 << size) > stop:
            size -= 1
        pieces.append((start, size))
        start += 1 << size
    return pieces


def interval_terms(point: Sequence[K], start: int, stop: int) -> list[Term]:
    """sum_{start <= i < stop} eq(point, i) f_i as terms on f; stop <= 2^len(point)."""
    factors = eq_factors(point)
    return [
        Term(selector(point[size:], address >> size), factors[:size], address)
        for address, size in dyadic_intervals(start, stop)
    ]


def prefix_sums(point: Sequence[K], stops: npt.NDArray[np.int64]) -> Words:
    """sum_{i < stop} eq(point, i) for every stop in [0, 2^n]: K array (3, len(stops)).

    From the top bit down, the part of the prefix below the highest differing bit: O(n) products per stop.
    """
    count, n = stops.shape[0], len(point)
    total = np.zeros((3, count), np.uint64)
    weight = np.repeat(k_scalar(ONE), count, axis=1)
    full = (stops >> n) > 0
    for v in range(n - 1, -1, -1):
        bit = ((stops >> v) & 1).astype(bool)
        high = k_mul(weight, k_scalar(point[v]))
        low = k_sub(weight, high)
        total = np.where(bit, k_add(total, low), total)
        weight = np.where(bit, high, low)
    return np.where(full, k_scalar(ONE), total)


def prefix_sum(point: Sequence[K], stop: int) -> K:
    """sum_{i < stop} eq(point, i), one stop."""
    total, weight = ZERO, ONE
    if stop >> len(point):
        return ONE
    for v in range(len(point) - 1, -1, -1):
        high = weight * point[v]
        low = weight - high
        if stop >> v & 1:
            total, weight = total + low, high
        else:
            weight = low
    return total


def bind_high(term: Term, columns: int, challenges: Sequence[K]) -> Term:
    """Fix the variables columns, columns + 1, ... (counted from bit 0) to the challenges."""
    coefficient = term.coefficient
    size = len(term.factors)
    for v, r in enumerate(challenges, start=columns):
        if v < size:
            a, b = term.factors[v]
            coefficient = coefficient * (a + b * r)
        else:
            coefficient = coefficient * (r if term.address >> v & 1 else 1 - r)
    return Term(coefficient, term.factors[:columns], term.address & ((1 << columns) - 1))


def merge(terms: Sequence[Term]) -> list[Term]:
    """Add up terms that differ in their coefficient only."""
    table: dict[tuple[tuple[Factor, ...], int], K] = {}
    for term in terms:
        key = (term.factors, term.address)
        present = table.get(key)
        table[key] = term.coefficient if present is None else present + term.coefficient
    return [Term(coefficient, factors, address) for (factors, address), coefficient in table.items()]


def doubled(table: Words, a: K, b: K) -> Words:
    """A table times a + b X for one more variable X, the highest."""
    if 2 * a + b == ONE:  # an eq factor: the two halves add up to the table
        high = k_mul(table, k_scalar(a + b))
        return np.concatenate([k_sub(table, high), high], axis=1)
    low = k_mul(table, k_scalar(a))
    return np.concatenate([low, k_add(low, k_mul(table, k_scalar(b)))], axis=1)


def dense(terms: Sequence[Term], log_size: int) -> Words:
    """The sum of the terms as a vector (3, 2^log_size)."""
    out = np.zeros((3, 1 << log_size), np.uint64)
    for term in terms:
        table = k_scalar(term.coefficient)
        for a, b in term.factors:
            table = doubled(table, a, b)
        piece = slice(term.address, term.address + table.shape[1])
        out[:, piece] = k_add(out[:, piece], table)
    return out


__all__ = [
    "Factor", "Term", "bind_high", "dense", "dyadic_intervals", "eq_factors", "eq_table", "eq_term", "interval_terms",
    "merge", "prefix_sum", "prefix_sums", "selector",
]  # fmt: skip

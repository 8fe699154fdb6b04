"""Linear functionals on committed vectors in product form, and the public sums that go with them.

A `Term` stands for the vector that is 0 outside the aligned subcube [address, address + 2^s) and
coefficient * prod_{v<s} (a_v + b_v X_v) inside, X_v the bits of the index, lowest first (protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from verifier.argument.field import ONE, ZERO, K, Words, eq_table, k_add, k_array, k_mul, k_scalar, k_sub

Factor = tuple[K, K]
CELLS_AT_ONCE = 1 << 14


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


@lru_cache(maxsize=4096)
def eq_factor(z: K) -> Factor:
    """(1 - z) + (2z - 1) X; a script evaluates hundreds of tensors at the same challenges."""
    return (1 - z, 2 * z - 1)


def eq_factors(point: Sequence[K]) -> tuple[Factor, ...]:
    """Factors of eq(point, .): (1 - z) + (2z - 1) X."""
    return tuple(map(eq_factor, point))


def selector(point: Sequence[K], index: int) -> K:
    """eq(point, index) at a vertex: prod_v (z_v if bit v of index else 1 - z_v)."""
    value = ONE
    for v, z in enumerate(point):
        value = value * (z if index >> v & 1 else 1 - z)
    return value


class Selectors:
    """scale * selector(point[size:], index) for many blocks of 2^size cells, each from that of the block twice as
    large."""

    def __init__(self, point: Sequence[K], scale: K = ONE) -> None:
        self._point = point
        self._known = {(len(point), 0): scale}

    def of(self, size: int, index: int) -> K:
        """The selector of block `index`, below 2^(len(point) - size)."""
        known = self._known.get((size, index))
        if known is None:
            z = self._point[size]
            known = self.of(size + 1, index >> 1) * (z if index & 1 else 1 - z)
            self._known[size, index] = known
        return known


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


def interval_terms(point: Sequence[K], start: int, stop: int, scale: K = ONE, address: int = 0) -> list[Term]:
    """scale * sum_{start <= i < stop} eq(point, i) f_i as terms on f, whose cell 0 has the given address, a multiple of
    2^len(point); stop <= 2^len(point)."""
    factors, selectors = eq_factors(point), Selectors(point, scale)
    return [
        Term(selectors.of(size, first >> size), factors[:size], address + first)
        for first, size in dyadic_intervals(start, stop)
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


def bind_rows(terms: Sequence[Term], columns: int, challenges: Sequence[K]) -> list[Term]:
    """`bind_high` of all terms, merged; terms within one row of 2^columns cells share its selector."""
    selectors: dict[int, K] = {}
    bound = []
    for term in terms:
        if len(term.factors) > columns:
            bound.append(bind_high(term, columns, challenges))
            continue
        row, address = term.address >> columns, term.address & ((1 << columns) - 1)
        if row not in selectors:
            selectors[row] = selector(challenges, row)
        bound.append(Term(term.coefficient * selectors[row], term.factors, address))
    return merge(bound)


def merge(terms: Sequence[Term]) -> list[Term]:
    """Add up terms that differ in their coefficient only."""
    table: dict[tuple[tuple[Factor, ...], int], K] = {}
    for term in terms:
        key = (term.factors, term.address)
        present = table.get(key)
        table[key] = term.coefficient if present is None else present + term.coefficient
    return [Term(coefficient, factors, address) for (factors, address), coefficient in table.items()]


def dense(terms: Sequence[Term], log_size: int) -> Words:
    """The sum of the terms as a vector (3, 2^log_size)."""
    out = np.zeros((3, 1 << log_size), np.uint64)
    by_size: dict[int, list[Term]] = {}
    for term in terms:
        by_size.setdefault(len(term.factors), []).append(term)
    for size, group in by_size.items():
        step = max(1, CELLS_AT_ONCE >> size)
        for start in range(0, len(group), step):
            part = group[start : start + step]
            for term, table in zip(part, np.swapaxes(tables(part), 0, 1), strict=True):
                piece = slice(term.address, term.address + (1 << size))
                out[:, piece] = k_add(out[:, piece], table)
    return out


def tables(terms: Sequence[Term]) -> Words:
    """Terms of one size, each on its own cells: (3, len(terms), 2^size)."""
    table = k_array(term.coefficient for term in terms)[:, :, None]
    for pairs in zip(*(term.factors for term in terms), strict=True):
        high = k_mul(table, k_array(a + b for a, b in pairs)[:, :, None])
        if all(2 * a + b == ONE for a, b in pairs):  # eq factors: the two halves add up to the table
            low = k_sub(table, high)
        else:
            low = k_mul(table, k_array(a for a, _ in pairs)[:, :, None])
        table = np.concatenate([low, high], axis=2)
    return table


__all__ = [
    "Factor", "Selectors", "Term", "bind_high", "bind_rows", "dense", "dyadic_intervals", "eq_factors", "eq_table",
    "eq_term", "interval_terms", "merge", "prefix_sum", "prefix_sums", "selector",
]  # fmt: skip

"""The reference kernels with the loops of transforms and fraction trees vectorised: the same numbers, sooner.

`tests/soundness/test_kernels_agree.py` compares the proofs of both, byte by byte.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np

from prover.argument.kernels.interface import Array, Cells, Codeword, DigestTree, Gates, Layer, Leaves, Runs
from prover.argument.kernels.reference import ReferenceCodeword, ReferenceKernels, ReferenceTree
from verifier.argument.field import (
    K,
    Words,
    domain_points,
    f_add,
    f_mul,
    f_sub,
    f_sum,
    k_add,
    k_mul,
    k_scalar,
    k_sub,
    k_sum,
    lift,
)


@lru_cache
def half_roots(n: int) -> Words:
    """The first n / 2 of the n-th roots of unity."""
    return domain_points(range(n // 2), n)


def transform(rows: Words) -> Words:
    """The values of every row's polynomial at the n-th roots of unity, in natural order."""
    count, n = rows.shape
    order = np.zeros(1, np.int64)
    while order.size < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    values = rows[:, order]
    half = 1
    while half < n:
        pairs = values.reshape(count, -1, 2, half)
        even, odd = pairs[:, :, 0], f_mul(pairs[:, :, 1], half_roots(2 * half))
        values = np.stack([f_add(even, odd), f_sub(even, odd)], axis=2).reshape(count, n)
        half *= 2
    return values


@dataclass(frozen=True)
class Fractions(Leaves):
    """Leaf fractions p / q, K arrays."""

    p: Words
    q: Words

    @property
    def count(self) -> int:  # type: ignore[override]
        return int(self.p.shape[1])


def padded(array: Words, value: K) -> Words:
    """An even number of entries, `value` at the end if one is missing."""
    return np.concatenate([array, k_scalar(value)], axis=1) if array.shape[1] % 2 else array


def halves(array: Words, value: K) -> tuple[Words, Words]:
    even = padded(array, value)
    return even[:, 0::2], even[:, 1::2]


FEW = 32
"""Below this many entries plain Python is faster."""

ZERO, ONE = K((0, 0, 0)), K((1, 0, 0))


def combine(p: Words, q: Words) -> tuple[Words, Words]:
    (p0, p1), (q0, q1) = halves(p, ZERO), halves(q, ONE)
    return k_add(k_mul(p0, q1), k_mul(p1, q0)), k_mul(q0, q1)


def gate_tables(source: Any, lam: K) -> list[Words]:
    """p0, t1, q0, q1 of every gate."""
    if isinstance(source, Gates):
        return list(source.tables)
    if isinstance(source, Layer):
        p, q = source.p, source.q
    else:
        p, q = source[0].p, source[0].q
        for _ in range(source[1]):
            p, q = combine(p, q)
    (p0, p1), (q0, q1) = halves(p, ZERO), halves(q, ONE)
    return [p0, k_add(p1, k_mul(q1, k_scalar(lam))), q0, q1]


def gate_pairs(tables: Sequence[Words], lam: K) -> tuple[list[Words], list[Words]]:
    """The gates 2i, and the differences to the gates 2i + 1."""
    pairs = [halves(table, value) for table, value in zip(tables, (ZERO, lam, ONE, ONE), strict=True)]
    return [low for low, _ in pairs], [k_sub(high, low) for low, high in pairs]


def messages(tables: Sequence[Words], lam: K, low: Array, high: Array) -> tuple[K, K]:
    first, step = gate_pairs(tables, lam)
    index = np.arange(first[0].shape[1])
    factors = k_mul(low[:, index % low.shape[1]], high[:, index // low.shape[1]])

    def value(p0: Words, t1: Words, q0: Words, q1: Words) -> K:
        return k_sum(k_mul(factors, k_add(k_mul(p0, q1), k_mul(t1, q0))))

    return value(*first), value(*step)


class QuickKernels(ReferenceKernels):
    """See the module docstring; what is not here is inherited."""

    def encode(self, cells: Any, tails: Array | None, log_n: int) -> Codeword:
        rows = np.zeros((cells.shape[0], 1 << log_n), np.uint64)
        rows[:, : cells.shape[1]] = cells if cells.dtype == np.uint64 else lift(cells.astype(np.int64))
        if tails is not None:
            rows[:, cells.shape[1] : cells.shape[1] + tails.shape[1]] = tails
        return ReferenceCodeword(transform(rows).tolist(), log_n)

    def power_sums(self, positions: Sequence[int], scales: Sequence[K], log_n: int, length: int) -> Array:
        sparse = np.zeros((3, 1 << log_n), np.uint64)
        for position, scale in zip(positions, scales, strict=True):
            sparse[:, position] = f_add(sparse[:, position], np.array(scale, np.uint64))
        return transform(sparse)[:, :length]

    def cell_leaves(self, cells: Cells, runs: Runs, alpha: K) -> Leaves:
        flat = cells.reshape(-1)
        size = int(runs.stop[-1])
        p, q = np.zeros((3, size), np.uint64), np.zeros((3, size), np.uint64)
        q[0] = 1
        for start, stop, group in zip(runs.start.tolist(), runs.stop.tolist(), runs.group.tolist(), strict=True):
            part = flat[start:stop]
            keys = np.zeros((3, stop - start), np.uint64)
            keys[0] = part if part.dtype == np.uint64 else lift(part.astype(np.int64))
            keys[2] = group
            p[0, start:stop] = 1
            q[:, start:stop] = k_sub(np.repeat(k_scalar(alpha), stop - start, axis=1), keys)
        return Fractions(p, q)

    def leaf_layer(self, leaves: Leaves) -> Layer:
        assert isinstance(leaves, Fractions)
        p, q = combine(*combine(leaves.p, leaves.q))
        return Layer(p, q, p.shape[1])

    def next_layer(self, layer: Layer) -> Layer:
        if layer.count <= FEW:
            return super().next_layer(layer)
        p, q = combine(layer.p, layer.q)
        return Layer(p, q, p.shape[1])

    def gate_messages(self, source: Any, lam: K, eq_low: Array, eq_high: Array) -> tuple[K, K]:
        if isinstance(source, Layer | Gates) and source.count <= FEW:
            return super().gate_messages(source, lam, eq_low, eq_high)
        return messages(gate_tables(source, lam), lam, eq_low, eq_high)

    def gate_bind(
        self, source: Any, lam: K, challenge: K, eq: tuple[Array, Array] | None
    ) -> tuple[Gates, tuple[K, K] | None]:
        if isinstance(source, Layer | Gates) and source.count <= FEW:
            return super().gate_bind(source, lam, challenge, eq)
        first, step = gate_pairs(gate_tables(source, lam), lam)
        bound = [
            k_add(low, k_mul(difference, k_scalar(challenge))) for low, difference in zip(first, step, strict=True)
        ]
        return Gates(np.stack(bound), bound[0].shape[1]), None if eq is None else messages(bound, lam, *eq)

    def fold_rows(self, cells: Cells, weights: Sequence[K]) -> Array:
        out = np.zeros((3, cells.shape[1]), np.uint64)
        for row, weight in zip(cells, weights, strict=True):
            values = row if row.dtype == np.uint64 else lift(row.astype(np.int64))
            out = f_add(out, np.stack([f_mul(values, np.array(c, np.uint64)) for c in weight]))
        return out

    def hash_columns(self, codewords: Sequence[Codeword], label: int, salts: Array | None) -> DigestTree:
        log_n = codewords[0].log_n
        n = 1 << log_n
        tables = [np.array(cast(ReferenceCodeword, word).values, np.uint64) for word in codewords]
        columns = np.ascontiguousarray(np.concatenate(tables).T).astype("<u8")
        nodes = [b""] * n
        for j in range(n):
            salt = b"" if salts is None else salts[j].astype("<u8").tobytes()
            nodes.append(hashlib.sha256(b"\x00" + struct.pack("<IQ", label, j) + salt + columns[j].tobytes()).digest())
        for k in range(n - 1, 0, -1):
            nodes[k] = hashlib.sha256(b"\x01" + nodes[2 * k] + nodes[2 * k + 1]).digest()
        return ReferenceTree(nodes, log_n)

    def product_table(self, factors: Sequence[tuple[K, K]], scale: K) -> Array:
        few = min(len(factors), FEW.bit_length())
        table = super().product_table(factors[:few], scale)
        for a, b in factors[few:]:
            table = np.concatenate([k_mul(table, k_scalar(a)), k_mul(table, k_scalar(a + b))], axis=1)
        return table

    def bind_columns(self, cells: Cells, start: int, stop: int, table: Array) -> Array:
        part = cells[:, start:stop].reshape(-1, table.shape[1])
        values = part if part.dtype == np.uint64 else lift(part.astype(np.int64))
        return np.stack([f_sum(f_mul(values, plane[None])) for plane in table])

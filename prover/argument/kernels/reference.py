"""The kernels in the obvious way, for small sizes: Python integers and scalars of K. The fast ones are tested against
them.

Arrays are numpy arrays (F: uint64 (n,), K: uint64 (3, n)), computed on as lists of scalars. Every method is the formula
of its docstring in `interface.py`. Source: protocol.md, sections 1, 3, 6 (logUp) and 7.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.interface import Array, Cells, Codeword, DigestTree, Gates, Kernels, Layer, Leaves, Runs
from verifier.argument.field import ONE, ZERO, K, P, Words, k_array, k_list, root_of_unity


class Fraction(NamedTuple):
    """p / q in K; never divided."""

    p: K
    q: K


class Gate(NamedTuple):
    """The gate of two fractions p0/q0 and p1/q1, with t1 = p1 + lam q1."""

    p0: K
    t1: K
    q0: K
    q1: K

    def value(self) -> K:
        return self.p0 * self.q1 + self.t1 * self.q0

    def minus(self, other: Gate) -> Gate:
        return Gate(*(a - b for a, b in zip(self, other, strict=True)))

    def bound(self, high: Gate, challenge: K) -> Gate:
        return Gate(*(a + challenge * (b - a) for a, b in zip(self, high, strict=True)))


NEUTRAL = Fraction(ZERO, ONE)


@dataclass(frozen=True)
class ReferenceCodeword(Codeword):
    """`values[i][j]`: row i at position j, natural order."""

    values: list[list[int]]
    log_n: int

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.values)


@dataclass(frozen=True)
class ReferenceTree(DigestTree):
    """`nodes[k]`: digest of node k, heap numbering; entry 0 is unused."""

    nodes: list[bytes]
    log_n: int

    @property
    def root(self) -> bytes:
        return self.nodes[1]

    def digests(self, nodes: Sequence[int]) -> list[bytes]:
        return [self.nodes[k] for k in nodes]


@dataclass(frozen=True)
class ReferenceLeaves(Leaves):
    """All leaf fractions."""

    fractions: list[Fraction]

    @property
    def count(self) -> int:  # type: ignore[override]
        return len(self.fractions)


class ReferenceKernels(Kernels):
    """Slow and authoritative; see the module docstring."""

    name = "reference"

    # ------------------------------------------------------------ memory
    def upload(self, array: npt.NDArray[Any]) -> Array:
        return np.array(array)

    def download(self, array: Array) -> Words:
        return np.array(array)

    # ------------------------------------------------------------ commitment
    def encode(self, cells: Cells, tails: Array | None, log_n: int) -> Codeword:
        values = []
        for i, row in enumerate(_rows(cells)):
            coefficients = row + ([] if tails is None else [int(x) for x in tails[i]])
            if len(coefficients) > 1 << log_n:
                raise ValueError(f"{len(coefficients)} coefficients do not fit a codeword of length 2^{log_n}")
            values.append(_transform(coefficients + [0] * ((1 << log_n) - len(coefficients))))
        return ReferenceCodeword(values, log_n)

    def columns(self, codeword: Codeword, positions: Sequence[int]) -> Words:
        assert isinstance(codeword, ReferenceCodeword)
        picked = [[row[j] for row in codeword.values] for j in positions]
        return np.array(picked, np.uint64).reshape(len(positions), codeword.rows)

    def hash_columns(self, codewords: Sequence[Codeword], label: int, salts: Array | None) -> DigestTree:
        log_n = codewords[0].log_n
        n = 1 << log_n
        nodes = [b""] * (2 * n)
        for j in range(n):
            salt = b"" if salts is None else struct.pack("<4Q", *(int(x) for x in salts[j]))
            column = [int(x) for codeword in codewords for x in self.columns(codeword, [j])[0]]
            message = b"\x00" + struct.pack("<IQ", label, j) + salt + struct.pack(f"<{len(column)}Q", *column)
            nodes[n + j] = hashlib.sha256(message).digest()
        for k in range(n - 1, 0, -1):
            nodes[k] = hashlib.sha256(b"\x01" + nodes[2 * k] + nodes[2 * k + 1]).digest()
        return ReferenceTree(nodes, log_n)

    def fold_rows(self, cells: Cells, weights: Sequence[K]) -> Array:
        rows = _rows(cells)
        width = cells.shape[1]
        return k_array(_sum(w * row[c] for w, row in zip(weights, rows, strict=True)) for c in range(width))

    def bind_columns(self, cells: Cells, start: int, stop: int, table: Array) -> Array:
        weights = k_list(table)
        size = len(weights)
        return k_array(
            _sum(w * x for w, x in zip(weights, row[piece : piece + size], strict=True))
            for row in _rows(cells)
            for piece in range(start, stop, size)
        )

    def histogram(self, cells: Cells, start: int, stop: int, counts: npt.NDArray[np.int64]) -> None:
        values = [int(x) for x in cells.reshape(-1)[start:stop]]
        if any(not -32768 <= x <= 32767 for x in values):
            raise ValueError("a cell lies outside [-32768, 32767]")
        for x in values:
            counts[x + 32768] += 1

    # ------------------------------------------------------------ vectors over K
    def product_table(self, factors: Sequence[tuple[K, K]], scale: K) -> Array:
        table = [scale]
        for a, b in factors:
            table = [a * x for x in table] + [(a + b) * x for x in table]
        return k_array(table)

    def zeros(self, count: int) -> Array:
        return np.zeros((3, count), np.uint64)

    def add_into(self, target: Array, start: int, values: Array) -> None:
        stop = start + values.shape[1]
        target[:, start:stop] = k_array(
            x + y for x, y in zip(k_list(target[:, start:stop]), k_list(values), strict=True)
        )

    def axpy(self, target: Array, scale: K, values: Array) -> None:
        stop = values.shape[1]
        target[:, :stop] = k_array(x + scale * y for x, y in zip(k_list(target[:, :stop]), k_list(values), strict=True))

    def dot(self, a: Array, b: Array) -> K:
        return _sum(x * y for x, y in zip(k_list(a), k_list(b), strict=False))

    def split_rows(self, vector: Array, columns: int) -> Cells:
        scalars = k_list(vector)
        rows = -(-len(scalars) // columns)
        scalars += [ZERO] * (rows * columns - len(scalars))
        split = [
            [x[coefficient] for x in scalars[i * columns : (i + 1) * columns]]
            for i in range(rows)
            for coefficient in range(3)
        ]
        return np.array(split, np.uint64).reshape(3 * rows, columns)

    def power_sums(self, positions: Sequence[int], scales: Sequence[K], log_n: int, length: int) -> Array:
        w = root_of_unity(1 << log_n)
        return k_array(
            _sum(s * pow(w, j * k, P) for j, s in zip(positions, scales, strict=True)) for k in range(length)
        )

    # ------------------------------------------------------------ sumcheck of a product
    def product_messages(self, a: Array, b: Array, block: int) -> tuple[K, K]:
        at_zero, at_infinity = ZERO, ZERO
        for (low_a, high_a), (low_b, high_b) in zip(_pairs(a, block), _pairs(b, block), strict=True):
            at_zero = at_zero + low_a * low_b
            at_infinity = at_infinity + (high_a - low_a) * (high_b - low_b)
        return at_zero, at_infinity

    def product_bind(self, a: Array, challenge: K, block: int) -> Array:
        return k_array(low + challenge * (high - low) for low, high in _pairs(a, block))

    def weighted_messages(self, a: Array, b: Array, low: Array, high: Array) -> tuple[K, K, K]:
        weights_low, weights_high = k_list(low), k_list(high)
        constant, linear, square = ZERO, ZERO, ZERO
        for i, ((low_a, high_a), (low_b, high_b)) in enumerate(zip(_pairs(a, 1), _pairs(b, 1), strict=True)):
            weight = weights_low[i % len(weights_low)] * weights_high[i // len(weights_low)]
            step_a, step_b = high_a - low_a, high_b - low_b
            constant = constant + weight * (low_a * low_b)
            linear = linear + weight * (low_a * step_b + step_a * low_b)
            square = square + weight * (step_a * step_b)
        return constant, linear, square

    # ------------------------------------------------------------ fraction trees
    def cell_leaves(self, cells: Cells, runs: Runs, alpha: K) -> Leaves:
        flat = cells.reshape(-1)
        leaves = [NEUTRAL] * (int(runs.stop[-1]) if len(runs.stop) else 0)
        for start, stop, group in zip(runs.start.tolist(), runs.stop.tolist(), runs.group.tolist(), strict=True):
            for i in range(start, stop):
                leaves[i] = Fraction(ONE, alpha - K((int(flat[i]) % P, 0, group)))
        return ReferenceLeaves(leaves)

    def leaf_layer(self, leaves: Leaves) -> Layer:
        return _layer(_combine(_combine(_leaf_fractions(leaves))))

    def next_layer(self, layer: Layer) -> Layer:
        return _layer(_combine(_fractions(layer)))

    def gate_messages(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, eq_low: Array, eq_high: Array
    ) -> tuple[K, K]:
        return _messages(_gates(source, lam), lam, eq_low, eq_high)

    def gate_bind(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, challenge: K, eq: tuple[Array, Array] | None
    ) -> tuple[Gates, tuple[K, K] | None]:
        bound = [low.bound(high, challenge) for low, high in _gate_pairs(_gates(source, lam), lam)]
        tables = np.stack([k_array(column) for column in zip(*bound, strict=True)])
        return Gates(tables, len(bound)), None if eq is None else _messages(bound, lam, *eq)


def _sum(values: Any) -> K:
    return sum(values, start=ZERO)


def _rows(cells: Cells) -> list[list[int]]:
    """The cells as canonical field elements."""
    return [[int(x) % P for x in row] for row in cells]


def _transform(coefficients: list[int]) -> list[int]:
    """Values at the n-th roots of unity, natural order, by the even-odd recursion."""
    n = len(coefficients)
    if n == 1:
        return coefficients
    even, odd = _transform(coefficients[0::2]), _transform(coefficients[1::2])
    w, half = root_of_unity(n), n // 2
    twisted = [pow(w, j, P) * odd[j] for j in range(half)]
    return [(even[j] + twisted[j]) % P for j in range(half)] + [(even[j] - twisted[j]) % P for j in range(half)]


def _pairs(a: Array, block: int) -> list[tuple[K, K]]:
    """(low, high) for every low entry of every pair of blocks; a missing high entry is 0."""
    scalars = [K.of(int(x)) for x in a] if a.ndim == 1 else k_list(a)
    pairs = []
    for base in range(0, len(scalars), 2 * block):
        for i in range(base, min(base + block, len(scalars))):
            pairs.append((scalars[i], scalars[i + block] if i + block < len(scalars) else ZERO))
    return pairs


def _leaf_fractions(leaves: Leaves) -> list[Fraction]:
    assert isinstance(leaves, ReferenceLeaves)
    return leaves.fractions


def _fractions(layer: Layer) -> list[Fraction]:
    return [Fraction(p, q) for p, q in zip(k_list(layer.p), k_list(layer.q), strict=True)]


def _neighbours(fractions: list[Fraction]) -> list[tuple[Fraction, Fraction]]:
    padded = fractions + [NEUTRAL] * (len(fractions) % 2)
    return list(zip(padded[0::2], padded[1::2], strict=True))


def _combine(fractions: list[Fraction]) -> list[Fraction]:
    return [Fraction(a.p * b.q + b.p * a.q, a.q * b.q) for a, b in _neighbours(fractions)]


def _layer(fractions: list[Fraction]) -> Layer:
    return Layer(k_array(x.p for x in fractions), k_array(x.q for x in fractions), len(fractions))


def _gates(source: Layer | Gates | tuple[Leaves, int], lam: K) -> list[Gate]:
    if isinstance(source, Gates):
        return [Gate(*tables) for tables in zip(*(k_list(table) for table in source.tables), strict=True)]
    if isinstance(source, Layer):
        fractions = _fractions(source)
    else:
        fractions = _leaf_fractions(source[0])
        for _ in range(source[1]):
            fractions = _combine(fractions)
    return [Gate(a.p, b.p + lam * b.q, a.q, b.q) for a, b in _neighbours(fractions)]


def _gate_pairs(gates: list[Gate], lam: K) -> list[tuple[Gate, Gate]]:
    padded = gates + [Gate(ZERO, lam, ONE, ONE)] * (len(gates) % 2)
    return list(zip(padded[0::2], padded[1::2], strict=True))


def _messages(gates: list[Gate], lam: K, eq_low: Array, eq_high: Array) -> tuple[K, K]:
    low_factors, high_factors = k_list(eq_low), k_list(eq_high)
    size = len(low_factors)
    at_zero, at_infinity = ZERO, ZERO
    for i, (low, high) in enumerate(_gate_pairs(gates, lam)):
        e = low_factors[i % size] * high_factors[i // size]
        at_zero = at_zero + e * low.value()
        at_infinity = at_infinity + e * high.minus(low).value()
    return at_zero, at_infinity

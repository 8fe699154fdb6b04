"""Linear functionals on the tensors of a program, pushed back to atoms and bilinear products.

A functional on a tensor of shape (d_1, ..., d_k) is coefficient * prod over axes of a product form in the axis's
index bits,
on the real cells only. Linear rules map it to functionals of the same kind; what is left is a combination of
claims about committed cells, a public number, and evaluations of bilinear values, which a sumcheck then reduces.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

import numpy as np

from circuits.errors import StatementError
from circuits.graph_nodes import array_digest
from circuits.program import (
    Advice,
    Constant,
    Einsum,
    Expanded,
    Histogram,
    Identity,
    Indexed,
    Integers,
    Permuted,
    Published,
    Squeezed,
    Stored,
    Sum,
    Summed,
    Value,
    Weight,
)  # fmt: skip
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Oracle
from verifier.argument.field import HALF, ONE, ZERO, K, Words, f_add, f_mul, f_sum, k_mul, k_scale, k_sum, lift
from verifier.argument.forms import Factor, Term, dense
from verifier.argument.program.regions import AdviceRegions, axis_bits, axis_pieces, chosen

Factors = tuple[tuple[Factor, ...], ...]
ALL_ONES: Factor = (ONE, ZERO)
PIECE_BITS = 16
SMALL = 4096
FEW_ROWS = 4
CELLS_AT_ONCE = 1 << 14
"""Of a matrix of public integers: as floats they stay in the cache, and their products on one thread."""


@dataclass(frozen=True)
class Request:
    """An evaluation of a bilinear or indexed value under a functional with coefficient 1."""

    value: Einsum | Indexed
    factors: Factors


@dataclass
class Combination:
    """sum of claims on committed cells + a public number + sum of coefficient * requested evaluation.

    `constant` says that public tensors took part, whatever they amount to: what is sent may depend on it, and never on
    the number, which the dry run does not know.
    """

    terms: list[tuple[Oracle, Term]] = field(default_factory=list)
    public: K = ZERO
    requests: dict[Request, K] = field(default_factory=dict)
    constant: bool = False

    def add_public(self, number: K) -> None:
        """A public tensor's share."""
        self.public = self.public + number
        self.constant = True


@lru_cache(maxsize=1024)
def interval_sum(factors: tuple[Factor, ...], size: int) -> K:
    """sum over i < size of prod_v (a_v + b_v bit_v(i)), by dyadic pieces."""
    total = ZERO
    for start, log in axis_pieces(size):
        value = chosen(factors[log:], start >> log)
        for a, b in factors[:log]:
            value = value * (2 * a + b)
        total = total + value
    return total


def trace(rows: Sequence[Factor], columns: Sequence[Factor], size: int) -> K:
    """sum over i < size of the two product forms at i: the functional on the identity matrix.

    A bit x takes two values only: (a + b x)(c + d x) = ac + ((a + b)(c + d) - ac) x.
    """
    corners = [(a * c, (a + b) * (c + d)) for (a, b), (c, d) in zip(rows, columns, strict=True)]
    return interval_sum(tuple((low, high - low) for low, high in corners), size)


@lru_cache(maxsize=32)
def axis_table(factors: tuple[Factor, ...], size: int) -> Words:
    """The product form of an axis as a K vector (3, size), read-only."""
    table = dense([Term(ONE, factors, 0)], len(factors))[:, :size]
    table.flags.writeable = False
    return table


def row_products(matrix: Stored, table: Words) -> Words:
    """Inner products of every row of integers with a K table (3, columns): K array (3, rows).

    They go through float64 matrix products, exactly: with 16 bits of the table at a time, and as many bits of the
    integers as leave room, every sum stays below 2^53.
    """
    rows, columns = matrix.shape
    if rows < FEW_ROWS or matrix.size < SMALL:
        return f_sum(k_scale(table[:, None, :], lift(matrix)))
    room = 53 - PIECE_BITS - columns.bit_length()
    if max(int(matrix.max()), -int(matrix.min())) >> room:
        wide = matrix.astype(np.int64)
        high, low = (row_products(part, table) for part in (wide >> room, wide & ((1 << room) - 1)))
        return f_add(f_mul(high, np.full_like(high, 1 << room)), low)
    shifts = np.arange(0, 64, PIECE_BITS, dtype=np.uint64)
    mask = np.uint64((1 << PIECE_BITS) - 1)
    pieces = ((table.T[:, :, None] >> shifts) & mask).astype(np.float64).reshape(columns, -1)
    sums = np.empty((rows, pieces.shape[1]))
    step = max(1, CELLS_AT_ONCE // columns)
    for start in range(0, rows, step):
        np.matmul(matrix[start : start + step].astype(np.float64), pieces, out=sums[start : start + step])
    scaled = f_mul(lift(sums.astype(np.int64)).reshape(rows, 3, -1), np.uint64(1) << shifts)
    return f_sum(np.ascontiguousarray(scaled.transpose(1, 0, 2)))


def contract(array: Stored, factors: Factors) -> K:
    """The functional on public integers, axis by axis from the last."""
    if not array.shape:
        return ONE * int(array)
    values = row_products(array.reshape(-1, array.shape[-1]), axis_table(factors[-1], array.shape[-1]))
    values = values.reshape(3, *array.shape[:-1])
    for axis in range(array.ndim - 2, -1, -1):
        table = axis_table(factors[axis], array.shape[axis])
        values = f_sum(k_mul(values, table.reshape(3, *([1] * axis), -1)))
    return k_sum(values.reshape(3, 1))


class Pusher:
    """Pushes functionals through the linear rules of one program, for one proof."""

    def __init__(
        self,
        models: Sequence[Oracle],
        commitments: Sequence[Commitment],
        regions: AdviceRegions,
        disclosed: Mapping[str, Integers],
        rank: Mapping[int, int],
        counting: bool,
    ) -> None:
        self._models, self._commitments = models, commitments
        self._regions, self._disclosed = regions, disclosed
        self._rank, self._serial = rank, 0
        self._counting = counting
        self._digests: dict[int, str] = {}
        self._values: dict[tuple[str, tuple[int, ...], Factors], K] = {}

    def push(self, functionals: Sequence[tuple[Value, Factors, K]]) -> Combination:
        """sum of coefficient * (functional on value) over (value, factors, coefficient), as a combination.

        Values are taken in reverse order of definition, so that one used by many others is looked at once.
        """
        into = Combination()
        self._waiting: dict[tuple[int, Factors], tuple[Value, K]] = {}
        self._heap: list[tuple[int, int, tuple[int, Factors]]] = []
        for value, factors, coefficient in functionals:
            self._add(value, factors, coefficient)
        while self._heap:
            *_, key = heapq.heappop(self._heap)
            value, coefficient = self._waiting.pop(key)
            self._expand(value, key[1], coefficient, into)
        return into

    def _add(self, value: Value, factors: Factors, coefficient: K) -> None:
        key = (id(value), factors)
        if key in self._waiting:
            self._waiting[key] = (value, self._waiting[key][1] + coefficient)
        else:
            self._waiting[key] = (value, coefficient)
            self._serial += 1
            heapq.heappush(self._heap, (-self._rank[id(value)], self._serial, key))

    def _public(self, value: Value, array: Stored, factors: Factors) -> K:
        if self._counting:
            return ONE
        if id(value) not in self._digests:
            self._digests[id(value)] = array_digest(array)
        key = (self._digests[id(value)], array.shape, factors)
        if key not in self._values:
            self._values[key] = contract(array, factors)
        return self._values[key]

    def _expand(self, value: Value, factors: Factors, coefficient: K, into: Combination) -> None:
        if isinstance(value, Weight):
            self._weight(value, factors, coefficient, into)
        elif isinstance(value, Histogram):
            address = self._commitments[value.commitment].layout.histogram_address(value.group)
            into.terms.append((self._models[value.commitment], Term(coefficient, factors[0], address)))
        elif isinstance(value, Advice):
            into.terms.extend(self._regions.terms(value, factors, coefficient))
            if self._regions.is_count(value):
                return
            total = coefficient * value.low
            for axis, size in zip(factors, value.shape, strict=True):
                total = total * interval_sum(axis, size)
            into.public = into.public + total
        elif isinstance(value, Constant):
            into.add_public(coefficient * self._public(value, value.array, factors))
        elif isinstance(value, Identity):
            into.add_public(coefficient * trace(factors[0], factors[1], value.shape[0]))
        elif isinstance(value, Published):
            into.add_public(coefficient * self._public(value, self._disclosed[value.name], factors))
        elif isinstance(value, Einsum):
            self._request(Request(value, factors), coefficient, into)
        elif isinstance(value, Indexed):
            self._indexed(value, factors, coefficient, into)
        else:
            self._linear(value, factors, coefficient)

    @staticmethod
    def _request(request: Request, coefficient: K, into: Combination) -> None:
        into.requests[request] = into.requests.get(request, ZERO) + coefficient

    def _weight(self, value: Weight, factors: Factors, coefficient: K, into: Combination) -> None:
        rows, columns = factors
        oracle = self._models[value.commitment]
        for block in self._commitments[value.commitment].layout.tensor_blocks(value.name):
            scale = chosen(rows[block.log_rows :], block.row0 >> block.log_rows)
            scale = scale * chosen(columns[block.log_cols :], block.col0 >> block.log_cols)
            low = (*columns[: block.log_cols], *rows[: block.log_rows])
            into.terms.append((oracle, Term(coefficient * scale, low, block.address)))

    def _linear(self, value: Value, factors: Factors, coefficient: K) -> None:
        if isinstance(value, Sum):
            scale = coefficient * HALF if value.divisor == 2 else coefficient
            for factor, part in value.parts:
                self._add(part, factors, scale * factor)
        elif isinstance(value, Permuted):
            source: list[tuple[Factor, ...]] = [()] * len(factors)
            for axis, origin in enumerate(value.axes):
                source[origin] = factors[axis]
            self._add(value.source, tuple(source), coefficient)
        elif isinstance(value, Expanded):
            narrowed = list(factors)
            for axis, (size, own) in enumerate(zip(value.shape, value.source.shape, strict=True)):
                if own == 1 and size > 1:
                    coefficient = coefficient * interval_sum(factors[axis], size)
                    narrowed[axis] = ()
            self._add(value.source, tuple(narrowed), coefficient)
        elif isinstance(value, Squeezed):
            kept = iter(axis for axis, size in zip(factors, value.shape, strict=True) if size > 1)
            self._add(value.source, tuple(() if s == 1 else next(kept) for s in value.source.shape), coefficient)
        elif isinstance(value, Summed):
            rest = iter(factors)
            widened = tuple(
                (ALL_ONES,) * axis_bits(size) if axis in value.axes else next(rest)
                for axis, size in enumerate(value.source.shape)
            )
            self._add(value.source, widened, coefficient)
        else:
            raise StatementError(f"a {type(value).__name__} cannot be proved: an error in the statement")

    def _indexed(self, value: Indexed, factors: Factors, coefficient: K, into: Combination) -> None:
        """Pure re-splitting of index bits passes through; everything else is requested."""
        if len(value.sources) == 1 and resplits(value.shape, value.sources[0].shape, value.index):
            low = [factor for axis in reversed(factors) for factor in axis]
            split, offset = [], 0
            for size in reversed(value.sources[0].shape):
                split.append(tuple(low[offset : offset + axis_bits(size)]))
                offset += axis_bits(size)
            self._add(value.sources[0], tuple(reversed(split)), coefficient)
        else:
            self._request(Request(value, factors), coefficient, into)


def resplits(result: Sequence[int], source: Sequence[int], index: Integers) -> bool:
    """Is it a reshape between shapes whose axes, but for the first, are powers of two?"""

    def powers_but_first(shape: Sequence[int]) -> bool:
        return all(size & (size - 1) == 0 for size in shape[1:])

    bits = [sum(map(axis_bits, shape)) for shape in (result, source)]
    return (
        prod(result) == prod(source) == index.size
        and powers_but_first(result)
        and powers_but_first(source)
        and bits[0] == bits[1]
        and np.array_equal(index, np.arange(index.size))
    )

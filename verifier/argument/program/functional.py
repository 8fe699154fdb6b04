"""Linear functionals on the tensors of a program, pushed back to atoms and bilinear products.

A functional on a tensor of shape (d_1, ..., d_k) is coefficient * prod over axes of a product form in the axis's
index bits,
on the real cells only. Linear rules map it to functionals of the same kind; what is left is a combination of
claims about committed cells, a public number, and evaluations of bilinear values, which a sumcheck then reduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from circuits.errors import StatementError
from circuits.program import (
    Advice,
    Constant,
    Einsum,
    Expanded,
    Histogram,
    Indexed,
    Integers,
    Permuted,
    Published,
    Squeezed,
    Sum,
    Summed,
    Value,
    Weight,
)  # fmt: skip
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Oracle
from verifier.argument.field import HALF, ONE, ZERO, K, Words, f_sum, k_mul, k_scale, k_sum, lift
from verifier.argument.forms import Factor, Term, dense
from verifier.argument.program.regions import AdviceRegions, axis_bits, axis_pieces, chosen

Factors = tuple[tuple[Factor, ...], ...]
ALL_ONES: Factor = (ONE, ZERO)


@dataclass(frozen=True)
class Request:
    """An evaluation of a bilinear or indexed value under a functional with coefficient 1."""

    value: Einsum | Indexed
    factors: Factors


@dataclass
class Combination:
    """sum of claims on committed cells + a public number + sum of coefficient * requested evaluation."""

    terms: list[tuple[Oracle, Term]] = field(default_factory=list)
    public: K = ZERO
    requests: dict[Request, K] = field(default_factory=dict)


def interval_sum(factors: Sequence[Factor], size: int) -> K:
    """sum over i < size of prod_v (a_v + b_v bit_v(i)), by dyadic pieces."""
    total = ZERO
    for start, log in axis_pieces(size):
        value = chosen(factors[log:], start >> log)
        for a, b in factors[:log]:
            value = value * (2 * a + b)
        total = total + value
    return total


def axis_table(factors: Sequence[Factor], size: int) -> Words:
    """The product form of an axis as a K vector (3, size)."""
    return dense([Term(ONE, tuple(factors), 0)], len(factors))[:, :size]


def contract(array: Integers, factors: Factors) -> K:
    """The functional on public integers, axis by axis from the last."""
    if not array.shape:
        return ONE * int(array)
    planes = k_scale(axis_table(factors[-1], array.shape[-1])[:, None, :], lift(array.reshape(-1, array.shape[-1])))
    values = f_sum(planes).reshape(3, *array.shape[:-1])
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
    ) -> None:
        self._models, self._commitments = models, commitments
        self._regions, self._disclosed = regions, disclosed

    def push(self, value: Value, factors: Factors, coefficient: K, into: Combination) -> None:
        """Add coefficient * (functional on `value`) to a combination."""
        if isinstance(value, Weight):
            self._weight(value, factors, coefficient, into)
        elif isinstance(value, Histogram):
            address = self._commitments[value.commitment].layout.histogram_address(value.group)
            into.terms.append((self._models[value.commitment], Term(coefficient, factors[0], address)))
        elif isinstance(value, Advice):
            into.terms.extend(self._regions.terms(value, factors, coefficient))
            total = coefficient * value.low
            for axis, size in zip(factors, value.shape, strict=True):
                total = total * interval_sum(axis, size)
            into.public = into.public + total
        elif isinstance(value, Constant):
            into.public = into.public + coefficient * contract(value.array, factors)
        elif isinstance(value, Published):
            into.public = into.public + coefficient * contract(self._disclosed[value.name], factors)
        elif isinstance(value, Einsum):
            self._request(Request(value, factors), coefficient, into)
        elif isinstance(value, Indexed):
            self._indexed(value, factors, coefficient, into)
        else:
            self._linear(value, factors, coefficient, into)

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

    def _linear(self, value: Value, factors: Factors, coefficient: K, into: Combination) -> None:
        if isinstance(value, Sum):
            scale = coefficient * HALF if value.divisor == 2 else coefficient
            for factor, part in value.parts:
                self.push(part, factors, scale * factor, into)
        elif isinstance(value, Permuted):
            source: list[tuple[Factor, ...]] = [()] * len(factors)
            for axis, origin in enumerate(value.axes):
                source[origin] = factors[axis]
            self.push(value.source, tuple(source), coefficient, into)
        elif isinstance(value, Expanded):
            narrowed = list(factors)
            for axis, (size, own) in enumerate(zip(value.shape, value.source.shape, strict=True)):
                if own == 1 and size > 1:
                    coefficient = coefficient * interval_sum(factors[axis], size)
                    narrowed[axis] = ()
            self.push(value.source, tuple(narrowed), coefficient, into)
        elif isinstance(value, Squeezed):
            kept = iter(axis for axis, size in zip(factors, value.shape, strict=True) if size > 1)
            self.push(value.source, tuple(() if s == 1 else next(kept) for s in value.source.shape), coefficient, into)
        elif isinstance(value, Summed):
            rest = iter(factors)
            widened = tuple(
                (ALL_ONES,) * axis_bits(size) if axis in value.axes else next(rest)
                for axis, size in enumerate(value.source.shape)
            )
            self.push(value.source, widened, coefficient, into)
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
            self.push(value.sources[0], tuple(reversed(split)), coefficient, into)
        else:
            self._request(Request(value, factors), coefficient, into)


def resplits(result: Sequence[int], source: Sequence[int], index: Integers) -> bool:
    """Is it a reshape between shapes whose axes, but for the first, are powers of two?"""

    def powers_but_first(shape: Sequence[int]) -> bool:
        return all(size & (size - 1) == 0 for size in shape[1:])

    bits = [sum(map(axis_bits, shape)) for shape in (result, source)]
    return (
        powers_but_first(result)
        and powers_but_first(source)
        and bits[0] == bits[1]
        and np.array_equal(index, np.arange(index.size))
    )

"""Making program values: sums without repetition, products, selections; shared by all of lowering."""

from __future__ import annotations

import math

import numpy as np

from circuits.graph_nodes import Labels
from circuits.program import (
    Constant,
    Einsum,
    Expanded,
    Indexed,
    Integers,
    Permuted,
    Shape,
    Squeezed,
    Stored,
    Sum,
    Summed,
    Value,
)

Part = tuple[int, Value]


def constant(array: Stored) -> Constant:
    """Public integers."""
    return Constant(array.shape, int(array.min()), int(array.max()), array)


def full(shape: Shape, value: int) -> Value:
    """A public integer in every cell."""
    cell = constant(np.full((1,) * len(shape), value, np.int64))
    return cell if cell.shape == shape else Expanded(shape, value, value, cell)


def is_zero(value: Value) -> bool:
    """Every cell is 0, whatever the witness."""
    return value.low == 0 == value.high


def weighted_sum(shape: Shape, parts: list[Part], low: int, high: int, divisor: int = 1) -> Value:
    """sum_i factor_i * value_i / divisor in [low, high]; equal values are merged and zeros left out."""
    factors: dict[Value, int] = {}
    for factor, value in parts:
        if not is_zero(value):
            factors[value] = factors.get(value, 0) + factor
    merged = tuple((factor, value) for value, factor in factors.items() if factor)
    if not merged:
        return full(shape, 0)
    if divisor == 1 and merged[0][0] == 1 and len(merged) == 1:
        return merged[0][1]
    return Sum(shape, low, high, merged, divisor)


def difference(a: Value, b: Value) -> Value:
    """a - b, of one shape."""
    return weighted_sum(a.shape, [(1, a), (-1, b)], a.low - b.high, a.high - b.low)


def complement(bit: Value) -> Value:
    """1 - bit."""
    return weighted_sum(bit.shape, [(1, full(bit.shape, 1)), (-1, bit)], 1 - bit.high, 1 - bit.low)


def product(a: Value, b: Value) -> Value:
    """a * b cell by cell, of one shape."""
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    axes = tuple(range(len(a.shape)))
    return Einsum(a.shape, min(corners), max(corners), a, b, axes, axes, axes)


def squeezed(value: Value, shape: Shape) -> Value:
    """`value` with axes of size 1 removed or inserted."""
    if isinstance(value, Squeezed):
        value = value.source
    return value if value.shape == shape else Squeezed(shape, value.low, value.high, value)


def permuted(value: Value, axes: tuple[int, ...]) -> Value:
    """Transpose."""
    if axes == tuple(range(len(axes))):
        return value
    return Permuted(tuple(value.shape[axis] for axis in axes), value.low, value.high, value, axes)


def indexed(sources: tuple[Value, ...], index: Integers, shape: Shape) -> Value:
    """Cell i is cell index[i] of the concatenated sources."""
    low, high = min(s.low for s in sources), max(s.high for s in sources)
    return Indexed(shape, low, high, sources, np.ascontiguousarray(index, np.int64).ravel())


def summed(value: Value, axes: tuple[int, ...], low: int, high: int) -> Value:
    """ReduceSum over `axes`, which are gone."""
    if not axes:
        return value
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    return Summed(shape, low, high, value, axes)


def reshaped(value: Value, shape: Shape) -> Value:
    """The same cells in row-major order."""
    if [size for size in value.shape if size > 1] == [size for size in shape if size > 1]:
        return squeezed(value, shape)
    return indexed((value,), np.arange(math.prod(shape), dtype=np.int64), shape)


def contraction(
    left: Value, right: Value, labels: tuple[Labels, Labels, Labels], shape: Shape, low: int, high: int
) -> Value:
    """The einsum of two operands; a product with one public integer becomes a sum."""
    one, two, output = labels
    for scalar, value, own in ((left, right, two), (right, left, one)):
        if isinstance(scalar, Constant) and scalar.array.size == 1:
            factor = int(scalar.array.flat[0])
            axes = tuple(axis for axis, label in enumerate(own) if label not in output)
            count = math.prod(value.shape[axis] for axis in axes)
            reduced = summed(value, axes, count * value.low, count * value.high)
            kept = [label for label in own if label in output]
            ordered = permuted(reduced, tuple(kept.index(label) for label in output if label in kept))
            return weighted_sum(shape, [(factor, squeezed(ordered, shape))], low, high)
    return Einsum(shape, low, high, left, right, one, two, output)

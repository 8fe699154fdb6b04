"""Programs at the prover: evaluations of tensors under functionals, and the waves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from circuits.program import Einsum, Indexed, Value
from prover.argument.kernels.interface import Array, Kernels
from verifier.argument.field import ONE, X2, ZERO, K, Words, f_mul, f_sum, k_add, k_list, k_mul, k_scalar, lift
from verifier.argument.program.functional import Factors, Request, axis_table
from verifier.argument.program.regions import axis_bits
from verifier.argument.program.waves import Item, Side, full_table, items_of, source_range
from verifier.argument.workers import Maybe, WaveWorker

if TYPE_CHECKING:
    from prover.argument.engine import ProvingEngine

X = K((0, 1, 0))
# Contractions of more cells than this go to the kernels.
SMALL = 1 << 12
LOW_VARIABLES = 12


def fold_axis(kernels: Kernels, array: npt.NDArray[Any], planes: bool, table: Words) -> Words:
    """Contract the first axis with a K table: integers (n, ...) or K planes (3, n, ...) to K planes (3, ...)."""
    shape = array.shape[2:] if planes else array.shape[1:]
    count = table.shape[1]
    flat: npt.NDArray[Any]
    if not planes:
        flat = array.reshape(count, -1)
        if flat.size > SMALL and flat.shape[1] > 1:
            return np.asarray(kernels.download(kernels.fold_rows(cells_of(kernels, flat), k_list(table)))).reshape(
                3, *shape
            )
        values = lift(flat)
        return f_sum(np.stack([f_mul(plane[None, :], values.T) for plane in table])).reshape(3, *shape)
    flat = array.reshape(3, count, -1)
    if flat.size > SMALL and flat.shape[2] > 1:
        folded = [
            np.asarray(kernels.download(kernels.fold_rows(kernels.upload(np.ascontiguousarray(plane)), k_list(table))))
            for plane in flat
        ]
        total = k_add(folded[0], k_mul(k_scalar(X), folded[1]))
        return k_add(total, k_mul(k_scalar(X2), folded[2])).reshape(3, *shape)
    return f_sum(k_mul(np.swapaxes(flat, 1, 2), table[:, None, :])).reshape(3, *shape)


def fits_int32(array: npt.NDArray[Any]) -> bool:
    """Are all entries 32-bit integers?"""
    limit = np.iinfo(np.int32)
    return array.dtype == np.int32 or bool(array.min() >= limit.min and array.max() <= limit.max)


def padded_cells(array: npt.NDArray[Any], order: Sequence[int]) -> npt.NDArray[np.int32]:
    """A tensor on the cube of its axes, `order` lowest first, as flat int32 cells."""
    moved = np.transpose(array, list(reversed(order)))
    out = np.zeros([1 << axis_bits(size) for size in moved.shape], np.int32)
    out[tuple(slice(0, size) for size in moved.shape)] = moved
    return out.reshape(-1)


def cells_of(kernels: Kernels, array: npt.NDArray[Any]) -> Any:
    """Integers as kernel cells: int32 where they fit, else field elements."""
    if fits_int32(array):
        return kernels.upload(np.ascontiguousarray(array, np.int32))
    return kernels.upload(np.ascontiguousarray(lift(array)))


def contract(
    kernels: Kernels, array: npt.NDArray[Any], fixed: Sequence[Sequence[tuple[K, K]] | None], order: Sequence[int]
) -> Words:
    """A tensor with its fixed axes contracted: K array over the cube of the free axes, `order` lowest first."""
    axes = sorted((axis for axis, factors in enumerate(fixed) if factors is not None), key=lambda a: -array.shape[a])
    free = list(reversed(order))
    moved = np.transpose(array, [*axes, *free]) if array.ndim else array
    planes = False
    current: npt.NDArray[Any] = moved
    for axis in axes:
        factors = fixed[axis]
        assert factors is not None
        current = fold_axis(
            kernels, np.ascontiguousarray(current), planes, axis_table(tuple(factors), array.shape[axis])
        )
        planes = True
    if not planes:
        values = lift(np.ascontiguousarray(current))
        current = np.zeros((3, *values.shape), np.uint64)
        current[0] = values
    return pad_cube(current)


def pad_cube(planes: Words) -> Words:
    """K planes (3, d_1, ..., d_k), zero-filled to powers of two and flattened."""
    sizes = [1 << axis_bits(size) for size in planes.shape[1:]]
    out = np.zeros((3, *sizes), np.uint64)
    out[tuple(slice(0, size) for size in planes.shape)] = planes
    return out.reshape(3, -1)


def pulled_back(item: Item) -> Words:
    """The public factor of an Indexed item as a dense K vector over the cube of its source."""
    value = item.request.value
    assert isinstance(value, Indexed)
    start, stop = source_range(value, item.source)
    inside = (value.index >= start) & (value.index < stop)
    weights = full_table(item.request.factors, value.shape)[:, inside]
    cells = value.index[inside] - start
    source = value.sources[item.source]
    low, high = (np.zeros((3, stop - start), np.uint64) for _ in range(2))
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for k in range(3):
        np.add.at(low[k], cells, weights[k] & mask)
        np.add.at(high[k], cells, weights[k] >> shift)
    total = f_sum(np.stack([low, f_mul(high, np.full_like(high, 1 << 32))], axis=-1))
    return pad_cube(total.reshape(3, *source.shape))


class ProgramData:
    """The values of one program's tensors for one model, computed when asked for."""

    def __init__(self, kernels: Kernels, evaluate: Any) -> None:
        self._kernels, self._evaluate = kernels, evaluate

    def side(self, side: Side) -> Words:
        """The vector of a side over its variables."""
        return contract(self._kernels, self._evaluate(side.value), side.fixed, side.order)

    def evaluation(self, value: Value, factors: Factors) -> K:
        """The value of a tensor under a functional."""
        if isinstance(value, Einsum | Indexed):
            return self.request(Request(value, factors))
        return k_list(contract(self._kernels, self._evaluate(value), factors, ())[:, :1])[0]

    def request(self, request: Request) -> K:
        """The value of a bilinear or indexed tensor, from its operands."""
        total = ZERO
        for item in items_of(request, ONE):
            state = ItemState(self._kernels, item, *self.vectors(item))
            total = total + state.total()
        return total

    def vectors(self, item: Item) -> tuple[Array, Array]:
        """Both vectors of an item; the same object if they are equal. Small integers squared stay integers at first."""
        if item.right is item.left and all(factors is None for factors in item.left.fixed):
            array = self._evaluate(item.left.value)
            if array.size > SMALL and not any(item.weights) and fits_int32(array):
                cells = padded_cells(array, item.left.order)
                return cells, cells
        left = self._kernels.upload(self.side(item.left))
        if item.right is None:
            return left, self._kernels.upload(pulled_back(item))
        return left, left if item.right is item.left else self._kernels.upload(self.side(item.right))


class ItemState:
    """One item during its sumcheck."""

    def __init__(self, kernels: Kernels, item: Item, left: Array, right: Array) -> None:
        self._kernels, self._item = kernels, item
        self._left, self._right = left, right
        self._round = 0
        self._scale = item.coefficient

    def total(self) -> K:
        """The sum itself, before any round."""
        weights = [factor if factor is not None else (ONE, ZERO) for factor in self._item.weights]
        if not weights:
            return self._item.coefficient * self._value(self._left) * self._value(self._right)
        a, b = self._factor()
        constant, linear, square = self._raw()
        # f(0) + f(1) with f = (a + b X)(constant + linear X + square X^2)
        return self._scale * (a * constant + (a + b) * (constant + linear + square))

    def _factor(self) -> tuple[K, K]:
        factor = self._item.weights[self._round]
        return (ONE, ZERO) if factor is None else factor

    def _raw(self) -> tuple[K, K, K]:
        if self._left.ndim == 1:
            # integers squared, without weights: f(0) and the square suffice for c0 and c2, f(1) for the total
            constant, square = self._kernels.product_messages(self._left, self._left, 1)
            high = self._left[1::2].astype(np.int64)
            return constant, ONE * int(high @ high) - constant - square, square
        rest = [(ONE, ZERO) if factor is None else factor for factor in self._item.weights[self._round + 1 :]]
        low, high = rest[:LOW_VARIABLES], rest[LOW_VARIABLES:]
        return self._kernels.weighted_messages(
            self._left,
            self._right,
            self._kernels.product_table(low, ONE),
            self._kernels.product_table(high, ONE),
        )

    def _value(self, vector: Array) -> K:
        return k_list(np.asarray(self._kernels.download(vector))[:, :1])[0]

    def coefficients(self) -> tuple[K, K, K]:
        """c0, c2, c3 of the round polynomial."""
        if self._round >= self._item.variables:
            # L R (1 - X)^2
            value = self._scale * self._value(self._left) * self._value(self._right)
            return value, value, ZERO
        a, b = self._factor()
        constant, linear, square = self._raw()
        return (
            self._scale * a * constant,
            self._scale * (a * square + b * linear),
            self._scale * b * square,
        )

    def bind(self, challenge: K) -> None:
        if self._round < self._item.variables:
            a, b = self._factor()
            self._scale = self._scale * (a + b * challenge)
            same = self._left is self._right
            self._left = self._kernels.product_bind(self._left, challenge, 1)
            self._right = self._left if same else self._kernels.product_bind(self._right, challenge, 1)
        else:
            self._scale = self._scale * (1 - challenge) * (1 - challenge)
        self._round += 1


class ProverWave(WaveWorker):
    """All items of a wave."""

    def __init__(self, engine: ProvingEngine, items: Sequence[Item]) -> None:
        data = engine.program
        assert data is not None
        self._states = [ItemState(engine.kernels, item, *data.vectors(item)) for item in items]

    def messages(self, cubic: bool) -> tuple[Maybe, Maybe, Maybe]:
        totals = [ZERO, ZERO, ZERO]
        for state in self._states:
            totals = [total + part for total, part in zip(totals, state.coefficients(), strict=True)]
        return totals[0], totals[1], totals[2]

    def bind(self, challenge: K) -> None:
        for state in self._states:
            state.bind(challenge)

"""The rounds of the sumcheck of a product of two vectors, cut into blocks: pairs of blocks are low and high.

Source: protocol.md, section 6 (Sumcheck): messages g(0) and g(inf), variables bound from the lowest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu.arithmetic import (
    add,
    from_halves,
    k_add,
    k_multiply,
    k_scale,
    lift,
    multiply,
    subtract,
)
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.cpu.vectors import as_scalar, scalar
from verifier.argument.field import K, Words

U = np.uint64
I = np.int64
LOW, S32 = U(0xFFFFFFFF), U(32)
TILE = 256


@kernel
def split_tile(x: Any, block: int, pair: int, stop: int, low: Any, difference: Any) -> int:
    """Low entries and high - low of the pairs pair, pair + 1, ... of a vector of F, into the tile. Returns how many:
    up to the end of the tile, of the block or of `stop`."""
    within = pair % block
    first = 2 * (pair - within) + within
    width = min(TILE, stop - pair)
    if block == 1:
        present = min(width, (x.shape[0] - first) // 2)
        values = x[first:]
        for i in range(present):
            low[i] = U(values[2 * i])
            difference[i] = subtract(U(values[2 * i + 1]), U(values[2 * i]))
        for i in range(present, width):
            low[i] = U(values[2 * i])
            difference[i] = subtract(U(0), low[i])
        return width
    width = min(width, block - within)
    present = max(0, min(width, x.shape[0] - first - block))
    lows, highs = x[first : first + width], x[first + block : first + block + present]
    for i in range(present):
        low[i] = U(lows[i])
        difference[i] = subtract(U(highs[i]), U(lows[i]))
    for i in range(present, width):
        low[i] = U(lows[i])
        difference[i] = subtract(U(0), low[i])
    return width


@kernel
def split_cells_tile(x: Any, block: int, pair: int, stop: int, low: Any, difference: Any) -> int:
    """The same for signed cells, lifted to F."""
    within = pair % block
    first = 2 * (pair - within) + within
    width = min(TILE, stop - pair)
    if block == 1:
        present = min(width, (x.shape[0] - first) // 2)
        values = x[first:]
        for i in range(present):
            low[i] = lift(U(values[2 * i]))
            difference[i] = lift(U(I(values[2 * i + 1]) - I(values[2 * i])))
        for i in range(present, width):
            low[i] = lift(U(values[2 * i]))
            difference[i] = lift(U(-I(values[2 * i])))
        return width
    width = min(width, block - within)
    present = max(0, min(width, x.shape[0] - first - block))
    lows, highs = x[first : first + width], x[first + block : first + block + present]
    for i in range(present):
        low[i] = lift(U(lows[i]))
        difference[i] = lift(U(I(highs[i]) - I(lows[i])))
    for i in range(present, width):
        low[i] = lift(U(lows[i]))
        difference[i] = lift(U(-I(lows[i])))
    return width


@kernel
def products_tile(a: Any, b: Any, width: int, halves: Any) -> None:
    """Add the products a[:, i] b[:, i] of K, i < width, to halves: low and high 32-bit halves of each coefficient."""
    a0, a1, a2, b0, b1, b2 = a[0], a[1], a[2], b[0], b[1], b[2]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        x0, x1, x2 = k_multiply(a0[i], a1[i], a2[i], b0[i], b1[i], b2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    halves[0] += low0
    halves[1] += high0
    halves[2] += low1
    halves[3] += high1
    halves[4] += low2
    halves[5] += high2


@kernel
def messages_kernel(a: Any, b: Any, same: bool, block: int, start: int, stop: int, out: Any) -> None:
    """out[0], out[1] = sum of low products and of difference products over the pairs start <= i < stop of K arrays."""
    low_a, difference_a = np.empty((3, TILE), np.uint64), np.empty((3, TILE), np.uint64)
    low_b, difference_b = low_a, difference_a
    if not same:
        low_b, difference_b = np.empty((3, TILE), np.uint64), np.empty((3, TILE), np.uint64)
    halves = np.zeros((2, 6), np.uint64)
    pair = start
    while pair < stop:
        width = 0
        for k in range(3):
            width = split_tile(a[k], block, pair, stop, low_a[k], difference_a[k])
            if not same:
                split_tile(b[k], block, pair, stop, low_b[k], difference_b[k])
        products_tile(low_a, low_b, width, halves[0])
        products_tile(difference_a, difference_b, width, halves[1])
        pair += width
    for m in range(2):
        for k in range(3):
            out[m, k] = from_halves(halves[m, 2 * k], halves[m, 2 * k + 1])


@kernel
def cell_messages_kernel(a: Any, b: Any, block: int, start: int, stop: int, out: Any) -> None:
    """The same for flat cells; out[:, 1:] = 0."""
    tiles = np.empty((4, TILE), np.uint64)
    halves = np.zeros((2, 2), np.uint64)
    pair = start
    while pair < stop:
        width = split_cells_tile(a, block, pair, stop, tiles[0], tiles[1])
        split_cells_tile(b, block, pair, stop, tiles[2], tiles[3])
        for m in range(2):
            x, y = tiles[m], tiles[2 + m]
            low, high = U(0), U(0)
            for i in range(width):
                product = multiply(x[i], y[i])
                low += product & LOW
                high += product >> S32
            halves[m, 0] += low
            halves[m, 1] += high
        pair += width
    for m in range(2):
        out[m, 0], out[m, 1], out[m, 2] = from_halves(halves[m, 0], halves[m, 1]), U(0), U(0)


@kernel
def bind_kernel(a: Any, challenge: Any, block: int, out: Any, start: int, stop: int) -> None:
    """out[:, i] = low + challenge (high - low) for the pairs start <= i < stop of a K array."""
    low, difference = np.empty((3, TILE), np.uint64), np.empty((3, TILE), np.uint64)
    l0, l1, l2 = low[0], low[1], low[2]
    d0, d1, d2 = difference[0], difference[1], difference[2]
    r0, r1, r2 = challenge[0], challenge[1], challenge[2]
    pair = start
    while pair < stop:
        width = 0
        for k in range(3):
            width = split_tile(a[k], block, pair, stop, low[k], difference[k])
        o0, o1, o2 = out[0, pair : pair + width], out[1, pair : pair + width], out[2, pair : pair + width]
        for i in range(width):
            x0, x1, x2 = k_multiply(d0[i], d1[i], d2[i], r0, r1, r2)
            o0[i], o1[i], o2[i] = k_add(x0, x1, x2, l0[i], l1[i], l2[i])
        pair += width


@kernel
def cell_bind_kernel(a: Any, challenge: Any, block: int, out: Any, start: int, stop: int) -> None:
    """The same for flat cells."""
    low, difference = np.empty(TILE, np.uint64), np.empty(TILE, np.uint64)
    r0, r1, r2 = challenge[0], challenge[1], challenge[2]
    pair = start
    while pair < stop:
        width = split_cells_tile(a, block, pair, stop, low, difference)
        o0, o1, o2 = out[0, pair : pair + width], out[1, pair : pair + width], out[2, pair : pair + width]
        for i in range(width):
            x0, x1, x2 = k_scale(r0, r1, r2, difference[i])
            o0[i], o1[i], o2[i] = add(x0, low[i]), x1, x2
        pair += width


def pairs(length: int, block: int) -> int:
    """The number of low entries of a vector."""
    return length // (2 * block) * block + min(length % (2 * block), block)


def product_messages(a: npt.NDArray[Any], b: npt.NDArray[Any], block: int, workers: Workers) -> tuple[K, K]:
    """The two messages of a round; see `Kernels.product_messages`."""

    def part(start: int, stop: int) -> Words:
        out = np.empty((2, 3), np.uint64)
        if a.ndim == 1:
            cell_messages_kernel(a, b, block, start, stop, out)
        else:
            messages_kernel(a, b, a is b, block, start, stop, out)
        return out

    parts = workers.parallel_for(part, pairs(a.shape[-1], block), 1 << 12)
    return add_messages(parts)


def add_messages(parts: list[Words]) -> tuple[K, K]:
    """The sums of the parts' messages, arrays (2, 3)."""
    at_zero, at_infinity = as_scalar(parts[0][0]), as_scalar(parts[0][1])
    for part in parts[1:]:
        at_zero, at_infinity = at_zero + as_scalar(part[0]), at_infinity + as_scalar(part[1])
    return at_zero, at_infinity


def product_bind(a: npt.NDArray[Any], challenge: K, block: int, workers: Workers) -> Words:
    """The vector bound to a challenge; see `Kernels.product_bind`."""
    count = pairs(a.shape[-1], block)
    out, r = np.empty((3, count), np.uint64), scalar(challenge)
    bind = cell_bind_kernel if a.ndim == 1 else bind_kernel

    def part(start: int, stop: int) -> None:
        bind(a, r, block, out, start, stop)

    workers.parallel_for(part, count, 1 << 12)
    return out

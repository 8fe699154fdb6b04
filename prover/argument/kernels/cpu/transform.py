"""The number-theoretic transform of interleaved rows: an array (n, lanes) holds `lanes` polynomials, coefficient j in
row j.

Decimation in frequency in place: row k of the result is the value at w^bitreverse(k), w the primitive n-th root. Long
transforms are cut (Bailey's four-step method, several times if need be): rows a fixed stride apart are gathered into
scratch memory that fits the cache, the outer layers run there with the twiddles of all layers scaled by the power of
the root that belongs to the position, and then the contiguous parts are transforms of their own. Source: protocol.md,
sections 1 and 3; D. H. Bailey, FFTs in external or hierarchical memory, 1990.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu.arithmetic import butterfly, lift, multiply, sum_and_difference
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.parallel import Workers
from verifier.argument.field import ZERO, K, P, Words, f_mul, root_of_unity

U = np.uint64

CONTIGUOUS = 12  # log2 of the longest transform that runs in one piece: 256 KiB of 8 lanes
STRIDED = 11  # log2 of the most rows gathered at a stride
TILE = 4  # neighbours gathered together: whole cache lines


@lru_cache(maxsize=1)
def twiddles() -> Words:
    """table[h + j] = w_(2h)^j for 0 <= j < h, h = 1, 2, 4 ... 2^(CONTIGUOUS - 1)."""
    table = np.zeros(1 << CONTIGUOUS, np.uint64)
    for level in range(CONTIGUOUS):
        h = 1 << level
        powers = np.ones(1, np.uint64)
        for bit in range(level):
            step = pow(root_of_unity(2 * h), 1 << bit, P)
            powers = np.concatenate([powers, f_mul(powers, np.array([step], np.uint64))])
        table[h : 2 * h] = powers
    return table


@lru_cache(maxsize=1)
def roots() -> Words:
    """The primitive 2^k-th root of unity, for each k."""
    return np.array([root_of_unity(1 << k) for k in range(33)], np.uint64)


@kernel
def interleave_kernel(cells: Any, tails: Any, first_row: int, out: Any, start: int, stop: int) -> None:
    """out[j, c] = coefficient j of row first_row + c for start <= j < stop; 0 beyond the coefficients or the rows."""
    rows, columns = cells.shape
    length = columns + tails.shape[1]
    lanes = out.shape[1]
    for base in range(start, stop, 64):
        end = min(base + 64, stop)
        for c in range(lanes):
            row = first_row + c
            if row >= rows:
                for j in range(base, end):
                    out[j, c] = U(0)
                continue
            middle, last = min(max(columns, base), end), min(max(length, base), end)
            for j in range(base, middle):
                out[j, c] = lift(cells[row, j])
            for j in range(middle, last):
                out[j, c] = tails[row, j - columns]
            for j in range(last, end):
                out[j, c] = U(0)


@kernel
def interleave_words_kernel(cells: Any, tails: Any, first_row: int, out: Any, start: int, stop: int) -> None:
    """The same for canonical cells."""
    rows, columns = cells.shape
    length = columns + tails.shape[1]
    for j in range(start, stop):
        for c in range(out.shape[1]):
            row = first_row + c
            value = U(0)
            if row < rows:
                if j < columns:
                    value = cells[row, j]
                elif j < length:
                    value = tails[row, j - columns]
            out[j, c] = value


@kernel
def contiguous_kernel(rows: Any, log_length: int, table: Any, start: int, stop: int) -> None:
    """Transform the blocks start <= b < stop of 2^log_length rows, in place."""
    length = 1 << log_length
    for block in range(start, stop):
        base = block * length
        h = length >> 1
        while h > 1:
            for s in range(base, base + length, 2 * h):
                for j in range(h):
                    butterfly(rows, s + j, s + j + h, table[h + j])
            h >>= 1
        if h == 1:
            for s in range(base, base + length, 2):
                sum_and_difference(rows, s, s + 1)


@kernel
def strided_kernel(
    rows: Any, log_block: int, log_count: int, table: Any, unit_roots: Any, start: int, stop: int
) -> None:
    """The outer log_count layers of transforms of blocks of 2^log_block rows, for tiles start <= t < stop of TILE
    neighbouring positions: tile t works on block t // tiles and the rows of that block congruent to its positions."""
    lanes = rows.shape[1]
    count, stride = 1 << log_count, 1 << (log_block - log_count)
    tiles = stride // TILE
    flat = rows.reshape(-1)
    scratch = np.empty((count * TILE, lanes), np.uint64)
    scratch_flat = scratch.reshape(-1)
    width = TILE * lanes
    scaled = np.empty((TILE, count), np.uint64)
    for tile in range(start, stop):
        position = (tile % tiles) * TILE
        base = ((tile // tiles) << log_block) + position
        for i in range(count):
            source = flat[(base + i * stride) * lanes : (base + i * stride) * lanes + width]
            target = scratch_flat[i * width : i * width + width]
            for k in range(width):
                target[k] = source[k]
        for t in range(TILE):
            # w_(2 h stride)^(i stride + j) = w_(2h)^i w_(2 h stride)^j at position j; one layer down squares the last
            factor, square, exponent = U(1), unit_roots[log_block], position + t
            while exponent > 0:
                if exponent & 1:
                    factor = multiply(factor, square)
                square = multiply(square, square)
                exponent >>= 1
            h = count >> 1
            while h >= 1:
                for i in range(h):
                    scaled[t, h + i] = multiply(table[h + i], factor)
                factor = multiply(factor, factor)
                h >>= 1
        h = count >> 1
        while h >= 1:
            for s in range(0, count, 2 * h):
                for i in range(h):
                    for t in range(TILE):
                        butterfly(scratch, (s + i) * TILE + t, (s + i + h) * TILE + t, scaled[t, h + i])
            h >>= 1
        for i in range(count):
            source = scratch_flat[i * width : i * width + width]
            target = flat[(base + i * stride) * lanes : (base + i * stride) * lanes + width]
            for k in range(width):
                target[k] = source[k]


def passes(log_n: int) -> list[int]:
    """The numbers of layers of the strided passes of a transform of length 2^log_n, as equal as possible."""
    outer = max(0, log_n - CONTIGUOUS)
    count = -(-outer // STRIDED)
    return [outer * (i + 1) // count - outer * i // count for i in range(count)]


def transform(rows: Words, workers: Workers) -> None:
    """Transform an array (2^k, lanes) in place; the result is in bit-reversed order."""
    log_block = log_n = rows.shape[0].bit_length() - 1
    for layers in passes(log_n):
        tiles = (1 << (log_n - layers)) // TILE

        def outer(start: int, stop: int, log_block: int = log_block, layers: int = layers) -> None:
            strided_kernel(rows, log_block, layers, twiddles(), roots(), start, stop)

        workers.parallel_for(outer, tiles, 4)
        log_block -= layers

    def inner(start: int, stop: int) -> None:
        contiguous_kernel(rows, log_block, twiddles(), start, stop)

    workers.parallel_for(inner, 1 << (log_n - log_block), 4)


def interleave(cells: npt.NDArray[Any], tails: Words, first_row: int, out: Words, workers: Workers) -> None:
    """Fill an array (n, lanes) with the coefficients of rows first_row, first_row + 1, ...: cells, then tails, then
    0."""
    fill = interleave_kernel if cells.dtype == np.int32 else interleave_words_kernel

    def part(start: int, stop: int) -> None:
        fill(cells, tails, first_row, out, start, stop)

    workers.parallel_for(part, out.shape[0], 1 << 12)


@kernel
def natural_order_kernel(rows: Any, bits: int, out: Any, start: int, stop: int) -> None:
    """out[c, k] = rows[bitreverse(k), c] for start <= k < stop."""
    for k in range(start, stop):
        reverse, rest = 0, k
        for _ in range(bits):
            reverse = (reverse << 1) | (rest & 1)
            rest >>= 1
        for c in range(out.shape[0]):
            out[c, k] = rows[reverse, c]


def power_sums(positions: Sequence[int], scales: Sequence[K], log_n: int, length: int, workers: Workers) -> Words:
    """sum_j scales[j] w^(positions[j] k) for k < length: the transform of a sparse vector."""
    coefficients: dict[int, K] = {}
    for position, scale in zip(positions, scales, strict=True):
        coefficients[position] = coefficients.get(position, ZERO) + scale
    rows = np.zeros((1 << log_n, 4), np.uint64)
    for position, coefficient in coefficients.items():
        rows[position, :3] = coefficient
    transform(rows, workers)
    out = np.empty((3, length), np.uint64)
    workers.parallel_for(lambda start, stop: natural_order_kernel(rows, log_n, out, start, stop), length, 1 << 14)
    return out


def bit_reversed(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """Every value with its low `bits` bits reversed."""
    result = np.zeros_like(values)
    for _ in range(bits):
        result = (result << 1) | (values & 1)
        values = values >> 1
    return result

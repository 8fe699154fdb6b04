"""Linear maps of committed cells with coefficients in K, and histograms.

Cells are cut into limbs of 16 bits, and coefficients into halves of 32: a product is below 2^48 in absolute value, so
that 2^14 of them add up in an int64 without reduction. Cells that fit 16 bits (weights) are one limb.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu.arithmetic import add, collect, lift, multiply
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.parallel import Workers
from verifier.argument.field import Words

U = np.uint64
I = np.int64
TILE = 512  # columns worked on together
BATCH = 1 << 14  # products added before a reduction
TABLE = 1 << 12  # entries of a table worked on together, at most BATCH
ROWS = 4  # rows folded together


@kernel
def limb_count(cells: Any, width: int) -> int:
    """How many 16-bit limbs a tile of cells needs: 1 if all are in [-2^15, 2^15), else 2 (int32) or 4 (uint64)."""
    # x -> x + 2^15 maps [-2^15, 2^15) to [0, 2^16); as uint64 this serves both types (a canonical -1 counts as large)
    seen = U(0)
    for i in range(width):
        seen |= U(I(cells[i]) + I(32768))
    if seen >> U(16) == U(0):
        return 1
    return 2 if cells.itemsize == 4 else 4


@kernel
def take_limb(cells: Any, limb: int, limbs: int, out: Any, width: int) -> None:
    """out[i] = limb `limb` of cells[i] (int64): unsigned 16-bit digits, but the top one of a signed cell is signed."""
    if limbs == 1:
        for i in range(width):
            out[i] = I(cells[i])
    elif limbs == 2:
        if limb == 1:
            for i in range(width):
                out[i] = I(cells[i]) >> I(16)
        else:
            for i in range(width):
                out[i] = I(cells[i]) & I(0xFFFF)
    else:
        shift = U(16 * limb)
        for i in range(width):
            out[i] = I((U(cells[i]) >> shift) & U(0xFFFF))


@kernel
def multiply_add_tile(x: Any, weights: Any, sums: Any, width: int) -> None:
    """sums[k] += sum_j x[j] * weights[j, k], k < 6, for ROWS rows j; int64."""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    for k in range(6):
        w0, w1, w2, w3 = weights[0, k], weights[1, k], weights[2, k], weights[3, k]
        s = sums[k]
        for i in range(width):
            s[i] += x0[i] * w0 + x1[i] * w1 + x2[i] * w2 + x3[i] * w3


@kernel
def fold_kernel(cells: Any, halves: Any, out: Any, start: int, stop: int) -> None:
    """out[:, c] = sum_i weights[i] cells[i, c] for start <= c < stop. halves: int64 (rows, 6), the low and the high
    half of each coefficient of a weight; zero rows follow, up to a multiple of ROWS."""
    rows = cells.shape[0]
    sums = np.empty((4, 6, TILE), np.int64)
    used = np.empty(4, np.int64)
    x = np.zeros((ROWS, TILE), np.int64)
    for base in range(start, stop, TILE):
        width = min(TILE, stop - base)
        for k in range(3):
            out[k, base : base + width] = U(0)
        for batch in range(0, rows, BATCH):
            used[:] = 0
            for first in range(batch, min(batch + BATCH, rows), ROWS):
                last = min(first + ROWS, rows)
                limbs = 1
                for row in range(first, last):
                    limbs = max(limbs, limb_count(cells[row, base : base + width], width))
                for limb in range(limbs):
                    for row in range(first, last):
                        take_limb(cells[row, base : base + width], limb, limbs, x[row - first], width)
                    if used[limb] == 0:
                        used[limb] = 1
                        sums[limb] = 0
                    # Rows of x beyond `last` are multiplied by the zero rows of halves.
                    multiply_add_tile(x, halves[first : first + ROWS], sums[limb], width)
            for limb in range(4):
                if used[limb] != 0:
                    for k in range(3):
                        for i in range(width):
                            part = collect(sums[limb, 2 * k, i], sums[limb, 2 * k + 1, i], U(1) << U(16 * limb))
                            out[k, base + i] = add(out[k, base + i], part)


@kernel
def dot_tile(x: Any, halves: Any, first: int, width: int, sums: Any) -> None:
    """sums[k] += sum_i x[i] halves[k, first + i], k < 6, int64."""
    h0, h1, h2 = halves[0, first : first + width], halves[1, first : first + width], halves[2, first : first + width]
    h3, h4, h5 = halves[3, first : first + width], halves[4, first : first + width], halves[5, first : first + width]
    s0, s1, s2, s3, s4, s5 = I(0), I(0), I(0), I(0), I(0), I(0)
    for i in range(width):
        v = x[i]
        s0 += v * h0[i]
        s1 += v * h1[i]
        s2 += v * h2[i]
        s3 += v * h3[i]
        s4 += v * h4[i]
        s5 += v * h5[i]
    sums[0] += s0
    sums[1] += s1
    sums[2] += s2
    sums[3] += s3
    sums[4] += s4
    sums[5] += s5


@kernel
def bind_kernel(cells: Any, first_column: int, table: Any, pieces: int, out: Any, start: int, stop: int) -> None:
    """out[:, i] = inner product of piece i with the K array `table`, for start <= i < stop: piece i is the
    (i mod pieces)-th of row i / pieces."""
    size = table.shape[1]
    sums = np.empty((4, 6), np.int64)
    halves = np.empty((6, TABLE), np.int64)
    x = np.empty(TILE, np.int64)
    for k in range(3):
        out[k, start:stop] = U(0)
    # A part of the table serves all pieces while it is in the cache.
    for part in range(0, size, TABLE):
        end = min(part + TABLE, size)
        for k in range(3):
            entries, low, high = table[k, part:end], halves[2 * k], halves[2 * k + 1]
            for i in range(end - part):
                low[i], high[i] = I(entries[i] & U(0xFFFFFFFF)), I(entries[i] >> U(32))
        for piece in range(start, stop):
            row, column = piece // pieces, first_column + (piece % pieces) * size
            sums[:] = 0
            for base in range(part, end, TILE):
                width = min(TILE, end - base)
                tile = cells[row, column + base : column + base + width]
                limbs = limb_count(tile, width)
                for limb in range(limbs):
                    take_limb(tile, limb, limbs, x, width)
                    dot_tile(x, halves, base - part, width, sums[limb])
            for k in range(3):
                value = collect(sums[0, 2 * k], sums[0, 2 * k + 1], U(1))
                for limb in range(1, 4):
                    value = add(value, collect(sums[limb, 2 * k], sums[limb, 2 * k + 1], U(1) << U(16 * limb)))
                out[k, piece] = add(out[k, piece], value)


@kernel
def bind_short_kernel(cells: Any, first_column: int, table: Any, pieces: int, out: Any, start: int, stop: int) -> None:
    """The same for short pieces, one product after the other. table: K array."""
    size = table.shape[1]
    for piece in range(start, stop):
        row, column = piece // pieces, first_column + (piece % pieces) * size
        t0, t1, t2 = U(0), U(0), U(0)
        for i in range(size):
            x = lift(U(cells[row, column + i])) if cells.itemsize == 4 else U(cells[row, column + i])
            t0 = add(t0, multiply(table[0, i], x))
            t1 = add(t1, multiply(table[1, i], x))
            t2 = add(t2, multiply(table[2, i], x))
        out[0, piece], out[1, piece], out[2, piece] = t0, t1, t2


@kernel
def histogram_kernel(cells: Any, start: int, stop: int, counts: Any) -> int:
    """Count the values of flat int32 cells; the number of values outside [-32768, 32767], which are not counted."""
    outside = 0
    for i in range(start, stop):
        x = I(cells[i]) + I(32768)
        if (x >= 0) & (x < 65536):
            counts[x] += 1
        else:
            outside += 1
    return outside


def fold_rows(cells: npt.NDArray[Any], weights: Words, workers: Workers) -> Words:
    """sum_i weights[:, i] cells[i]: K array (3, columns)."""
    out = np.empty((3, cells.shape[1]), np.uint64)
    halves = np.zeros((cells.shape[0] + ROWS, 6), np.int64)
    halves[: cells.shape[0], 0::2] = (weights & U(0xFFFFFFFF)).T
    halves[: cells.shape[0], 1::2] = (weights >> U(32)).T

    def part(start: int, stop: int) -> None:
        fold_kernel(cells, halves, out, start, stop)

    workers.parallel_for(part, cells.shape[1], 1 << 12)
    return out


def bind_columns(cells: npt.NDArray[Any], start: int, stop: int, table: Words, workers: Workers) -> Words:
    """Inner products of pieces of rows with a table; see `Kernels.bind_columns`."""
    size = table.shape[1]
    pieces = (stop - start) // size
    count = cells.shape[0] * pieces
    out = np.empty((3, count), np.uint64)
    if size < 16:
        workers.parallel_for(
            lambda first, last: bind_short_kernel(cells, start, table, pieces, out, first, last), count, 1 << 12
        )
        return out

    def part(first: int, last: int) -> None:
        bind_kernel(cells, start, table, pieces, out, first, last)

    # Each chunk reads the whole table once.
    workers.parallel_for(part, count, max(1, (1 << 16) // size, count // workers.threads if size > TABLE else 1))
    return out


def histogram(
    cells: npt.NDArray[np.int32], start: int, stop: int, counts: npt.NDArray[np.int64], workers: Workers
) -> None:
    """Add the histogram of flat cells to `counts`; see `Kernels.histogram`. Nothing is added if a value is outside."""

    def part(first: int, last: int) -> tuple[npt.NDArray[np.int64], int]:
        found = np.zeros(65536, np.int64)
        return found, histogram_kernel(cells, start + first, start + last, found)

    parts = workers.parallel_for(part, stop - start, 1 << 18)
    if any(outside for _, outside in parts):
        raise ValueError("a cell lies outside [-32768, 32767]")
    for found, _ in parts:
        counts += found

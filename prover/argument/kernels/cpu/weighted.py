"""The rounds of the sumcheck of a product of two vectors under public weights in product form.

Source: Thaler, Proofs, Arguments and Zero-Knowledge, section 4.4; weights as in Gruen, eprint 2024/108: the part of the
weights that belongs to the bound variable is left to the caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prover.argument.kernels.cpu.arithmetic import from_halves, k_multiply, k_two_products
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.cpu.products import TILE, pairs, split_tile
from prover.argument.kernels.cpu.vectors import as_scalar
from verifier.argument.field import K, Words

U = np.uint64
LOW, S32 = U(0xFFFFFFFF), U(32)


@kernel
def weighted_tile(a: Any, b: Any, width: int, weights: Any, halves: Any) -> None:
    """Add weight_i (a_i b_i) over the tile to halves, weights (3, TILE) already multiplied out."""
    a0, a1, a2, b0, b1, b2 = a[0], a[1], a[2], b[0], b[1], b[2]
    w0, w1, w2 = weights[0], weights[1], weights[2]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        y0, y1, y2 = k_multiply(a0[i], a1[i], a2[i], b0[i], b1[i], b2[i])
        x0, x1, x2 = k_multiply(y0, y1, y2, w0[i], w1[i], w2[i])
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
def crossed_tile(a: Any, b: Any, c: Any, d: Any, width: int, weights: Any, halves: Any) -> None:
    """Add weight_i (a_i b_i + c_i d_i) over the tile to halves."""
    a0, a1, a2, b0, b1, b2 = a[0], a[1], a[2], b[0], b[1], b[2]
    c0, c1, c2, d0, d1, d2 = c[0], c[1], c[2], d[0], d[1], d[2]
    w0, w1, w2 = weights[0], weights[1], weights[2]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        y0, y1, y2 = k_two_products(a0[i], a1[i], a2[i], b0[i], b1[i], b2[i], c0[i], c1[i], c2[i], d0[i], d1[i], d2[i])
        x0, x1, x2 = k_multiply(y0, y1, y2, w0[i], w1[i], w2[i])
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
def weighted_kernel(a: Any, b: Any, low: Any, high: Any, start: int, stop: int, out: Any) -> None:
    """out[0 .. 2] = sums of low low, low difference + difference low, difference difference, each times its weight,
    over the pairs start <= i < stop; the weight of pair i is low[i mod 2^s] high[i >> s]."""
    low_a, difference_a = np.empty((3, TILE), np.uint64), np.empty((3, TILE), np.uint64)
    low_b, difference_b = np.empty((3, TILE), np.uint64), np.empty((3, TILE), np.uint64)
    weights = np.empty((3, TILE), np.uint64)
    halves = np.zeros((3, 6), np.uint64)
    count = low.shape[1]
    l0, l1, l2, h0, h1, h2 = low[0], low[1], low[2], high[0], high[1], high[2]
    w0, w1, w2 = weights[0], weights[1], weights[2]
    pair = start
    while pair < stop:
        width = 0
        for k in range(3):
            width = split_tile(a[k], 1, pair, stop, low_a[k], difference_a[k])
            split_tile(b[k], 1, pair, stop, low_b[k], difference_b[k])
        done = 0
        while done < width:
            inner = (pair + done) % count
            outer = (pair + done) // count
            piece = min(width - done, count - inner)
            e0, e1, e2 = h0[outer], h1[outer], h2[outer]
            for i in range(piece):
                x0, x1, x2 = k_multiply(l0[inner + i], l1[inner + i], l2[inner + i], e0, e1, e2)
                w0[done + i], w1[done + i], w2[done + i] = x0, x1, x2
            done += piece
        weighted_tile(low_a, low_b, width, weights, halves[0])
        crossed_tile(low_a, difference_b, difference_a, low_b, width, weights, halves[1])
        weighted_tile(difference_a, difference_b, width, weights, halves[2])
        pair += width
    for m in range(3):
        for k in range(3):
            out[m, k] = from_halves(halves[m, 2 * k], halves[m, 2 * k + 1])


def weighted_messages(a: Words, b: Words, low: Words, high: Words, workers: Workers) -> tuple[K, K, K]:
    """The coefficients of the round polynomial; see `Kernels.weighted_messages`."""

    def part(start: int, stop: int) -> Words:
        out = np.empty((3, 3), np.uint64)
        weighted_kernel(a, b, low, high, start, stop, out)
        return out

    parts = workers.parallel_for(part, pairs(a.shape[-1], 1), 1 << 11)
    totals = [as_scalar(parts[0][m]) for m in range(3)]
    for other in parts[1:]:
        totals = [total + as_scalar(other[m]) for m, total in enumerate(totals)]
    return totals[0], totals[1], totals[2]

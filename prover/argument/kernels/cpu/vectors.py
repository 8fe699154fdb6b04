"""Dense vectors over K: tables of product form, sums, inner products.

Sums of elements are kept as sums of their low and high 32-bit halves, which need no reduction before 2^31 terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prover.argument.kernels.cpu.arithmetic import add, from_halves, k_add, k_multiply
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.parallel import Workers
from verifier.argument.field import ZERO, K, Words

U = np.uint64
LOW, S32 = U(0xFFFFFFFF), U(32)
SERIAL_VARIABLES = 12  # tables of so many variables are too short to be worth splitting


@kernel
def double_kernel(table: Any, first: int, last: int, factors: Any, start: int, stop: int) -> None:
    """Extend a product table by the variables first <= v < last; only entries start <= i < stop of the first
    doubling, all of the later ones. Doubling: table[i + 2^v] = (a_v + b_v) table[i], then table[i] = a_v table[i].
    factors: (v, 2, 3)."""
    for v in range(first, last):
        count = 1 << v
        t0, t1, t2 = table[0, start:stop], table[1, start:stop], table[2, start:stop]
        begin, end = count + start, count + stop
        u0, u1, u2 = table[0, begin:end], table[1, begin:end], table[2, begin:end]
        a0, a1, a2 = factors[v, 0, 0], factors[v, 0, 1], factors[v, 0, 2]
        b0, b1, b2 = factors[v, 1, 0], factors[v, 1, 1], factors[v, 1, 2]
        for i in range(stop - start):
            x0, x1, x2 = t0[i], t1[i], t2[i]
            y0, y1, y2 = k_multiply(x0, x1, x2, a0, a1, a2)
            z0, z1, z2 = k_multiply(x0, x1, x2, b0, b1, b2)
            t0[i], t1[i], t2[i] = y0, y1, y2
            u0[i], u1[i], u2[i] = k_add(y0, y1, y2, z0, z1, z2)
        start, stop = 0, 2 * count


@kernel
def add_kernel(target: Any, offset: int, values: Any, start: int, stop: int) -> None:
    """target[:, offset + i] += values[:, i] for start <= i < stop."""
    for k in range(3):
        t, v = target[k, offset + start : offset + stop], values[k, start:stop]
        for i in range(stop - start):
            t[i] = add(t[i], v[i])


@kernel
def axpy_kernel(target: Any, scale: Any, values: Any, start: int, stop: int) -> None:
    """target[:, i] += scale * values[:, i] for start <= i < stop."""
    t0, t1, t2 = target[0, start:stop], target[1, start:stop], target[2, start:stop]
    v0, v1, v2 = values[0, start:stop], values[1, start:stop], values[2, start:stop]
    s0, s1, s2 = scale[0], scale[1], scale[2]
    for i in range(stop - start):
        x0, x1, x2 = k_multiply(v0[i], v1[i], v2[i], s0, s1, s2)
        t0[i], t1[i], t2[i] = k_add(t0[i], t1[i], t2[i], x0, x1, x2)


@kernel
def dot_kernel(a: Any, b: Any, start: int, stop: int, out: Any) -> None:
    """out[0:3] = sum of a[:, i] b[:, i] over start <= i < stop, at most 2^31 terms."""
    a0, a1, a2 = a[0, start:stop], a[1, start:stop], a[2, start:stop]
    b0, b1, b2 = b[0, start:stop], b[1, start:stop], b[2, start:stop]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(stop - start):
        x0, x1, x2 = k_multiply(a0[i], a1[i], a2[i], b0[i], b1[i], b2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    out[0], out[1], out[2] = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)


def scalar(value: K) -> Words:
    """A scalar of K as an array (3,)."""
    return np.array(value, np.uint64)


def product_table(factors: Sequence[tuple[K, K]], scale: K, workers: Workers) -> Words:
    """The dense vector scale * prod_v (a_v + b_v X_v), little-endian."""
    variables = len(factors)
    table = np.empty((3, 1 << variables), np.uint64)
    table[:, 0] = scale
    words = np.array(factors, np.uint64).reshape(variables, 2, 3)
    serial = min(variables, SERIAL_VARIABLES)
    double_kernel(table, 0, serial, words, 0, 1)
    for v in range(serial, variables):

        def part(start: int, stop: int, v: int = v) -> None:
            double_kernel(table, v, v + 1, words, start, stop)

        workers.parallel_for(part, 1 << v, 1 << 12)
    return table


def add_into(target: Words, offset: int, values: Words, workers: Workers) -> None:
    """target[:, offset : offset + n] += values."""
    if offset + values.shape[1] > target.shape[1]:
        raise ValueError(f"{values.shape[1]} values at {offset} do not fit {target.shape[1]} entries")
    workers.parallel_for(lambda start, stop: add_kernel(target, offset, values, start, stop), values.shape[1], 1 << 14)


def axpy(target: Words, scale: K, values: Words, workers: Workers) -> None:
    """target[:, :n] += scale * values."""
    if values.shape[1] > target.shape[1]:
        raise ValueError(f"{values.shape[1]} values do not fit {target.shape[1]} entries")
    factor = scalar(scale)
    workers.parallel_for(lambda start, stop: axpy_kernel(target, factor, values, start, stop), values.shape[1], 1 << 13)


def dot(a: Words, b: Words, workers: Workers) -> K:
    """Inner product over the shorter of two K arrays."""

    def part(start: int, stop: int) -> K:
        out = np.empty(3, np.uint64)
        dot_kernel(a, b, start, stop, out)
        return as_scalar(out)

    return sum(workers.parallel_for(part, min(a.shape[1], b.shape[1]), 1 << 13), start=ZERO)


def as_scalar(words: Words) -> K:
    """Three words as a scalar of K."""
    return K((int(words[0]), int(words[1]), int(words[2])))

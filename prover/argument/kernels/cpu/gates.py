"""The rounds of a fraction layer's sumcheck: gates come from a source tile by tile, are bound and summed in cache.

A tile of gates is an array (12, width): three planes each of p0, t1, q0, q1. A gate's value is p0 q1 + t1 q0 (t1 = p1 +
lam q1). Source: protocol.md, section 6 (logUp); S. Papini, U. Habock, eprint 2023/1284, section 3 (the fraction tree).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prover.argument.kernels.cpu.arithmetic import (
    from_halves,
    k_add,
    k_between,
    k_multiply,
    k_subtract,
    k_two_products,
)
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.leaf_gates import (
    complete_leaf_gates,
    denominators_bound_once,
    leaf_sums_bound,
    leaves_bound_twice,
    sum_bound_leaves,
    sum_leaves,
)
from prover.argument.kernels.cpu.leaves import MIXED, UNUSED, fill_fractions, fill_sums, tile_group

U = np.uint64
I = np.int64
LOW, S32 = U(0xFFFFFFFF), U(32)

GATES = 128  # gates summed together; 2 GATES of the source are bound to them, from at most 8 GATES leaves
PAIRS = GATES // 2

# Where gates come from.
LAYER, TABLES, LEAVES, LEAF_SUMS, BOUND_LEAVES = 0, 1, 2, 3, 4


@kernel
def neutral_gate(tables: Any, lam: Any, i: int) -> None:
    """tables[:, i] = the gate of two fractions 0/1."""
    for k in range(12):
        tables[k, i] = U(0)
    tables[3, i], tables[4, i], tables[5, i] = lam[0], lam[1], lam[2]
    tables[6, i], tables[9, i] = U(1), U(1)


@kernel
def gates_of_fractions(p: Any, q: Any, first: int, available: int, width: int, lam: Any, out: Any) -> None:
    """The gates of `width` pairs of neighbours from entry `first`, where `available` fractions are; the last of them
    may lack its neighbour."""
    whole = min(width, available // 2)
    # One-dimensional slices are known to be contiguous, two-dimensional ones are not: LLVM vectorises the former only.
    end = first + 2 * whole
    for k in range(3):
        numerators, denominators = p[k, first:end], q[k, first:end]
        out_p, out_low, out_high = out[k, :whole], out[6 + k, :whole], out[9 + k, :whole]
        for i in range(whole):
            out_p[i] = numerators[2 * i]
            out_low[i] = denominators[2 * i]
            out_high[i] = denominators[2 * i + 1]
    p0, p1, p2 = p[0, first:end], p[1, first:end], p[2, first:end]
    q0, q1, q2 = q[0, first:end], q[1, first:end], q[2, first:end]
    t0, t1, t2 = out[3, :whole], out[4, :whole], out[5, :whole]
    l0, l1, l2 = lam[0], lam[1], lam[2]
    for i in range(whole):
        j = 2 * i + 1
        x0, x1, x2 = k_multiply(q0[j], q1[j], q2[j], l0, l1, l2)
        t0[i], t1[i], t2[i] = k_add(x0, x1, x2, p0[j], p1[j], p2[j])
    for i in range(whole, width):
        neutral_gate(out, lam, i)
        if 2 * i < available:
            for k in range(3):
                out[k, i] = p[k, first + 2 * i]
                out[6 + k, i] = q[k, first + 2 * i]


@kernel
def bind_tile(tables: Any, challenge: Any, width: int, out: Any, out_first: int) -> None:
    """out[:, out_first + i] = low + challenge (high - low), table by table, for `width` pairs of gates."""
    r0, r1, r2 = challenge[0], challenge[1], challenge[2]
    out_end = out_first + width
    for k in range(0, 12, 3):
        a0, a1, a2 = tables[k, : 2 * width], tables[k + 1, : 2 * width], tables[k + 2, : 2 * width]
        o0, o1, o2 = out[k, out_first:out_end], out[k + 1, out_first:out_end], out[k + 2, out_first:out_end]
        for i in range(width):
            o0[i], o1[i], o2[i] = k_between(
                a0[2 * i], a1[2 * i], a2[2 * i], a0[2 * i + 1], a1[2 * i + 1], a2[2 * i + 1], r0, r1, r2
            )


@kernel
def sum_tile(tables: Any, eq: Any, first: int, width: int, sums: Any) -> None:
    """sums[0], sums[1] (K) = sums over `width` pairs of gates of e gate(low) and of e gate(high - low), where e is
    eq[:, first + i] for pair i."""
    n = 2 * width
    a0, a1, a2, b0, b1, b2 = tables[0, :n], tables[1, :n], tables[2, :n], tables[3, :n], tables[4, :n], tables[5, :n]
    c0, c1, c2, d0, d1, d2 = tables[6, :n], tables[7, :n], tables[8, :n], tables[9, :n], tables[10, :n], tables[11, :n]
    e0, e1, e2 = eq[0, first : first + width], eq[1, first : first + width], eq[2, first : first + width]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        j = 2 * i
        x0, x1, x2 = k_two_products(a0[j], a1[j], a2[j], d0[j], d1[j], d2[j], b0[j], b1[j], b2[j], c0[j], c1[j], c2[j])
        x0, x1, x2 = k_multiply(x0, x1, x2, e0[i], e1[i], e2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    sums[0, 0], sums[0, 1], sums[0, 2] = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        j, k = 2 * i, 2 * i + 1
        u0, u1, u2 = k_subtract(a0[k], a1[k], a2[k], a0[j], a1[j], a2[j])
        v0, v1, v2 = k_subtract(b0[k], b1[k], b2[k], b0[j], b1[j], b2[j])
        y0, y1, y2 = k_subtract(c0[k], c1[k], c2[k], c0[j], c1[j], c2[j])
        z0, z1, z2 = k_subtract(d0[k], d1[k], d2[k], d0[j], d1[j], d2[j])
        x0, x1, x2 = k_two_products(u0, u1, u2, z0, z1, z2, v0, v1, v2, y0, y1, y2)
        x0, x1, x2 = k_multiply(x0, x1, x2, e0[i], e1[i], e2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    sums[1, 0], sums[1, 1], sums[1, 2] = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)


@kernel
def bound_leaf_gates(
    cells: Any, tiles: Any, groups: Any, alpha: Any, count: int, first: int, width: int, lam: Any, challenge: Any,
    out: Any, p: Any, q: Any, scratch: Any,
) -> None:  # fmt: skip
    """The gates first <= i < first + width of the leaves with one variable bound: gate i comes from leaves 4i .. 4i +
    3."""
    group = tile_group(tiles, count, 4 * first, 4 * width)
    if (group == MIXED) | (group == UNUSED):
        for part in range(0, width, GATES):
            some = min(GATES, width - part)
            fill_fractions(cells, tiles, groups, alpha, count, 4 * (first + part), 4 * some, p, q)
            gates_of_fractions(p, q, 0, 4 * some, 2 * some, lam, scratch)
            bind_tile(scratch, challenge, some, out, part)
        return
    denominators_bound_once(cells, 4 * first, alpha, group, challenge, width, out)
    complete_leaf_gates(out, lam, width)


@kernel
def take_gates(
    kind: int, p: Any, q: Any, tables: Any, cells: Any, tiles: Any, groups: Any, alpha: Any, count: int,
    first_challenge: Any, lam: Any, first: int, width: int, out: Any, fractions: Any, scratch: Any,
) -> None:  # fmt: skip
    """The gates first <= i < first + width of the source `kind`, into out. `count`: of leaves."""
    if kind == TABLES:
        for k in range(12):
            source, target = tables[k, first : first + width], out[k, :width]
            for i in range(width):
                target[i] = source[i]
    elif kind == LAYER:
        available = min(2 * width, p.shape[1] - 2 * first)
        gates_of_fractions(p, q, 2 * first, available, width, lam, out)
    elif kind == LEAVES:
        fill_fractions(cells, tiles, groups, alpha, count, 2 * first, 2 * width, fractions[0], fractions[1])
        gates_of_fractions(fractions[0], fractions[1], 0, 2 * width, width, lam, out)
    elif kind == LEAF_SUMS:
        fill_sums(
            cells, tiles, groups, alpha, count, 2 * first, 2 * width, fractions[0], fractions[1], fractions[2],
            fractions[3],
        )  # fmt: skip
        gates_of_fractions(fractions[0], fractions[1], 0, 2 * width, width, lam, out)
    else:
        bound_leaf_gates(
            cells, tiles, groups, alpha, count, first, width, lam, first_challenge, out, fractions[0], fractions[1],
            scratch,
        )  # fmt: skip


@kernel
def take_bound_gates(
    kind: int, p: Any, q: Any, tables: Any, cells: Any, tiles: Any, groups: Any, alpha: Any, leaves: int,
    first_challenge: Any, lam: Any, count: int, challenge: Any, first: int, width: int, out: Any, fractions: Any,
    scratch: Any, wide: Any,
) -> None:  # fmt: skip
    """The gates first <= i < first + width of a source of `count` gates after binding one variable to `challenge`."""
    if (kind == LEAF_SUMS) | (kind == BOUND_LEAVES):
        group = tile_group(tiles, leaves, 8 * first, 8 * width)
        if (group != MIXED) & (group != UNUSED):
            if kind == LEAF_SUMS:
                leaf_sums_bound(cells, 8 * first, alpha, group, lam, challenge, width, out)
            else:
                leaves_bound_twice(cells, 8 * first, alpha, group, lam, first_challenge, challenge, width, out)
            return
    taken = min(2 * width, count - 2 * first)
    take_gates(kind, p, q, tables, cells, tiles, groups, alpha, leaves, first_challenge, lam, 2 * first, taken, wide,
               fractions, scratch)  # fmt: skip
    if taken & 1:
        neutral_gate(wide, lam, taken)
    bind_tile(wide, challenge, width, out, 0)


@kernel
def gates_kernel(
    kind: int, p: Any, q: Any, tables: Any, cells: Any, tiles: Any, groups: Any, alpha: Any, leaves: int,
    first_challenge: Any, lam: Any, count: int, bind: bool, challenge: Any, out: Any,
    messages: bool, eq_low: Any, eq_high: Any, start: int, stop: int, sums: Any,
) -> None:  # fmt: skip
    """Take `count` gates from a source; if `bind`, bind them into `out`; if `messages`, add the two messages of what
    results to `sums` (2, 3). Tiles start <= t < stop of GATES resulting gates."""
    fractions = np.empty((4, 3, 8 * GATES), np.uint64)
    scratch, wide = np.empty((12, 2 * GATES), np.uint64), np.empty((12, 2 * GATES), np.uint64)
    narrow = np.empty((12, GATES), np.uint64)
    eq, tile_sums = np.empty((3, PAIRS), np.uint64), np.empty((2, 3), np.uint64)
    size = eq_low.shape[1]
    results = (count + 1) // 2 if bind else count
    for tile in range(start, stop):
        first = tile * GATES
        width = min(GATES, results - first)
        if bind:
            take_bound_gates(kind, p, q, tables, cells, tiles, groups, alpha, leaves, first_challenge, lam, count,
                             challenge, first, width, narrow, fractions, scratch, wide)  # fmt: skip
            for k in range(12):
                source, target = narrow[k, :width], out[k, first : first + width]
                for i in range(width):
                    target[i] = source[i]
        if not messages:
            continue
        pair, pairs = first // 2, (width + 1) // 2
        factors, low, high = eq, 0, 0
        if size >= PAIRS:
            factors, low, high = eq_low, pair & (size - 1), pair // size
        else:
            for i in range(pairs):
                j, k = (pair + i) & (size - 1), (pair + i) // size
                eq[0, i], eq[1, i], eq[2, i] = k_multiply(
                    eq_low[0, j], eq_low[1, j], eq_low[2, j], eq_high[0, k], eq_high[1, k], eq_high[2, k]
                )
        # Leaves of one group have short cuts; all others have tables of gates.
        group = UNUSED
        if (not bind) & (width == GATES):
            if kind == LEAVES:
                group = tile_group(tiles, leaves, 2 * first, 2 * width)
            elif kind == BOUND_LEAVES:
                group = tile_group(tiles, leaves, 4 * first, 4 * width)
        if (group != MIXED) & (group != UNUSED):
            if kind == LEAVES:
                sum_leaves(cells, 2 * first, alpha, group, lam, factors, low, pairs, scratch, tile_sums)
            else:
                denominators_bound_once(cells, 4 * first, alpha, group, first_challenge, width, narrow)
                sum_bound_leaves(narrow, lam, factors, low, pairs, tile_sums)
        else:
            if not bind:
                take_gates(kind, p, q, tables, cells, tiles, groups, alpha, leaves, first_challenge, lam,
                           first, width, narrow, fractions, scratch)  # fmt: skip
            if width & 1:
                neutral_gate(narrow, lam, width)
            sum_tile(narrow, factors, low, pairs, tile_sums)
        f0, f1, f2 = U(1), U(0), U(0)
        if size >= PAIRS:
            f0, f1, f2 = eq_high[0, high], eq_high[1, high], eq_high[2, high]
        for m in range(2):
            x0, x1, x2 = k_multiply(tile_sums[m, 0], tile_sums[m, 1], tile_sums[m, 2], f0, f1, f2)
            sums[m, 0], sums[m, 1], sums[m, 2] = k_add(sums[m, 0], sums[m, 1], sums[m, 2], x0, x1, x2)

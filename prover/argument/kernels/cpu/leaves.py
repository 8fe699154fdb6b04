"""Leaf fractions of committed cells, recomputed wherever they are needed instead of being stored.

Cells are worked on in tiles of TILE. A tile inside one group needs no more than the group; a tile of several groups, or
partly unused, has the group of each of its cells in a compact array. Source: protocol.md, section 6 (logUp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu.arithmetic import add, k_multiply, k_two_products, lift, multiply, subtract
from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.interface import Leaves, Runs
from verifier.argument.field import K, Words

U = np.uint64
I = np.int64
TILE = 1024
MIXED = -1
UNUSED = 0xFFFFFFFF


@dataclass(frozen=True)
class CpuLeaves(Leaves):
    """Flat int32 cells; `tiles[t]` is (group of tile t or MIXED, where its cells' groups start in `groups`); `alpha` is
    (3,). A group UNUSED means the fraction 0/1. Beyond `count` cells everything is unused."""

    cells: npt.NDArray[np.int32]
    tiles: npt.NDArray[np.int64]
    groups: npt.NDArray[np.uint32]
    alpha: Words
    count: int


@kernel
def classify_kernel(starts: Any, stops: Any, run_groups: Any, count: int, tiles: Any) -> int:
    """Fill `tiles` from runs; the number of cells in mixed tiles."""
    mixed, run = 0, 0
    for tile in range(tiles.shape[0]):
        first, last = tile * TILE, min((tile + 1) * TILE, count)
        while run < starts.shape[0] and stops[run] <= first:
            run += 1
        covered, group, one = 0, UNUSED, True
        r = run
        while r < starts.shape[0] and starts[r] < last:
            here = min(stops[r], last) - max(starts[r], first)
            if here > 0:
                if covered > 0 and run_groups[r] != group:
                    one = False
                group = run_groups[r]
                covered += here
            r += 1
        if (one and covered == last - first) or covered == 0:
            tiles[tile, 0], tiles[tile, 1] = group, 0
        else:
            tiles[tile, 0], tiles[tile, 1] = MIXED, mixed
            mixed += last - first
    return mixed


@kernel
def expand_kernel(starts: Any, stops: Any, run_groups: Any, count: int, tiles: Any, groups: Any) -> None:
    """The group of every cell of the mixed tiles. `groups` is full of UNUSED."""
    run = 0
    for tile in range(tiles.shape[0]):
        if tiles[tile, 0] != MIXED:
            continue
        first, last = tile * TILE, min((tile + 1) * TILE, count)
        while run < starts.shape[0] and stops[run] <= first:
            run += 1
        r = run
        while r < starts.shape[0] and starts[r] < last:
            for i in range(max(starts[r], first), min(stops[r], last)):
                groups[tiles[tile, 1] + i - first] = run_groups[r]
            r += 1


def cell_leaves(cells: npt.NDArray[np.int32], runs: Runs, alpha: K) -> CpuLeaves:
    """The leaves; see `Kernels.cell_leaves`."""
    count = int(runs.stop[-1]) if len(runs.stop) else 0
    tiles = np.empty((-(-count // TILE), 2), np.int64)
    arrays = [np.array(part, np.int64) for part in (runs.start, runs.stop, runs.group)]
    groups = np.full(classify_kernel(*arrays, count, tiles), UNUSED, np.uint32)
    expand_kernel(*arrays, count, tiles, groups)
    return CpuLeaves(cells.reshape(-1), tiles, groups, np.array(alpha, np.uint64), count)


@kernel
def tile_group(tiles: Any, count: int, first: int, width: int) -> int:
    """The group of all leaves first <= i < first + width, which lie in one tile, or MIXED."""
    group: int = tiles[first // TILE, 0] if first < count else UNUSED
    return MIXED if first < count < first + width else group


@kernel
def fill_fractions(
    cells: Any, tiles: Any, groups: Any, alpha: Any, count: int, first: int, width: int, p: Any, q: Any
) -> None:
    """Fractions of the leaves first <= i < first + width, which lie in one tile: p, q uint64 (3, width or more)."""
    p[1:3, :width] = U(0)
    q0, q1, q2 = q[0, :width], q[1, :width], q[2, :width]
    group = tile_group(tiles, count, first, width)
    if group == UNUSED:
        p[0, :width] = U(0)
        q0[:], q1[:], q2[:] = U(1), U(0), U(0)
    elif group != MIXED:
        x = cells[first : first + width]
        p[0, :width] = U(1)
        a0 = alpha[0]
        for i in range(width):
            q0[i] = subtract(a0, lift(U(x[i])))
        q1[:] = alpha[1]
        q2[:] = subtract(alpha[2], U(group))
    else:
        tile = first // TILE
        here, offset = tiles[tile, 0], tiles[tile, 1] + first - tile * TILE
        for i in range(width):
            used = first + i < count
            g = I(UNUSED)
            if used:
                g = here if here != MIXED else I(groups[offset + i])
            if g != UNUSED:
                p[0, i] = U(1)
                q0[i], q1[i], q2[i] = subtract(alpha[0], lift(U(cells[first + i]))), alpha[1], subtract(alpha[2], U(g))
            else:
                p[0, i] = U(0)
                q0[i], q1[i], q2[i] = U(1), U(0), U(0)


@kernel
def combine_tile(p: Any, q: Any, width: int, out_p: Any, out_q: Any, first: int, out_first: int) -> None:
    """p' = p0 q1 + p1 q0, q' = q0 q1 for `width` pairs of neighbours, from entry `first`, to entry `out_first`."""
    # One-dimensional slices are known to be contiguous, two-dimensional ones are not: LLVM vectorises the former only.
    end, out_end = first + 2 * width, out_first + width
    p0, p1, p2 = p[0, first:end], p[1, first:end], p[2, first:end]
    q0, q1, q2 = q[0, first:end], q[1, first:end], q[2, first:end]
    o0, o1, o2 = out_p[0, out_first:out_end], out_p[1, out_first:out_end], out_p[2, out_first:out_end]
    for i in range(width):
        j, k = 2 * i, 2 * i + 1
        o0[i], o1[i], o2[i] = k_two_products(
            p0[j], p1[j], p2[j], q0[k], q1[k], q2[k], p0[k], p1[k], p2[k], q0[j], q1[j], q2[j]
        )
    o0, o1, o2 = out_q[0, out_first:out_end], out_q[1, out_first:out_end], out_q[2, out_first:out_end]
    for i in range(width):
        j, k = 2 * i, 2 * i + 1
        o0[i], o1[i], o2[i] = k_multiply(q0[j], q1[j], q2[j], q0[k], q1[k], q2[k])


@kernel
def fill_sums(
    cells: Any, tiles: Any, groups: Any, alpha: Any, count: int, first: int, width: int, p: Any, q: Any,
    scratch_p: Any, scratch_q: Any,
) -> None:  # fmt: skip
    """Sums of the neighbouring leaves 2i, 2i + 1 for first <= i < first + width, whose leaves lie in one tile."""
    group = tile_group(tiles, count, 2 * first, 2 * width)
    if (group == MIXED) | (group == UNUSED):
        fill_fractions(cells, tiles, groups, alpha, count, 2 * first, 2 * width, scratch_p, scratch_q)
        combine_tile(scratch_p, scratch_q, width, p, q, 0, 0)
        return
    # With A = alpha - g X^2 and s = x0 + x1: (A - x0) (A - x1) = A^2 - A s + x0 x1, and the numerator is 2 A - s.
    x = cells[2 * first : 2 * (first + width)]
    a0, a1, a2 = alpha[0], alpha[1], subtract(alpha[2], U(group))
    b0, b1, b2 = k_multiply(a0, a1, a2, a0, a1, a2)
    double = add(a0, a0)
    p0, q0, q1, q2 = p[0, :width], q[0, :width], q[1, :width], q[2, :width]
    for i in range(width):
        low, high = I(x[2 * i]), I(x[2 * i + 1])
        s = lift(U(low + high))
        p0[i] = subtract(double, s)
        q0[i] = add(subtract(b0, multiply(a0, s)), lift(U(low * high)))
        q1[i] = subtract(b1, multiply(a1, s))
        q2[i] = subtract(b2, multiply(a2, s))
    p[1, :width] = add(a1, a1)
    p[2, :width] = add(a2, a2)


@kernel
def leaf_layer_kernel(
    cells: Any, tiles: Any, groups: Any, alpha: Any, count: int, out_p: Any, out_q: Any, start: int, stop: int
) -> None:
    """Entries of the layer two above the leaves, for the tiles start <= t < stop of leaves."""
    scratch = np.empty((4, 3, TILE), np.uint64)
    for tile in range(start, stop):
        first = tile * (TILE // 4)
        width = min(TILE // 4, out_p.shape[1] - first)
        fill_sums(
            cells, tiles, groups, alpha, count, 2 * first, 2 * width, scratch[0], scratch[1], scratch[2], scratch[3]
        )
        combine_tile(scratch[0], scratch[1], width, out_p, out_q, 0, first)


@kernel
def next_layer_kernel(p: Any, q: Any, out_p: Any, out_q: Any, start: int, stop: int) -> None:
    """Entries start <= i < stop of the next layer, of the pairs that are complete."""
    for first in range(start, stop, TILE):
        combine_tile(p, q, min(TILE, stop - first), out_p, out_q, 2 * first, first)

"""Fraction trees over committed cells and over stored layers, from numpy arrays: the operations of `Kernels`.

The gates of the leaves with one variable bound would take 24 bytes per leaf; they are not stored either, but recomputed
from the cells in the next round (`BoundLeaves`), which is as fast as reading them would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from prover.argument.kernels.cpu.gates import (
    BOUND_LEAVES,
    GATES,
    LAYER,
    LEAF_SUMS,
    LEAVES,
    TABLES,
    gates_kernel,
)
from prover.argument.kernels.cpu.leaves import CpuLeaves, leaf_layer_kernel, next_layer_kernel
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.cpu.products import add_messages
from prover.argument.kernels.cpu.vectors import scalar
from prover.argument.kernels.interface import Gates, Layer, Leaves
from verifier.argument.field import K, Words

STORED = 1 << 14  # up to so many bound gates of leaves are stored after all

_NO_WORDS = np.zeros((3, 0), np.uint64)
_NO_TABLES = np.zeros((12, 0), np.uint64)
_NO_LEAVES = CpuLeaves(
    np.zeros(0, np.int32), np.zeros((0, 2), np.int64), np.zeros(0, np.uint32), np.zeros(3, np.uint64), 0
)
_ONE = (np.array([[1], [0], [0]], np.uint64), np.array([[1], [0], [0]], np.uint64))

Source = Layer | Gates | tuple[Leaves, int]


@dataclass(frozen=True)
class BoundLeaves:
    """The tables of the gates of leaves, with one variable bound to `challenge`, not computed."""

    leaves: CpuLeaves
    challenge: Words


def leaf_layer(leaves: Leaves, workers: Workers) -> Layer:
    """The layer two above the leaves; see `Kernels.leaf_layer`."""
    assert isinstance(leaves, CpuLeaves)
    count = (leaves.count + 3) // 4
    p, q = np.empty((3, count), np.uint64), np.empty((3, count), np.uint64)

    def part(start: int, stop: int) -> None:
        leaf_layer_kernel(leaves.cells, leaves.tiles, leaves.groups, leaves.alpha, leaves.count, p, q, start, stop)

    workers.parallel_for(part, len(leaves.tiles), 8)
    return Layer(p, q, count)


def next_layer(layer: Layer, workers: Workers) -> Layer:
    """Sums of neighbours; see `Kernels.next_layer`."""
    count, whole = (layer.count + 1) // 2, layer.count // 2
    p, q = np.empty((3, count), np.uint64), np.empty((3, count), np.uint64)

    def part(start: int, stop: int) -> None:
        next_layer_kernel(layer.p, layer.q, p, q, start, stop)

    workers.parallel_for(part, whole, 1 << 11)
    if whole < count:
        p[:, whole], q[:, whole] = layer.p[:, -1], layer.q[:, -1]
    return Layer(p, q, count)


def _arguments(source: Source) -> tuple[int, tuple[Any, ...]]:
    """The number of gates of a source, and the arguments of `gates_kernel` that describe it."""
    p, q, tables, leaves, bound = _NO_WORDS, _NO_WORDS, _NO_TABLES, _NO_LEAVES, _NO_LEAVES.alpha
    if isinstance(source, Layer):
        kind, count, p, q = LAYER, (source.count + 1) // 2, source.p, source.q
    elif isinstance(source, Gates):
        kind, count = TABLES, source.count
        if isinstance(source.tables, BoundLeaves):
            kind, leaves, bound = BOUND_LEAVES, source.tables.leaves, source.tables.challenge
        else:
            tables = source.tables.reshape(12, count)
    else:
        assert isinstance(source[0], CpuLeaves)
        leaves = source[0]
        kind, count = (LEAVES, (leaves.count + 1) // 2) if source[1] == 0 else (LEAF_SUMS, (leaves.count + 3) // 4)
    cells = (leaves.cells, leaves.tiles, leaves.groups, leaves.alpha, leaves.count)
    return count, (kind, p, q, tables, *cells, bound)


def _run(
    source: Source, lam: K, challenge: Words | None, eq: tuple[Words, Words] | None, workers: Workers
) -> tuple[Words, tuple[K, K]]:
    """The bound tables (12, results), if there is a challenge, and the messages under eq, if given (else zeros)."""
    count, described = _arguments(source)
    bind = challenge is not None
    results = (count + 1) // 2 if bind else count
    out = np.empty((12, results), np.uint64) if bind else _NO_TABLES
    factor, r = scalar(lam), _NO_LEAVES.alpha if challenge is None else challenge
    eq_low, eq_high = _ONE if eq is None else eq

    def part(start: int, stop: int) -> Words:
        sums = np.zeros((2, 3), np.uint64)
        gates_kernel(*described, factor, count, bind, r, out, eq is not None, eq_low, eq_high, start, stop, sums)
        return sums

    return out, add_messages(workers.parallel_for(part, -(-results // GATES), 4))


def gate_messages(source: Source, lam: K, eq_low: Words, eq_high: Words, workers: Workers) -> tuple[K, K]:
    """The messages of the first round; see `Kernels.gate_messages`."""
    return _run(source, lam, None, (eq_low, eq_high), workers)[1]


def gate_bind(
    source: Source, lam: K, challenge: K, eq: tuple[Words, Words] | None, workers: Workers
) -> tuple[Gates, tuple[K, K] | None]:
    """Bind a variable, and the messages of the next round; see `Kernels.gate_bind`."""
    r = scalar(challenge)
    if isinstance(source, tuple) and source[1] == 0 and source[0].count > 4 * STORED:
        assert isinstance(source[0], CpuLeaves)
        gates = Gates(BoundLeaves(source[0], r), (source[0].count + 3) // 4)
        return gates, None if eq is None else gate_messages(gates, lam, *eq, workers)
    out, messages = _run(source, lam, r, eq, workers)
    return Gates(out.reshape(4, 3, -1), out.shape[1]), None if eq is None else messages

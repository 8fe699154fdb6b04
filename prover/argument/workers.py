"""Workers of the proving role: fraction trees and sums of products over committed cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prover.argument.kernels.interface import Array, Gates, Kernels, Layer, Leaves, Runs
from prover.argument.opening import ProverOpening
from prover.argument.program import ProverWave
from verifier.argument.field import ONE, X2, ZERO, K, P, Words, f_add, f_sub, k_list, k_scale, k_sum, lift
from verifier.argument.forms import Term, dense, eq_factors, prefix_sum
from verifier.argument.workers import (
    CellFractions,
    LookupPiece,
    Maybe,
    PieceFractions,
    TablePiece,
    TreeWorker,
    WaveWorker,
    Workers,
)  # fmt: skip

if TYPE_CHECKING:
    from circuits.program import Value
    from prover.argument.engine import ProvingEngine
    from verifier.argument.engine import Engine, Oracle
    from verifier.argument.program.functional import Factors, Request
    from verifier.argument.program.waves import Item

EQ_LOW_VARIABLES = 12
HALF_FIELD = np.uint64(P // 2)
Source = Layer | Gates | tuple[Leaves, int]


class ProverTree(TreeWorker):
    """A fraction tree over 2^depth leaves, layer 0 at the leaves. Layers are dropped once they are proved."""

    def __init__(self, kernels: Kernels, depth: int, leaves: Leaves | Layer) -> None:
        self._kernels = kernels
        self._layers: list[Source]
        if isinstance(leaves, Layer):
            self._layers = [leaves]
            top = leaves
        else:
            if depth < 2:
                raise ValueError("a tree over cells has at least four leaves")
            top = kernels.leaf_layer(leaves)
            self._layers = [(leaves, 0), (leaves, 1), top]
        while len(self._layers) <= depth:
            top = kernels.next_layer(top)
            self._layers.append(top)
        self._top = top

    def root(self) -> tuple[Maybe, Maybe]:
        self._layers.pop()
        return self._entry(self._top, 0)

    def _entry(self, layer: Layer, index: int) -> tuple[K, K]:
        if index >= layer.count:
            return ZERO, ONE
        p, q = self._kernels.download(layer.p), self._kernels.download(layer.q)
        return k_list(p[:, index : index + 1])[0], k_list(q[:, index : index + 1])[0]

    def start(self, lam: K, point: Sequence[K]) -> None:
        self._source: Source = self._layers.pop()
        self._lam, self._point, self._bound = lam, list(point), 0
        source = self._source
        size = (
            source.count
            if isinstance(source, Layer)
            else -(-source[0].count >> source[1])
            if isinstance(source, tuple)
            else 0
        )
        self._count = -(-size // 2)
        self._messages: tuple[K, K] | None = None
        if self._point:
            self._messages = self._kernels.gate_messages(source, lam, *self._eq())

    def _eq(self) -> tuple[Array, Array]:
        """eq over the variables after the current one, as two tables."""
        rest = self._point[self._bound + 1 :]
        low, high = rest[:EQ_LOW_VARIABLES], rest[EQ_LOW_VARIABLES:]
        return (
            self._kernels.product_table(eq_factors(low), ONE),
            self._kernels.product_table(eq_factors(high), ONE),
        )

    def messages(self) -> tuple[Maybe, Maybe]:
        assert self._messages is not None
        h0, h_inf = self._messages
        # gates beyond the prefix are 0/1 + 0/1: value lam, difference 0
        rest = self._point[self._bound + 1 :]
        tail = 1 - prefix_sum(rest, -(-self._count // 2))
        return h0 + self._lam * tail, h_inf

    def bind(self, challenge: K) -> None:
        self._bound += 1
        eq = self._eq() if self._bound < len(self._point) else None
        self._source, self._messages = self._kernels.gate_bind(self._source, self._lam, challenge, eq)
        self._count = self._source.count

    def finals(self) -> tuple[Maybe, Maybe, Maybe, Maybe]:
        source = self._source
        if isinstance(source, Layer):
            (p0, q0), (p1, q1) = self._entry(source, 0), self._entry(source, 1)
            return p0, p1, q0, q1
        assert isinstance(source, Gates)
        tables = self._kernels.download(source.tables)
        p0, t1, q0, q1 = (k_list(tables[i, :, :1])[0] for i in range(4))
        return p0, t1 - self._lam * q1, q0, q1


def piece_layer(engine: ProvingEngine, spec: PieceFractions) -> Layer:
    """The leaves of a tree of pieces, stored."""
    count = max(p.position + (1 << p.log_size if isinstance(p, TablePiece) else p.size) for p in spec.pieces)
    p = np.zeros((3, count), np.uint64)
    q = np.zeros((3, count), np.uint64)
    q[0] = 1
    for piece in spec.pieces:
        size = 1 << piece.log_size if isinstance(piece, TablePiece) else piece.size
        part = slice(piece.position, piece.position + size)
        cells = field_cells(engine, piece.oracle, piece.address, size)
        if isinstance(piece, LookupPiece):
            base = spec.alpha - X2 * piece.identity - piece.offset
            p[0, part] = 1
            q[0, part] = (f_sub if piece.sign > 0 else f_add)(np.full(size, base[0], np.uint64), cells)
        else:
            base = spec.alpha - X2 * piece.identity - piece.first
            p[0, part] = cells
            q[0, part] = f_sub(np.full(size, base[0], np.uint64), np.arange(size, dtype=np.uint64))
        q[1, part], q[2, part] = base[1], base[2]
    return Layer(engine.kernels.upload(p), engine.kernels.upload(q), count)


def lookup_leaves(engine: ProvingEngine, spec: PieceFractions, lookups: Sequence[LookupPiece]) -> Leaves:
    """The leaves of a tree of lookups only: the looked-up integers side by side, as if they were committed cells."""
    count = max(piece.position + piece.size for piece in lookups)
    keys = np.zeros(count, np.int32)
    for piece in lookups:
        cells = field_cells(engine, piece.oracle, piece.address, piece.size)
        signed = np.where(cells > HALF_FIELD, cells - np.uint64(P), cells).astype(np.int64)
        keys[piece.position : piece.position + piece.size] = piece.offset + piece.sign * signed
    ordered = sorted(lookups, key=lambda piece: piece.position)
    start = np.array([piece.position for piece in ordered], np.int64)
    stop = start + np.array([piece.size for piece in ordered], np.int64)
    runs = Runs(start, stop, np.array([piece.identity for piece in ordered], np.int64))
    return engine.kernels.cell_leaves(engine.kernels.upload(keys), runs, spec.alpha)


def field_cells(engine: ProvingEngine, oracle: Oracle, address: int, size: int) -> Words:
    """Committed cells as field elements on the host."""
    flat = engine.cells(oracle).reshape(-1)[address : address + size]
    cells = np.asarray(flat)
    return cells if cells.dtype == np.uint64 else lift(cells)


class ProverWorkers(Workers):
    """Workers with access to the proving engine's data."""

    def __init__(self, engine: ProvingEngine) -> None:
        self._engine = engine

    def tree(self, spec: CellFractions | PieceFractions) -> TreeWorker:
        engine = self._engine
        if isinstance(spec, PieceFractions):
            lookups = [piece for piece in spec.pieces if isinstance(piece, LookupPiece)]
            if len(lookups) == len(spec.pieces) and spec.depth >= 3:
                leaves = lookup_leaves(engine, spec, lookups)
                if leaves.count > 4:
                    return ProverTree(engine.kernels, spec.depth, leaves)
            return ProverTree(engine.kernels, spec.depth, piece_layer(engine, spec))
        cells = engine.cells(spec.oracle).reshape(-1)
        leaves = engine.kernels.cell_leaves(cells, Runs(spec.start, spec.stop, spec.group), spec.alpha)
        return ProverTree(engine.kernels, max(0, int(spec.stop[-1]) - 1).bit_length(), leaves)

    def evaluate(self, terms: Sequence[tuple[Oracle, Term]]) -> Maybe:
        total = ZERO
        for oracle, term in terms:
            size = 1 << len(term.factors)
            cells = field_cells(self._engine, oracle, term.address, size)
            table = dense([Term(term.coefficient, term.factors, 0)], len(term.factors))
            total = total + k_sum(k_scale(table, cells))
        return total

    def request(self, request: Request) -> Maybe:
        assert self._engine.program is not None
        return self._engine.program.request(request)

    def evaluation(self, value: Value, factors: Factors) -> Maybe:
        assert self._engine.program is not None
        return self._engine.program.evaluation(value, factors)

    def wave(self, items: Sequence[Item]) -> WaveWorker:
        return ProverWave(self._engine, items)

    def pad(self, index: int) -> Maybe:
        return self._engine.pad_values[index]

    def opening(self, engine: Engine, terms: Sequence[Term]) -> ProverOpening:
        return ProverOpening(self._engine, terms)

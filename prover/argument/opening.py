"""The opening at the prover: row sumcheck, fold, mask, plain levels (protocol.md, section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prover.argument.kernels.interface import Array, Kernels
from prover.argument.oracle import OracleData
from verifier.argument.engine import LABEL_LEVEL, Oracle
from verifier.argument.field import ONE, K, Words, eq_table, f_sum, k_add, k_dot, k_list, k_mul, k_scalar, k_sub, k_sum
from verifier.argument.forms import Factor, Term
from verifier.argument.parameters import Parameters
from verifier.argument.workers import Maybe, OpeningWorker

if TYPE_CHECKING:
    from prover.argument.engine import ProvingEngine

# Claims with a common point share one pass over the cells that binds this many low variables.
SHARED_VARIABLES = 10


class RowForms:
    """The claims as sum_k sum_i rows_k(i) values_k(i) over the joint rows i: one pair of tables per distinct column
    part."""

    def __init__(self, engine: ProvingEngine, terms: Sequence[Term]) -> None:
        self._engine = engine
        self._kernels = engine.kernels
        self._log_columns = engine.parameters.log_columns
        self._size = 1 << engine.counts.row_variables
        rows: dict[tuple[tuple[Factor, ...], int], Words] = {}
        for term in terms:
            low = term.factors[: self._log_columns]
            key = (low, term.address & ((1 << self._log_columns) - 1))
            table = rows.setdefault(key, np.zeros((3, self._size), np.uint64))
            weights = k_scalar(term.coefficient)
            for a, b in term.factors[self._log_columns :]:
                base = k_mul(weights, k_scalar(a))
                weights = np.concatenate([base, k_add(base, k_mul(weights, k_scalar(b)))], axis=1)
            first = term.address >> self._log_columns
            table[:, first : first + weights.shape[1]] = k_add(table[:, first : first + weights.shape[1]], weights)
        self._ranges = self._shared_ranges(list(rows))
        self._shared: dict[tuple[tuple[Factor, ...], int], tuple[int, Words]] = {}
        nothing = np.zeros((3, 0, self._size), np.uint64)
        columns = [self._column_values(*key)[:, None] for key in rows]
        self.rows = np.concatenate([nothing, *(table[:, None] for table in rows.values())], axis=1)
        self.values = np.concatenate([nothing, *columns], axis=1)
        self._shared.clear()

    @staticmethod
    def _shared_ranges(keys: Sequence[tuple[tuple[Factor, ...], int]]) -> dict[tuple[Factor, ...], tuple[int, int]]:
        ranges: dict[tuple[Factor, ...], tuple[int, int]] = {}
        for factors, offset in keys:
            if len(factors) > SHARED_VARIABLES:
                low = factors[:SHARED_VARIABLES]
                start, stop = ranges.get(low, (offset, offset))
                ranges[low] = (min(start, offset), max(stop, offset + (1 << len(factors))))
        return ranges

    def _column_values(self, factors: tuple[Factor, ...], offset: int) -> Words:
        """For every joint row, the inner product of its columns from `offset` with the product form: (3, joint
        rows)."""
        out = np.zeros((3, self._size), np.uint64)
        low, high = factors[:SHARED_VARIABLES], factors[SHARED_VARIABLES:]
        for index, oracle in enumerate(self._engine.level0):
            if not oracle.rows:
                continue
            if high:
                pieces = self._bound(low, index, oracle)
                start = (offset - self._ranges[low][0]) >> SHARED_VARIABLES
                table = self._kernels.download(self._kernels.product_table(high, ONE))
                part = pieces[:, :, start : start + table.shape[1]]
                values = f_sum(k_mul(part, table[:, None, :]))
            else:
                table = self._kernels.product_table(low, ONE)
                cells = self._engine.cells(oracle)
                values = self._kernels.download(
                    self._kernels.bind_columns(cells, offset, offset + (1 << len(factors)), table)
                )
            out[:, oracle.start_row : oracle.start_row + oracle.rows] = values
        return out

    def _bound(self, low: tuple[Factor, ...], index: int, oracle: Oracle) -> Words:
        key = (low, index)
        if key not in self._shared:
            start, stop = self._ranges[low]
            table = self._kernels.product_table(low, ONE)
            bound = self._kernels.bind_columns(self._engine.cells(oracle), start, stop, table)
            self._shared[key] = (start, self._kernels.download(bound).reshape(3, oracle.rows, -1))
        return self._shared[key][1]

    def messages(self) -> tuple[K, K]:
        low_r, low_v = self.rows[:, :, 0::2], self.values[:, :, 0::2]
        step_r, step_v = k_sub(self.rows[:, :, 1::2], low_r), k_sub(self.values[:, :, 1::2], low_v)
        return (
            k_sum(k_mul(low_r, low_v).reshape(3, -1)),
            k_sum(k_mul(step_r, step_v).reshape(3, -1)),
        )

    def bind(self, challenge: K) -> None:
        r = k_scalar(challenge, 2)
        for name in ("rows", "values"):
            table = getattr(self, name)
            low = table[:, :, 0::2]
            setattr(self, name, k_add(low, k_mul(k_sub(table[:, :, 1::2], low), r)))


class PlainLevels:
    """The recursion on a vector that needs no hiding; shared by the prover and the simulator."""

    def __init__(self, kernels: Kernels, parameters: Parameters) -> None:
        self._kernels = kernels
        self._parameters = parameters
        self.data: dict[int, OracleData] = {}

    def begin(self, vector: Array, functional: Array) -> None:
        """The vector y*, of `Parameters.message` entries, and the functional L, on its cube (`cube_size` entries)."""
        self.vector, self._functional = vector, functional

    def root(self, level: int) -> bytes:
        shape = self._parameters.levels[level]
        cells = self._kernels.split_rows(self.vector, 1 << shape.log_columns)
        words = [self._kernels.encode(cells, None, shape.log_length)]
        tree = self._kernels.hash_columns(words, LABEL_LEVEL + level, None)
        self.data[LABEL_LEVEL + level] = OracleData(words, tree, None)
        return tree.root

    def start(self, level: int, scales: Words, positions: Sequence[int], log_length: int) -> None:
        # The functional does not end where the vector does: pow(x) has entries on the whole cube.
        size = self._functional.shape[1]
        powers = self._kernels.power_sums(positions, k_list(scales), log_length, size)
        self._kernels.add_into(self._functional, 0, powers)
        vector = self._kernels.zeros(size)
        self._kernels.add_into(vector, 0, self.vector)
        self.vector = vector
        self._block = 1 << self._parameters.levels[level].log_columns

    def messages(self) -> tuple[K, K]:
        return self._kernels.product_messages(self.vector, self._functional, self._block)

    def bind(self, challenge: K) -> None:
        self.vector = self._kernels.product_bind(self.vector, challenge, self._block)
        self._functional = self._kernels.product_bind(self._functional, challenge, self._block)


class ProverOpening(OpeningWorker):
    """Holds the folded row y, its functional L and the mask until y* = g + eps y is public."""

    def __init__(self, engine: ProvingEngine, terms: Sequence[Term]) -> None:
        self._engine = engine
        self._kernels = engine.kernels
        self._forms = RowForms(engine, terms)
        self._point: list[K] = []
        self._plain = PlainLevels(engine.kernels, engine.parameters)

    def row_messages(self) -> tuple[Maybe, Maybe]:
        return self._forms.messages()

    def row_bind(self, challenge: K) -> None:
        self._forms.bind(challenge)
        self._point.append(challenge)

    def mask_dot(self, terms: Sequence[Term], pad_weights: Words, total: K) -> Maybe:
        engine = self._engine
        assert engine.pad_data is not None
        mask = engine.data[id(engine.auxiliary)].mask
        assert mask is not None
        self._functional = functional_array(self._kernels, terms, cube_size(engine.parameters.message))
        pads = engine.pad_data.mask[:, : pad_weights.shape[1]]
        self._mask = self._kernels.upload(mask)
        return self._kernels.dot(self._mask, self._functional) + k_dot(pads, pad_weights)

    def reveal(self, eps: K) -> Words | None:
        engine, k = self._engine, self._kernels
        weights = k_list(eq_table(self._point))
        vector = self._mask.copy()
        columns = engine.parameters.columns
        hidden = k.zeros(engine.parameters.message)
        for oracle in engine.level0:
            data = engine.data[id(oracle)]
            if data.cells is None:
                continue
            part = weights[oracle.start_row : oracle.start_row + oracle.rows]
            k.add_into(hidden, 0, k.fold_rows(data.cells, part))
            k.add_into(hidden, columns, k.fold_rows(data.tails, part))
        k.axpy(vector, eps, hidden)
        self._plain.begin(vector, self._functional)
        engine.plain_data = self._plain.data
        assert engine.pad_data is not None
        pad = engine.pad_data
        masks = np.concatenate([pad.mask, pad.mask_tail], axis=1)
        return k_add(masks, k_mul(k_scalar(eps), np.concatenate([pad.pads, pad.pad_tail], axis=1)))

    def plain_root(self, level: int) -> bytes | None:
        return self._plain.root(level)

    def plain_vector(self) -> Words | None:
        return self._kernels.download(self._plain.vector)

    def level_start(self, level: int, scales: Words, positions: Sequence[int], log_length: int) -> None:
        self._plain.start(level, scales, positions, log_length)

    def level_messages(self) -> tuple[Maybe, Maybe]:
        return self._plain.messages()

    def level_bind(self, challenge: K) -> None:
        self._plain.bind(challenge)


def cube_size(length: int) -> int:
    """The least power of two that holds `length` entries."""
    return 1 << (length - 1).bit_length()


def functional_array(kernels: Kernels, terms: Sequence[Term], length: int) -> Array:
    """The terms as a dense K vector of `length` entries."""
    out = kernels.zeros(length)
    for term in terms:
        kernels.add_into(out, term.address, kernels.product_table(term.factors, term.coefficient))
    return out

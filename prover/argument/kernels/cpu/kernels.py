"""`CpuKernels`: the kernels on the processors of this host, compiled by numba; arrays are numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu import (
    commitment,
    compilation,
    fractions,
    leaves,
    linear,
    products,
    transform,
    vectors,
    weighted,
)
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.interface import (
    Array,
    Cells,
    Codeword,
    DigestTree,
    Gates,
    Kernels,
    Layer,
    Leaves,
    Runs,
)
from verifier.argument.field import K, Words, k_array

MEMORY_LIMIT = 6 << 30


def needs_compilation() -> bool:
    """Whether `CpuKernels.compile` has not yet run for these sources on this host. Compiles nothing."""
    return not compilation.is_compiled()


class CpuKernels(Kernels):
    """Kernels on `threads` threads (default: the processors this process may use).

    A codeword of more than `memory_limit` bytes lives in a temporary file in `scratch_directory` (default: that of the
    system), which disappears with it. `Gates.tables` is an array (4, 3, count), or a recipe while that would be large.
    """

    name = "cpu"

    def __init__(
        self,
        threads: int | None = None,
        memory_limit: int = MEMORY_LIMIT,
        scratch_directory: Path | None = None,
    ) -> None:
        self._workers = Workers(threads)
        self._memory_limit = memory_limit
        self._scratch_directory = scratch_directory

    @staticmethod
    def compile() -> None:
        """Compile every kernel, for every type it is used with, into the cache on disk. Takes up to a minute."""
        from prover.argument.kernels.cpu.warm_up import warm_up

        compilation.remove_stale()
        warm_up(CpuKernels(threads=1))
        compilation.mark_compiled()

    # ------------------------------------------------------------ memory
    def upload(self, array: npt.NDArray[Any]) -> Array:
        """The array itself where it is contiguous, aligned and in native byte order; else a copy."""
        result = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        result = np.asarray(result if result.flags.aligned else result.copy())
        return result if result.flags.writeable else np.asarray(_Alias(result))

    def download(self, array: Array) -> Words:
        """The array itself."""
        return np.asarray(array)

    # ------------------------------------------------------------ commitment
    def encode(self, cells: Cells, tails: Array | None, log_n: int) -> Codeword:
        return commitment.encode(cells, tails, log_n, self._workers, self._memory_limit, self._scratch_directory)

    def columns(self, codeword: Codeword, positions: Sequence[int]) -> Words:
        assert isinstance(codeword, commitment.CpuCodeword)
        return codeword.columns(positions)

    def hash_columns(self, codewords: Sequence[Codeword], label: int, salts: Array | None) -> DigestTree:
        own = [codeword for codeword in codewords if isinstance(codeword, commitment.CpuCodeword)]
        assert len(own) == len(codewords)
        return commitment.hash_columns(own, label, salts, self._workers)

    def fold_rows(self, cells: Cells, weights: Sequence[K]) -> Array:
        return linear.fold_rows(cells, k_array(weights), self._workers)

    def bind_columns(self, cells: Cells, start: int, stop: int, table: Array) -> Array:
        return linear.bind_columns(cells, start, stop, table, self._workers)

    def histogram(self, cells: Cells, start: int, stop: int, counts: npt.NDArray[np.int64]) -> None:
        linear.histogram(cells.reshape(-1), start, stop, counts, self._workers)

    # ------------------------------------------------------------ vectors over K
    def product_table(self, factors: Sequence[tuple[K, K]], scale: K) -> Array:
        return vectors.product_table(factors, scale, self._workers)

    def zeros(self, count: int) -> Array:
        return np.zeros((3, count), np.uint64)

    def add_into(self, target: Array, start: int, values: Array) -> None:
        vectors.add_into(target, start, values, self._workers)

    def axpy(self, target: Array, scale: K, values: Array) -> None:
        vectors.axpy(target, scale, values, self._workers)

    def dot(self, a: Array, b: Array) -> K:
        return vectors.dot(a, b, self._workers)

    def split_rows(self, vector: Array, columns: int) -> Cells:
        count = vector.shape[1]
        rows = -(-count // columns)
        padded = np.zeros((3, rows * columns), np.uint64)
        padded[:, :count] = vector
        return np.ascontiguousarray(padded.reshape(3, rows, columns).swapaxes(0, 1)).reshape(3 * rows, columns)

    def power_sums(self, positions: Sequence[int], scales: Sequence[K], log_n: int, length: int) -> Array:
        return transform.power_sums(positions, scales, log_n, length, self._workers)

    # ------------------------------------------------------------ sumcheck of a product
    def product_messages(self, a: Array, b: Array, block: int) -> tuple[K, K]:
        return products.product_messages(a, b, block, self._workers)

    def product_bind(self, a: Array, challenge: K, block: int) -> Array:
        return products.product_bind(a, challenge, block, self._workers)

    def weighted_messages(self, a: Array, b: Array, low: Array, high: Array) -> tuple[K, K, K]:
        return weighted.weighted_messages(a, b, low, high, self._workers)

    # ------------------------------------------------------------ fraction trees
    def cell_leaves(self, cells: Cells, runs: Runs, alpha: K) -> Leaves:
        return leaves.cell_leaves(cells, runs, alpha)

    def leaf_layer(self, leaves: Leaves) -> Layer:
        return fractions.leaf_layer(leaves, self._workers)

    def next_layer(self, layer: Layer) -> Layer:
        return fractions.next_layer(layer, self._workers)

    def gate_messages(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, eq_low: Array, eq_high: Array
    ) -> tuple[K, K]:
        return fractions.gate_messages(source, lam, eq_low, eq_high, self._workers)

    def gate_bind(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, challenge: K, eq: tuple[Array, Array] | None
    ) -> tuple[Gates, tuple[K, K] | None]:
        return fractions.gate_bind(source, lam, challenge, eq, self._workers)


class _Alias:
    """The memory of a read-only array, not marked so: numba would compile every kernel once more for read-only arrays.
    No kernel writes to cells."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array  # keeps the memory alive
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}

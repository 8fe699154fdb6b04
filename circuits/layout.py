"""One flat address space for all tensors and histograms of a manifest, without padding.

Every tensor is a matrix, cut into dyadic blocks along the binary expansion of both dimensions (768 = 512 + 256, high
bit first). Every histogram group is one more block of 65,536 cells. All blocks are sorted by size, largest first, and
laid out from address 0, so that each is aligned to its size: the address of a block is a prefix of bits, and a claim
about a tensor is a sum of product-form claims about the flat vector. Source: protocol.md, section 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from circuits.checkpoint.base import quote
from circuits.errors import StatementError
from circuits.manifest import TABLE, Manifest

Indices = npt.NDArray[np.int64]

_LOG_TABLE = TABLE.bit_length() - 1
_DIMENSION_BITS = 31
"""Every dimension of a manifest is at most 2^31 - 2^20."""


class Block(NamedTuple):
    """Rows [row0, row0 + 2^log_rows) x columns [col0, col0 + 2^log_cols) of a tensor, row-major from `address`."""

    row0: int
    col0: int
    log_rows: int
    log_cols: int
    address: int


class Blocks(NamedTuple):
    """All blocks in order of their addresses, as arrays of shape (number of blocks,)."""

    tensor: Indices
    """Index into `Manifest.tensors`; -1 for a histogram."""
    group: Indices
    """Histogram group of the tensor, or the group whose histogram it is."""
    row0: Indices
    col0: Indices
    log_rows: Indices
    log_cols: Indices
    address: Indices
    """First cell; a multiple of 2^(log_rows + log_cols)."""


class Runs(NamedTuple):
    """Maximal intervals [start, stop) of weights of one group, in order of their addresses, as arrays of one shape."""

    start: Indices
    stop: Indices
    group: Indices


class Layout:
    """Where every weight and every histogram cell of a manifest lives. Verifier and prover compute it alike.

    Attributes:
        entries: cells in all, histograms included; addresses are [0, entries).
        blocks: see `Blocks`.
        runs: see `Runs`; histogram cells are in no run.
        group_sizes: weights per group, shape (number of groups,).
    """

    entries: int
    blocks: Blocks
    runs: Runs
    group_sizes: Indices

    def __init__(self, manifest: Manifest) -> None:
        self._index = {tensor.name: index for index, tensor in enumerate(manifest.tensors)}
        self._shapes = np.array([tensor.matrix_shape for tensor in manifest.tensors], dtype=np.int64)
        self.group_sizes = np.array([group.entries for group in manifest.groups], dtype=np.int64)
        groups = np.array([tensor.group for tensor in manifest.tensors], dtype=np.int64)
        cut = _with_histograms(_cut(self._shapes, groups), len(self.group_sizes))
        # Made in the order (tensors before histograms, name or group, row, column), which a stable sort by size keeps.
        order = np.argsort(-(cut.log_rows + cut.log_cols).astype(np.int8), kind="stable")
        ordered = Blocks(*(column[order] for column in cut))
        sizes = np.left_shift(1, ordered.log_rows + ordered.log_cols)
        ends = np.cumsum(sizes)
        self.entries = int(ends[-1])
        self.blocks = ordered._replace(address=ends - sizes)
        assert not (self.blocks.address & (sizes - 1)).any(), "a block is not aligned to its size"
        self.runs = _runs(self.blocks, ends)
        # Position of a tensor's blocks, in row and column order, in the address order.
        position = np.empty_like(order)
        position[order] = np.arange(order.size)
        self._positions = position
        self._first = np.searchsorted(
            cut.tensor[: order.size - len(self.group_sizes)], np.arange(len(self._shapes) + 1)
        )

    def tensor_blocks(self, name: str) -> list[Block]:
        """The blocks of a tensor by row, then column; together they cover its matrix exactly once.

        Raises:
            StatementError: no committed tensor has this name.
        """
        index = self._tensor(name)
        positions = self._positions[self._first[index] : self._first[index + 1]]
        columns = (column[positions].tolist() for column in self.blocks[2:])
        return [Block(*values) for values in zip(*columns, strict=True)]

    def histogram_address(self, group: int) -> int:
        """Address of the first of the 65,536 cells of a group's histogram.

        Raises:
            StatementError: there is no such group.
        """
        if not 0 <= group < len(self.group_sizes):
            raise StatementError(f"there is no histogram group {group}; the manifest has {len(self.group_sizes)}")
        position = self._positions[len(self._positions) - len(self.group_sizes) + group]
        return int(self.blocks.address[position])

    def scatter(self, flat: npt.NDArray[np.int32], name: str, matrix: npt.NDArray[Any]) -> None:
        """Write the integers of a tensor (any shape with its entries, row-major) to their addresses in `flat`.

        Raises:
            StatementError: no such tensor, `matrix` has another size, or `flat` does not have shape (entries,).
        """
        shape = self._matrix_shape(flat, name)
        if matrix.size != shape[0] * shape[1]:
            raise StatementError(
                f"tensor {quote(name)} has {shape[0]} x {shape[1]} entries, not {matrix.size}; pass all of them"
            )
        rows = matrix.reshape(shape)
        for block in self.tensor_blocks(name):
            cells, inside = _cells(flat, block)
            cells[:] = rows[inside]

    def gather(self, flat: npt.NDArray[np.int32], name: str) -> npt.NDArray[np.int32]:
        """The inverse of `scatter`: the matrix (rows, columns) of a tensor, read from `flat` of shape (entries,).

        Raises:
            StatementError: no such tensor, or `flat` does not have shape (entries,).
        """
        matrix = np.empty(self._matrix_shape(flat, name), dtype=np.int32)
        for block in self.tensor_blocks(name):
            cells, inside = _cells(flat, block)
            matrix[inside] = cells
        return matrix

    def _tensor(self, name: str) -> int:
        index = self._index.get(name)
        if index is None:
            raise StatementError(f"no committed tensor is named {quote(name)}; see the names in the manifest")
        return index

    def _matrix_shape(self, flat: npt.NDArray[np.int32], name: str) -> tuple[int, int]:
        if flat.shape != (self.entries,):
            raise StatementError(f"the flat vector has shape {flat.shape}; this layout needs ({self.entries},)")
        rows, columns = self._shapes[self._tensor(name)].tolist()
        return rows, columns


def _cells(flat: npt.NDArray[np.int32], block: Block) -> tuple[npt.NDArray[np.int32], tuple[slice, slice]]:
    """The cells of a block as a matrix (a view of `flat`), and the part of the tensor that they hold."""
    rows, columns = 1 << block.log_rows, 1 << block.log_cols
    cells = flat[block.address : block.address + rows * columns].reshape(rows, columns)
    return cells, (slice(block.row0, block.row0 + rows), slice(block.col0, block.col0 + columns))


class _Pieces(NamedTuple):
    """The dyadic pieces of one dimension of all tensors: by tensor, then from the high bit down."""

    tensor: Indices
    start: Indices
    log: Indices


def _pieces(dimensions: Indices) -> _Pieces:
    bits = np.arange(_DIMENSION_BITS - 1, -1, -1)
    tensor, column = np.nonzero((dimensions[:, None] >> bits) & 1)
    log = bits[column]
    return _Pieces(tensor, (dimensions[tensor] >> (log + 1)) << (log + 1), log)


def _cut(shapes: Indices, groups: Indices) -> Blocks:
    """The blocks of all tensors, by tensor, row and column; addresses still 0. `shapes` is (tensors, 2)."""
    rows, columns = _pieces(shapes[:, 0]), _pieces(shapes[:, 1])
    per_tensor = np.bincount(columns.tensor, minlength=len(shapes))
    first = np.cumsum(per_tensor) - per_tensor
    repeats = per_tensor[rows.tensor]
    row = np.repeat(np.arange(rows.tensor.size), repeats)
    within = np.arange(row.size) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    tensor = rows.tensor[row]
    column = first[tensor] + within
    return Blocks(
        tensor=tensor,
        group=groups[tensor],
        row0=rows.start[row],
        col0=columns.start[column],
        log_rows=rows.log[row],
        log_cols=columns.log[column],
        address=np.zeros(row.size, dtype=np.int64),
    )


def _with_histograms(blocks: Blocks, groups: int) -> Blocks:
    """Append one block of 1 x 65,536 cells for every group."""
    zeros = np.zeros(groups, dtype=np.int64)
    histograms = Blocks(zeros - 1, np.arange(groups), zeros, zeros, zeros, zeros + _LOG_TABLE, zeros)
    return Blocks(*map(np.concatenate, zip(blocks, histograms, strict=True)))


def _runs(blocks: Blocks, ends: Indices) -> Runs:
    """Merge neighbouring blocks of weights of one group; a histogram counts as a group of its own and is dropped."""
    owner = np.where(blocks.tensor < 0, -1 - blocks.group, blocks.group)
    first = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    last = np.concatenate([first[1:], [owner.size]]) - 1
    weights = owner[first] >= 0
    return Runs(blocks.address[first][weights], ends[last][weights], owner[first][weights])

"""Codewords and their Merkle trees. Rows are in groups of interleaved lanes, in the transform's bit-reversed order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu import sha256
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.cpu.transform import bit_reversed, interleave, transform
from prover.argument.kernels.interface import Codeword, DigestTree
from verifier.argument.field import Words

SHORT = 14  # codewords up to 2^SHORT are transformed by one thread each
CHUNK_BITS = 12  # log2 of the leaves whose hash states are held at a time


class CpuCodeword(Codeword):
    """`groups[g]`: array (n, 8 or 4) of rows 8g, 8g + 1, ...; its row k holds position bitreverse(k)."""

    def __init__(self, groups: list[Words], rows: int, log_n: int) -> None:
        self.groups = groups
        self.rows = rows
        self.log_n = log_n

    def columns(self, positions: Sequence[int]) -> Words:
        """The values at the given positions, shape (len(positions), rows)."""
        stored = bit_reversed(np.array(positions, np.int64), self.log_n)
        if not self.groups:
            return np.empty((len(positions), 0), np.uint64)
        return np.concatenate([group[stored] for group in self.groups], axis=1)[:, : self.rows]


class CpuDigestTree(DigestTree):
    """`nodes`: uint32 (2n, 8), big-endian words of the digests, heap numbering."""

    def __init__(self, nodes: npt.NDArray[np.uint32], log_n: int) -> None:
        self._nodes = nodes
        self.log_n = log_n

    @property
    def root(self) -> bytes:
        return self.digests([1])[0]

    def digests(self, nodes: Sequence[int]) -> list[bytes]:
        data = self._nodes[np.array(nodes, np.int64)].astype(">u4").tobytes()
        return [data[i : i + 32] for i in range(0, len(data), 32)]


def allocate(shape: tuple[int, ...], on_disk: bool, directory: Path | None) -> Words:
    """Memory for a group, or a mapped temporary file that vanishes with the array."""
    if not on_disk:
        return np.empty(shape, np.uint64)
    with tempfile.TemporaryFile(dir=directory, prefix="codeword-") as file:
        return np.memmap(file, np.uint64, "w+", shape=shape)


def encode(
    cells: npt.NDArray[Any],
    tails: Words | None,
    log_n: int,
    workers: Workers,
    memory_limit: int,
    scratch_directory: Path | None,
) -> CpuCodeword:
    """The codewords of all rows; see `Kernels.encode`. Mapped files are used above `memory_limit` bytes."""
    rows, n = cells.shape[0], 1 << log_n
    if tails is None:
        tails = np.empty((rows, 0), np.uint64)
    if cells.shape[1] + tails.shape[1] > n:
        raise ValueError(f"{cells.shape[1] + tails.shape[1]} coefficients do not fit a codeword of length 2^{log_n}")
    widths = [8 if rows - first > 4 else 4 for first in range(0, rows, 8)]
    on_disk = 8 * n * sum(widths) > memory_limit
    groups = [np.asarray(allocate((n, width), on_disk, scratch_directory)) for width in widths]

    def encode_groups(start: int, stop: int, inner: Workers) -> None:
        for g in range(start, stop):
            interleave(cells, tails, 8 * g, groups[g], inner)
            transform(groups[g], inner)

    if log_n <= SHORT:
        workers.parallel_for(lambda start, stop: encode_groups(start, stop, Workers.single()), len(groups), 1)
    else:
        encode_groups(0, len(groups), workers)
    return CpuCodeword(groups, rows, log_n)


def hash_columns(codewords: Sequence[CpuCodeword], label: int, salts: Words | None, workers: Workers) -> CpuDigestTree:
    """The tree over the columns; see `Kernels.hash_columns`."""
    log_n = codewords[0].log_n
    if any(codeword.log_n != log_n for codeword in codewords):
        raise ValueError("codewords hashed together must have one length")
    n = 1 << log_n
    nodes = np.zeros((2 * n, 8), np.uint32)
    salt_words = np.empty((0, 4), np.uint64) if salts is None else salts
    # Leaf numbers of a chunk: its low bits, reversed, are the same for every chunk.
    low_bits = min(log_n, CHUNK_BITS)
    low = bit_reversed(np.minimum(np.arange(max(1 << low_bits, sha256.LANES)), n - 1), low_bits)
    tiles = len(low) // sha256.LANES

    def leaves(start: int, stop: int) -> None:
        states = np.empty((tiles, 8, sha256.LANES), np.uint32)
        blocks = np.empty((tiles, 16, sha256.LANES), np.uint32)
        previous = np.empty((tiles, sha256.LANES), np.uint64)
        for chunk in range(start, stop):
            high = int(bit_reversed(np.array([chunk]), log_n - low_bits)[0])
            numbers = ((low << (log_n - low_bits)) | high).reshape(tiles, sha256.LANES)
            sha256.begin_kernel(numbers, salt_words, label, states, blocks, previous)
            absorbed = 1 if salts is None else 5
            first = chunk << low_bits
            for codeword in codewords:
                for g, group in enumerate(codeword.groups):
                    lanes = min(8, codeword.rows - 8 * g)
                    sha256.absorb_kernel(group, first, lanes, absorbed, states, blocks, previous)
                    absorbed += lanes
            sha256.finish_kernel(numbers, absorbed, states, blocks, previous, nodes, n - first)

    workers.parallel_for(leaves, 1 << (log_n - low_bits), 1)
    for level in range(log_n - 1, -1, -1):
        width = 1 << level

        def parents(start: int, stop: int, width: int = width) -> None:
            sha256.parents_kernel(nodes, width + start, width + stop)

        workers.parallel_for(parents, width, 1 << 10)
    return CpuDigestTree(nodes, log_n)

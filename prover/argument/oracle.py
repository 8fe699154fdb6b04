"""Committed matrices at the prover: cells, hiding coefficients, salts, codewords and the Merkle tree over columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prover.argument.kernels.interface import Array, Cells, Codeword, DigestTree, Kernels
from prover.argument.randomness import Stream
from verifier.argument.engine import Oracle
from verifier.argument.field import Words
from verifier.argument.merkle import sibling_nodes


@dataclass
class OracleData:
    """An oracle with everything needed to open it. `cells` and `tails` are the F rows (None if there are none), `mask`
    the K row g of the auxiliary oracle, (3, columns + hiding)."""

    codewords: list[Codeword]
    tree: DigestTree
    salts: Words | None
    cells: Cells | None = None
    tails: Array | None = None
    mask: Words | None = None

    def opening(self, kernels: Kernels, oracle: Oracle, positions: Sequence[int]) -> bytes:
        """Columns, salts, sibling digests, in wire order."""
        columns = np.concatenate([kernels.columns(word, positions) for word in self.codewords], axis=1)
        parts = [columns.astype("<u8").tobytes()]
        if self.salts is not None:
            parts.append(self.salts[list(positions)].astype("<u8").tobytes())
        parts.extend(self.tree.digests(sibling_nodes(positions, 1 << oracle.log_length)))
        return b"".join(parts)


def commit_rows(kernels: Kernels, label: int, cells: Any, hiding: int, log_length: int, stream: Stream) -> OracleData:
    """Commit to F rows: `hiding` random coefficients a row and a salt a column, both from the stream."""
    tails = stream.field(cells.shape[0], hiding)
    salts = stream.words(4 << log_length).reshape(-1, 4)
    device_tails = kernels.upload(tails)
    words = [kernels.encode(cells, device_tails, log_length)]
    tree = kernels.hash_columns(words, label, kernels.upload(salts))
    return OracleData(words, tree, salts, cells, device_tails)


def commit_auxiliary(
    kernels: Kernels, label: int, cells: Any, columns: int, hiding: int, log_length: int, stream: Stream
) -> OracleData:
    """Commit to advice rows (u64 cells, perhaps none) and the mask row g, uniform over K."""
    mask = stream.vector(columns + hiding)
    tails = stream.field(cells.shape[0], hiding)
    salts = stream.words(4 << log_length).reshape(-1, 4)
    words, device_cells, device_tails = [], None, None
    if cells.shape[0]:
        device_cells, device_tails = kernels.upload(cells), kernels.upload(tails)
        words.append(kernels.encode(device_cells, device_tails, log_length))
    low, high = (np.ascontiguousarray(part) for part in (mask[:, :columns], mask[:, columns:]))
    words.append(kernels.encode(kernels.upload(low), kernels.upload(high), log_length))
    tree = kernels.hash_columns(words, label, kernels.upload(salts))
    return OracleData(words, tree, salts, device_cells, device_tails, mask)


@dataclass
class PadData:
    """The pad oracle: pads, g_P (3, count) and the random coefficients r_P, r'_P (3, queries)."""

    pads: Words
    pad_tail: Words
    mask: Words
    mask_tail: Words
    data: OracleData


def commit_pads(kernels: Kernels, label: int, count: int, hiding: int, log_length: int, stream: Stream) -> PadData:
    """Two K rows: (pad || r_P) and (g_P || r'_P)."""
    pads, pad_tail = stream.vector(count), stream.vector(hiding)
    mask, mask_tail = stream.vector(count), stream.vector(hiding)
    salts = stream.words(4 << log_length).reshape(-1, 4)
    words = [
        kernels.encode(
            kernels.upload(np.concatenate([pads, mask])),
            kernels.upload(np.concatenate([pad_tail, mask_tail])),
            log_length,
        )
    ]
    tree = kernels.hash_columns(words, label, kernels.upload(salts))
    return PadData(pads, pad_tail, mask, mask_tail, OracleData(words, tree, salts))

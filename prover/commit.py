"""Committing to a checkpoint: integers, exact histograms, the hiding commitment, and the validity proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.checkpoint.base import Checkpoint
from circuits.errors import StatementError
from circuits.fixedpoint import quantise
from circuits.layout import Layout
from circuits.manifest import Manifest
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData, commit_rows
from prover.argument.prove import prove
from prover.argument.randomness import Stream, fresh_seed
from prover.progress import Progress
from verifier.argument.commitment import Commitment
from verifier.argument.derive import derive
from verifier.argument.engine import LABEL_MODEL
from verifier.argument.parameters import Parameters
from verifier.argument.validity import Validity

TABLE = 1 << 16
Integers = npt.NDArray[np.int32]


@dataclass
class ModelIntegers:
    """A checkpoint as integers, laid out: what every check reads."""

    manifest: Manifest
    layout: Layout
    flat: Integers

    def histogram(self, group: int) -> npt.NDArray[np.int64]:
        """The exact histogram of a group: counts of the values -32768 .. 32767."""
        address = self.layout.histogram_address(group)
        return self.flat[address : address + TABLE].astype(np.int64)

    def matrix(self, name: str) -> Integers:
        """A tensor's integers as a matrix."""
        return self.layout.gather(self.flat[: self.layout.entries], name)


@dataclass
class CommittedModel:
    """A commitment with everything that only the owner has."""

    commitment: Commitment
    seed: bytes
    integers: ModelIntegers
    data: OracleData


def committed_cells(
    checkpoint: Checkpoint, manifest: Manifest, layout: Layout, kernels: Kernels, size: int, progress: Progress
) -> Integers:
    """All cells of a commitment, (size,): the quantised tensors and the exact histograms, zeros after them.

    Reads the checkpoint tensor by tensor. Raises FormatError if it does not fit the manifest.
    """
    flat = np.zeros(size, np.int32)
    entries = {tensor.name: tensor for tensor in manifest.tensors}
    with progress.stage("quantise", len(entries)) as step:
        for source in checkpoint:
            if source.name in entries:
                integers = quantise(source.load(), entries[source.name].scale)
                layout.scatter(flat[: layout.entries], source.name, integers)
                step()
    counts = np.zeros((len(layout.group_sizes), TABLE), np.int64)
    for start, stop, group in zip(*(column.tolist() for column in layout.runs), strict=True):
        kernels.histogram(flat, start, stop, counts[group])
    if counts.max() >= 1 << 31:
        raise StatementError("a value occurs more than 2^31 times in one group: split the model into two commitments")
    for group in range(len(counts)):
        address = layout.histogram_address(group)
        flat[address : address + TABLE] = counts[group]
    return flat


def describe_checkpoint(
    checkpoint: Checkpoint, scales: Mapping[str, int] | int | None, progress: Progress
) -> tuple[Manifest, Layout]:
    """The manifest of a checkpoint and its layout; reads every tensor once."""
    with progress.stage("read the checkpoint"):
        manifest = Manifest.from_checkpoint(checkpoint, scales)
        return manifest, Layout(manifest)


def read_integers(checkpoint: Checkpoint, kernels: Kernels, progress: Progress) -> ModelIntegers:
    """A checkpoint as integers, without committing to it."""
    manifest, layout = describe_checkpoint(checkpoint, None, progress)
    return ModelIntegers(
        manifest, layout, committed_cells(checkpoint, manifest, layout, kernels, layout.entries, progress)
    )


def commit_cells(
    flat: Integers, parameters: Parameters, kernels: Kernels, seed: bytes, progress: Progress
) -> OracleData:
    """The hiding commitment to the cells; hiding coefficients and salts are derived from the commitment's seed."""
    with progress.stage("encode and hash"):
        return commit_rows(
            kernels,
            LABEL_MODEL,
            flat.reshape(-1, parameters.columns),
            parameters.hiding,
            parameters.log_length,
            Stream(seed, b"commitment"),
        )


def commit_model(
    checkpoint: Checkpoint,
    kernels: Kernels,
    *,
    proofs: int = 64,
    scales: Mapping[str, int] | int | None = None,
    parameters: Parameters | None = None,
    progress: Progress | None = None,
) -> CommittedModel:
    """Commit to a checkpoint under a fresh seed.

    `proofs` is the number of statement proofs promised; `scales` may be coarser than the finest possible; `parameters`
    replaces the derived ones. Raises FormatError, StatementError, SoundnessError.
    """
    progress = progress or Progress.silent()
    manifest, layout = describe_checkpoint(checkpoint, scales, progress)
    if parameters is None:
        parameters = derive(layout.entries, proofs)
    rows = -(-layout.entries >> parameters.log_columns)
    flat = committed_cells(checkpoint, manifest, layout, kernels, rows << parameters.log_columns, progress)
    seed = fresh_seed()
    data = commit_cells(flat, parameters, kernels, seed, progress)
    commitment = Commitment(parameters, manifest, data.tree.root)
    return CommittedModel(commitment, seed, ModelIntegers(manifest, layout, flat), data)


def recommit(
    checkpoint: Checkpoint, commitment: Commitment, seed: bytes, kernels: Kernels, progress: Progress
) -> CommittedModel | None:
    """The owner's side of an existing commitment, rebuilt from the checkpoint; None if it is another model's.

    Raises FormatError if the checkpoint cannot be read or lacks tensors.
    """
    manifest, layout, parameters = commitment.manifest, commitment.layout, commitment.parameters
    with progress.stage("read the checkpoint"):
        found = {source.name: (source.shape, source.dtype) for source in checkpoint if source.is_float}
    if found != {tensor.name: (tensor.shape, tensor.dtype) for tensor in manifest.tensors}:
        return None
    # files may have been renamed: their content decides
    if sorted(checkpoint.file_digests().values()) != sorted(manifest.files.values()):
        return None
    flat = committed_cells(checkpoint, manifest, layout, kernels, commitment.rows << parameters.log_columns, progress)
    data = commit_cells(flat, parameters, kernels, seed, progress)
    if data.tree.root != commitment.root:
        return None
    return CommittedModel(commitment, seed, ModelIntegers(manifest, layout, flat), data)


def prove_validity(model: CommittedModel, kernels: Kernels, progress: Progress, **options: Any) -> bytes:
    """The validity proof of a commitment. The caller has reserved its share of the opening budget."""
    with progress.stage("prove validity"):
        return prove(Validity(model.commitment), kernels, [model.data], {}, **options)

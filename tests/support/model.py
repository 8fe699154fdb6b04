"""A real commitment of a few weights: manifest, layout and histograms as for any model, small parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.layout import Layout
from circuits.manifest import Manifest, TensorEntry
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData, commit_rows
from prover.argument.randomness import Stream
from tests.support.toy import KERNELS
from verifier.argument.commitment import Commitment
from verifier.argument.engine import LABEL_MODEL
from verifier.argument.parameters import Parameters, PlainLevel

Integers = npt.NDArray[np.int64]
SMALL = Parameters(4, 1, 9, 96, 32, (PlainLevel(5, 8, 12),))
"""Rows of 512: the smallest histogram fills 128 of them. Four bits."""
SCALE = 10


def manifest(shapes: Mapping[str, tuple[int, ...]], scale: int = SCALE) -> Manifest:
    """Tensors of one scale, all in one histogram group."""
    entries = (TensorEntry(name, shape, "float32", scale, 0) for name, shape in sorted(shapes.items()))
    return Manifest(tuple(entries), (), {}, {})


@dataclass(frozen=True)
class Model:
    """A commitment and everything that its owner has. `flat` holds all cells, as integers of any size."""

    commitment: Commitment
    data: OracleData
    flat: Integers

    @property
    def layout(self) -> Layout:
        return self.commitment.layout

    def under(self, other: Manifest) -> Model:
        """The same root, published under another manifest."""
        return replace(self, commitment=Commitment(self.commitment.parameters, other, self.commitment.root))


def build(
    tensors: Mapping[str, npt.NDArray[Any]],
    change: Callable[[Integers, Layout], None] | None = None,
    kernels: Kernels = KERNELS,
) -> Model:
    """Commit to integer tensors with their exact histogram; `change` may bend the cells before they are committed."""
    description = manifest({name: values.shape for name, values in tensors.items()})
    layout = Layout(description)
    size = -(-layout.entries // SMALL.columns) * SMALL.columns
    cells = np.zeros(size, np.int32)
    for name, values in tensors.items():
        layout.scatter(cells[: layout.entries], name, values.astype(np.int32))
    flat = cells.astype(np.int64)
    recount(flat, layout)
    if change is not None:
        change(flat, layout)
    data = commit_rows(
        kernels,
        LABEL_MODEL,
        flat.astype(np.int32).reshape(-1, SMALL.columns),
        SMALL.hiding,
        SMALL.log_length,
        Stream(bytes(32), b"model"),
    )
    return Model(Commitment(SMALL, description, data.tree.root), data, flat)


def recount(flat: Integers, layout: Layout) -> None:
    """Write the histogram of everything that lies in range."""
    address = layout.histogram_address(0)
    counts = np.zeros(1 << 16, np.int64)
    for start, stop in zip(layout.runs.start.tolist(), layout.runs.stop.tolist(), strict=True):
        values = flat[start:stop]
        inside = values[(values >= -(1 << 15)) & (values < 1 << 15)]
        counts += np.bincount(inside + (1 << 15), minlength=1 << 16)
    flat[address : address + (1 << 16)] = counts


def tensors(seed: int = 1) -> dict[str, npt.NDArray[Any]]:
    """A matrix and two vectors of equal length: 35 weights, extremes included."""
    random = np.random.default_rng(seed)
    found = {
        "a.weight": random.integers(-(1 << 15), 1 << 15, (3, 5)),
        "b.bias": random.integers(-1000, 1000, 10),
        "c.bias": random.integers(-1000, 1000, 10),
    }
    found["a.weight"][0, :2] = [-(1 << 15), (1 << 15) - 1]
    return found

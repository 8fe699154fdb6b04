"""Public objects without a model behind them: manifests and commitments with made-up roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from circuits.manifest import TABLE, Manifest, TensorEntry, assign_groups
from verifier.argument.commitment import Commitment
from verifier.argument.derive import derive
from verifier.argument.parameters import Parameters

ROOT = bytes(range(32))


def manifest_of(shapes: Mapping[str, tuple[int, ...]], scales: Mapping[str, int] | None = None) -> Manifest:
    """A manifest of float32 tensors; scale 10 where none is given."""
    entries = [TensorEntry(name, shapes[name], "float32", (scales or {}).get(name, 10), 0) for name in sorted(shapes)]
    groups = assign_groups([tensor.entries for tensor in entries], [tensor.scale for tensor in entries])
    tensors = tuple(replace(tensor, group=group) for tensor, group in zip(entries, groups, strict=True))
    return Manifest(tensors, (), {}, {})


def parameters_of(entries: int = 2 * TABLE, proofs: int = 1, target_bits: int = 128) -> Parameters:
    return derive(entries, proofs, target_bits)


def commitment_of(shapes: Mapping[str, tuple[int, ...]], scales: Mapping[str, int] | None = None) -> Commitment:
    """A commitment to a manifest; nobody knows an opening of its root."""
    return Commitment(parameters_of(), manifest_of(shapes, scales), ROOT)

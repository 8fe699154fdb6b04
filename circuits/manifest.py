"""The public description of a commitment: its tensors, their scales and histogram groups, the files they came from.

A manifest is canonical JSON: one model has exactly one, and bytes that are not canonical are refused. Everything that
can be derived (rounding bounds, groups) is written out for readers and recomputed on reading. Source: statements.md,
section 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import PurePosixPath
from typing import Self

import numpy as np

from circuits.checkpoint.base import (
    DTYPES,
    FLOAT_DTYPES,
    MAX_FLOAT_ENTRIES,
    MAX_FLOAT_TENSORS,
    MAX_TENSORS,
    Checkpoint,
    TensorSource,
    check_name,
    check_shape,
    quote,
)
from circuits.checkpoint.strict_json import dumps, loads
from circuits.errors import FormatError
from circuits.fixedpoint import MAX_SCALE, MIN_SCALE, choose_scales, magnitude, rounding_bound

FORMAT = "weightproof/manifest/v1"
TABLE = 65_536
"""Cells of a histogram; a tensor with as many entries has a group of its own."""

MAX_BYTES = 2**28
MAX_FILES = 2**13


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A committed tensor.

    Attributes:
        name, shape, dtype: as in the checkpoint; dtype is a key of `FLOAT_DTYPES`.
        scale: F in [-40, 60]; the committed integers are rint(w * 2^F).
        group: index of its histogram group in `Manifest.groups`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: int
    group: int

    @property
    def entries(self) -> int:
        """Number of entries, at least 1."""
        return math.prod(self.shape)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(product of the leading dimensions, last dimension); a vector is one row, a scalar is 1 x 1."""
        return math.prod(self.shape[:-1]), self.shape[-1] if self.shape else 1

    @property
    def rounding_bound(self) -> Fraction:
        """delta = 2^-(F+1)."""
        return rounding_bound(self.scale)


@dataclass(frozen=True, slots=True)
class ExcludedEntry:
    """A tensor of integers or booleans: not committed and unusable in checks, bound by its digest alone.

    Attributes:
        sha256: lower-case hex digest of its entries, row-major, little-endian.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True, slots=True)
class HistogramGroup:
    """Tensors that share one histogram, and therefore one scale.

    Attributes:
        scale: the F of every tensor of the group.
        entries: how many weights the group counts; the histogram sums to it.
    """

    scale: int
    entries: int


def assign_groups(entries: Sequence[int], scales: Sequence[int]) -> list[int]:
    """The histogram group of every tensor, given in the order of their names.

    A tensor of 65,536 entries or more has its own group, numbered first, in order; the others share one group per
    scale, numbered by ascending scale. A model of fewer than 65,536 entries in all is one group.

    Raises:
        FormatError: a model of fewer than 65,536 entries has more than one scale.
    """
    if sum(entries) < TABLE and len(set(scales)) > 1:
        raise FormatError(f"a model of fewer than {TABLE} entries has one scale for all its tensors; commit it again")
    own = [index for index, size in enumerate(entries) if size >= TABLE]
    shared = sorted({scale for size, scale in zip(entries, scales, strict=True) if size < TABLE})
    group_of_tensor = {index: group for group, index in enumerate(own)}
    group_of_scale = {scale: len(own) + number for number, scale in enumerate(shared)}
    return [
        group_of_tensor[index] if index in group_of_tensor else group_of_scale[scale]
        for index, scale in enumerate(scales)
    ]


@dataclass(frozen=True)
class Manifest:
    """What a commitment is about. Every instance is valid: the constructor checks all that does not need the weights.

    Attributes:
        tensors: the committed tensors, sorted by name, at least one; their `group` follows `assign_groups`.
        excluded: the tensors that are only digested, sorted by name.
        tied: further names: name -> name of a tensor above.
        files: sha256 (hex) of the files of the checkpoint, by name relative to its folder.

    Raises:
        FormatError: any rule above is broken; the message names the tensor.
    """

    tensors: tuple[TensorEntry, ...]
    excluded: tuple[ExcludedEntry, ...]
    tied: Mapping[str, str]
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if (
            not 1 <= len(self.tensors) <= MAX_FLOAT_TENSORS
            or len(self.tensors) + len(self.excluded) + len(self.tied) > MAX_TENSORS
        ):
            raise FormatError(
                f"a manifest has 1 to {MAX_FLOAT_TENSORS} committed tensors and {MAX_TENSORS} names in all, this one"
                f" {len(self.tensors)} and {len(self.tensors) + len(self.excluded) + len(self.tied)}; split the model"
            )
        for tensor in self.tensors:
            _check_tensor(tensor)
        for excluded in self.excluded:
            _check_excluded(excluded)
        _check_sorted([tensor.name for tensor in self.tensors])
        _check_sorted([excluded.name for excluded in self.excluded])
        total = sum(tensor.entries for tensor in self.tensors)
        if total > MAX_FLOAT_ENTRIES:
            raise FormatError(
                f"{total} float entries; one commitment holds at most {MAX_FLOAT_ENTRIES}: split the model"
            )
        self._check_names()
        _check_files(self.files)
        groups = assign_groups([tensor.entries for tensor in self.tensors], [tensor.scale for tensor in self.tensors])
        for tensor, group in zip(self.tensors, groups, strict=True):
            if type(tensor.group) is not int or tensor.group != group:
                raise FormatError(
                    f"tensor {quote(tensor.name)} belongs to histogram group {group}, not {quote(tensor.group)}"
                )

    def _check_names(self) -> None:
        names = {tensor.name for tensor in self.tensors}
        for excluded in self.excluded:
            if excluded.name in names:
                raise FormatError(
                    f"tensor {quote(excluded.name)} is both committed and excluded; commit the model again"
                )
        names.update(excluded.name for excluded in self.excluded)
        for name, canonical in self.tied.items():
            if check_name(name) in names or not isinstance(canonical, str) or canonical not in names:
                raise FormatError(
                    f"tied tensor {quote(name)} must be a further name of a listed tensor, not {quote(canonical)}"
                )

    @cached_property
    def groups(self) -> tuple[HistogramGroup, ...]:
        """The histogram groups, by number."""
        count = 1 + max(tensor.group for tensor in self.tensors)
        entries, scales = [0] * count, [0] * count
        for tensor in self.tensors:
            entries[tensor.group] += tensor.entries
            scales[tensor.group] = tensor.scale
        return tuple(map(HistogramGroup, scales, entries))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, scales: Mapping[str, int] | int | None = None) -> Self:
        """Describe a checkpoint: reads every tensor once, one at a time, and digests the files.

        Args:
            checkpoint: see `circuits.checkpoint.open_checkpoint`.
            scales: coarser scales than the finest possible, see `fixedpoint.choose_scales`.

        Raises:
            FormatError: a tensor holds NaN or infinity, a scale does not fit, or a file cannot be read.
        """
        floats = [source for source in checkpoint if source.is_float]
        small = sum(source.entries for source in floats) < TABLE
        largest = {source.name: magnitude(source.load(), source.name) for source in floats}
        chosen = choose_scales(largest, scales, common=small)
        groups = assign_groups([source.entries for source in floats], [chosen[source.name] for source in floats])
        tensors = tuple(
            TensorEntry(source.name, source.shape, source.dtype, chosen[source.name], group)
            for source, group in zip(floats, groups, strict=True)
        )
        excluded = tuple(
            ExcludedEntry(source.name, source.shape, source.dtype, _digest(source))
            for source in checkpoint
            if not source.is_float
        )
        return cls(tensors, excluded, dict(checkpoint.tied), checkpoint.file_digests())

    def to_bytes(self) -> bytes:
        """The canonical bytes: what the commitment id and the transcript absorb."""
        return dumps(
            {
                "format": FORMAT,
                "tensors": [
                    {
                        "name": tensor.name,
                        "shape": list(tensor.shape),
                        "dtype": tensor.dtype,
                        "scale": tensor.scale,
                        "rounding_bound": str(tensor.rounding_bound),
                        "group": tensor.group,
                    }
                    for tensor in self.tensors
                ],
                "groups": [{"scale": group.scale, "entries": group.entries} for group in self.groups],
                "excluded": [
                    {"name": entry.name, "shape": list(entry.shape), "dtype": entry.dtype, "sha256": entry.sha256}
                    for entry in self.excluded
                ],
                "tied": dict(self.tied),
                "files": dict(self.files),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a manifest from an untrusted source.

        Raises:
            FormatError: anything but the canonical bytes of a valid manifest, found in bounded memory.
        """
        if len(data) > MAX_BYTES:
            raise FormatError(f"a manifest has at most {MAX_BYTES} bytes, not {len(data)}; is it the right file?")
        document = _fields(loads(data, "manifest"), "manifest", "format tensors groups excluded tied files")
        if document["format"] != FORMAT:
            raise FormatError(f"manifest format {quote(document['format'])}; this version reads {FORMAT}")
        manifest = cls(
            tuple(_read_tensor(item) for item in _list(document["tensors"], "tensors", MAX_FLOAT_TENSORS)),
            tuple(_read_excluded(item) for item in _list(document["excluded"], "excluded", MAX_TENSORS)),
            _strings(document["tied"], "tied"),
            _strings(document["files"], "files"),
        )
        if manifest.to_bytes() != data:
            raise FormatError(
                "the manifest is not canonical: a rounding bound or group summary is wrong, or its bytes were"
                " reformatted;"
                " use the file as it was written"
            )
        return manifest


def _digest(source: TensorSource) -> str:
    """SHA-256 of the entries, row-major, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(source.load()).reshape(-1).view(np.uint8).data).hexdigest()


def _check_tensor(tensor: TensorEntry) -> None:
    check_name(tensor.name)
    check_shape(tensor.name, tensor.shape)
    if not isinstance(tensor.dtype, str) or tensor.dtype not in FLOAT_DTYPES:
        raise FormatError(
            f"tensor {quote(tensor.name)}: type {quote(tensor.dtype)} is not one of {', '.join(FLOAT_DTYPES)}"
        )
    if type(tensor.scale) is not int or not MIN_SCALE <= tensor.scale <= MAX_SCALE:
        raise FormatError(
            f"tensor {quote(tensor.name)}: scale {quote(tensor.scale)} is not in [{MIN_SCALE}, {MAX_SCALE}]"
        )


def _check_excluded(entry: ExcludedEntry) -> None:
    check_name(entry.name)
    check_shape(entry.name, entry.shape)
    if not isinstance(entry.dtype, str) or entry.dtype not in DTYPES or entry.dtype in FLOAT_DTYPES:
        raise FormatError(
            f"tensor {quote(entry.name)}: type {quote(entry.dtype)} cannot be excluded; only integers and bool"
        )
    _check_digest(entry.sha256, entry.name)


def _check_digest(digest: object, of: str) -> None:
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise FormatError(f"{quote(of)}: a sha256 is 64 lower-case hex digits, not {quote(digest)}")


def _check_files(files: Mapping[str, str]) -> None:
    if len(files) > MAX_FILES:
        raise FormatError(
            f"a manifest lists at most {MAX_FILES} files, not {len(files)}; save the model in larger shards"
        )
    for name, digest in files.items():
        path = PurePosixPath(check_name(name))
        if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
            raise FormatError(
                f"file {quote(name)}: names are relative to the folder of the checkpoint, with '/', without '..'"
            )
        _check_digest(digest, name)


def _check_sorted(names: Iterable[str]) -> None:
    """Names ascend strictly; Python compares strings by code point, which is the order of their UTF-8 bytes."""
    previous = ""
    for name in names:
        if name <= previous:
            raise FormatError(f"tensor {quote(name)} is listed twice or out of order; tensors are sorted by name")
        previous = name


def _fields(value: object, what: str, keys: str) -> dict[str, object]:
    """`value` as an object with exactly the keys in `keys` (separated by spaces)."""
    if not isinstance(value, dict) or value.keys() != set(keys.split()):
        found = sorted(value) if isinstance(value, dict) else value
        raise FormatError(f"{what}: needs exactly the keys {keys}, not {quote(found)}; use a manifest of this version")
    return value


def _list(value: object, what: str, limit: int) -> list[object]:
    if not isinstance(value, list) or len(value) > limit:
        raise FormatError(f"manifest {what}: a list of at most {limit} entries is needed; is it the right file?")
    return value


def _strings(value: object, what: str) -> dict[str, str]:
    if (
        not isinstance(value, dict)
        or len(value) > MAX_TENSORS
        or not all(isinstance(item, str) for item in value.values())
    ):
        raise FormatError(f"manifest {what}: an object of strings is needed; is it the right file?")
    return value


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{what}: a string is needed, not {quote(value)}")
    return value


def _integer(value: object, what: str) -> int:
    if type(value) is not int:
        raise FormatError(f"{what}: an integer is needed, not {quote(value)}")
    return value


def _read_tensor(item: object) -> TensorEntry:
    """A tensor as written by `to_bytes`; its rounding bound is compared with the canonical bytes later."""
    fields = _fields(item, "tensor", "name shape dtype scale rounding_bound group")
    name = check_name(fields["name"])
    shape = check_shape(name, fields["shape"])
    where = f"tensor {quote(name)}"
    scale, group = _integer(fields["scale"], f"{where}, scale"), _integer(fields["group"], f"{where}, group")
    return TensorEntry(name, shape, _string(fields["dtype"], f"{where}, dtype"), scale, group)


def _read_excluded(item: object) -> ExcludedEntry:
    fields = _fields(item, "excluded tensor", "name shape dtype sha256")
    name = check_name(fields["name"])
    shape = check_shape(name, fields["shape"])
    where = f"tensor {quote(name)}"
    return ExcludedEntry(
        name, shape, _string(fields["dtype"], f"{where}, dtype"), _string(fields["sha256"], f"{where}, sha256")
    )

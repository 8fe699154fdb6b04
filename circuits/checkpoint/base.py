"""What every checkpoint format is read into: named tensors that load on demand, tied names, files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from circuits.checkpoint.files import digest_files
from circuits.errors import FormatError

MAX_FLOAT_TENSORS = 2**17
MAX_TENSORS = 2**18
MAX_NAME_BYTES = 512
MAX_RANK = 8
MAX_FLOAT_ENTRIES = 2**31 - 2**20
"""Float entries of one checkpoint, tied tensors counted once."""

Array = npt.NDArray[Any]

FLOAT_DTYPES: Mapping[str, np.dtype[Any]] = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
"""Tensors of these types are committed: name -> little-endian numpy type."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    **FLOAT_DTYPES,
    **{f"int{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"uint{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "bool": np.dtype(np.bool_),
}
"""Every type that can be read; those that are not in FLOAT_DTYPES are only digested."""

# Control characters, lone surrogates, line separators and direction overrides: they would let a name forge a log line.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e0fff]"
)


def quote(name: object) -> str:
    """`name` for an error message: printable ASCII, at most 80 characters, in quotes."""
    text = ascii(name[:100] if isinstance(name, str) else name)
    return text if len(text) <= 80 else text[:76] + "...'"


def check_name(name: object) -> str:
    """Return `name` if it may name a tensor: 1 to 512 UTF-8 bytes, no control characters; else raise FormatError."""
    if not isinstance(name, str) or not name:
        raise FormatError(f"a tensor name must be a non-empty string, not {quote(name)}; name it and export again")
    if len(name) > MAX_NAME_BYTES or _FORBIDDEN.search(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise FormatError(
            f"tensor {quote(name)}: a name has at most {MAX_NAME_BYTES} UTF-8 bytes and no control or direction"
            " characters; rename the tensor and export again"
        )
    return name


def check_shape(name: str, shape: object) -> tuple[int, ...]:
    """Return `shape` as a tuple if it is a list of at most 8 positive integers with a product below 2^40.

    Raises:
        FormatError: names the tensor; zero-size tensors are refused because nothing can be said about them.
    """
    if not isinstance(shape, list | tuple) or len(shape) > MAX_RANK:
        raise FormatError(f"tensor {quote(name)}: a shape lists at most {MAX_RANK} dimensions, not {quote(shape)}")
    if any(type(dimension) is not int or not 0 <= dimension < 2**40 for dimension in shape):
        raise FormatError(f"tensor {quote(name)}: dimensions are integers in [0, 2^40), not {quote(shape)}")
    entries = math.prod(shape)
    if entries == 0:
        raise FormatError(f"tensor {quote(name)} has zero size (shape {quote(shape)}); remove it and export again")
    if entries >= 2**40:
        raise FormatError(f"tensor {quote(name)} announces {entries} entries; at most 2^40 can be read")
    return tuple(shape)


@dataclass(frozen=True, slots=True)
class TensorSource:
    """One tensor of a checkpoint: what it is, and how to read its numbers.

    Attributes:
        name: unique in its checkpoint, see `check_name`.
        shape: () for a scalar, at most 8 dimensions, none of them 0.
        dtype: a key of `DTYPES`.
        loader: reads the numbers; call `load` instead.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    loader: Callable[[], Array]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "shape", check_shape(self.name, self.shape))
        if self.dtype not in DTYPES:
            raise FormatError(f"tensor {quote(self.name)}: type {quote(self.dtype)} is not one of {', '.join(DTYPES)}")

    @property
    def entries(self) -> int:
        """Number of entries, at least 1."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the tensor is committed (a float type) or only digested."""
        return self.dtype in FLOAT_DTYPES

    def load(self) -> Array:
        """Read the tensor: a C-contiguous array of shape `shape` and type `DTYPES[dtype]`, often read-only.

        Large tensors come as a view of the file that the system pages in as it is read, so a tensor may be larger than
        memory: slice it, do not copy it. The file must not change while it is in use.

        Raises:
            FormatError: the file is gone, has shrunk, or its numbers are not of the announced type and shape.
        """
        try:
            values = self.loader()
        except OSError as error:
            raise FormatError(
                f"tensor {quote(self.name)} cannot be read: {error}; restore the checkpoint file"
            ) from error
        if values.shape != self.shape or values.dtype != DTYPES[self.dtype]:
            raise FormatError(
                f"tensor {quote(self.name)}: announced as {self.dtype} {self.shape}, read as {values.dtype}"
                f" {values.shape};"
                " the file has changed since it was opened"
            )
        return values


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one model, in order of their names, each stored tensor once.

    Attributes:
        sources: sorted by name (by UTF-8 bytes), names unique, at least one of a float type.
        tied: further names of stored tensors: name -> name of a tensor in `sources`.
        paths: the files that were read: name relative to the checkpoint's folder, with "/" -> where it is.

    Raises:
        FormatError: no tensor, no float tensor, a duplicate name, too many tensors or entries, a dangling tied name.
    """

    sources: tuple[TensorSource, ...]
    tied: Mapping[str, str]
    paths: Mapping[str, Path]

    def __post_init__(self) -> None:
        if not self.sources:
            raise FormatError("the checkpoint holds no tensor; check that it was exported with its weights")
        if len(self.sources) + len(self.tied) > MAX_TENSORS:
            raise FormatError(
                f"the checkpoint holds more than {MAX_TENSORS} tensors; merge the small ones and export again"
            )
        object.__setattr__(self, "sources", tuple(sorted(self.sources, key=lambda source: source.name)))
        for previous, source in zip(self.sources, self.sources[1:], strict=False):
            if previous.name == source.name:
                raise FormatError(f"two tensors are named {quote(source.name)}; rename one and export again")
        self._check_floats()
        names = {source.name for source in self.sources}
        for name, canonical in self.tied.items():
            if check_name(name) in names or canonical not in names:
                raise FormatError(
                    f"tied tensor {quote(name)} must be a further name of a stored tensor, not {quote(canonical)}"
                )

    def _check_floats(self) -> None:
        floats = [source.entries for source in self.sources if source.is_float]
        if not floats:
            raise FormatError(
                f"the checkpoint holds no float tensor; only {', '.join(FLOAT_DTYPES)} can be committed,"
                " so export the weights before quantisation"
            )
        if len(floats) > MAX_FLOAT_TENSORS:
            raise FormatError(
                f"{len(floats)} float tensors; at most {MAX_FLOAT_TENSORS}: merge the small ones and export again"
            )
        if sum(floats) > MAX_FLOAT_ENTRIES:
            raise FormatError(
                f"{sum(floats)} float entries; one commitment holds at most {MAX_FLOAT_ENTRIES}: split the model"
            )

    def __iter__(self) -> Iterator[TensorSource]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def file_digests(self) -> dict[str, str]:
        """SHA-256 (hex) of every file of the checkpoint, by relative name, streamed in threads."""
        return digest_files(self.paths)

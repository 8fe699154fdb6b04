"""Checkpoints for the owner: everything that circuits reads, and PyTorch files (.pt, .pth, .bin).

PyTorch files are pickles. They are read with `weights_only=True`, which builds tensors and containers and runs no code
from the file, and are mapped. torch is imported when the first such file is opened.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from circuits import checkpoint as public
from circuits.checkpoint.base import DTYPES, MAX_TENSORS, Array, Checkpoint, TensorSource, check_name, quote
from circuits.checkpoint.files import file_size
from circuits.errors import FormatError

if TYPE_CHECKING:
    import torch

MAX_PICKLE_BYTES = 2**25
MAX_DIRECTORY_BYTES = 2**25


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint of any known format; see `circuits.checkpoint.open_checkpoint`.

    Raises:
        FormatError: the path is missing or unreadable, has an ending that no reader takes, or the file is malformed.
    """
    return public.open_checkpoint(path, READERS)


def read_torch(path: Path) -> Checkpoint:
    """Open a state dictionary saved by `torch.save` (PyTorch 1.6 or later): a flat mapping from names to dense tensors.

    Names that share one storage in the same way (offset, shape, strides, type) are tied; the first by name is
    canonical.

    Raises:
        FormatError: the file needs code to be read, is damaged, announces more than it holds, or is no state
        dictionary.
    """
    import torch

    _check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        tensors = _dense_tensors(path.name, state)
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()
        }
    except FormatError:
        raise
    except Exception as error:  # torch raises whatever a damaged or hostile pickle makes it raise
        reason = quote(str(error).strip().split("\n", 1)[0])
        raise FormatError(
            f"{path.name}: not loadable without running its code, or damaged ({reason}); save model.state_dict() with"
            " torch.save, or export to safetensors"
        ) from error
    if sum(storages.values()) > file_size(path):
        raise FormatError(
            f"{path.name}: announces {sum(storages.values())} bytes of tensors, more than it holds; fetch it again"
        )
    return _checkpoint(path, tensors)


def _checkpoint(path: Path, tensors: Mapping[str, torch.Tensor]) -> Checkpoint:
    """Sources in order of their names; a tensor that looks at its storage as an earlier one does is tied to it."""
    first: dict[object, str] = {}
    tied: dict[str, str] = {}
    sources: list[TensorSource] = []
    for name in sorted(tensors):
        tensor = tensors[name]
        storage = tensor.untyped_storage().data_ptr()
        view = (storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if first.setdefault(view, name) == name:
            dtype = str(tensor.dtype).removeprefix("torch.")
            sources.append(TensorSource(name, tuple(tensor.shape), dtype, partial(_load, tensor, dtype)))
        else:
            tied[name] = first[view]
    return Checkpoint(tuple(sources), tied, {path.name: path})


READERS: Mapping[str, public.Reader] = {**public.READERS, ".pt": read_torch, ".pth": read_torch, ".bin": read_torch}
"""Ending of the file name (lower case) -> reader."""


def _check_archive(path: Path) -> None:
    """Refuse what could unpack to more than the file holds, before torch or zipfile build anything from it."""
    directory = _directory_bytes(path)
    if directory > MAX_DIRECTORY_BYTES:
        raise FormatError(
            f"{path.name}: announces a directory of {directory} bytes; a model may have at most 2^18 tensors"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path.name}: damaged zip archive ({error}); fetch or save it again") from error
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise FormatError(
            f"{path.name}: has compressed entries, which torch.save never writes; save it again with torch.save"
        )
    if any(entry.file_size > MAX_PICKLE_BYTES for entry in entries if entry.filename.endswith(".pkl")):
        raise FormatError(f"{path.name}: its pickle exceeds {MAX_PICKLE_BYTES} bytes; save only model.state_dict()")


def _directory_bytes(path: Path) -> int:
    """The size that a zip archive announces for its central directory (APPNOTE 4.3.14 to 4.3.16).

    Readers differ where an archive says it twice: both must agree, and nothing may follow, as torch.save writes it.
    """
    with path.open("rb") as file:
        file.seek(max(0, file_size(path) - 98))
        tail = file.read()
    end64, locator, end = tail[-98:-42], tail[-42:-22], tail[-22:]
    if end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise FormatError(
            f"{path.name}: not a zip archive: truncated, not a PyTorch file, or saved before PyTorch 1.6; load it and"
            " save model.state_dict() again"
        )
    size, offset = (int.from_bytes(end[start : start + 4], "little") for start in (12, 16))
    if locator[:4] != b"PK\x06\x07":
        return size
    size64, offset64 = (int.from_bytes(end64[start : start + 8], "little") for start in (40, 48))
    if end64[:4] != b"PK\x06\x06" or size not in (size64, 2**32 - 1) or offset not in (offset64, 2**32 - 1):
        raise FormatError(
            f"{path.name}: the two ends of the zip archive contradict each other; save it again with torch.save"
        )
    return size64


def _dense_tensors(file: str, state: object) -> dict[str, torch.Tensor]:
    """The tensors of a state dictionary, each dense, of a known type, and no larger than its storage."""
    import torch

    if not isinstance(state, Mapping) or len(state) > MAX_TENSORS:
        raise FormatError(f"{file}: holds {type(state).__name__}, not a dictionary of tensors; save model.state_dict()")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise FormatError(
                f"{file}: {quote(check_name(name))} is {type(value).__name__}, not a tensor; save model.state_dict()"
                " alone,"
                " without optimiser state or nesting"
            )
        plain = (
            value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested and not value.is_neg()
        )
        if not plain or str(value.dtype).removeprefix("torch.") not in DTYPES:
            raise FormatError(
                f"{file}: tensor {quote(name)} is {value.layout} {value.dtype} on {value.device}; only plain dense"
                " tensors"
                f" of type {', '.join(DTYPES)} are read: convert it and save again"
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise FormatError(
                f"{file}: tensor {quote(name)} repeats its entries (expanded view); save tensor.contiguous()"
            )
    return {check_name(name): value.detach() for name, value in state.items()}


def _load(tensor: torch.Tensor, dtype: str) -> Array:
    """The numbers, row-major; copied only if the tensor is stored otherwise."""
    import torch

    numbers = DTYPES[dtype]
    patterns = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return patterns.view(numbers).reshape(tuple(tensor.shape))

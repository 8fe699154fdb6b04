"""Safetensors: an 8-byte little-endian header length, a JSON header, then the tensors without gaps.

The `safetensors` package is not used to read: it keeps the last of two tensors with one name without a word, and copies
whole tensors. The rules here are those of its format description (huggingface.co/docs/safetensors), applied strictly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from circuits.checkpoint.base import DTYPES, MAX_TENSORS, Array, Checkpoint, TensorSource, check_shape, quote
from circuits.checkpoint.files import file_size, map_bytes, read_prefix
from circuits.checkpoint.strict_json import loads
from circuits.errors import FormatError

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format itself; also that of an index of shards."""

MAX_SHARDS = 4096

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(path: Path) -> Checkpoint:
    """Open one safetensors file. `safetensors.torch.save_model` lists tied names in the metadata: they become `tied`.

    Raises:
        FormatError: the header is truncated, too long, not strict JSON, or disagrees with the size of the file.
    """
    sources, metadata = _read_file(path)
    names = {source.name for source in sources}
    tied = {alias: name for alias, name in metadata.items() if alias not in names and name in names}
    return Checkpoint(tuple(sources), tied, {path.name: path})


def read_sharded_safetensors(path: Path) -> Checkpoint:
    """Open the shards that a `*.safetensors.index.json` lists; they lie beside it (symbolic links are followed).

    Raises:
        FormatError: a shard is malformed, or index and shards do not hold exactly the same tensors.
    """
    weight_map = _weight_map(path)
    shards = sorted(set(weight_map.values()))
    if len(shards) > MAX_SHARDS:
        raise FormatError(f"{path.name}: {len(shards)} shards; at most {MAX_SHARDS} are read: save with larger shards")
    sources: list[TensorSource] = []
    for shard in shards:
        if not shard.endswith(".safetensors") or Path(shard).name != shard or "\\" in shard or "\0" in shard:
            raise FormatError(
                f"{path.name}: shard {quote(shard)} is not a plain file name ending in .safetensors; fix the index"
            )
        in_shard, _ = _read_file(path.parent / shard)
        for source in in_shard:
            if weight_map.pop(source.name, None) != shard:
                raise FormatError(
                    f"{shard}: tensor {quote(source.name)} is listed elsewhere, twice or not at all in {path.name};"
                    " index and shards are of different exports: fetch them again"
                )
        sources += in_shard
    if weight_map:
        name, shard = next(iter(weight_map.items()))
        raise FormatError(f"{shard}: tensor {quote(name)} is listed in {path.name} but missing; fetch the shard again")
    return Checkpoint(tuple(sources), {}, {name: path.parent / name for name in [path.name, *shards]})


def _weight_map(path: Path) -> dict[str, str]:
    index = loads(read_prefix(path, MAX_HEADER_BYTES), path.name)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise FormatError(f"{path.name}: needs a weight_map from tensor names to shard files; fetch the index again")
    return weight_map


def _read_file(path: Path) -> tuple[list[TensorSource], Mapping[str, str]]:
    """The tensors and the metadata of one file."""
    size = file_size(path)
    if size < 8:
        raise FormatError(f"{path.name}: {size} bytes, too short for a safetensors file; fetch it again")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise FormatError(
                f"{path.name}: announces a header of {length} bytes; the file has {size} and a header at most"
                f" {MAX_HEADER_BYTES}: it is truncated or not safetensors, fetch it again"
            )
        header = loads(file.read(length), f"header of {path.name}")
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise FormatError(f"{path.name}: the header must be an object with at most {MAX_TENSORS} tensors; export again")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{path.name}: __metadata__ must map strings to strings; export again")
    spans = sorted((_span(path.name, name, entry), name) for name, entry in header.items())
    end = 0
    for (start, stop), name in spans:
        if start != end:
            raise FormatError(
                f"{path.name}: tensor {quote(name)} starts at byte {start}, the one before ends at {end}; tensors may"
                " neither"
                " overlap nor leave gaps: export again with safetensors"
            )
        end = stop
    if end != size - 8 - length:
        raise FormatError(
            f"{path.name}: the header describes {end} bytes of tensors, the file has {size - 8 - length}; it is"
            " truncated or"
            " has data appended: fetch it again"
        )
    return [_source(path, 8 + length + start, name, header[name]) for (start, _), name in spans], metadata


def _span(file: str, name: str, entry: object) -> tuple[int, int]:
    """The checked data_offsets of one header entry, relative to the end of the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{file}: tensor {quote(name)} needs exactly dtype, shape and data_offsets; export again")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise FormatError(
            f"{file}: tensor {quote(name)} has type {quote(entry['dtype'])}; known: {', '.join(_DTYPES)}:"
            " convert it to one of these without loss and export again"
        )
    entries = math.prod(check_shape(name, entry["shape"]))
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or [type(offset) for offset in offsets] != [int, int]:
        raise FormatError(
            f"{file}: tensor {quote(name)}: data_offsets are two integers, not {quote(offsets)}; export again"
        )
    expected = entries * DTYPES[_DTYPES[entry["dtype"]]].itemsize
    if offsets[0] < 0 or offsets[1] - offsets[0] != expected:
        raise FormatError(
            f"{file}: tensor {quote(name)}: data_offsets {quote(offsets)} do not span the {expected} bytes of its"
            " shape and"
            " type; export again"
        )
    return offsets[0], offsets[1]


def _source(path: Path, offset: int, name: str, entry: dict[str, object]) -> TensorSource:
    shape, dtype = check_shape(name, entry["shape"]), _DTYPES[str(entry["dtype"])]
    return TensorSource(name, shape, dtype, partial(_load, path, offset, shape, dtype))


def _load(path: Path, offset: int, shape: tuple[int, ...], dtype: str) -> Array:
    numbers = DTYPES[dtype]
    return map_bytes(path, offset, math.prod(shape) * numbers.itemsize).view(numbers).reshape(shape)

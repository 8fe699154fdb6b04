"""Reading safetensors: agreement with the library that writes them, and refusal of malformed files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from circuits.checkpoint import FLOAT_DTYPES, open_checkpoint
from circuits.errors import FormatError
from circuits.fixedpoint import magnitude
from circuits.manifest import Manifest

ARRAYS: dict[str, Any] = {
    "f64": np.linspace(-1, 1, 6).reshape(2, 3),
    "f32": np.arange(5, dtype=np.float32),
    "f16": np.array(1.5, dtype=np.float16),
    "bf16": np.arange(24).reshape(1, 2, 3, 2, 2).astype(ml_dtypes.bfloat16),
    "i64": np.arange(3),
    "u8": np.arange(3, dtype=np.uint8),
    "bool": np.array([True, False]),
}


def entry(start: int, stop: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


def encode(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header (JSON is made of what is not bytes) and data, announcing `length` bytes of header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        return path

    return write


def test_all_types_and_shapes_are_read_as_the_library_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(ARRAYS, path)
    checkpoint = open_checkpoint(path)
    assert [source.name for source in checkpoint] == sorted(ARRAYS)
    for source in checkpoint:
        values = source.load()
        assert (values.dtype, values.shape, source.entries) == (
            ARRAYS[source.name].dtype,
            source.shape,
            ARRAYS[source.name].size,
        )
        assert np.array_equal(values, ARRAYS[source.name])
        assert source.is_float == (source.dtype in FLOAT_DTYPES)
    assert checkpoint.file_digests() == {"m.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_real_model(shared_data: Path) -> None:
    folder = shared_data / "stories260k"
    checkpoint = open_checkpoint(folder)
    expected = load_file(folder / "model.safetensors")
    assert {source.name for source in checkpoint} == set(expected)
    assert all(np.array_equal(source.load(), expected[source.name]) for source in checkpoint)
    assert sum(source.entries for source in checkpoint) == 260_032


def test_unaligned_data_is_read(write: Callable[[bytes], Path]) -> None:
    header = {"a": entry(0, 1, [1], "U8"), "b": entry(1, 9)}
    (_, source) = open_checkpoint(write(encode(header, b"\x07" + struct.pack("<2f", 1.5, -2)))).sources
    assert source.load().tolist() == [1.5, -2.0]


def test_names_that_save_model_dropped_are_tied(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": ARRAYS["f32"]}, path, metadata={"head": "w", "format": "pt", "w": "w"})
    assert open_checkpoint(path).tied == {"head": "w"}


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "no header": encode(b""),
    "ten gigabytes announced": encode({"a": entry(0, 4)}, b"\0" * 4, length=10**10),
    "2^64 - 1 announced": encode({"a": entry(0, 4)}, b"\0" * 4, length=2**64 - 1),
    "header longer than the file": encode({"a": entry(0, 4)}, length=1000),
    "not json": encode(b"hello"),
    "a list": encode([]),
    "deep": encode(b"[" * 50_000),
    "no tensors": encode({}),
    "only metadata": encode({"__metadata__": {"format": "pt"}}),
    "metadata of numbers": encode({"__metadata__": {"format": 1}, "a": entry(0, 4)}, b"\0" * 4),
    "a duplicate name": encode(b'{"a":%b,"a":%b}' % ((json.dumps(entry(0, 4)).encode(),) * 2), b"\0" * 4),
    "no float tensor": encode({"a": entry(0, 4, [1], "I32")}, b"\0" * 4),
    "zero size": encode({"a": entry(0, 0, [0]), "b": entry(0, 4)}, b"\0" * 4),
    "truncated": encode({"a": entry(0, 8)}, b"\0" * 7),
    "appended": encode({"a": entry(0, 8)}, b"\0" * 9),
    "overlap": encode({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12),
    "twice the same data": encode({"a": entry(0, 8), "b": entry(0, 8)}, b"\0" * 8),
    "a gap": encode({"a": entry(0, 4), "b": entry(8, 12)}, b"\0" * 12),
    "a gap at the start": encode({"a": entry(4, 8)}, b"\0" * 8),
    "backwards": encode({"a": entry(8, 4, [1])}, b"\0" * 8),
    "negative": encode({"a": entry(-4, 0, [1])}, b"\0" * 4),
    "shape too large": encode({"a": entry(0, 4, [2])}, b"\0" * 4),
    "a huge shape": encode({"a": entry(0, 4, [2**39] * 8)}, b"\0" * 4),
    "a shape of product 2^64": encode({"a": entry(0, 4, [2**32, 2**32])}, b"\0" * 4),
    "nine dimensions": encode({"a": entry(0, 4, [1] * 9)}, b"\0" * 4),
    "a negative dimension": encode({"a": entry(0, 4, [-1, -1])}, b"\0" * 4),
    "bool as a dimension": encode({"a": entry(0, 4, [True])}, b"\0" * 4),
    "bool as an offset": encode({"a": {**entry(0, 4), "data_offsets": [False, 4]}}, b"\0" * 4),
    "three offsets": encode({"a": {**entry(0, 4), "data_offsets": [0, 4, 4]}}, b"\0" * 4),
    "a float offset": encode({"a": {**entry(0, 4), "data_offsets": [0, 4.0]}}, b"\0" * 4),
    "a string as a shape": encode({"a": {**entry(0, 4), "shape": "1"}}, b"\0" * 4),
    "another type": encode({"a": entry(0, 8, [2], "F16")}, b"\0" * 8),
    "an unknown type": encode({"a": entry(0, 4, [4], "F8_E4M3")}, b"\0" * 4),
    "a type that is no string": encode({"a": {**entry(0, 4), "dtype": ["F32"]}}, b"\0" * 4),
    "a missing key": encode({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
    "an extra key": encode({"a": {**entry(0, 4), "x": 1}}, b"\0" * 4),
    "an entry that is no object": encode({"a": 1}),
    "an empty name": encode({"": entry(0, 4)}, b"\0" * 4),
    "a name with a control character": encode({"a\x1b[2J": entry(0, 4)}, b"\0" * 4),
    "a name with a direction override": encode({"a\u202eb": entry(0, 4)}, b"\0" * 4),
    "a lone surrogate": encode(b'{"\\ud800":%b}' % json.dumps(entry(0, 4)).encode(), b"\0" * 4),
    "a long name": encode({"a" * 513: entry(0, 4)}, b"\0" * 4),
    "a huge integer": encode(b'{"a":{"dtype":"F32","shape":[%b],"data_offsets":[0,4]}}' % (b"1" * 5000), b"\0" * 4),
    "too many entries": encode({"a": entry(0, 2**33, [2**31])}, b"\0" * 4),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_are_refused(write: Callable[[bytes], Path], data: bytes) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(write(data))


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(write: Callable[[bytes], Path], data: bytes) -> None:
    for content in (data, encode(data)):
        with pytest.raises(FormatError):
            open_checkpoint(write(content))


def test_zero_size_and_missing_floats_are_said_plainly(write: Callable[[bytes], Path]) -> None:
    with pytest.raises(FormatError, match=r"'a' has zero size \(shape \[0\]\)"):
        open_checkpoint(write(MALFORMED["zero size"]))
    with pytest.raises(FormatError, match="no float tensor"):
        open_checkpoint(write(MALFORMED["no float tensor"]))


@pytest.mark.parametrize("tensors", [700_000, 3_000_000])
def test_millions_of_tiny_tensors_are_refused_in_bounded_memory(write: Callable[[bytes], Path], tensors: int) -> None:
    """Below the limit of the header the count of elements refuses, above it the length does; nothing is parsed."""
    header = b'{"a":' + b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":' * tensors + b"0}"
    path = write(encode(header))
    size = len(header)
    del header
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"2\^18 tensors|announces a header"):
        open_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size + 2**20


def test_a_file_larger_than_the_memory_allowed_is_streamed(tmp_path: Path) -> None:
    """A sparse file of one gigabyte: opening, scanning and describing it allocates a few megabytes."""
    path = tmp_path / "model.safetensors"
    size = 2**30
    with path.open("wb") as file:
        file.write(encode({"a": entry(0, size, [2**18, 2**10])}))
        file.truncate(file.tell() + size)
    tracemalloc.start()
    (source,) = open_checkpoint(path).sources
    assert magnitude(source.load(), source.name) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_nan_is_found_when_the_numbers_are_read(write: Callable[[bytes], Path]) -> None:
    data = struct.pack("<4f", 0, 0, float("nan"), 0)
    checkpoint = open_checkpoint(write(encode({"layer.w": entry(0, 16, [2, 2])}, data)))
    with pytest.raises(FormatError, match=r"'layer.w' holds nan at index \(1, 0\)"):
        Manifest.from_checkpoint(checkpoint)


def test_a_file_that_shrinks_or_vanishes_is_an_error(write: Callable[[bytes], Path]) -> None:
    path = write(encode({"a": entry(0, 8)}, b"\0" * 8))
    checkpoint = open_checkpoint(path)
    os.truncate(path, 20)
    with pytest.raises(FormatError, match="truncated or was changed"):
        checkpoint.sources[0].load()
    path.unlink()
    with pytest.raises(FormatError, match="restore the checkpoint"):
        checkpoint.sources[0].load()
    with pytest.raises(FormatError, match="cannot be read"):
        checkpoint.file_digests()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Two shards and their index."""
    save_file({"a": ARRAYS["f32"]}, tmp_path / "m-1.safetensors")
    save_file({"b": ARRAYS["f64"], "c": ARRAYS["i64"]}, tmp_path / "m-2.safetensors")
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {"a": "m-1.safetensors"} | dict.fromkeys("bc", "m-2.safetensors"),
    }
    path = tmp_path / "m.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def test_shards_are_one_checkpoint(sharded: Path) -> None:
    for path in (sharded, sharded.parent):
        checkpoint = open_checkpoint(path)
        assert [source.name for source in checkpoint] == ["a", "b", "c"]
        assert np.array_equal(checkpoint.sources[1].load(), ARRAYS["f64"])
        assert sorted(checkpoint.file_digests()) == ["m-1.safetensors", "m-2.safetensors", "m.safetensors.index.json"]


@pytest.mark.parametrize(
    "weight_map",
    [
        None,
        [],
        {"a": 1},
        {"a": "m-1.safetensors", "b": "m-2.safetensors"},
        {"a": "m-2.safetensors", "b": "m-2.safetensors", "c": "m-2.safetensors"},
        {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-2.safetensors", "d": "m-2.safetensors"},
        {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-3.safetensors"},
        {"a": "../m-1.safetensors"},
        {"a": "/m-1.safetensors"},
        {"a": "config.json"},
        {"a": "m\0.safetensors"},
        {f"t{index}": f"{index}.safetensors" for index in range(4097)},
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(sharded: Path, weight_map: object) -> None:
    sharded.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(FormatError):
        open_checkpoint(sharded)


def test_a_name_in_two_shards_is_refused(sharded: Path) -> None:
    save_file({"a": ARRAYS["f32"], "b": ARRAYS["f64"]}, sharded.parent / "m-1.safetensors")
    with pytest.raises(FormatError, match="'b' is listed elsewhere"):
        open_checkpoint(sharded)

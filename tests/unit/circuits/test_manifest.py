"""Manifests: the group rule, canonical bytes, and refusal of everything else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.checkpoint import Checkpoint, TensorSource, open_checkpoint
from circuits.checkpoint.strict_json import MAX_TOKENS
from circuits.errors import FormatError
from circuits.fixedpoint import magnitude
from circuits.manifest import TABLE, HistogramGroup, Manifest, assign_groups


def checkpoint_of(arrays: dict[str, Any], tied: dict[str, str] | None = None) -> Checkpoint:
    """A checkpoint in memory."""
    sources = [
        TensorSource(name, array.shape, str(array.dtype), partial(np.asarray, array)) for name, array in arrays.items()
    ]
    return Checkpoint(tuple(sources), tied or {}, {})


def large(scale_of_values: float) -> Any:
    return np.full((256, 256), scale_of_values, dtype=np.float32)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Own groups, two shared groups, a scalar, all float types, an excluded tensor and a tied name."""
    arrays = {
        "big.b": large(1),
        "big.a": large(0.1),
        "small.x": np.array([1.5, -0.25], dtype=np.float16),
        "small.y": np.array(0.01, dtype=np.float64),
        "small.z": np.zeros((2, 1, 2, 1, 2), dtype=ml_dtypes.bfloat16),
        "ids": np.arange(6).reshape(2, 3),
    }
    return Manifest.from_checkpoint(checkpoint_of(arrays, {"also.ids": "ids", "also.y": "small.y"}))


def test_groups_and_scales(manifest: Manifest) -> None:
    found = {tensor.name: (tensor.scale, tensor.group) for tensor in manifest.tensors}
    assert found == {
        "big.a": (18, 0),
        "big.b": (14, 1),
        "small.x": (14, 2),
        "small.y": (21, 3),
        "small.z": (21, 3),
    }
    assert manifest.groups == (
        HistogramGroup(18, TABLE),
        HistogramGroup(14, TABLE),
        HistogramGroup(14, 2),
        HistogramGroup(21, 9),
    )
    assert manifest.tensors[0].rounding_bound == Fraction(1, 2**19)


def test_matrix_shapes(manifest: Manifest) -> None:
    shapes = {tensor.name: tensor.matrix_shape for tensor in manifest.tensors}
    assert shapes == {"big.a": (256, 256), "big.b": (256, 256), "small.x": (1, 2), "small.y": (1, 1), "small.z": (4, 2)}


def test_integer_tensors_are_digested(manifest: Manifest) -> None:
    (entry,) = manifest.excluded
    assert entry.sha256 == hashlib.sha256(np.arange(6, dtype="<i8").tobytes()).hexdigest()
    assert (entry.name, entry.shape, entry.dtype) == ("ids", (2, 3), "int64")


def test_a_small_model_has_one_scale_and_one_group() -> None:
    arrays = {"a": np.ones(3, np.float32), "b": np.full(TABLE - 4, 0.01, np.float32)}
    small = Manifest.from_checkpoint(checkpoint_of(arrays))
    assert [(tensor.scale, tensor.group) for tensor in small.tensors] == [(14, 0), (14, 0)]
    arrays["b"] = np.full(TABLE - 3, 0.01, np.float32)
    enough = Manifest.from_checkpoint(checkpoint_of(arrays))
    assert [(tensor.scale, tensor.group) for tensor in enough.tensors] == [(14, 0), (21, 1)]


def test_a_tensor_of_zeros_does_not_coarsen_a_small_model() -> None:
    small = Manifest.from_checkpoint(checkpoint_of({"a": np.full(3, 0.01, np.float32), "b": np.zeros(3, np.float32)}))
    assert {tensor.scale for tensor in small.tensors} == {21}


def test_coarser_scales_of_the_owner() -> None:
    arrays = {"a": large(1), "b": large(1)}
    coarse = Manifest.from_checkpoint(checkpoint_of(arrays), {"b": 5})
    assert [tensor.scale for tensor in coarse.tensors] == [14, 5]
    with pytest.raises(FormatError, match="at most 14"):
        Manifest.from_checkpoint(checkpoint_of(arrays), 15)


def test_a_nan_names_the_tensor() -> None:
    with pytest.raises(FormatError, match=r"'a' holds nan at index \(0, 1\)"):
        Manifest.from_checkpoint(checkpoint_of({"a": np.array([[0, np.nan]], dtype=np.float32)}))


@given(st.lists(st.tuples(st.sampled_from([1, 100, TABLE - 1, TABLE, 2**20]), st.integers(-2, 2)), min_size=1))
def test_the_group_rule(tensors: list[tuple[int, int]]) -> None:
    entries, scales = [size for size, _ in tensors], [scale for _, scale in tensors]
    if sum(entries) < TABLE:
        scales = [scales[0]] * len(scales)
    groups = assign_groups(entries, scales)
    own = [group for group, size in zip(groups, entries, strict=True) if size >= TABLE]
    assert own == list(range(len(own)))
    shared = {(scale, group) for group, size, scale in zip(groups, entries, scales, strict=True) if size < TABLE}
    assert [group for _, group in sorted(shared)] == list(range(len(own), len(own) + len(shared)))


def test_bytes_are_canonical_and_come_back(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    assert b'"rounding_bound":"1/524288"' in data


def test_a_non_ascii_name_is_kept() -> None:
    model = Manifest.from_checkpoint(checkpoint_of({"größe\U0001f600": np.ones(1, np.float32)}))
    assert "größe\U0001f600".encode() in model.to_bytes()
    assert Manifest.from_bytes(model.to_bytes()) == model


def edited(edit: Callable[[Any], object]) -> Callable[[Manifest], bytes]:
    """A way to spoil a manifest: edit its JSON document and write it canonically again."""

    def spoil(manifest: Manifest) -> bytes:
        document = json.loads(manifest.to_bytes())
        edit(document)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    return spoil


def put(path: str, value: object) -> Callable[[Manifest], bytes]:
    """Set one value; the path is separated by slashes."""

    def edit(document: Any) -> None:
        *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        for key in keys:
            document = document[key]
        document[last] = value

    return edited(edit)


SPOILS: dict[str, Callable[[Manifest], bytes]] = {
    "empty": lambda _: b"",
    "not json": lambda _: b"{",
    "not utf-8": lambda _: b'"\xff"',
    "null": lambda _: b"null",
    "deep": lambda _: b"[" * 100_000,
    "too many elements": lambda _: b"[" + b"," * (MAX_TOKENS + 1),
    "too long": lambda _: b" " * (2**28 + 1),
    "a huge integer": lambda m: m.to_bytes().replace(b'"scale":14', b'"scale":' + b"1" * 5000),
    "a float": put("tensors/0/scale", 18.0),
    "NaN": lambda m: m.to_bytes().replace(b'"scale":14', b'"scale":NaN'),
    "space": lambda m: m.to_bytes() + b" ",
    "a space inside": lambda m: m.to_bytes().replace(b":", b": ", 1),
    "an escape": lambda m: m.to_bytes().replace(b"big.a", b"\\u0062ig.a"),
    "a duplicate key": lambda m: m.to_bytes().replace(b'"group":0,', b'"group":0,"group":0,'),
    "a duplicate section": lambda m: m.to_bytes()[:-1] + b',"tied":{}}',
    "unordered keys": lambda m: json.dumps(dict(reversed(json.loads(m.to_bytes()).items()))).encode(),
    "unknown key": put("extra", 1),
    "unknown key in a tensor": put("tensors/0/extra", 1),
    "missing key": edited(lambda d: d.pop("tied")),
    "missing key in a tensor": edited(lambda d: d["tensors"][0].pop("scale")),
    "missing key in an excluded tensor": edited(lambda d: d["excluded"][0].pop("sha256")),
    "another format": put("format", "weightproof/manifest/v2"),
    "no tensors": put("tensors", []),
    "tensors as an object": put("tensors", {}),
    "a tensor as a list": put("tensors/0", []),
    "unsorted": edited(lambda d: d["tensors"].reverse()),
    "a tensor twice": edited(lambda d: d["tensors"].insert(0, d["tensors"][0])),
    "excluded twice": edited(lambda d: d["excluded"].append(d["excluded"][0])),
    "a name with a newline": put("tensors/0/name", "a\nb"),
    "a lone surrogate": lambda m: m.to_bytes().replace(b"big.a", b"\\ud800"),
    "an empty name": put("tensors/0/name", ""),
    "a number as a name": put("tensors/0/name", 1),
    "a long name": put("tensors/0/name", "a" * 513),
    "a name of 257 two-byte characters": put("tensors/0/name", "ä" * 257),
    "a shape as a string": put("tensors/0/shape", "256"),
    "a dimension 0": put("tensors/0/shape", [0]),
    "a negative dimension": put("tensors/0/shape", [-256, -256]),
    "bool as a dimension": put("tensors/0/shape", [True, TABLE]),
    "a huge dimension": put("tensors/0/shape", [2**31]),
    "huge dimensions": put("tensors/0/shape", [2**39] * 8),
    "too many entries": put("tensors/0/shape", [2**31 - 2**20]),
    "nine dimensions": put("tensors/0/shape", [TABLE, 1, 1, 1, 1, 1, 1, 1, 1]),
    "an integer type": put("tensors/0/dtype", "int8"),
    "a type that is no string": put("tensors/0/dtype", ["float32"]),
    "an excluded float": put("excluded/0/dtype", "float32"),
    "scale above": put("tensors/0/scale", 61),
    "scale below": put("tensors/0/scale", -41),
    "bool as a scale": put("tensors/0/scale", True),
    "bool as a group": put("tensors/1/group", True),
    "another group": put("tensors/0/group", 1),
    "a huge group": put("tensors/0/group", 10**17),
    "another rounding bound": put("tensors/0/rounding_bound", "1/524289"),
    "another form of the bound": put("tensors/0/rounding_bound", "2/1048576"),
    "another group summary": put("groups/0/entries", 1),
    "a group more": edited(lambda d: d["groups"].append({"entries": 1, "scale": 1})),
    "a short digest": put("excluded/0/sha256", "00"),
    "an upper-case digest": put("excluded/0/sha256", "A" * 64),
    "tied to nothing": put("tied", {"x": "y"}),
    "tied to a number": put("tied", {"x": 1}),
    "tied over a tensor": put("tied", {"big.a": "big.b"}),
    "tied as a list": put("tied", []),
    "committed and excluded": put("excluded/0/name", "big.a"),
    "a file outside": put("files", {"../x": "0" * 64}),
    "an absolute file": put("files", {"/x": "0" * 64}),
    "the folder as a file": put("files", {".": "0" * 64}),
    "a file by another spelling": put("files", {"a//x": "0" * 64}),
    "a file without digest": put("files", {"x": ""}),
    "too many files": put("files", {str(index): "0" * 64 for index in range(2**13 + 1)}),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_spoiled_manifests_are_refused(manifest: Manifest, spoil: Callable[[Manifest], bytes]) -> None:
    data = spoil(manifest)
    assert data != manifest.to_bytes()
    with pytest.raises(FormatError):
        Manifest.from_bytes(data)


def test_different_scales_in_a_small_model_are_refused() -> None:
    small = Manifest.from_checkpoint(checkpoint_of({"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}))
    changed = dataclasses.replace(small.tensors[1], scale=3)
    with pytest.raises(FormatError, match="one scale"):
        Manifest((small.tensors[0], changed), (), {}, {})


def test_different_scales_in_one_group_are_refused() -> None:
    arrays = {"big": large(1), "x": np.ones(2, np.float32), "y": np.ones(2, np.float32)}
    big, x, y = Manifest.from_checkpoint(checkpoint_of(arrays)).tensors
    assert x.group == y.group == 1
    with pytest.raises(FormatError, match="'x' belongs to histogram group 2, not 1"):
        Manifest((big, x, dataclasses.replace(y, scale=3)), (), {}, {})
    with pytest.raises(FormatError, match="'y' belongs to histogram group 1, not 2"):
        Manifest((big, x, dataclasses.replace(y, group=2)), (), {}, {})


def test_too_many_tensors_are_refused_before_they_are_built() -> None:
    data = b'{"excluded":[],"files":{},"format":"weightproof/manifest/v1","groups":[],"tensors":['
    data += b",".join([b"0"] * (2**17 + 1)) + b'],"tied":{}}'
    with pytest.raises(FormatError, match="at most 131072"):
        Manifest.from_bytes(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Manifest.from_bytes(data)


@given(st.data())
def test_one_changed_byte_never_crashes(manifest: Manifest, data: st.DataObject) -> None:
    original = bytearray(manifest.to_bytes())
    position = data.draw(st.integers(0, len(original) - 1))
    original[position] = data.draw(st.integers(0, 255))
    try:
        read = Manifest.from_bytes(bytes(original))
    except FormatError:
        return
    assert read.to_bytes() == bytes(original)


def test_the_real_encoder(encoder_file: Path) -> None:
    checkpoint = open_checkpoint(encoder_file)
    model = Manifest.from_checkpoint(checkpoint)
    assert sum(tensor.entries for tensor in model.tensors) == 22_713_216
    assert [entry.name for entry in model.excluded] == ["embeddings.position_ids"]
    assert model.files == {"model.safetensors": hashlib.sha256(encoder_file.read_bytes()).hexdigest()}
    assert Manifest.from_bytes(model.to_bytes()) == model
    assert Manifest.from_checkpoint(checkpoint).to_bytes() == model.to_bytes()


def test_describing_a_large_tensor_takes_little_memory(encoder_file: Path) -> None:
    (source,) = [s for s in open_checkpoint(encoder_file) if s.name == "embeddings.word_embeddings.weight"]
    tracemalloc.start()
    magnitude(source.load(), source.name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20 < source.entries * 4

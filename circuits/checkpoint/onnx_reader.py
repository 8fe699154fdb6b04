"""ONNX models: initialisers and the values of Constant nodes, in the main graph, its subgraphs and functions.

Nothing is executed. Data may be raw, typed or external; external files are confined to the folder of the model. What
could hold weights and is not read (sparse tensors, tensors and long float lists in attributes of operators) is refused,
so that nothing is silently dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from circuits.checkpoint.base import (
    DTYPES,
    FLOAT_DTYPES,
    MAX_TENSORS,
    Array,
    Checkpoint,
    TensorSource,
    check_name,
    check_shape,
    quote,
)
from circuits.checkpoint.files import file_size, map_bytes
from circuits.checkpoint.protobuf_scan import check_cost
from circuits.errors import FormatError

MAX_MODEL_BYTES = 2**31
"""The limit of protobuf; larger models keep their tensors in external files."""

MAX_FIELDS = 2**22
MAX_ATTRIBUTE_FLOATS = 8
"""Longer lists of floats in an attribute are parameters (tree ensembles, linear classifiers), not settings."""

_Type = onnx.TensorProto
# Element type -> (our name, the field that holds it when it is not raw). 16-bit floats are stored as bit patterns.
_DTYPES: dict[int, tuple[str, str]] = {
    _Type.FLOAT: ("float32", "float_data"),
    _Type.DOUBLE: ("float64", "double_data"),
    _Type.FLOAT16: ("float16", "int32_data"),
    _Type.BFLOAT16: ("bfloat16", "int32_data"),
    _Type.INT8: ("int8", "int32_data"),
    _Type.INT16: ("int16", "int32_data"),
    _Type.INT32: ("int32", "int32_data"),
    _Type.INT64: ("int64", "int64_data"),
    _Type.UINT8: ("uint8", "int32_data"),
    _Type.UINT16: ("uint16", "int32_data"),
    _Type.UINT32: ("uint32", "uint64_data"),
    _Type.UINT64: ("uint64", "uint64_data"),
    _Type.BOOL: ("bool", "int32_data"),
}
_BIT_PATTERNS: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<u2"),
    "bfloat16": np.dtype("<u2"),
    "bool": np.dtype(np.uint8),
}
_DATA_FIELDS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data", "raw_data")


def read_onnx(path: Path) -> Checkpoint:
    """Open an ONNX model: every initialiser, and every Constant node under the name of its output.

    The model file itself is held in memory (at most 2 GiB); external data is mapped.

    Raises:
        FormatError: not an ONNX model, a tensor that disagrees with its shape, external data outside the folder, or
            weights in a place that is not read.
    """
    size = file_size(path)
    if not 0 < size < MAX_MODEL_BYTES:
        raise FormatError(
            f"{path.name}: {size} bytes; an ONNX model has 1 to {MAX_MODEL_BYTES - 1}: use external data beyond"
        )
    data = map_bytes(path, 0, size).data
    check_cost(data, onnx.ModelProto.DESCRIPTOR, MAX_FIELDS, path.name)
    try:
        model = onnx.ModelProto.FromString(data)  # type: ignore[arg-type] # any buffer is taken, without a copy
    except Exception as error:  # DecodeError of protobuf, which onnx does not export
        raise FormatError(f"{path.name}: not an ONNX model ({error}); export it again") from error
    paths = {path.name: path}
    sources: list[TensorSource] = []
    for name, tensor in _model_tensors(model):
        if len(sources) == MAX_TENSORS:
            raise FormatError(f"{path.name}: more than {MAX_TENSORS} tensors; merge the small ones and export again")
        sources.append(_source(path.parent, name, tensor, paths))
    return Checkpoint(tuple(sources), {}, paths)


def _model_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every (name, tensor) of the model."""
    yield from _graph_tensors(model.graph)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    if graph.sparse_initializer:
        raise FormatError(f"graph {quote(graph.name)} has sparse initialisers, which are not read; export dense ones")
    for tensor in graph.initializer:
        yield tensor.name, tensor
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)
            yield from _attribute_tensors(node, attribute)


def _attribute_tensors(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The tensor of a Constant node; for other nodes nothing, after a check that no weights are lost."""
    where = f"attribute {quote(attribute.name)} of {quote(node.op_type)} node {quote(node.name)}"
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise FormatError(f"{where}: sparse tensors are not read; export dense ones")
    if node.op_type == "Constant" and len(node.output) == 1:
        if attribute.HasField("t"):
            yield node.output[0], attribute.t
        elif attribute.name in ("value_float", "value_floats"):
            floats = [attribute.f] if attribute.name == "value_float" else list(attribute.floats)
            dims = [] if attribute.name == "value_float" else [len(floats)]
            yield node.output[0], onnx.TensorProto(dims=dims, data_type=_Type.FLOAT, float_data=floats)
        return
    tensors = [attribute.t, *attribute.tensors] if attribute.HasField("t") else list(attribute.tensors)
    if any(map(_may_hold_weights, tensors)) or len(attribute.floats) > MAX_ATTRIBUTE_FLOATS:
        raise FormatError(f"{where} holds weights, which are read from initialisers only; export them as initialisers")


def _may_hold_weights(tensor: onnx.TensorProto) -> bool:
    """More or less than one entry (one is a fill value), of a type that is neither integer nor string."""
    dtype, _ = _DTYPES.get(tensor.data_type, ("unknown", ""))
    integer = dtype in DTYPES and dtype not in FLOAT_DTYPES
    return math.prod(tensor.dims) != 1 and not integer and tensor.data_type != _Type.STRING


def _source(folder: Path, name: str, tensor: onnx.TensorProto, paths: dict[str, Path]) -> TensorSource:
    """The source of one tensor; adds the file of external data to `paths`."""
    check_name(name)
    shape = check_shape(name, list(tensor.dims))
    if tensor.data_type not in _DTYPES:
        known = ", ".join(onnx.TensorProto.DataType.Name(number) for number in _DTYPES)
        raise FormatError(
            f"tensor {quote(name)} has ONNX type {tensor.data_type}; known: {known}: convert it and export again"
        )
    dtype, field = _DTYPES[tensor.data_type]
    length = math.prod(shape) * DTYPES[dtype].itemsize
    filled = [data_field for data_field in _DATA_FIELDS if len(getattr(tensor, data_field))]
    if tensor.HasField("segment"):
        raise FormatError(f"tensor {quote(name)} is stored in segments, which are not read; export it in one piece")
    if tensor.data_location == _Type.EXTERNAL:
        if filled:
            raise FormatError(f"tensor {quote(name)} has both external data and {filled[0]}; export again")
        file, offset = _external_range(folder, name, tensor, length)
        paths[file.relative_to(folder.resolve()).as_posix()] = file
        return TensorSource(name, shape, dtype, partial(_load_external, file, offset, length, shape, dtype))
    if filled == ["raw_data"] and len(tensor.raw_data) == length:
        return TensorSource(name, shape, dtype, partial(_load_raw, tensor, shape, dtype))
    if filled == [field] and len(getattr(tensor, field)) == math.prod(shape):
        return TensorSource(name, shape, dtype, partial(_load_typed, tensor, name, shape, dtype))
    raise FormatError(
        f"tensor {quote(name)}: shape {list(shape)} of {dtype} needs {length} raw bytes or {math.prod(shape)} entries"
        " of"
        f" {field} and nothing else; the model is damaged or truncated, export it again"
    )


def _external_range(folder: Path, name: str, tensor: onnx.TensorProto, length: int) -> tuple[Path, int]:
    """The resolved file and the offset of external data, checked against the folder and the size of the file."""
    pairs = [(entry.key, entry.value) for entry in tensor.external_data]
    values = dict(pairs)
    if len(values) != len(pairs) or "location" not in values:
        raise FormatError(f"tensor {quote(name)}: external data needs one location and no key twice; export again")
    location = values["location"]
    if not isinstance(location, str):  # protobuf hands out bytes where a string is not UTF-8
        raise FormatError(f"tensor {quote(name)}: {quote(location)} is not a path; export again")
    root = folder.resolve()
    try:
        file = (root / location).resolve()
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"tensor {quote(name)}: {quote(location)} is not a path ({error}); export again") from error
    if not file.is_relative_to(root) or file == root:
        raise FormatError(
            f"tensor {quote(name)}: external data {quote(location)} is outside the folder of the model; copy the files"
            " (not links to them) beside the model"
        )
    offset = _decimal(name, values.get("offset", "0"))
    if (
        not file.exists()
        or offset + length > file_size(file)
        or _decimal(name, values.get("length", str(length))) != length
    ):
        raise FormatError(
            f"tensor {quote(name)}: needs {length} bytes at {offset} of {quote(location)}, which is missing, shorter or"
            " described with another length; fetch or export it again"
        )
    return file, offset


def _decimal(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise FormatError(f"tensor {quote(name)}: {quote(text)} is not an offset or length in bytes; export again")
    return int(text)


def _load_external(file: Path, offset: int, length: int, shape: tuple[int, ...], dtype: str) -> Array:
    return map_bytes(file, offset, length).view(DTYPES[dtype]).reshape(shape)


def _load_raw(tensor: onnx.TensorProto, shape: tuple[int, ...], dtype: str) -> Array:
    return np.frombuffer(tensor.raw_data, dtype=DTYPES[dtype]).reshape(shape)


def _load_typed(tensor: onnx.TensorProto, name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Typed data; integers that do not fit their type are refused (parsers disagree on what they mean)."""
    numbers = DTYPES[dtype]
    stored: Array = np.array(getattr(tensor, _DTYPES[tensor.data_type][1]))
    if dtype in ("float32", "float64"):
        return stored.astype(numbers).reshape(shape)
    bits = _BIT_PATTERNS.get(dtype, numbers)
    largest = 1 if dtype == "bool" else np.iinfo(bits).max
    if int(stored.max()) > largest or int(stored.min()) < np.iinfo(bits).min:
        raise FormatError(f"tensor {quote(name)}: an entry does not fit {dtype}; export the model again")
    return stored.astype(bits).view(numbers).reshape(shape)

"""Reading ONNX: agreement with the onnx package, and refusal of malformed or evasive models."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from circuits.checkpoint import Checkpoint, open_checkpoint
from circuits.checkpoint.protobuf_scan import check_cost
from circuits.errors import FormatError

ARRAYS: dict[str, Any] = {
    "f64": np.linspace(-1, 1, 6).reshape(2, 3),
    "f32": np.arange(5, dtype=np.float32),
    "f16": np.array([1.5, -6e-8], dtype=np.float16),
    "bf16": np.array([[1.5, -3e38]]).astype(ml_dtypes.bfloat16),
    "scalar": np.array(2, dtype=np.float32),
    "i64": np.arange(-3, 3),
    "i8": np.array([-128, 127], dtype=np.int8),
    "u32": np.array([2**32 - 1], dtype=np.uint32),
    "u64": np.array([2**64 - 1], dtype=np.uint64),
    "bool": np.array([True, False]),
}
F32 = ARRAYS["f32"]


def model_of(initialisers: list[TensorProto], nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(nodes or [], "g", [], [], initialisers))


def typed(name: str) -> TensorProto:
    array = ARRAYS[name]
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist())


Open = Callable[[onnx.ModelProto], Checkpoint]


@pytest.fixture
def open_model(tmp_path: Path) -> Open:
    def open_model(model: onnx.ModelProto) -> Checkpoint:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return open_checkpoint(path)

    return open_model


@pytest.mark.parametrize(
    "make", [lambda name: numpy_helper.from_array(ARRAYS[name], name), typed], ids=["raw", "typed"]
)
def test_all_types_are_read_as_the_library_reads_them(open_model: Open, make: Callable[[str], TensorProto]) -> None:
    tensors = {name: make(name) for name in ARRAYS}
    checkpoint = open_model(model_of(list(tensors.values())))
    assert [source.name for source in checkpoint] == sorted(ARRAYS)
    for source in checkpoint:
        values, expected = source.load(), numpy_helper.to_array(tensors[source.name])
        assert values.dtype == expected.dtype
        assert values.shape == expected.shape
        assert values.tobytes() == expected.tobytes() == ARRAYS[source.name].tobytes()


def test_a_real_model(shared_data: Path) -> None:
    path = sorted((shared_data / "acasxu").glob("*.onnx"))[0]
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    checkpoint = open_checkpoint(path)
    assert {source.name for source in checkpoint} == set(expected)
    assert all(np.array_equal(source.load(), expected[source.name]) for source in checkpoint)


def test_constants_subgraphs_and_functions_are_not_dropped(open_model: Open) -> None:
    def constant(name: str, **value: Any) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], **value)

    branch = helper.make_graph([constant("inner", value=numpy_helper.from_array(F32))], "then", [], [], [typed("f64")])
    model = model_of(
        [numpy_helper.from_array(F32, "w")],
        [
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=helper.make_graph([], "else", [], [])),
            constant("list", value_floats=[1.0, 2.0]),
            constant("number", value_float=3.0),
            helper.make_node(
                "ConstantOfShape", ["s"], ["z"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0])
            ),
        ],
    )
    function = helper.make_function("own", "f", [], ["in_function"], [constant("in_function", value_float=4.0)], [])
    model.functions.append(function)
    found = {source.name: source.load().tolist() for source in open_model(model)}
    assert found == {
        "w": F32.tolist(),
        "inner": F32.tolist(),
        "f64": ARRAYS["f64"].tolist(),
        "list": [1.0, 2.0],
        "number": 3.0,
        "in_function": 4.0,
    }


def test_external_data_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(b"\0" * 8 + F32.tobytes())
    checkpoint = open_external(tmp_path, {"location": "sub/weights.bin", "offset": "8", "length": "20"})
    assert checkpoint.sources[0].load().tolist() == F32.tolist()
    assert sorted(checkpoint.file_digests()) == ["model.onnx", "sub/weights.bin"]
    assert open_external(tmp_path, {"location": "sub/weights.bin"}).sources[0].load().tolist() == [0, 0, 0, 1, 2]


def open_external(folder: Path, pairs: Mapping[str, str], raw: bytes = b"") -> Checkpoint:
    """Open a model in `folder` whose only tensor `w` (five floats) has these external data entries."""
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[5], data_location=TensorProto.EXTERNAL, raw_data=raw
    )
    for key, value in pairs.items():
        tensor.external_data.add(key=key.removesuffix("_"), value=value)
    path = folder / "model.onnx"
    path.write_bytes(model_of([tensor]).SerializeToString())
    return open_checkpoint(path)


@pytest.mark.parametrize(
    "pairs",
    [
        {},
        {"location": ""},
        {"location": "."},
        {"location": "missing"},
        {"location": "../outside"},
        {"location": "folder/../../outside"},
        {"location": "link"},
        {"location": "loop"},
        {"location": "pipe"},
        {"location": "folder"},
        {"location": "a\0b"},
        {"location": "x" * 5000},
        {"location": "data", "location_": "data"},
        {"location": "data", "offset": "4"},
        {"location": "data", "offset": "-4"},
        {"location": "data", "offset": "1e1"},
        {"location": "data", "offset": "٣"},
        {"location": "data", "offset": "9" * 5000},
        {"location": "data", "length": "19"},
        {"location": "data", "length": "x"},
    ],
)
def test_external_data_outside_the_folder_or_the_file_is_refused(tmp_path: Path, pairs: dict[str, str]) -> None:
    inside = tmp_path / "model"
    (inside / "folder").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"\0" * 100)
    (inside / "data").write_bytes(b"\0" * 20)
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe")
    with pytest.raises(FormatError):
        open_external(inside, pairs)


def test_an_absolute_location_and_two_sources_of_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\0" * 20)
    assert len(open_external(tmp_path, {"location": "data"})) == 1
    with pytest.raises(FormatError, match="both external data and raw_data"):
        open_external(tmp_path, {"location": "data"}, b"\0" * 20)
    with pytest.raises(FormatError, match="outside the folder"):
        open_external(tmp_path, {"location": os.devnull})


def float_tensor(**fields: Any) -> TensorProto:
    return TensorProto(**{"name": "w", "data_type": TensorProto.FLOAT, "dims": [2], **fields})


REFUSED: dict[str, onnx.ModelProto] = {
    "no tensor": model_of([]),
    "no float tensor": model_of([typed("i64")]),
    "zero size": model_of([float_tensor(dims=[2, 0])]),
    "no data": model_of([float_tensor()]),
    "short raw data": model_of([float_tensor(raw_data=b"\0" * 7)]),
    "long raw data": model_of([float_tensor(raw_data=b"\0" * 9)]),
    "short typed data": model_of([float_tensor(float_data=[1.0])]),
    "data in the wrong field": model_of([float_tensor(int32_data=[1, 2])]),
    "two kinds of data": model_of([float_tensor(float_data=[1, 2], raw_data=b"\0" * 8)]),
    "a negative dimension": model_of([float_tensor(dims=[-1, -2], float_data=[1, 2])]),
    "a huge dimension": model_of([float_tensor(dims=[2**62, 4], float_data=[1, 2])]),
    "nine dimensions": model_of([float_tensor(dims=[1] * 9, float_data=[1])]),
    "no name": model_of([float_tensor(name="", float_data=[1, 2])]),
    "a control character": model_of([float_tensor(name="a\n", float_data=[1, 2])]),
    "a duplicate name": model_of([float_tensor(float_data=[1, 2]), float_tensor(float_data=[1, 2])]),
    "an unknown type": model_of([float_tensor(data_type=999, raw_data=b"\0" * 8)]),
    "no type": model_of([float_tensor(data_type=0, raw_data=b"\0" * 8)]),
    "an 8-bit float": model_of([float_tensor(data_type=TensorProto.FLOAT8E4M3FN, raw_data=b"\0" * 2)]),
    "strings": model_of([float_tensor(data_type=TensorProto.STRING, string_data=[b"a", b"b"])]),
    "segments": model_of([float_tensor(raw_data=b"\0" * 8, segment=TensorProto.Segment(begin=0, end=2))]),
    "sparse weights": onnx.ModelProto(
        graph=onnx.GraphProto(
            initializer=[float_tensor(float_data=[1, 2])], sparse_initializer=[onnx.SparseTensorProto(dims=[4])]
        )
    ),
    "weights in an attribute": model_of(
        [float_tensor(float_data=[1, 2])], [helper.make_node("Odd", [], ["y"], kernel=numpy_helper.from_array(F32))]
    ),
    "weights in a list of an attribute": model_of(
        [float_tensor(float_data=[1, 2])], [helper.make_node("LinearRegressor", [], ["y"], coefficients=[0.5] * 9)]
    ),
    "sparse weights in a constant": model_of(
        [float_tensor(float_data=[1, 2])],
        [helper.make_node("Constant", [], ["y"], sparse_value=onnx.SparseTensorProto(dims=[4]))],
    ),
}


@pytest.mark.parametrize("model", REFUSED.values(), ids=REFUSED.keys())
def test_malformed_and_evasive_models_are_refused(open_model: Open, model: onnx.ModelProto) -> None:
    with pytest.raises(FormatError):
        open_model(model)


@pytest.mark.parametrize(("kind", "value"), [("FLOAT16", 65536), ("BFLOAT16", -1), ("INT8", 128), ("BOOL", 2)])
def test_typed_integers_that_do_not_fit_are_refused(open_model: Open, kind: str, value: int) -> None:
    spoiled = TensorProto(name="x", data_type=TensorProto.DataType.Value(kind), dims=[1], int32_data=[value])
    checkpoint = open_model(model_of([numpy_helper.from_array(F32, "w"), spoiled]))
    with pytest.raises(FormatError, match="'x': an entry does not fit"):
        checkpoint.sources[1].load()


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph, `depth` times."""
    graph = b""
    for _ in range(depth):
        attribute = b"\x32" + varint(len(graph)) + graph  # AttributeProto.g = 6
        node = b"\x2a" + varint(len(attribute)) + attribute  # NodeProto.attribute = 5
        graph = b"\x0a" + varint(len(node)) + node  # GraphProto.node = 1
    return b"\x3a" + varint(len(graph)) + graph  # ModelProto.graph = 7


RAW: dict[str, bytes] = {
    "empty": b"",
    "text": b"not a model",
    "zeros": b"\0" * 100,
    "a group": b"\x0b\x0c",
    "a length beyond the end": b"\x3a\xff\xff\xff\xff\x0f",
    "an endless number": b"\x08" + b"\xff" * 20,
    "truncated": model_of([typed("f32")]).SerializeToString()[:-3],
    "deep": nested(300),
    "bad utf-8 in a name": b"\x3a\x06\x2a\x04\x42\x02\xff\xfe",
}


def test_a_location_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\0" * 20)
    open_external(tmp_path, {"location": "data"})
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"data", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(FormatError, match="is not a path"):
        open_checkpoint(path)


@pytest.mark.parametrize("data", RAW.values(), ids=RAW.keys())
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        open_checkpoint(path)


def test_three_million_tiny_tensors_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    graph = b"\x2a\x02\x08\x01" * 3_000_000
    data = b"\x3a" + varint(len(graph)) + graph
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="more than 4194304 fields"):
        open_checkpoint(path)
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than 100000 fields"):
        check_cost(memoryview(data), onnx.ModelProto.DESCRIPTOR, 100_000, "model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_changed_byte_never_crashes(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(model_of([typed("f32"), typed("f16"), typed("i64")]).SerializeToString())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        for source in open_checkpoint(path):
            source.load()
    except FormatError:
        pass

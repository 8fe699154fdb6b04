"""Statement graphs: what is read, what is refused by name, and canonical bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from circuits.builder import GraphBuilder
from circuits.errors import StatementError
from circuits.graph import RANGE_KEY, VERSION_KEY, Graph
from circuits.graph_functions import function_bodies, opset_imports
from circuits.graph_nodes import WIDTHS, array_digest
from tests.unit.circuits.graph_inputs import random_statement, reference_outputs, runtime_outputs


def model_of(
    *nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (2, 3), kind: int = TensorProto.INT64, output: int = 0
) -> onnx.ModelProto:
    """A model with the input w/x, range of a weight, that discloses y (or asserts it: output = BOOL)."""
    what = "assert/y" if output == TensorProto.BOOL else "disclose/y"
    graph = helper.make_graph(
        [*nodes, helper.make_node("Reshape", ["y", "line"], [what])],
        "g",
        [helper.make_tensor_value_info("w/x", kind, shape)],
        [helper.make_tensor_value_info(what, output or TensorProto.INT64, [6])],
        [
            numpy_helper.from_array(np.array([6]), "line"),
            numpy_helper.from_array(np.array([1.5, 2.5], np.float32), "floats"),
        ][: 2 if any("floats" in node.input for node in nodes) else 1],
    )
    model = helper.make_model(
        graph, opset_imports=opset_imports(), ir_version=8, functions=[*function_bodies().values()]
    )
    helper.set_model_props(model, {VERSION_KEY: "1", RANGE_KEY + "w/x": "-32768 32767"})
    return model


RANGES = {"w/x": (-32768, 32767)}
NODE = helper.make_node


def test_a_model_of_another_tool_is_read() -> None:
    graph = Graph.from_onnx(model_of(NODE("Abs", ["w/x"], ["y"])), RANGES)
    assert graph.name == "g" and graph.version == 1
    assert [node.op for node in graph.nodes] == ["input", "abs", "reshape"]
    assert [what for what, _ in graph.disclosed] == ["y"] and not graph.asserted


REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "integer Div": (model_of(NODE("Div", ["w/x", "w/x"], ["y"])), "'Div' is not in the subset"),
    "Softmax": (model_of(NODE("Softmax", ["w/x"], ["y"])), "'Softmax' is not in the subset"),
    "Identity": (model_of(NODE("Identity", ["w/x"], ["y"])), "'Identity' is not in the subset"),
    "control flow": (model_of(NODE("If", ["w/x"], ["y"])), "'If' is not in the subset"),
    "another domain": (model_of(NODE("Abs", ["w/x"], ["y"], domain="com.microsoft")), "'com.microsoft::Abs' is not"),
    "a float input": (model_of(NODE("Abs", ["w/x"], ["y"]), kind=TensorProto.FLOAT), "'w/x' must be int64"),
    "a float constant": (model_of(NODE("Add", ["w/x", "floats"], ["y"])), "int64 and bool only, not float"),
    "a cast to float": (model_of(NODE("Cast", ["w/x"], ["y"], to=TensorProto.FLOAT)), "between bool and int64"),
    "dynamic shapes": (model_of(NODE("Abs", ["w/x"], ["y"]), shape=("n", 3)), "dynamic or empty shapes"),
    "a vector as tensor": (model_of(NODE("Abs", ["w/x"], ["y"]), shape=(6,)), "is a matrix"),
    "shapes that do not fit": (model_of(NODE("MatMul", ["w/x", "w/x"], ["y"])), "do not multiply"),
    "repeated output index": (model_of(NODE("Einsum", ["w/x"], ["y"], equation="ij->ii")), "repeats an index"),
    "diagonal": (model_of(NODE("Einsum", ["w/x"], ["y"], equation="ii->i")), "repeats an index"),
    "implicit output": (model_of(NODE("Einsum", ["w/x"], ["y"], equation="ij")), "explicit output"),
    "ellipsis": (model_of(NODE("Einsum", ["w/x"], ["y"], equation="...i->...i")), "explicit output"),
    "einsum sizes": (model_of(NODE("Einsum", ["w/x", "w/x"], ["y"], equation="ij,jk->ik")), "size 3 and 2"),
    "moving indices": (model_of(NODE("Gather", ["w/x", "w/x"], ["y"])), "indices must be a constant"),
    "moving shape": (model_of(NODE("Reshape", ["w/x", "w/x"], ["y"])), "must be a constant"),
    "an identity that is not square": (model_of(NODE("EyeLike", ["w/x"], ["y"])), "must be a square matrix"),
    "another diagonal": (model_of(NODE("EyeLike", ["w/x"], ["y"], k=1), shape=(2, 2)), "only the main diagonal"),
    "a float identity": (
        model_of(NODE("EyeLike", ["w/x"], ["y"], dtype=TensorProto.FLOAT), shape=(2, 2)),
        "only the main diagonal (k = 0) of an int64 matrix",
    ),
    "unknown attribute": (model_of(NODE("Abs", ["w/x"], ["y"], fast=1)), "attribute 'fast' is not supported"),
    "missing attribute": (model_of(NODE("FloorDiv", ["w/x"], ["y"], domain="weightproof")), "divisor is missing"),
    "zero divisor": (model_of(NODE("FloorDiv", ["w/x"], ["y"], domain="weightproof", divisor=0)), "must be positive"),
    "boolean sum": (
        model_of(NODE("Greater", ["w/x", "w/x"], ["b"]), NODE("Add", ["b", "b"], ["y"])),
        "operand 0 must be int64",
    ),
    "integer And": (model_of(NODE("And", ["w/x", "w/x"], ["y"])), "operand 0 must be bool"),
    "integer assert": (model_of(NODE("Abs", ["w/x"], ["y"]), output=TensorProto.BOOL), "unlike its declaration"),
    "missing operand": (model_of(NODE("Add", ["w/x"], ["y"])), "1 operands"),
    "value before it is computed": (model_of(NODE("Abs", ["z"], ["y"])), "nothing before it computes 'z'"),
    "value computed twice": (
        model_of(NODE("Abs", ["w/x"], ["y"]), NODE("Neg", ["w/x"], ["y"])),
        "'y' must have a name of its own",
    ),
}


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_outside_the_subset_is_refused_by_name(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(StatementError) as caught:
        Graph.from_onnx(model, RANGES)
    assert message in str(caught.value)


def set_field(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = model_of(NODE("FloorDiv", ["w/x"], ["y"], domain="weightproof", divisor=2))
    change(model)
    return model


FRAMES: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "another opset": (lambda m: setattr(m.opset_import[0], "version", 17), "opset 18"),
    "another import": (lambda m: m.opset_import.extend([helper.make_opsetid("ai.onnx.ml", 3)]), "opset 18"),
    "another body": (lambda m: setattr(m.functions[0].node[1], "op_type", "Mul"), "exact body"),
    "a function of its own": (lambda m: setattr(m.functions[0], "name", "Abs"), "exact body"),
    "sparse constants": (lambda m: m.graph.sparse_initializer.add(), "sparse"),
    "no version": (lambda m: m.metadata_props.pop(0), VERSION_KEY),
    "another range": (lambda m: setattr(m.metadata_props[1], "value", "0 1"), "must give its range"),
    "input name": (lambda m: setattr(m.graph.input[0], "name", "x"), "has no range"),
    "output name": (lambda m: setattr(m.graph.output[0], "name", "y"), "unlike its declaration"),
    "no output": (lambda m: m.graph.ClearField("output"), "at least one output"),
    "external data": (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "not of another file"),
}


@pytest.mark.parametrize(("change", "message"), FRAMES.values(), ids=FRAMES.keys())
def test_the_frame_of_a_model_is_checked(change: Callable[[onnx.ModelProto], object], message: str) -> None:
    with pytest.raises(StatementError) as caught:
        Graph.from_onnx(set_field(change), RANGES)
    assert message in str(caught.value)


def test_inputs_are_named_and_ranged() -> None:
    g = GraphBuilder("g", 1)
    with pytest.raises(StatementError, match="is a matrix in"):
        g.weight("a", (3,))  # type: ignore[arg-type]
    with pytest.raises(StatementError, match="size of group"):
        g.histogram(0, 0)
    with pytest.raises(StatementError, match="is empty"):
        g.advice("a", (3,), 1, 0)
    with pytest.raises(StatementError, match="too wide to look up"):
        g.advice("a", (3,), -(2**61), 2**61)
    with pytest.raises(StatementError, match="must be named"):
        g.advice("", (3,), 0, 1)
    assert g.bounds(g.advice("wide", (3,), 0, 2**40)) == (0, 2**40 + 2**32 - 1)
    with pytest.raises(StatementError, match="another shape or range"):
        g.advice("wide", (4,), 0, 2**40)
    with pytest.raises(StatementError, match="int64 or bool, not float64"):
        g.constant(np.zeros(3))  # type: ignore[arg-type]


def test_a_range_that_lookups_cannot_show_is_refused() -> None:
    g = GraphBuilder("g", 1)
    g.disclose("a", g.advice("a", (2,), 0, 2**40))
    model, ranges = g.build()
    entry = next(entry for entry in model.metadata_props if entry.key == RANGE_KEY + "advice/a")
    entry.value = f"0 {2**40}"
    with pytest.raises(StatementError, match="lookups show"):
        Graph.from_onnx(model, {**ranges, "advice/a": (0, 2**40)})


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with other names for values and nodes, and constants in another order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}

    def name(old: str) -> str:
        return old if old in fixed or not old else "v" + hashlib.sha256(old.encode()).hexdigest()[:12]

    for node in copy.graph.node:
        node.name = ""
        node.input[:] = [name(old) for old in node.input]
        node.output[:] = [name(old) for old in node.output]
    initialisers = list(copy.graph.initializer)[::-1]
    del copy.graph.initializer[:]
    for initialiser in initialisers:
        initialiser.name = name(initialiser.name)
        copy.graph.initializer.append(initialiser)
    return copy


@pytest.mark.parametrize("seed", range(40))
def test_canonical_bytes_do_not_depend_on_names(seed: int) -> None:
    first = random_statement(Random(seed)).builder
    second = random_statement(Random(seed)).builder
    model, ranges = first.build()
    assert model.SerializeToString(deterministic=True) == second.build()[0].SerializeToString(deterministic=True)
    canonical = first.graph().canonical()
    assert canonical == second.graph().canonical() == Graph.from_onnx(model, ranges).canonical()
    assert canonical == Graph.from_onnx(renamed(model), ranges).canonical()


def test_canonical_bytes_are_pinned() -> None:
    """A change here changes every transcript: raise the format version with it."""
    g = GraphBuilder("pinned", 3)
    w, x = g.weight("a", (2, 3)), g.advice("x", (3,), 0, 9)
    g.assert_true("bound", g.less(g.matmul(w, x), 7))
    g.disclose("part", g.floor_div(g.gather(x, [2, 0]), 4))
    digest = hashlib.sha256(g.graph().canonical()).hexdigest()
    assert digest == "5264bc9792f5338c7b3a4e1cbe09db18a66ae86d8a6144611d871546cf13d353"


def different_graphs() -> list[GraphBuilder]:
    """Graphs that differ in one thing each."""

    def build(
        name: str = "g", version: int = 1, tensor: str = "a", shape: tuple[int, int] = (2, 2), high: int = 9,
        constant: int = 3, equation: str = "ij,jk->ik", operator: str = "less", what: str = "x", divisor: int = 2,
        gather: int = 0, commitment: int = 0, size: int = 10,
    ) -> GraphBuilder:  # fmt: skip
        g = GraphBuilder(name, version)
        w, x = g.weight(tensor, shape, commitment), g.advice("x", (2, 2), 0, high)
        y = g.einsum(equation, w, x)
        g.assert_true(what, getattr(g, operator)(y, constant))
        g.disclose("d", g.floor_div(g.gather(y, [gather], axis=1), divisor))
        g.disclose("h", g.reduce_sum(g.histogram(0, size)))
        return g

    return [
        build(), build(name="h"), build(version=2), build(tensor="b"), build(shape=(1, 2)), build(high=10),
        build(constant=4), build(equation="ij,kj->ik"), build(equation="ij,jk->ki"), build(operator="greater"),
        build(operator="less_or_equal"), build(what="y"), build(divisor=3), build(gather=1), build(commitment=1),
        build(size=11),
    ]  # fmt: skip


def test_different_graphs_have_different_canonical_bytes() -> None:
    graphs = different_graphs()
    assert len({builder.graph().canonical() for builder in graphs}) == len(graphs)


WIDE = [0, 1, -1, 127, 128, -128, -129, 32767, 32768, -32769, 2**31 - 1, 2**31, -(2**31) - 1, 2**62, -(2**63)]


@pytest.mark.parametrize("value", WIDE)
def test_equal_integers_have_one_digest_whatever_type_holds_them(value: int) -> None:
    """And different ones different digests, also where one is the other cut off to a narrower type."""
    wide = np.array([value, 5, -3])
    own = array_digest(wide)
    held = [wide.astype(kind) for kind in WIDTHS if np.array_equal(wide.astype(kind), wide)]
    assert held and all(array_digest(array) == own for array in [*held, np.repeat(wide, 2)[::2]])
    others = [wide + 1, wide[::-1], *(wide.astype(kind) for kind in WIDTHS)]
    assert all(array_digest(other) != own for other in others if not np.array_equal(other, wide))


def test_digests_of_arrays_name_their_width() -> None:
    assert array_digest(np.array([1, -2])) == "1:" + hashlib.sha256(b"\x01\xfe").hexdigest()
    assert array_digest(np.array([1, 300])) == "2:" + hashlib.sha256(b"\x01\x00\x2c\x01").hexdigest()
    assert array_digest(np.array([256 + 1])) != array_digest(np.array([1, 1]))


def test_constants_are_not_changed_through_the_array_they_came_from() -> None:
    g = GraphBuilder("g", 1)
    array = np.array([1, 2], np.int8)
    g.disclose("d", g.add(g.constant(array), g.advice("x", (2,), 0, 1)))
    array[0] = 100
    (constant,) = [node for node in g.graph().nodes if node.op == "constant" and node.shape == (2,)]
    assert constant.stored.tolist() == [1, 2] and constant.digest == array_digest(np.array([1, 2]))


def test_an_identity_is_described_by_its_size() -> None:
    """It has no cells to store or to hash, and is not the matrix that its size could be mistaken for."""

    def build(size: int, symbolic: bool) -> Graph:
        g = GraphBuilder("g", 1)
        x = g.advice("x", (size, size), 0, 9)
        g.disclose("d", g.sub(x, g.identity(size) if symbolic else np.eye(size, dtype=np.int64)))
        return g.graph()

    graphs = [build(size, symbolic) for size in (2, 3) for symbolic in (True, False)]
    assert len({graph.canonical() for graph in graphs}) == len(graphs)
    (node,) = [node for node in graphs[0].nodes if node.op == "identity"]
    assert (node.shape, node.operands, node.array) == ((2, 2), (), None)


def test_equal_values_are_one_node() -> None:
    g = GraphBuilder("g", 1)
    w = g.weight("a", (2, 3))
    first, second = (g.einsum("ij,kj->ik", w, w) for _ in range(2))
    g.disclose("d", g.sub(first, second))
    assert sum(node.op == "einsum" for node in g.graph().nodes) == 1


@pytest.mark.parametrize("divisor", [1, 2, 3, 4, 7, 2**16, 100_003])
def test_floor_division_rounds_down_in_every_runtime(divisor: int) -> None:
    x = np.array([[-9, -8, -7, -4, -3, -1, 0, 1, 3, 4, 7, 8, -(2**40), 2**40]], np.int64)
    g = GraphBuilder("g", 1)
    g.disclose("q", g.floor_div(g.advice("x", x.shape, -(2**41), 2**41), divisor))
    model, _ = g.build()
    for run in (runtime_outputs, reference_outputs):
        assert np.array_equal(run(model, {"advice/x": x})["disclose/q"], np.floor_divide(x, divisor))


def test_histograms_count_in_every_runtime() -> None:
    x = np.array([[-32768, 32767, 0], [0, -1, 32767]], np.int64)
    g = GraphBuilder("g", 1)
    g.disclose("h", g.histogram_of(g.weight("x", x.shape)))
    model, _ = g.build()
    expected = np.bincount(x.ravel() + 32768, minlength=65536)
    for run in (runtime_outputs, reference_outputs):
        assert np.array_equal(run(model, {"w/x": x})["disclose/h"], expected)

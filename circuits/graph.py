"""Statement graphs: what a check says about committed integers, read from the integer subset of ONNX.

Inputs are named by what they are: `w/<tensor>` a committed tensor as its matrix (rows, columns), `hist/<group>` the
exact histogram of a group, `advice/<name>` the prover's certificate; `w1/...` and `hist1/...` belong to a second
commitment. Outputs are `assert/<what>` (bool, true in every cell) and `disclose/<what>` (int64, published). The ranges
of the inputs are part of the graph. Source: statements.md, section 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx
from onnx import TensorProto

from circuits.checkpoint.base import quote
from circuits.checkpoint.strict_json import dumps
from circuits.errors import StatementError
from circuits.graph_call import Call
from circuits.graph_functions import DOMAIN, DOMAIN_VERSION, OPSET, TABLE, function_bodies
from circuits.graph_nodes import Node, NodeTable, operands_first
from circuits.graph_operators import OPERATORS, OWN_OPERATORS, constant_from
from circuits.graph_shapes import SHAPE_OPERATORS
from circuits.program import Shape, rounded_high

Ranges = Mapping[str, tuple[int, int]]
"""Of every input: the least and the largest integer that a cell may hold."""

VERSION_KEY = "weightproof/version"
RANGE_KEY = "weightproof/range/"
"""Metadata of a model: the version of its check, and "low high" for every input."""

FORMAT = "weightproof/graph/v2"
MAX_NODES = 2**16
WEIGHT_RANGE = (-32_768, 32_767)
_INPUT = re.compile(r"(?:w[1-9]?/|hist[1-9]?/(?=(?:0|[1-9][0-9]{0,9})$)|advice/).+", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Graph:
    """A statement graph, checked.

    Attributes:
        name, version: of the check that built it.
        asserted: (what, boolean node) in the order of the outputs.
        disclosed: (what, integer node) in the order of the outputs.
    """

    name: str
    version: int
    asserted: tuple[tuple[str, Node], ...]
    disclosed: tuple[tuple[str, Node], ...]

    @classmethod
    def from_onnx(cls, model: onnx.ModelProto, ranges: Ranges) -> Graph:
        """Read a model; `ranges` come from policy and manifest, and the model's own metadata must say the same.

        Raises:
            StatementError: anything outside the subset, by name.
        """
        _check_frame(model)
        reader = Reader()
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        for value in model.graph.input:
            shape = _shape(value)
            if value.type.tensor_type.elem_type != TensorProto.INT64:
                raise StatementError(f"input {quote(value.name)} must be int64: statements are integer arithmetic")
            if value.name not in ranges:
                raise StatementError(f"input {quote(value.name)} has no range; the check must give one")
            low, high = ranges[value.name]
            if metadata.get(RANGE_KEY + value.name) != f"{low} {high}":
                raise StatementError(f"input {quote(value.name)}: the metadata must give its range {low} {high}")
            reader.input(value.name, shape, low, high)
        for initialiser in model.graph.initializer:
            reader.constant(initialiser)
        for proto in model.graph.node:
            reader.apply(proto)
        outputs = {value.name: reader.output(value) for value in model.graph.output}
        version = metadata.get(VERSION_KEY, "")
        if not re.fullmatch("[1-9][0-9]{0,8}", version):
            raise StatementError(f"the model's metadata must give {VERSION_KEY}, a positive integer")
        return cls.from_outputs(model.graph.name, int(version), outputs)

    @classmethod
    def from_outputs(cls, name: str, version: int, outputs: Mapping[str, Node]) -> Graph:
        """The graph with these outputs, by full name.

        Raises:
            StatementError: there are none, one has another type than its name says, or there are too many nodes.
        """
        asserted: list[tuple[str, Node]] = []
        disclosed: list[tuple[str, Node]] = []
        for output, node in outputs.items():
            kind, _, what = output.partition("/")
            if not what or (kind, node.boolean) not in (("assert", True), ("disclose", False)):
                raise StatementError(f"output {quote(output)} must be assert/<what>, bool, or disclose/<what>, int64")
            (asserted if node.boolean else disclosed).append((what, node))
        if not outputs:
            raise StatementError("a statement graph needs at least one output, assert/<what> or disclose/<what>")
        graph = cls(name, version, tuple(asserted), tuple(disclosed))
        if len(graph.nodes) > MAX_NODES:
            raise StatementError(f"graph {quote(name)} has {len(graph.nodes)} nodes; at most {MAX_NODES} are supported")
        return graph

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that an output depends on, operands first, in an order that depends on nothing but the graph."""
        return operands_first([node for _, node in (*self.asserted, *self.disclosed)])

    def canonical(self) -> bytes:
        """Bytes that determine the statement, whatever the ONNX values and nodes are named: for the transcript."""
        number = {node: position for position, node in enumerate(self.nodes)}
        nodes = [
            [
                node.op,
                [number[operand] for operand in node.operands],
                list(node.shape),
                node.boolean,
                [str(value) for value in node.numbers],
                [list(labels) for labels in node.labels],
                node.name,
                node.digest,
            ]
            for node in self.nodes
        ]
        outputs = {
            "assert": [[what, number[node]] for what, node in self.asserted],
            "disclose": [[what, number[node]] for what, node in self.disclosed],
        }
        head = {"format": FORMAT, "name": self.name, "version": self.version}
        return dumps({**head, "nodes": nodes, **outputs})


class Reader:
    """ONNX values by name, turned into nodes one operator at a time. Every method raises StatementError."""

    def __init__(self) -> None:
        self.table = NodeTable()
        self.values: dict[str, Node] = {}

    def input(self, name: str, shape: Shape, low: int, high: int) -> Node:
        """A committed tensor, histogram or certificate."""
        if not _INPUT.fullmatch(name):
            raise StatementError(f"input {quote(name)} must be named w/<tensor>, hist/<group number> or advice/<name>")
        kind = name.partition("/")[0].rstrip("123456789")
        if kind == "w" and (len(shape) != 2 or (low, high) != WEIGHT_RANGE):
            raise StatementError(f"input {quote(name)}: a committed tensor is a matrix in {WEIGHT_RANGE}, not {shape}")
        if kind == "hist" and (shape != (TABLE,) or low != 0 or high < 1):
            raise StatementError(f"input {quote(name)}: a histogram has shape ({TABLE},) and range (0, size of group)")
        if not low <= high < low + 2**62:
            raise StatementError(f"input {quote(name)}: the range ({low}, {high}) is empty, or too wide to look up")
        if kind == "advice" and rounded_high(low, high) != high:
            shown = rounded_high(low, high)
            raise StatementError(f"input {quote(name)}: lookups show [{low}, {shown}], not [{low}, {high}]; use that")
        return self.bind(name, self.table.make("input", (), shape, quote(name), numbers=(low, high), name=name))

    def constant(self, proto: TensorProto) -> Node:
        """An initialiser."""
        return self.bind(proto.name, constant_from(proto, self.table, f"constant {quote(proto.name)}"))

    def apply(self, proto: onnx.NodeProto) -> Node:
        """One operator."""
        known = OWN_OPERATORS if proto.domain == DOMAIN else {} if proto.domain else OPERATORS | SHAPE_OPERATORS
        read = known.get(proto.op_type)
        if read is None:
            name = f"{proto.domain}::{proto.op_type}" if proto.domain else proto.op_type
            raise StatementError(f"operator {quote(name)} is not in the subset that can be proved: {_SUBSET}")
        if len(proto.output) != 1:
            raise StatementError(f"{proto.op_type} {quote(proto.name)} must have one output")
        call = Call(proto, [self._value(name, proto) for name in proto.input], self.table)
        node = read(call)
        call.finish()
        return self.bind(proto.output[0], node)

    def output(self, value: onnx.ValueInfoProto) -> Node:
        """An output, whose declared type must be what the graph computes."""
        if value.name not in self.values:
            raise StatementError(f"output {quote(value.name)} is not computed by the graph")
        node = self.values[value.name]
        declared = (_shape(value), value.type.tensor_type.elem_type)
        if declared != (node.shape, TensorProto.BOOL if node.boolean else TensorProto.INT64):
            kind = "bool" if node.boolean else "int64"
            raise StatementError(f"output {quote(value.name)} is {kind} of shape {node.shape}, unlike its declaration")
        return node

    def _value(self, name: str, proto: onnx.NodeProto) -> Node | None:
        if name and name not in self.values:
            raise StatementError(f"{proto.op_type} {quote(proto.name)}: nothing before it computes {quote(name)}")
        return self.values[name] if name else None

    def bind(self, name: str, node: Node) -> Node:
        """Name a node of `table`."""
        if not name or name in self.values:
            raise StatementError(f"value {quote(name)} must have a name of its own")
        self.values[name] = node
        return node


_SUBSET = ", ".join(sorted({*OPERATORS, *SHAPE_OPERATORS})) + ", " + ", ".join(f"{DOMAIN}::{n}" for n in OWN_OPERATORS)


def _check_frame(model: onnx.ModelProto) -> None:
    """Everything of a model but its values and nodes."""
    imports = {entry.domain or "": entry.version for entry in model.opset_import}
    if imports not in ({"": OPSET}, {"": OPSET, DOMAIN: DOMAIN_VERSION}):
        raise StatementError(f"the model must import opset {OPSET} and {DOMAIN} {DOMAIN_VERSION} alone, not {imports}")
    bodies = function_bodies()
    for function in model.functions:
        if function != bodies.get(function.name):
            raise StatementError(f"function {quote(function.name)} is not one of ours with its exact body")
    if model.graph.sparse_initializer:
        raise StatementError("sparse constants are not supported; write them out")
    if len(model.graph.node) > MAX_NODES:
        raise StatementError(f"the model has {len(model.graph.node)} nodes; at most {MAX_NODES} are supported")


def _shape(value: onnx.ValueInfoProto) -> Shape:
    """The declared shape, which must be static and positive."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise StatementError(f"{quote(value.name)} must be a tensor with a shape")
    shape = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
    if min(shape, default=1) < 1:
        raise StatementError(f"{quote(value.name)}: dynamic or empty shapes cannot be proved; fix every dimension")
    return shape

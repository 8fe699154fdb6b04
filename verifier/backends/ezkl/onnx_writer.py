"""An ONNX graph in the few operators that ezkl turns into constraints without rounding, written node by node.

There are no constants beside indices and shapes, see `scalars`. Every tensor has at least one axis; a scalar is a
vector of one cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from circuits.errors import StatementError
from circuits.program import Integers, Shape
from verifier.backends.ezkl.errors import EzklStatementError

MAX_NODES = 20_000
"""About 600 tensors; ezkl reads a model in a time that grows faster than its nodes."""
EXACT_FLOAT = 1 << 24
"""float32 holds every integer up to here."""
_OPSET, _IR_VERSION = 18, 8


@dataclass(frozen=True)
class Wire:
    """A tensor of the graph under construction."""

    name: str
    shape: Shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class OnnxWriter:
    """Collects nodes; equal calls in equal order give equal bytes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._protos: list[TensorProto] = []

    def input(self, name: str, size: int) -> None:
        """Declare an input vector; its wire may have been used before."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]))

    def _indices(self, values: Sequence[int] | Integers) -> str:
        name = f"c{len(self._protos)}"
        self._protos.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def _call(self, operator: str, operands: Sequence[str], shape: Shape, **attributes: Any) -> Wire:
        name = f"n{len(self._nodes)}"
        if len(self._nodes) == MAX_NODES:
            raise EzklStatementError(
                f"the statement takes more than {MAX_NODES} operations, for which ezkl needs hours; use native"
            )
        self._nodes.append(helper.make_node(operator, list(operands), [name], name, **attributes))
        return Wire(name, shape)

    def add(self, a: Wire, b: Wire) -> Wire:
        """a + b, broadcast."""
        return self._call("Add", (a.name, b.name), np.broadcast_shapes(a.shape, b.shape))

    def sub(self, a: Wire, b: Wire) -> Wire:
        """a - b, broadcast."""
        return self._call("Sub", (a.name, b.name), np.broadcast_shapes(a.shape, b.shape))

    def mul(self, a: Wire, b: Wire) -> Wire:
        """a * b, broadcast."""
        return self._call("Mul", (a.name, b.name), np.broadcast_shapes(a.shape, b.shape))

    def einsum(self, equation: str, operands: Sequence[Wire], shape: Shape) -> Wire:
        """Of two operands; a result without axes becomes a vector of one cell."""
        found = self._call("Einsum", [operand.name for operand in operands], shape, equation=equation)
        return found if shape else self.reshape(found, (1,))

    def total(self, a: Wire, axes: Sequence[int]) -> Wire:
        """The sum over axes, which stay with size 1."""
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(a.shape))
        return self._call("ReduceSum", (a.name, self._indices(axes)), shape, keepdims=1)

    def reshape(self, a: Wire, shape: Shape) -> Wire:
        """The same cells in row-major order."""
        return a if a.shape == shape else self._call("Reshape", (a.name, self._indices(shape)), shape)

    def transpose(self, a: Wire, axes: Sequence[int]) -> Wire:
        """Axis i of the result is axis axes[i]."""
        return self._call("Transpose", (a.name,), tuple(a.shape[axis] for axis in axes), perm=list(axes))

    def expand(self, a: Wire, shape: Shape) -> Wire:
        """Broadcast."""
        return a if a.shape == shape else self._call("Expand", (a.name, self._indices(shape)), shape)

    def concat(self, wires: Sequence[Wire]) -> Wire:
        """Vectors, one after the other."""
        if len(wires) == 1:
            return wires[0]
        return self._call("Concat", [wire.name for wire in wires], (sum(wire.size for wire in wires),), axis=0)

    def gather(self, a: Wire, index: Integers) -> Wire:
        """Cell i is cell index[i] of a vector. Free, unlike slices, for which ezkl lays the whole vector out anew."""
        if a.size > EXACT_FLOAT:
            raise StatementError("ezkl reads indices as float32: a selection from more than 2^24 cells is refused")
        # one axis more, or a single index is read as a slice
        found = self._call("Gather", (a.name, self._indices(index.reshape(-1, 1))), (index.size, 1), axis=0)
        return self.reshape(found, (index.size,))

    def model(self, output: Wire) -> bytes:
        """The ONNX model with one output vector."""
        info = helper.make_tensor_value_info(output.name, TensorProto.FLOAT, list(output.shape))
        graph = helper.make_graph(self._nodes, "statement", self._inputs, [info], self._protos)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))

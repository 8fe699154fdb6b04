"""An ONNX graph in the few operators that ezkl turns into constraints without rounding, written node by node.

ezkl reads constants as float32: `writer.constant` takes only integers below 2^16, and larger numbers come from public
inputs, which are field elements. Every tensor has at least one axis; a scalar is a vector of one cell.
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

EXACT_FLOAT = 1 << 24
"""float32 holds every integer up to here."""
LARGEST_CONSTANT = (1 << 16) - 1
"""ezkl shows the digits of constants that are used more than once: two digits in base 256."""
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
        self._initialisers: dict[tuple[str, Shape, bytes], str] = {}
        self._protos: list[TensorProto] = []

    def input(self, name: str, size: int) -> None:
        """Declare an input vector; its wire may have been used before."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]))

    def constant(self, array: Integers) -> Wire:
        """Public integers below 2^16 in absolute value. Raises StatementError for larger ones."""
        array = np.atleast_1d(array)
        if array.size and max(int(array.max()), -int(array.min())) > LARGEST_CONSTANT:
            raise StatementError("a constant of an ezkl circuit stays below 2^16; larger ones are public inputs")
        return Wire(self._initialiser(array.astype(np.float32)), array.shape)

    def _initialiser(self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._initialisers:
            name = f"c{len(self._initialisers)}"
            self._initialisers[key] = name
            self._protos.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return self._initialisers[key]

    def _indices(self, values: Sequence[int] | Integers) -> str:
        return self._initialiser(np.asarray(values, np.int64).reshape(-1))

    def _call(self, operator: str, operands: Sequence[str], shape: Shape, **attributes: Any) -> Wire:
        name = f"n{len(self._nodes)}"
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

    def abs(self, a: Wire) -> Wire:
        """|a|; ezkl shows that it has at most the digits that the settings give it."""
        return self._call("Abs", (a.name,), a.shape)

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

    def slice(self, a: Wire, start: int, stop: int) -> Wire:
        """Cells [start, stop) of a vector."""
        if (start, stop) == (0, a.size):
            return a
        names = [self._indices([value]) for value in (start, stop, 0)]
        return self._call("Slice", (a.name, *names), (stop - start,))

    def gather(self, a: Wire, index: Integers) -> Wire:
        """Cell i is cell index[i] of a vector."""
        if a.size > EXACT_FLOAT:
            raise StatementError("ezkl reads indices as float32: a selection from more than 2^24 cells is refused")
        return self._call("Gather", (a.name, self._indices(index)), (index.size,), axis=0)

    def model(self, output: Wire) -> bytes:
        """The ONNX model with one output vector."""
        info = helper.make_tensor_value_info(output.name, TensorProto.FLOAT, list(output.shape))
        graph = helper.make_graph(self._nodes, "statement", self._inputs, [info], self._protos)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))

"""Writing statement graphs in Python: one method per operator of the subset, checked as it is called.

    g = GraphBuilder("small-norm", version=1)
    w = g.weight("encoder.weight", (768, 3072))
    g.assert_true("bound", g.less_or_equal(g.einsum("ij,ij->", w, w), 10**12))
    graph = g.graph()                # or model, ranges = g.build()

The ONNX model is deterministic: the same calls give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from circuits.checkpoint.base import quote
from circuits.errors import StatementError
from circuits.graph import RANGE_KEY, VERSION_KEY, WEIGHT_RANGE, Graph, Reader
from circuits.graph_functions import DOMAIN, TABLE, function_bodies, opset_imports
from circuits.graph_nodes import Node, operands_first
from circuits.intervals import analyse
from circuits.program import Shape, Stored, rounded_high

IR_VERSION = 8


@dataclass(frozen=True)
class Tensor:
    """A value of the graph under construction: int64, or bool."""

    name: str
    shape: Shape
    boolean: bool


Operand = Tensor | int | Stored | npt.NDArray[np.bool_]
"""Integers and arrays become constants."""


class GraphBuilder:
    """Builds one graph. Every method raises StatementError where the operator would be refused."""

    def __init__(self, name: str, version: int) -> None:
        self._name, self._version = name, version
        self._reader = Reader()
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[Node, Tensor] = {}
        self._ranges: dict[str, tuple[int, int]] = {}

    # Inputs

    def weight(self, tensor: str, shape: tuple[int, int], commitment: int = 0) -> Tensor:
        """A committed tensor as its matrix (rows, columns), see `TensorEntry.matrix_shape`."""
        return self._input(f"w{commitment or ''}/{tensor}", shape, *WEIGHT_RANGE)

    def histogram(self, group: int, size: int, commitment: int = 0) -> Tensor:
        """The exact histogram, shape (65536,), of a histogram group of `size` weights; cell t counts t - 32768."""
        return self._input(f"hist{commitment or ''}/{group}", (TABLE,), 0, size)

    def advice(self, name: str, shape: Shape, low: int, high: int) -> Tensor:
        """The prover's integers, each shown to lie in [low, rounded_high(low, high)], which is what the graph says."""
        return self._input(f"advice/{name}", shape, low, rounded_high(low, high))

    def constant(self, value: int | Sequence[int] | Stored | npt.NDArray[np.bool_]) -> Tensor:
        """Public integers or booleans."""
        array = np.asarray(value)
        if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.signedinteger):
            if array.size:
                raise StatementError(f"a constant holds int64 or bool, not {array.dtype}")
            array = array.astype(np.int64)
        name = f"constant_{len(self._constants)}"
        node = self._reader.table.constant(array, f"constant {quote(name)}", boolean=array.dtype == np.bool_)
        if node not in self._constants:
            self._reader.bind(name, node)
            self._constants[node] = Tensor(name, node.shape, node.boolean)
        return self._constants[node]

    def identity(self, size: int) -> Tensor:
        """The size x size identity matrix; as a constant it would be stored and hashed cell by cell."""
        return self._call("EyeLike", self.expand(0, (size, size)))

    def _input(self, name: str, shape: Shape, low: int, high: int) -> Tensor:
        known = self._reader.values.get(name)
        if known is None:
            self._reader.input(name, shape, low, high)
            self._inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, shape))
            self._ranges[name] = (low, high)
        elif (known.shape, known.numbers) != (shape, (low, high)):
            raise StatementError(f"input {name!r} was declared with another shape or range")
        return Tensor(name, shape, False)

    def _call(self, operator: str, *operands: Operand, domain: str = "", output: str = "", **attributes: Any) -> Tensor:
        names = [(o if isinstance(o, Tensor) else self.constant(o)).name for o in operands]
        result = output or f"{operator}_{len(self._nodes)}"
        proto = helper.make_node(operator, names, [result], result, domain=domain, **attributes)
        node = self._reader.apply(proto)
        self._nodes.append(proto)
        return Tensor(result, node.shape, node.boolean)

    # Arithmetic

    def add(self, a: Operand, b: Operand) -> Tensor:
        """a + b."""
        return self._call("Add", a, b)

    def sub(self, a: Operand, b: Operand) -> Tensor:
        """a - b."""
        return self._call("Sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Tensor:
        """a * b, cell by cell."""
        return self._call("Mul", a, b)

    def neg(self, a: Operand) -> Tensor:
        """-a."""
        return self._call("Neg", a)

    def matmul(self, a: Operand, b: Operand) -> Tensor:
        """numpy.matmul."""
        return self._call("MatMul", a, b)

    def einsum(self, equation: str, *operands: Operand) -> Tensor:
        """numpy.einsum of one or two operands; the output is explicit and no term repeats an index."""
        return self._call("Einsum", *operands, equation=equation)

    def reduce_sum(self, a: Operand, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over `axes`, or over all."""
        return self._reduce("ReduceSum", a, axes, keepdims)

    def reduce_max(self, a: Operand, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The largest over `axes`, or of all."""
        return self._reduce("ReduceMax", a, axes, keepdims)

    def _reduce(self, operator: str, a: Operand, axes: Sequence[int] | None, keepdims: bool) -> Tensor:
        listed = () if axes is None else (self._list(axes),)
        return self._call(operator, a, *listed, keepdims=int(keepdims), noop_with_empty_axes=int(axes is not None))

    def abs(self, a: Operand) -> Tensor:
        """|a|."""
        return self._call("Abs", a)

    def max(self, *operands: Operand) -> Tensor:
        """The largest, cell by cell."""
        return self._call("Max", *operands)

    def min(self, *operands: Operand) -> Tensor:
        """The smallest, cell by cell."""
        return self._call("Min", *operands)

    def relu(self, a: Operand) -> Tensor:
        """max(a, 0)."""
        return self._call("Max", a, 0)

    def floor_div(self, a: Operand, divisor: int) -> Tensor:
        """floor(a / divisor), divisor > 0: rounds down, also below zero."""
        return self._call("FloorDiv", a, domain=DOMAIN, divisor=divisor)

    def histogram_of(self, a: Operand) -> Tensor:
        """How often each of -32768 .. 32767 occurs in `a`, whose entries must lie there: shape (65536,)."""
        return self._call("Histogram", a, domain=DOMAIN)

    # Cells

    def transpose(self, a: Operand, axes: Sequence[int]) -> Tensor:
        """Axis i of the result is axis axes[i] of a."""
        return self._call("Transpose", a, perm=list(axes)) if axes else self._call("Transpose", a)

    def reshape(self, a: Operand, shape: Sequence[int]) -> Tensor:
        """The same cells in row-major order."""
        return self._call("Reshape", a, self._list(shape))

    def squeeze(self, a: Operand, axes: Sequence[int]) -> Tensor:
        """Without the given axes, of size 1."""
        return self._call("Squeeze", a, self._list(axes))

    def unsqueeze(self, a: Operand, axes: Sequence[int]) -> Tensor:
        """With axes of size 1 at these positions of the result."""
        return self._call("Unsqueeze", a, self._list(axes))

    def expand(self, a: Operand, shape: Sequence[int]) -> Tensor:
        """Broadcast to `shape`."""
        return self._call("Expand", a, self._list(shape))

    def slice(self, a: Operand, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
        """a[start:stop:step] along one axis."""
        return self._call("Slice", a, *(self._list([value]) for value in (start, stop, axis, step)))

    def concat(self, operands: Sequence[Operand], axis: int) -> Tensor:
        """One after the other along an axis."""
        return self._call("Concat", *operands, axis=axis)

    def gather(self, a: Operand, indices: Sequence[int] | npt.NDArray[np.int64], axis: int = 0) -> Tensor:
        """a.take(indices, axis); the indices are public."""
        return self._call("Gather", a, self.constant(np.asarray(indices, np.int64)), axis=axis)

    def _list(self, values: Sequence[int]) -> Tensor:
        return self.constant(np.asarray(values, np.int64).reshape(-1))

    # Booleans

    def greater(self, a: Operand, b: Operand) -> Tensor:
        """a > b."""
        return self._call("Greater", a, b)

    def greater_or_equal(self, a: Operand, b: Operand) -> Tensor:
        """a >= b."""
        return self._call("GreaterOrEqual", a, b)

    def less(self, a: Operand, b: Operand) -> Tensor:
        """a < b."""
        return self._call("Less", a, b)

    def less_or_equal(self, a: Operand, b: Operand) -> Tensor:
        """a <= b."""
        return self._call("LessOrEqual", a, b)

    def equal(self, a: Operand, b: Operand) -> Tensor:
        """a == b, of integers or of booleans."""
        return self._call("Equal", a, b)

    def and_(self, a: Operand, b: Operand) -> Tensor:
        """a and b."""
        return self._call("And", a, b)

    def or_(self, a: Operand, b: Operand) -> Tensor:
        """a or b."""
        return self._call("Or", a, b)

    def not_(self, a: Operand) -> Tensor:
        """not a."""
        return self._call("Not", a)

    def where(self, condition: Operand, a: Operand, b: Operand) -> Tensor:
        """a where the condition is true, else b; integers or booleans (onnxruntime has no Where of booleans)."""
        if isinstance(a, Tensor) and a.boolean:
            return self.or_(self.and_(condition, a), self.and_(self.not_(condition), b))
        return self._call("Where", condition, a, b)

    def cast(self, a: Operand, to: type[bool] | type[int]) -> Tensor:
        """int to bool (a != 0), or bool to int (0 or 1)."""
        return self._call("Cast", a, to=TensorProto.BOOL if to is bool else TensorProto.INT64)

    def bounds(self, a: Tensor) -> tuple[int, int]:
        """The least and the largest integer that a cell of `a` may hold, by interval analysis of the inputs' ranges."""
        node = self._reader.values[a.name]
        interval = analyse(operands_first([node]))[node]
        return interval.low, interval.high

    # Outputs

    def assert_true(self, what: str, a: Tensor) -> None:
        """Every cell of the boolean `a` must be true."""
        self._output(f"assert/{what}", a, boolean=True)

    def disclose(self, what: str, a: Tensor) -> None:
        """The integers `a` are published."""
        self._output(f"disclose/{what}", a, boolean=False)

    def _output(self, name: str, a: Tensor, boolean: bool) -> None:
        if a.boolean != boolean:
            raise StatementError(f"{name}: assert_true takes booleans, disclose integers")
        # A Reshape to its own shape: a value may be an input, or an output twice.
        self._call("Reshape", a, self._list(a.shape), output=name)
        kind = TensorProto.BOOL if boolean else TensorProto.INT64
        self._outputs.append(helper.make_tensor_value_info(name, kind, a.shape))

    def build(self) -> tuple[onnx.ModelProto, dict[str, tuple[int, int]]]:
        """The ONNX model, and the range of every input."""
        initialisers = [
            numpy_helper.from_array(node.stored.astype(np.bool_ if node.boolean else np.int64), constant.name)
            for node, constant in self._constants.items()
        ]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, initialisers)
        used = {node.op_type for node in self._nodes if node.domain == DOMAIN}
        functions = [body for name, body in function_bodies().items() if name in used]
        model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION, functions=functions)
        metadata = {RANGE_KEY + name: f"{low} {high}" for name, (low, high) in self._ranges.items()}
        helper.set_model_props(model, {VERSION_KEY: str(self._version), **metadata})
        return model, dict(self._ranges)

    def graph(self) -> Graph:
        """The statement graph: what `Graph.from_onnx` reads from the model, without making one."""
        outputs = {value.name: self._reader.output(value) for value in self._outputs}
        return Graph.from_outputs(self._name, self._version, outputs)

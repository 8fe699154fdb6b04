"""Reading ONNX operators into nodes: arithmetic, comparisons, booleans; those that move cells are in `graph_shapes`.

Every operator of the subset is here or there under its ONNX name; anything else is refused by name. Semantics are those
of ONNX opset 18. Source: onnx.ai/onnx/operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from onnx import TensorProto, numpy_helper

from circuits.checkpoint.base import quote
from circuits.errors import StatementError
from circuits.graph_call import Call
from circuits.graph_functions import TABLE
from circuits.graph_nodes import Labels, Node, NodeTable, Op, broadcast
from circuits.program import Shape


def constant_from(proto: TensorProto, table: NodeTable, label: str) -> Node:
    """An initialiser or the value of a Constant node.

    Raises:
        StatementError: it is not int64 or bool, is empty, or lives in another file.
    """
    if proto.data_type not in (TensorProto.INT64, TensorProto.BOOL):
        kind = TensorProto.DataType.Name(proto.data_type).lower()
        raise StatementError(f"{label}: a statement graph holds int64 and bool only, not {kind}")
    if proto.data_location == TensorProto.EXTERNAL:
        raise StatementError(f"{label}: constants are part of the graph, not of another file")
    if proto.dims and min(proto.dims) < 1 and len(proto.dims) > 1:
        raise StatementError(f"{label}: shape {tuple(proto.dims)} is empty")
    return table.constant(numpy_helper.to_array(proto), label, boolean=proto.data_type == TensorProto.BOOL)


def _constant(call: Call) -> Node:
    call.count(0)
    return constant_from(call.tensor("value"), call.table, call.label)


def _eye_like(call: Call) -> Node:
    """The identity matrix of the operand's shape, whatever its values are."""
    call.count(1)
    (node,) = call.integers(0)
    if len(node.shape) != 2 or node.shape[0] != node.shape[1]:
        raise call.refuse(f"the operand must be a square matrix, not of shape {node.shape}")
    if call.integer("k", 0) or call.integer("dtype", TensorProto.INT64) != TensorProto.INT64:
        raise call.refuse("only the main diagonal (k = 0) of an int64 matrix is supported")
    return call.table.identity(node.shape[0], call.label)


def _sum(factors: tuple[int, ...]) -> Callable[[Call], Node]:
    def read(call: Call) -> Node:
        call.count(len(factors))
        operands = call.integers(*range(len(factors)))
        shape = broadcast([node.shape for node in operands], call.label)
        expanded = tuple(call.table.expand(node, shape, call.label) for node in operands)
        return call.table.make("sum", expanded, shape, call.label, numbers=factors)

    return read


def _product(call: Call, left: Node, right: Node) -> Node:
    """Element-wise, as an einsum: an axis along which an operand is broadcast has no label there."""
    shape = broadcast([left.shape, right.shape], call.label)
    (one, one_labels), (two, two_labels) = (_unbroadcast(call, node, shape) for node in (left, right))
    labels = (one_labels, two_labels, tuple(range(len(shape))))
    return call.table.make("einsum", (one, two), shape, call.label, labels=labels)


def _unbroadcast(call: Call, node: Node, shape: Shape) -> tuple[Node, Labels]:
    """`node` without the axes along which it is broadcast to `shape`, and the axes of `shape` that are left."""
    offset = len(shape) - len(node.shape)
    kept = tuple(axis for axis, size in enumerate(node.shape) if size == shape[axis + offset])
    reduced = call.table.reshape(node, tuple(node.shape[axis] for axis in kept), call.label)
    return reduced, tuple(axis + offset for axis in kept)


def _mul(call: Call) -> Node:
    call.count(2)
    left, right = call.integers(0, 1)
    return _product(call, left, right)


def _mat_mul(call: Call) -> Node:
    """numpy.matmul: vectors are promoted, leading axes broadcast."""
    call.count(2)
    left, right = call.integers(0, 1)
    if not left.shape or not right.shape:
        raise call.refuse("operands need at least one axis; use Mul for scalars")
    inner = right.shape[-2] if len(right.shape) > 1 else right.shape[0]
    if left.shape[-1] != inner:
        raise call.refuse(f"shapes {left.shape} and {right.shape} do not multiply")
    batch = broadcast([left.shape[:-2], right.shape[:-2]], call.label)
    rank = len(batch)
    row, column, contracted = rank, rank + 1, rank + 2
    one, one_labels = _split_batch(call, left, batch, (row, contracted) if len(left.shape) > 1 else (contracted,))
    two, two_labels = _split_batch(call, right, batch, (contracted, column) if len(right.shape) > 1 else (contracted,))
    rows, columns = left.shape[-2:-1], right.shape[-1:] if len(right.shape) > 1 else ()
    output = (*range(rank), *((row,) if rows else ()), *((column,) if columns else ()))
    labels = (one_labels, two_labels, output)
    return call.table.make("einsum", (one, two), (*batch, *rows, *columns), call.label, labels=labels)


def _split_batch(call: Call, node: Node, batch: Shape, matrix: Labels) -> tuple[Node, Labels]:
    """`node` without broadcast batch axes, and its labels: batch axes, then `matrix`."""
    last = node.shape[len(node.shape) - len(matrix) :]
    reduced, labels = _unbroadcast(call, node, (*batch, *last))
    return reduced, tuple(label for label in labels if label < len(batch)) + matrix


def _einsum(call: Call) -> Node:
    """One or two operands, an explicit output, no label twice in one term."""
    call.count(1, 2)
    equation = call.text("equation").replace(" ", "")
    operands = call.integers(*range(len(call.operands())))
    if not re.fullmatch("[A-Za-z]*(,[A-Za-z]*)?->[A-Za-z]*", equation):
        raise call.refuse(f"equation {quote(equation)} must be letters with an explicit output, like 'ik,jk->ij'")
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    if any(len(set(term)) != len(term) for term in (*terms, output)):
        raise call.refuse(f"equation {quote(equation)} repeats an index within one term; use Gather for a diagonal")
    if len(terms) != len(operands) or any(len(t) != len(o.shape) for t, o in zip(terms, operands, strict=False)):
        raise call.refuse(f"equation {quote(equation)} does not fit shapes {[node.shape for node in operands]}")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, size in zip(term, operand.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise call.refuse(f"index {letter!r} has size {sizes[letter]} and {size}; they must be equal")
    if not set(output) <= sizes.keys():
        raise call.refuse(f"equation {quote(equation)} has an output index that no operand has")
    if len(operands) == 1:
        kept = [letter for letter in terms[0] if letter in output]
        axes = tuple(axis for axis, letter in enumerate(terms[0]) if letter not in output)
        return call.table.transpose(total(call, operands[0], axes), tuple(map(kept.index, output)), call.label)
    number = {letter: position for position, letter in enumerate(sizes)}
    one, two, out = (tuple(number[letter] for letter in term) for term in (*terms, output))
    shape = tuple(sizes[letter] for letter in output)
    return call.table.make("einsum", tuple(operands), shape, call.label, labels=(one, two, out))


def total(call: Call, node: Node, axes: tuple[int, ...]) -> Node:
    """The sum over sorted axes, which are gone."""
    if not axes:
        return node
    shape = tuple(size for axis, size in enumerate(node.shape) if axis not in axes)
    return call.table.make("total", (node,), shape, call.label, numbers=axes)


def _reduce(op: Op) -> Callable[[Call], Node]:
    def read(call: Call) -> Node:
        call.count(1, 2)
        (node,) = call.integers(0)
        keep, no_op = call.integer("keepdims", 1), call.integer("noop_with_empty_axes", 0)
        axes = call.axes(call.constants(1) or (() if no_op else range(len(node.shape))), len(node.shape))
        if op == "total" or not axes:
            result = total(call, node, axes)
        else:
            shape = tuple(size for axis, size in enumerate(node.shape) if axis not in axes)
            result = call.table.make(op, (node,), shape, call.label, numbers=axes)
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(node.shape))
        return call.table.reshape(result, kept, call.label) if keep else result

    return read


def _abs(call: Call) -> Node:
    call.count(1)
    return call.element_wise("abs", call.integers(0), boolean=False)


def _extremum(op: Op) -> Callable[[Call], Node]:
    def read(call: Call) -> Node:
        operands = call.integers(*range(len(call.operands())))
        if not operands:
            raise call.refuse("it takes at least one operand")
        result = operands[0]
        for operand in operands[1:]:
            result = call.element_wise(op, [result, operand], boolean=False)
        return result

    return read


def _comparison(swapped: bool, negated: bool) -> Callable[[Call], Node]:
    """All four order relations from a >= b: b >= a swapped, the strict ones as negations."""

    def read(call: Call) -> Node:
        call.count(2)
        left, right = call.integers(0, 1)
        found = call.element_wise("at_least", [right, left] if swapped else [left, right], boolean=True)
        return call.table.negate(found, call.label) if negated else found

    return read


def _equal(call: Call) -> Node:
    call.count(2)
    left = call.operand(0)
    (right,) = (call.booleans if left.boolean else call.integers)(1)
    return call.element_wise("equal", [left, right], boolean=True)


def _logic(op: Op) -> Callable[[Call], Node]:
    def read(call: Call) -> Node:
        call.count(2)
        return call.element_wise(op, call.booleans(0, 1), boolean=True)

    return read


def _not(call: Call) -> Node:
    call.count(1)
    return call.table.negate(call.booleans(0)[0], call.label)


def _where(call: Call) -> Node:
    call.count(3)
    (condition,), left = call.booleans(0), call.operand(1)
    (right,) = (call.booleans if left.boolean else call.integers)(2)
    if not left.boolean:
        return call.element_wise("where", [condition, left, right], boolean=False)
    chosen = call.element_wise("and", [condition, left], boolean=True)
    other = call.element_wise("and", [call.table.negate(condition, call.label), right], boolean=True)
    return call.element_wise("or", [chosen, other], boolean=True)


def _cast(call: Call) -> Node:
    call.count(1)
    node, to = call.operand(0), call.integer("to")
    if to not in (TensorProto.BOOL, TensorProto.INT64):
        raise call.refuse("it may convert between bool and int64 only")
    boolean = to == TensorProto.BOOL
    if node.boolean == boolean:
        return node
    return call.element_wise("nonzero" if boolean else "integer", [node], boolean=boolean)


def _floor_div(call: Call) -> Node:
    call.count(1)
    (node,), divisor = call.integers(0), call.integer("divisor")
    if divisor < 1:
        raise call.refuse(f"the divisor must be positive, not {divisor}")
    return call.table.make("floor_div", (node,), node.shape, call.label, numbers=(divisor,))


def _histogram(call: Call) -> Node:
    call.count(1)
    node = call.integers(0)[0]
    return call.table.make("histogram", (node,), (TABLE,), call.label)


OPERATORS: dict[str, Callable[[Call], Node]] = {
    "Constant": _constant,
    "EyeLike": _eye_like,
    "Add": _sum((1, 1)),
    "Sub": _sum((1, -1)),
    "Neg": _sum((-1,)),
    "Mul": _mul,
    "MatMul": _mat_mul,
    "Einsum": _einsum,
    "ReduceSum": _reduce("total"),
    "ReduceMax": _reduce("reduce_max"),
    "Abs": _abs,
    "Max": _extremum("max"),
    "Min": _extremum("min"),
    "GreaterOrEqual": _comparison(swapped=False, negated=False),
    "LessOrEqual": _comparison(swapped=True, negated=False),
    "Less": _comparison(swapped=False, negated=True),
    "Greater": _comparison(swapped=True, negated=True),
    "Equal": _equal,
    "And": _logic("and"),
    "Or": _logic("or"),
    "Not": _not,
    "Where": _where,
    "Cast": _cast,
}
OWN_OPERATORS: dict[str, Callable[[Call], Node]] = {"FloorDiv": _floor_div, "Histogram": _histogram}

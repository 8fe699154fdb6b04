"""Nodes of a statement graph after reading: a small core, explicit in shapes, into which the ONNX subset is rewritten.

What each operator computes from its operands, cell by cell unless said otherwise (booleans are 0 and 1):

| op | result | fields used |
|---|---|---|
| input | a committed tensor, histogram or certificate | name, numbers = (low, high) |
| constant | public integers | array |
| identity | shape (d, d): 1 on the diagonal, 0 elsewhere | |
| sum | sum_i factor_i * operand_i, all of one shape | numbers = factors |
| einsum | sum over the labels missing in the output of left * right | labels = (left, right, output) |
| total | the sum over some axes, which are gone | numbers = axes |
| transpose | axis i of the result is axis numbers[i] of the operand | numbers = axes |
| reshape, expand | the same cells in row-major order; axes of size 1 repeated | shape |
| index | cell i is cell array[i] of the concatenation of the flattened operands | array |
| abs, max, min, reduce_max | of integers; reduce_max over axes, which are gone | numbers = axes |
| at_least, equal, nonzero | booleans of integers; equal also of booleans | |
| and, or, not | of booleans | |
| where | operand 1 where the boolean operand 0 is true, else operand 2 | |
| integer | the boolean as 0 or 1 | |
| floor_div | floor(operand / divisor), divisor > 0 | numbers = (divisor,) |
| histogram | shape (65536,): how often each of -32768 .. 32767 occurs in the operand | |
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from circuits.errors import StatementError
from circuits.program import Integers, Shape, Stored

Op = Literal[
    "input",
    "constant",
    "identity",
    "sum",
    "einsum",
    "total",
    "transpose",
    "reshape",
    "expand",
    "index",
    "abs",
    "max",
    "min",
    "reduce_max",
    "at_least",
    "equal",
    "nonzero",
    "and",
    "or",
    "not",
    "where",
    "integer",
    "floor_div",
    "histogram",
]
Labels = tuple[int, ...]

MAX_RANK = 8
MAX_CELLS = 2**36
"""Cells of one tensor of a graph."""
MAX_STORED = 2**26
"""Cells of one tensor whose integers the graph itself holds: constants, and results of Slice, Gather and Concat."""
WIDTHS: tuple[np.dtype[np.signedinteger[Any]], ...] = (
    np.dtype(np.int8),
    np.dtype(np.int16),
    np.dtype(np.int32),
    np.dtype(np.int64),
)
"""What constants are stored in."""


@dataclass(frozen=True, eq=False)
class Node:
    """One tensor of a graph; identity is object identity. `label` names it in errors and is no part of its meaning."""

    op: Op
    operands: tuple[Node, ...]
    shape: Shape
    boolean: bool
    label: str
    numbers: tuple[int, ...] = ()
    labels: tuple[Labels, ...] = ()
    name: str = ""
    array: Stored | None = None
    digest: str = ""
    """Of the array, see `array_digest`."""

    @property
    def stored(self) -> Stored:
        """The array of a constant, in the narrowest type that holds it, or of an index node, int64."""
        assert self.array is not None, self.op
        return self.array


class NodeTable:
    """Makes nodes; equal nodes are one object, so a value that a graph writes twice is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Node] = {}

    def make(
        self,
        op: Op,
        operands: tuple[Node, ...],
        shape: Shape,
        label: str,
        *,
        boolean: bool = False,
        numbers: tuple[int, ...] = (),
        labels: tuple[Labels, ...] = (),
        name: str = "",
        array: Stored | None = None,
    ) -> Node:
        """The node with these fields.

        Raises:
            StatementError: its shape is outside MAX_RANK, MAX_CELLS or MAX_STORED.
        """
        limit = MAX_CELLS if array is None else MAX_STORED
        if len(shape) > MAX_RANK or math.prod(shape) > limit:
            raise StatementError(f"{label}: shape {shape} has more than {MAX_RANK} axes or {limit} cells; split it")
        if min(shape, default=1) < 1 and (op, shape) != ("constant", (0,)):  # an empty list of axes or sizes
            raise StatementError(f"{label}: shape {shape} is empty; every axis needs at least one cell")
        digest = "" if array is None else array_digest(array)
        key = (op, tuple(map(id, operands)), shape, boolean, numbers, labels, name, digest)
        known = self._known.get(key)
        if known is None:
            known = Node(op, operands, shape, boolean, label, numbers, labels, name, array, digest)
            self._known[key] = known
        return known

    def constant(self, array: Stored | npt.NDArray[np.bool_], label: str, *, boolean: bool = False) -> Node:
        """Public integers; booleans as 0 and 1. The array is not copied if it is read-only and narrow already."""
        stored = narrowed(array)
        stored = stored.copy() if stored.flags.writeable and np.may_share_memory(stored, array) else stored
        stored.flags.writeable = False
        return self.make("constant", (), array.shape, label, boolean=boolean, array=stored)

    def identity(self, size: int, label: str) -> Node:
        """The size x size identity matrix."""
        return self.make("identity", (), (size, size), label)

    def reshape(self, node: Node, shape: Shape, label: str) -> Node:
        """The same cells in row-major order."""
        if node.op == "reshape":
            node = node.operands[0]
        if node.shape == shape:
            return node
        if node.op == "constant":
            return self.constant(node.stored.reshape(shape), node.label, boolean=node.boolean)
        return self.make("reshape", (node,), shape, label, boolean=node.boolean)

    def expand(self, node: Node, shape: Shape, label: str) -> Node:
        """`node` broadcast to `shape` by the rules of ONNX (and numpy); the caller has checked that it can be."""
        node = self.reshape(node, (1,) * (len(shape) - len(node.shape)) + node.shape, label)
        return node if node.shape == shape else self.make("expand", (node,), shape, label, boolean=node.boolean)

    def transpose(self, node: Node, axes: tuple[int, ...], label: str) -> Node:
        """Axis i of the result is axis axes[i] of `node`."""
        if axes == tuple(range(len(axes))):
            return node
        if node.op == "constant":
            return self.constant(node.stored.transpose(axes), node.label, boolean=node.boolean)
        shape = tuple(node.shape[axis] for axis in axes)
        return self.make("transpose", (node,), shape, label, boolean=node.boolean, numbers=axes)

    def index(self, sources: tuple[Node, ...], index: Integers, label: str) -> Node:
        """Cell i is cell index[i] of the concatenation of the flattened sources; `index` has the result's shape."""
        if all(source.op == "constant" for source in sources):
            cells = np.concatenate([source.stored.ravel() for source in sources])
            return self.constant(cells[index], label, boolean=sources[0].boolean)
        flat = np.ascontiguousarray(index, dtype=np.int64).ravel()
        flat.flags.writeable = False
        return self.make("index", sources, index.shape, label, boolean=sources[0].boolean, array=flat)

    def negate(self, node: Node, label: str) -> Node:
        """Not, of a boolean."""
        if node.op == "not":
            return node.operands[0]
        return self.make("not", (node,), node.shape, label, boolean=True)


def operands_first(roots: Sequence[Node]) -> tuple[Node, ...]:
    """The roots and all that they depend on, operands before what uses them, in an order fixed by the graph alone."""
    order: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(roots)]
    while stack:
        node, visited = stack.pop()
        if node in order:
            continue
        if visited:
            order[node] = None
        else:
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
    return tuple(order)


def narrowed(array: Stored | npt.NDArray[np.bool_]) -> Stored:
    """The same integers, row-major, in the narrowest of the signed types of 8, 16, 32 and 64 bits that holds all."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    bits = max(low ^ (low >> 63), high ^ (high >> 63)).bit_length() + 1
    kind = next(kind for kind in WIDTHS if bits <= 8 * kind.itemsize)
    return np.ascontiguousarray(array, dtype=kind).reshape(array.shape)


def array_digest(array: Stored) -> str:
    """The width in bytes of the narrowest type that holds all entries, and SHA-256, in hex, of the entries in that
    type, row-major, little-endian: whatever type they come in, equal integers have equal digests, different ones not.
    """
    packed = narrowed(array)
    packed = packed.astype(packed.dtype.newbyteorder("<"), copy=False)
    return f"{packed.itemsize}:{hashlib.sha256(packed.reshape(-1).view(np.uint8).data).hexdigest()}"


def broadcast(shapes: list[Shape], label: str) -> Shape:
    """The common shape by the rules of ONNX (and numpy).

    Raises:
        StatementError: there is none.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise StatementError(f"{label}: shapes {shapes} do not broadcast to a common one") from error

"""One ONNX node with its operands resolved: what the operators of the subset read, and how they refuse."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from circuits.checkpoint.base import quote
from circuits.errors import StatementError
from circuits.graph_nodes import Node, NodeTable, Op, broadcast


class Call:
    """One ONNX node with its operands resolved: what an operator reads. Every method raises StatementError."""

    def __init__(self, proto: onnx.NodeProto, operands: list[Node | None], table: NodeTable) -> None:
        self.label = f"{proto.op_type} {quote(proto.name or ''.join(proto.output[:1]))}"
        self.table = table
        self._operands = operands
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    def refuse(self, reason: str) -> StatementError:
        """The error to raise."""
        return StatementError(f"{self.label}: {reason}")

    def count(self, low: int, high: int | None = None) -> None:
        """The number of operands lies in [low, high]; trailing absent ones count."""
        if not low <= len(self._operands) <= (low if high is None else high):
            raise self.refuse(f"{len(self._operands)} operands; it takes {low}" + (f" to {high}" if high else ""))

    def operands(self) -> list[Node]:
        """All operands, none of which may be absent."""
        return [self.operand(position) for position in range(len(self._operands))]

    def operand(self, position: int) -> Node:
        """A required operand."""
        node = self._operands[position] if position < len(self._operands) else None
        if node is None:
            raise self.refuse(f"operand {position} is missing")
        if 0 in node.shape:
            raise self.refuse(f"operand {position} is empty")
        return node

    def integers(self, *positions: int) -> list[Node]:
        """Required operands that must be int64."""
        return [self._typed(position, boolean=False) for position in positions]

    def booleans(self, *positions: int) -> list[Node]:
        """Required operands that must be bool."""
        return [self._typed(position, boolean=True) for position in positions]

    def _typed(self, position: int, boolean: bool) -> Node:
        node = self.operand(position)
        if node.boolean != boolean:
            raise self.refuse(f"operand {position} must be {'bool' if boolean else 'int64'}; use Cast")
        return node

    def constants(self, position: int) -> tuple[int, ...] | None:
        """A list of public integers (axes, a shape, ...) that must be known when the graph is read; None if absent."""
        node = self._operands[position] if position < len(self._operands) else None
        if node is None:
            return None
        if node.op != "constant" or node.boolean:
            raise self.refuse(f"operand {position} must be a constant int64 (an initialiser)")
        if len(node.shape) > 1:
            raise self.refuse(f"operand {position} must be a list of integers, not of shape {node.shape}")
        return tuple(node.stored.ravel().tolist())

    def required_constants(self, position: int) -> tuple[int, ...]:
        """The same, never absent."""
        found = self.constants(position)
        if found is None:
            raise self.refuse(f"operand {position} is missing")
        return found

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; without a default it is required."""
        proto = self._attributes.pop(name, None)
        if proto is None:
            if default is None:
                raise self.refuse(f"attribute {name} is missing")
            return default
        if proto.type != onnx.AttributeProto.INT:
            raise self.refuse(f"attribute {name} must be an integer")
        return int(proto.i)

    def integer_list(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of integers; None if absent."""
        proto = self._attributes.pop(name, None)
        if proto is None:
            return None
        if proto.type != onnx.AttributeProto.INTS:
            raise self.refuse(f"attribute {name} must be a list of integers")
        return tuple(proto.ints)

    def text(self, name: str) -> str:
        """A required string attribute."""
        proto = self._attributes.pop(name, None)
        if proto is None or proto.type != onnx.AttributeProto.STRING:
            raise self.refuse(f"attribute {name} must be a string")
        return bytes(proto.s).decode("ascii", "replace")

    def tensor(self, name: str) -> TensorProto:
        """A required tensor attribute."""
        proto = self._attributes.pop(name, None)
        if proto is None or proto.type != onnx.AttributeProto.TENSOR:
            raise self.refuse(f"attribute {name} must be a tensor")
        found: TensorProto = proto.t
        return found

    def axes(self, axes: Iterable[int], rank: int) -> tuple[int, ...]:
        """Axes in [-rank, rank), without repetition, made non-negative and sorted."""
        found = sorted(axis + rank if axis < 0 else axis for axis in axes)
        if any(not 0 <= axis < rank for axis in found) or len(set(found)) != len(found):
            raise self.refuse(f"axes must be different and in [-{rank}, {rank})")
        return tuple(found)

    def finish(self) -> None:
        """No attribute is left over."""
        if self._attributes:
            raise self.refuse(f"attribute {quote(min(self._attributes))} is not supported")

    def element_wise(self, op: Op, operands: list[Node], *, boolean: bool) -> Node:
        """`op` on operands broadcast to their common shape."""
        shape = broadcast([node.shape for node in operands], self.label)
        expanded = tuple(self.table.expand(node, shape, self.label) for node in operands)
        return self.table.make(op, expanded, shape, self.label, boolean=boolean)

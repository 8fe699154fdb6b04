"""Reading ONNX operators that move cells without changing them: Transpose, Reshape, Slice, Concat and the like."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from circuits.graph_call import Call
from circuits.graph_nodes import MAX_STORED, Node, broadcast
from circuits.program import Integers, Shape


def _transpose(call: Call) -> Node:
    call.count(1)
    node = call.operand(0)
    rank = len(node.shape)
    axes = call.integer_list("perm") or tuple(reversed(range(rank)))
    if sorted(axes) != list(range(rank)):
        raise call.refuse(f"perm {axes} is not a permutation of {rank} axes")
    return call.table.transpose(node, axes, call.label)


def _reshape(call: Call) -> Node:
    """0 keeps the size of that axis (unless allowzero), one -1 takes what is left."""
    call.count(2)
    node, wanted = call.operand(0), call.required_constants(1)
    keep = not call.integer("allowzero", 0)
    if any(size == 0 and not (keep and axis < len(node.shape)) for axis, size in enumerate(wanted)):
        raise call.refuse(f"shape {wanted} is empty")
    sizes = [node.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    cells = math.prod(node.shape)
    if sizes.count(-1) == 1:
        rest = -math.prod(sizes)
        sizes[sizes.index(-1)] = cells // rest if rest > 0 else -1
    if min(sizes, default=1) < 1 or math.prod(sizes) != cells:
        raise call.refuse(f"shape {node.shape} cannot become {wanted}")
    return call.table.reshape(node, tuple(sizes), call.label)


def _squeeze(call: Call) -> Node:
    call.count(1, 2)
    node, wanted = call.operand(0), call.constants(1)
    ones = [axis for axis, size in enumerate(node.shape) if size == 1]
    axes = call.axes(ones if wanted is None else wanted, len(node.shape))
    if not set(axes) <= set(ones):
        raise call.refuse(f"axes {axes} of shape {node.shape} do not all have size 1")
    shape = tuple(size for axis, size in enumerate(node.shape) if axis not in axes)
    return call.table.reshape(node, shape, call.label)


def _unsqueeze(call: Call) -> Node:
    call.count(2)
    node, wanted = call.operand(0), call.required_constants(1)
    rank = len(node.shape) + len(wanted)
    axes = call.axes(wanted, rank)
    sizes = iter(node.shape)
    return call.table.reshape(node, tuple(1 if axis in axes else next(sizes) for axis in range(rank)), call.label)


def _expand(call: Call) -> Node:
    call.count(2)
    node, wanted = call.operand(0), call.required_constants(1)
    if min(wanted, default=1) < 1:
        raise call.refuse(f"shape {wanted} is not positive")
    return call.table.expand(node, broadcast([node.shape, wanted], call.label), call.label)


def _positions(call: Call, shape: Shape, offset: int = 0) -> Integers:
    """The row-major number of every cell of a tensor of this shape."""
    if math.prod(shape) > MAX_STORED:
        raise call.refuse(f"a tensor of shape {shape} is too large to cut or join; it may have {MAX_STORED} cells")
    return np.arange(offset, offset + math.prod(shape), dtype=np.int64).reshape(shape)


def _slice(call: Call) -> Node:
    """Ends are clamped to the tensor, negative ones count from its end, as in Python."""
    call.count(3, 5)
    node, starts, ends = call.operand(0), call.required_constants(1), call.required_constants(2)
    rank = len(node.shape)
    axes = call.constants(3) or tuple(range(len(starts)))
    steps = call.constants(4) or (1,) * len(starts)
    call.axes(axes, rank)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise call.refuse("starts, ends, axes and steps must be equally long, and no step 0")
    cut = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(start, end, step)
    index = _positions(call, node.shape)[tuple(cut)]
    return _index(call, (node,), index)


def _concat(call: Call) -> Node:
    operands = call.operands()
    if not operands or len({node.boolean for node in operands}) > 1:
        raise call.refuse("operands must be all int64 or all bool, at least one")
    rank = len(operands[0].shape)
    (axis,) = call.axes([call.integer("axis")], rank)
    shapes = {(*node.shape[:axis], *node.shape[axis + 1 :]) for node in operands}
    if len(shapes) > 1 or any(len(node.shape) != rank for node in operands):
        raise call.refuse(f"shapes {[node.shape for node in operands]} differ outside axis {axis}")
    offsets = np.cumsum([0] + [math.prod(node.shape) for node in operands]).tolist()
    parts = [_positions(call, node.shape, offset) for node, offset in zip(operands, offsets, strict=False)]
    return _index(call, tuple(operands), np.concatenate(parts, axis=axis))


def _gather(call: Call) -> Node:
    call.count(2)
    node, (chosen,) = call.operand(0), call.integers(1)
    (axis,) = call.axes([call.integer("axis", 0)], len(node.shape))
    if chosen.op != "constant":
        raise call.refuse("the indices must be a constant (an initialiser)")
    size, places = node.shape[axis], chosen.stored.astype(np.int64)
    if (places < -size).any() or (places >= size).any():
        raise call.refuse(f"an index is outside [-{size}, {size})")
    return _index(call, (node,), np.take(_positions(call, node.shape), places % size, axis=axis))


def _index(call: Call, sources: tuple[Node, ...], index: Integers) -> Node:
    """A selection of cells; the identity selection is the source itself."""
    if index.size == 0:
        raise call.refuse("the result is empty")
    if len(sources) == 1 and index.shape == sources[0].shape and np.array_equal(index.ravel(), np.arange(index.size)):
        return sources[0]
    return call.table.index(sources, index, call.label)


SHAPE_OPERATORS: dict[str, Callable[[Call], Node]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Slice": _slice,
    "Concat": _concat,
    "Gather": _gather,
}

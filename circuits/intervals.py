"""Interval analysis: no value of a statement graph, partial sums included, can leave (-2^62, 2^62).

Intervals start from the ranges of the inputs and are exact Python integers. One interval per tensor; where an operand
of a product is constant, its entries count one by one. Non-negative cells with a known total (a histogram) are followed
further: a public functional sum_t m_t c_t of a histogram of n lies in [n min c, n max c]. Source: statements.md,
section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from circuits.errors import StatementError
from circuits.graph_nodes import Labels, Node
from circuits.program import Stored

LIMIT = 2**62
"""Every value v has |v| < LIMIT: then identities modulo p are identities of integers."""


@dataclass(frozen=True)
class Mass:
    """What is known of the sums of a tensor: the sum of all cells is in [low, high], of any subset in [least, most]."""

    low: int
    high: int
    least: int
    most: int


@dataclass(frozen=True)
class Interval:
    """Every cell is in [low, high]."""

    low: int
    high: int
    mass: Mass | None = None

    @property
    def magnitude(self) -> int:
        """The largest absolute value."""
        return max(-self.low, self.high)


BIT = Interval(0, 1)


def analyse(nodes: tuple[Node, ...]) -> dict[Node, Interval]:
    """The interval of every node, given operands first (`Graph.nodes`).

    Raises:
        StatementError: a value or a partial sum could leave (-2^62, 2^62); names the node and the bound.
    """
    found: dict[Node, Interval] = {}
    for node in nodes:
        interval = _interval(node, [found[operand] for operand in node.operands])
        require(node, interval.low, interval.high)
        found[node] = interval
    return found


def require(node: Node, low: int, high: int) -> None:
    """Refuse a node that computes something in [low, high] unless that is within (-2^62, 2^62)."""
    if low <= -LIMIT or high >= LIMIT:
        raise StatementError(
            f"{node.label}: a value may reach {low if -low > high else high}, and must stay within (-2^62, 2^62);"
            " bound its operands more tightly or divide them first"
        )


def difference(node: Node, a: Interval, b: Interval) -> Interval:
    """a - b, which `node` compares with 0."""
    result = Interval(a.low - b.high, a.high - b.low)
    require(node, result.low, result.high)
    return result


def _interval(node: Node, operands: list[Interval]) -> Interval:
    match node.op:
        case "input":
            low, high = node.numbers
            total = Mass(high, high, 0, high) if node.name.startswith("hist") else None
            return Interval(low, high, total)
        case "constant":
            return Interval(int(node.stored.min()), int(node.stored.max())) if node.stored.size else Interval(0, 0)
        case "identity":
            return Interval(int(node.shape == (1, 1)), 1)
        case "sum":
            return _weighted_sum(node, operands)
        case "einsum":
            return _einsum(node, *operands)
        case "total":
            return _total(node, operands[0])
        case "transpose" | "reshape":
            return operands[0]
        case "index":
            return _index(node, operands)
        case "floor_div":
            return Interval(operands[0].low // node.numbers[0], operands[0].high // node.numbers[0])
        case "histogram":
            if operands[0].low < -32_768 or operands[0].high > 32_767:
                raise StatementError(f"{node.label}: entries in [-32768, 32767] are counted, not {operands[0]}")
            cells = math.prod(node.operands[0].shape)
            return Interval(0, cells, Mass(cells, cells, 0, cells))
    return _choice(node, operands)


def _choice(node: Node, operands: list[Interval]) -> Interval:
    """Operators that pick one of their operands or 0 or 1."""
    first = operands[0]
    match node.op:
        case "expand" | "integer" | "reduce_max":
            if node.op == "reduce_max":
                difference(node, first, first)
            return Interval(first.low, first.high)
        case "abs":
            return Interval(max(first.low, -first.high, 0), first.magnitude)
        case "max" | "min":
            difference(node, first, operands[1])
            pick = max if node.op == "max" else min
            return Interval(pick(first.low, operands[1].low), pick(first.high, operands[1].high))
        case "where":
            difference(node, operands[1], operands[2])
            low, high = min(o.low for o in operands[1:]), max(o.high for o in operands[1:])
            return operands[1] if first.low == 1 else operands[2] if first.high == 0 else Interval(low, high)
        case "at_least":
            gap = difference(node, first, operands[1])
            return Interval(int(gap.low >= 0), int(gap.high >= 0))
        case "equal":
            gap = difference(node, first, operands[1])
            return Interval(int(gap.low == gap.high == 0), int(gap.low <= 0 <= gap.high))
        case "nonzero":
            return Interval(int(first.low > 0 or first.high < 0), int(first.low < 0 or first.high > 0))
        case "and":
            return Interval(min(o.low for o in operands), min(o.high for o in operands))
        case "or":
            return Interval(max(o.low for o in operands), max(o.high for o in operands))
        case "not":
            return Interval(1 - first.high, 1 - first.low)
    raise AssertionError(node.op)


def _weighted_sum(node: Node, operands: list[Interval]) -> Interval:
    """sum_i factor_i * operand_i; the masses add up."""
    pairs = list(zip(node.numbers, operands, strict=True))
    low = sum(factor * (o.low if factor > 0 else o.high) for factor, o in pairs)
    high = sum(factor * (o.high if factor > 0 else o.low) for factor, o in pairs)
    masses = [_scaled(o.mass, factor) for factor, o in pairs if o.mass is not None]
    if len(masses) < len(pairs):
        return Interval(low, high)
    columns = ((m.low, m.high, m.least, m.most) for m in masses)
    return Interval(low, high, Mass(*(sum(column) for column in zip(*columns, strict=True))))


def _scaled(mass: Mass, factor: int) -> Mass:
    if factor < 0:
        return Mass(factor * mass.high, factor * mass.low, factor * mass.most, factor * mass.least)
    return Mass(factor * mass.low, factor * mass.high, factor * mass.least, factor * mass.most)


def _index(node: Node, operands: list[Interval]) -> Interval:
    low, high = min(o.low for o in operands), max(o.high for o in operands)
    mass = operands[0].mass
    if len(operands) > 1 or mass is None or np.unique(node.stored).size < node.stored.size:
        return Interval(low, high)
    return Interval(low, high, Mass(mass.least, mass.most, mass.least, mass.most))


def _total(node: Node, operand: Interval) -> Interval:
    """A sum of `count` cells; partial sums start from the empty one."""
    count = math.prod(node.operands[0].shape[axis] for axis in node.numbers)
    low, high = count * operand.low, count * operand.high
    partial_low, partial_high = min(low, 0), max(high, 0)
    mass = operand.mass
    if mass is not None:
        partial_low, partial_high = max(partial_low, mass.least), min(partial_high, mass.most)
        known = (mass.low, mass.high) if math.prod(node.shape) == 1 else (mass.least, mass.most)
        low, high = max(low, known[0]), min(high, known[1])
    require(node, partial_low, partial_high)
    return Interval(low, high, mass)


def _einsum(node: Node, left: Interval, right: Interval) -> Interval:
    """The intersection of what the rules for sums of products give."""
    one, two = node.operands
    one_labels, two_labels, output = node.labels
    sizes = dict(zip((*one_labels, *two_labels), (*one.shape, *two.shape), strict=True))
    count = math.prod(size for label, size in sizes.items() if label not in output)
    corners = [x * y for x in (left.low, left.high) for y in (right.low, right.high)]
    low, high = min(corners), max(corners)
    if one is two and one_labels == two_labels:
        low = max(left.low, -left.high, 0) ** 2
    bounds = [(count * low, count * high, min(count * low, 0), max(count * high, 0))]
    mass = None
    for array, labels, other, other_labels in (
        (two, two_labels, left, one_labels),
        (one, one_labels, right, two_labels),
    ):
        if array.op == "identity" and not set(labels) <= set(output):
            # of each row that is summed over one cell is 1
            own = count // array.shape[0]
            ends = own * other.low, own * other.high
            bounds.append((*ends, min(ends[0], 0), max(ends[1], 0)))
        if array.op != "constant":
            continue
        if array.stored.size > 1:  # one entry: the corners say as much
            bounds.append(_constant_entries(array.stored, labels, other, output, sizes))
        if other.mass is not None and other.low >= 0:
            copies = math.prod(size for label, size in sizes.items() if label not in other_labels + output)
            scaled = _functional(array.stored, copies, other.mass)
            inner = scaled if not set(other_labels) & set(output) else _subset(scaled)
            bounds.append((inner.low, inner.high, inner.least, inner.most))
            if set(labels) <= set(other_labels):
                mass = scaled
    low, high = max(b[0] for b in bounds), min(b[1] for b in bounds)
    require(node, max(b[2] for b in bounds), min(b[3] for b in bounds))
    return Interval(low, high, mass)


def _functional(array: Stored, copies: int, mass: Mass) -> Mass:
    """Sums of m_t c_t over non-negative m with this mass, each term `copies` times."""
    smallest, largest = int(array.min()) * copies, int(array.max()) * copies
    low = smallest * (mass.low if smallest > 0 else mass.high)
    high = largest * (mass.high if largest > 0 else mass.low)
    return Mass(low, high, mass.most * min(smallest, 0), mass.most * max(largest, 0))


def _subset(mass: Mass) -> Mass:
    return Mass(mass.least, mass.most, mass.least, mass.most)


def _constant_entries(
    array: Stored, labels: Labels, other: Interval, output: Labels, sizes: dict[int, int]
) -> tuple[int, int, int, int]:
    """Bounds of sum_i c_i x_i and of its partial sums for constant c, entry by entry: with P and N the sums of the
    positive and the negative entries, the largest over all cells is max (P high + N low)."""
    axes = tuple(axis for axis, label in enumerate(labels) if label not in output)
    own = math.prod(array.shape[axis] for axis in axes)
    copies = math.prod(size for label, size in sizes.items() if label not in labels + output)
    largest = max(abs(int(array.min())), abs(int(array.max())))
    # Exact whatever the size: Python integers where 64 bits might not do.
    exact = np.atleast_1d(array).astype(np.int64 if largest * own < 2**63 else object)
    positive = np.asarray(np.maximum(exact, 0).sum(axis=axes))
    negative = np.asarray(exact.sum(axis=axes) - positive)
    if largest * own * max(other.magnitude, 1) * 2 >= 2**63:
        positive, negative = positive.astype(object), negative.astype(object)
    ends = (other.low, other.high)
    partial = (min(other.low, 0), max(other.high, 0))
    high, most = (int(np.max(positive * b + negative * a)) * copies for a, b in (ends, partial))
    low, least = (int(np.min(positive * a + negative * b)) * copies for a, b in (ends, partial))
    return low, high, least, most

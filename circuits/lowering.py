"""Lowering: the statement graphs of a policy become one program of linear and bilinear rules, advice and zeros.

Tensors, histograms and identity matrices are shared between graphs. A comparison that is only asserted needs no bit:
a >= b becomes a - b = slack with a slack in [0, high]; `And` of asserted booleans splits; what the intervals already
decide costs nothing, and is refused if it is false. Names start with the number of the graph: certificates are
`0/advice/L`, zeros `0/assert/bound` or `0/7`, disclosed integers `0/disclose/rank`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from circuits.checkpoint.base import quote
from circuits.errors import StatementError
from circuits.graph import Graph
from circuits.graph_nodes import Node
from circuits.intervals import Interval, analyse
from circuits.lowering_recipes import Recipes
from circuits.lowering_values import (
    complement,
    constant,
    contraction,
    difference,
    full,
    indexed,
    permuted,
    product,
    reshaped,
    summed,
    weighted_sum,
)
from circuits.program import Advice, Expanded, Histogram, Identity, Program, Published, Value, Weight


def lower(graphs: Sequence[Graph]) -> Program:
    """The program of all graphs, in order.

    Raises:
        StatementError: a value could leave (-2^62, 2^62), an assertion can never hold, advice is too wide to look up,
            or two graphs declare one tensor with different shapes.
    """
    program = Program()
    atoms: dict[str, Value] = {}
    for index, graph in enumerate(graphs):
        _Lowering(graph, str(index), program, atoms).run()
    return program


@dataclass(frozen=True)
class _Claim:
    """Every cell of a boolean node is `truth`."""

    name: str
    node: Node
    truth: bool

    def compared(self) -> tuple[Node, ...]:
        """The operands, if the claim can be shown from them without the boolean itself."""
        direct = {"at_least": (True, False), "equal": (True,), "nonzero": (False,)}
        return self.node.operands if self.truth in direct.get(self.node.op, ()) else ()


class _Lowering:
    """One graph."""

    def __init__(self, graph: Graph, prefix: str, program: Program, atoms: dict[str, Value]) -> None:
        self._graph, self._prefix, self._program, self._atoms = graph, prefix, program, atoms
        self._intervals = analyse(graph.nodes)
        self._values: dict[Node, Value] = {}
        self._recipes = Recipes(program, prefix)

    def run(self) -> None:
        claims = self._claims()
        roots = [node for _, node in self._graph.disclosed]
        for claim in claims:
            roots.extend(claim.compared() or (claim.node,))
        needed = self._needed(roots)
        for node in self._graph.nodes:
            if node in needed:
                self._values[node] = self._value(node, self._intervals[node])
        for claim in claims:
            self._assert(claim, as_bit=claim.node in needed)
        for what, node in self._graph.disclosed:
            value = self._values[node]
            published = Published(node.shape, value.low, value.high, f"{self._prefix}/disclose/{what}")
            self._program.published.append((published, value))
            self._recipes.zero(published.name, difference(value, published))

    def _claims(self) -> list[_Claim]:
        """What is asserted, each claim once: those of one assertion are named 0/assert/what, 0/assert:2/what, ..."""
        found: dict[tuple[Node, bool], _Claim] = {}
        for what, node in self._graph.asserted:
            number = 0
            for part, truth in self._split(what, node):
                if (part, truth) not in found:
                    number += 1
                    kind = "assert" if number == 1 else f"assert:{number}"
                    found[part, truth] = _Claim(f"{self._prefix}/{kind}/{what}", part, truth)
        return list(found.values())

    def _split(self, what: str, asserted: Node) -> Iterator[tuple[Node, bool]]:
        """Booleans and what they must be, for `asserted` to be true in every cell; what always holds is left out."""
        stack = [(asserted, True)]
        while stack:
            node, truth = stack.pop()
            interval = self._intervals[node]
            if interval.low == interval.high:
                if bool(interval.low) != truth:
                    raise StatementError(
                        f"graph {quote(self._graph.name)}, assert/{what}: {node.label} is {not truth} for every model"
                        " with these shapes, so this can never be proved; check the threshold"
                    )
            elif node.op == "not":
                stack.append((node.operands[0], not truth))
            elif node.op == ("and" if truth else "or"):
                stack.extend((operand, truth) for operand in reversed(node.operands))
            elif node.op in ("expand", "reshape", "transpose"):
                stack.append((node.operands[0], truth))
            else:
                yield node, truth

    def _needed(self, roots: list[Node]) -> set[Node]:
        """The nodes whose values the roots are computed from; a node that the intervals fix is computed from none."""
        needed: set[Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                if not self._fixed(node):
                    stack.extend(node.operands)
        return needed

    def _fixed(self, node: Node) -> bool:
        interval = self._intervals[node]
        return node.op != "input" and interval.low == interval.high

    def _assert(self, claim: _Claim, as_bit: bool) -> None:
        """Add the zero conditions of a claim."""
        if as_bit or not claim.compared():
            bit = self._values[claim.node]
            self._recipes.zero(claim.name, complement(bit) if claim.truth else bit)
            return
        operands = [self._values[node] for node in claim.compared()]
        if claim.node.op == "nonzero":
            self._recipes.zero(claim.name, operands[0])
        elif claim.node.op == "equal":
            self._recipes.zero(claim.name, self._recipes.gap(*operands))
        elif claim.truth:
            self._recipes.slack(claim.name, self._recipes.gap(*operands))
        else:
            # a < b: b - a - 1 >= 0.
            above, below = operands
            one = full(above.shape, 1)
            low, high = below.low - above.high - 1, below.high - above.low - 1
            gap = weighted_sum(above.shape, [(1, below), (-1, above), (-1, one)], low, high)
            self._recipes.slack(claim.name, gap)

    def _value(self, node: Node, interval: Interval) -> Value:
        """The value of a node whose operands have theirs."""
        if self._fixed(node) and node.op != "constant":
            return full(node.shape, interval.low)
        operands = [self._values[operand] for operand in node.operands]
        low, high = interval.low, interval.high
        match node.op:
            case "input":
                return self._input(node)
            case "constant":
                return constant(node.stored)
            case "identity":
                return self._atoms.setdefault(f"identity/{node.shape[0]}", Identity(node.shape, low, high))
            case "sum":
                return weighted_sum(node.shape, list(zip(node.numbers, operands, strict=True)), low, high)
            case "einsum":
                one, two, output = node.labels
                return contraction(operands[0], operands[1], (one, two, output), node.shape, low, high)
            case "total":
                return summed(operands[0], node.numbers, low, high)
            case "transpose":
                return permuted(operands[0], node.numbers)
            case "reshape":
                return reshaped(operands[0], node.shape)
            case "expand":
                return Expanded(node.shape, low, high, operands[0])
            case "index":
                return indexed(tuple(operands), node.stored, node.shape)
        return self._choice(node, operands, interval)

    def _choice(self, node: Node, operands: list[Value], interval: Interval) -> Value:
        """Operators that are neither linear nor bilinear, and those of booleans."""
        recipes, first = self._recipes, operands[0]
        match node.op:
            case "abs":
                return recipes.absolute(first)
            case "max":
                return recipes.largest(first, operands[1])
            case "min":
                return recipes.smallest(first, operands[1])
            case "reduce_max":
                return recipes.largest_over(first, node.numbers)
            case "at_least":
                return complement(recipes.negative(recipes.gap(first, operands[1])))
            case "equal" if node.operands[0].boolean:
                return recipes.equal_bits(first, operands[1])
            case "equal":
                return recipes.zero_bit(recipes.gap(first, operands[1]))
            case "nonzero":
                return complement(recipes.zero_bit(first))
            case "and":
                return product(first, operands[1])
            case "or":
                return recipes.either(first, operands[1])
            case "not":
                return complement(first)
            case "where":
                return recipes.chosen(first, operands[1], operands[2], interval.low, interval.high)
            case "integer":
                return first
            case "floor_div":
                return recipes.quotient(first, node.numbers[0])
            case "histogram":
                return recipes.histogram(first)
        raise AssertionError(node.op)

    def _input(self, node: Node) -> Value:
        """An atom; committed ones are shared by all graphs."""
        low, high = node.numbers
        kind, _, name = node.name.partition("/")
        if kind == "advice":
            return Advice(node.shape, low, high, f"{self._prefix}/{node.name}")
        known = self._atoms.get(node.name)
        if known is None:
            stem = kind.rstrip("123456789")
            commitment = int(kind[len(stem) :] or 0)
            if stem == "w":
                known = Weight(node.shape, low, high, name, commitment)
            else:
                known = Histogram(node.shape, low, high, int(name), commitment)
            self._atoms[node.name] = known
        if (known.shape, known.low, known.high) != (node.shape, low, high):
            raise StatementError(f"input {quote(node.name)} has different shapes or ranges in two checks of one policy")
        return known

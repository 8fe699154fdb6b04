"""Random statement graphs, and what ONNX runtimes say of them.

onnxruntime 1.31 computes some int64 operators wrongly: Max, Min and ReduceMax of values of 2^31 and more (an Eigen bug,
microsoft/onnxruntime pull request 32475), sums beyond 2^53 (they run in double precision). There the reference
evaluator of the onnx package is the only oracle; elsewhere both must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from circuits.builder import GraphBuilder, Tensor
from circuits.errors import StatementError
from circuits.evaluate import Witness
from circuits.graph import Graph
from circuits.graph_nodes import Node
from circuits.intervals import analyse
from circuits.program import Integers

SIZES = (1, 1, 2, 3, 4, 5, 7, 8)
Arrays = Mapping[str, Integers]


def runtime_outputs(model: onnx.ModelProto, inputs: Arrays) -> dict[str, Integers]:
    """The outputs by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def reference_outputs(model: onnx.ModelProto, inputs: Arrays) -> dict[str, Integers]:
    """The outputs by the reference evaluator of the onnx package."""
    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, dict(inputs)), strict=True))


def runtime_is_exact(graph: Graph) -> bool:
    """Is onnxruntime free of the bugs above on this graph, by its intervals?"""
    intervals = analyse(graph.nodes)
    for node in graph.nodes:
        magnitudes = [intervals[operand].magnitude for operand in node.operands]
        if node.op in ("max", "min", "reduce_max") and max(magnitudes) >= 2**31:
            return False
        if node.op in ("total", "einsum") and np.prod([float(m + 1) for m in magnitudes]) * _cells(node) >= 2**53:
            return False
    return True


def _cells(node: Node) -> float:
    return float(np.prod([float(np.prod(operand.shape)) for operand in node.operands]))


def witness(inputs: Arrays, prefix: str = "0") -> Witness:
    """The same inputs for a program."""
    certificates = {f"{prefix}/{name}": array for name, array in inputs.items() if name.startswith("advice/")}
    return Witness(
        lambda commitment, name: inputs[f"w{commitment or ''}/{name}"],
        lambda commitment, group: inputs[f"hist{commitment or ''}/{group}"],
        certificates,
    )


class RandomGraph:
    """A graph under construction: random operators on random inputs, whose values are known."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.builder = GraphBuilder("random", 1)
        self.inputs: dict[str, Integers] = {}
        self.integers: list[Tensor] = []
        self.booleans: list[Tensor] = []

    def sizes(self, rank: int) -> tuple[int, ...]:
        return tuple(self.random.choice(SIZES) for _ in range(rank))

    def cells(self, shape: tuple[int, ...], low: int, high: int) -> Integers:
        """Random integers, often at the ends of the range or near 0."""
        near = [value for value in (low, high, 0, -1, 1, low + 1) if low <= value <= high]
        count = int(np.prod(shape, dtype=np.int64))
        pick = [self.random.choice(near) if self.random.random() < 0.4 else self.random.randint(low, high)
                for _ in range(count)]  # fmt: skip
        return np.array(pick, np.int64).reshape(shape)

    def add_weight(self, commitment: int = 0) -> None:
        shape = (self.random.choice(SIZES), self.random.choice(SIZES))
        name = f"t{len(self.inputs)}"
        self.inputs[f"w{commitment or ''}/{name}"] = self.cells(shape, -32768, 32767)
        self.integers.append(self.builder.weight(name, shape, commitment))

    def add_advice(self) -> None:
        shape, name = self.sizes(self.random.randint(0, 3)), f"t{len(self.inputs)}"
        bound = 2 ** self.random.choice((1, 4, 16, 20, 40))
        low = self.random.choice((-bound, 0, -5, 3))
        high = low + self.random.randint(0, 2 * bound)
        self.inputs[f"advice/{name}"] = self.cells(shape, low, high)
        self.integers.append(self.builder.advice(name, shape, low, high))

    def add_histogram(self) -> None:
        """A statistic of the histogram of a committed model, or of a fresh one of one of its tensors."""
        name = self.random.choice([name for name in self.inputs if name.startswith("w")])
        model, _, tensor = name.partition("/")
        commitment, shape = int(model[1:] or 0), self.inputs[name].shape
        if self.random.random() < 0.5:
            counts = self.builder.histogram_of(self.builder.weight(tensor, (shape[0], shape[1]), commitment))
        else:
            cells = np.concatenate([w.ravel() for own, w in self.inputs.items() if own.startswith(f"{model}/")])
            self.inputs[f"hist{commitment or ''}/0"] = np.bincount(cells + 2**15, minlength=2**16).astype(np.int64)
            counts = self.builder.histogram(0, cells.size, commitment)
        values = np.arange(-(2**15), 2**15)
        public = self.random.choice(
            [values, values * values, np.maximum(values, 0), (abs(values) > 1).astype(np.int64)]
        )
        self.integers.append(self.builder.matmul(counts, public))

    def integer(self) -> Tensor:
        return self.random.choice(self.integers)

    def boolean(self) -> Tensor:
        return self.random.choice(self.booleans) if self.booleans else self.builder.greater(self.integer(), 0)

    def partner(self, a: Tensor) -> Tensor | int:
        """A second operand, of a shape that fits more often than not."""
        same = [t for t in (self.booleans if a.boolean else self.integers) if t.shape == a.shape]
        others: list[Tensor | int] = [self.boolean()] if a.boolean else [self.integer(), self.random.randint(-9, 9)]
        return self.random.choice([*same, *others])

    def either(self) -> Tensor:
        return self.boolean() if self.booleans and self.random.random() < 0.3 else self.integer()

    def axes(self, a: Tensor) -> list[int]:
        """Some axes of a tensor, some counted from its end."""
        rank = len(a.shape)
        chosen = self.random.sample(range(rank), self.random.randint(0, rank))
        return [axis - rank if self.random.random() < 0.3 else axis for axis in chosen]

    def step(self) -> None:
        """One more operator; one that does not fit the shapes, or would make values too large, is left out."""
        try:
            result = self.random.choice(OPERATORS)(self)
            self.builder.bounds(result)
        except StatementError:
            return
        if np.prod(result.shape, dtype=np.int64) <= 4096:
            (self.booleans if result.boolean else self.integers).append(result)


def _binary(name: str) -> Callable[[RandomGraph], Tensor]:
    def make(g: RandomGraph) -> Tensor:
        a = g.integer()
        operands = [a, g.partner(a)]
        g.random.shuffle(operands)
        made: Tensor = getattr(g.builder, name)(*operands)
        return made

    return make


def _logic(name: str) -> Callable[[RandomGraph], Tensor]:
    def make(g: RandomGraph) -> Tensor:
        a = g.boolean()
        made: Tensor = getattr(g.builder, name)(a, g.partner(a))
        return made

    return make


def _unary(name: str) -> Callable[[RandomGraph], Tensor]:
    def make(g: RandomGraph) -> Tensor:
        made: Tensor = getattr(g.builder, name)(g.integer())
        return made

    return make


def _reduce(name: str) -> Callable[[RandomGraph], Tensor]:
    def make(g: RandomGraph) -> Tensor:
        a = g.integer()
        made: Tensor = getattr(g.builder, name)(a, g.random.choice([None, g.axes(a)]), g.random.random() < 0.5)
        return made

    return make


def _einsum(g: RandomGraph) -> Tensor:
    """Labels by size, so that many are shared."""
    a = g.integer()
    b = g.random.choice([a, g.integer()])
    letters: dict[int, str] = {}
    terms = []
    for tensor in (a, b):
        term = ""
        for size in tensor.shape:
            free = [c for c, s in letters.items() if s == str(size) and chr(c) not in term]
            code = g.random.choice(free) if free and g.random.random() < 0.7 else 97 + len(letters)
            letters[code] = str(size)
            term += chr(code)
        terms.append(term)
    if g.random.random() < 0.3:
        terms = terms[:1]
    present = sorted(set("".join(terms)))
    output = g.random.sample(present, g.random.randint(0, len(present)))
    return g.builder.einsum(f"{','.join(terms)}->{''.join(output)}", *(a, b)[: len(terms)])


def _matmul(g: RandomGraph) -> Tensor:
    a = g.integer()
    fitting = [t for t in g.integers if t.shape and a.shape and (*t.shape[-2:], 0)[0] == a.shape[-1]]
    return g.builder.matmul(a, g.random.choice([*fitting, a]))


def _scaled(g: RandomGraph) -> Tensor:
    """Times or plus public integers."""
    a = g.integer()
    values = g.cells(a.shape, -9, 9)
    return g.random.choice([g.builder.mul, g.builder.add])(values, a)


def _public_matmul(g: RandomGraph) -> Tensor:
    a = g.integer()
    return g.builder.matmul(a, g.cells((*a.shape[-1:], g.random.choice(SIZES)), -100, 100))


def _identity(g: RandomGraph) -> Tensor:
    """Beside, times or on the left of a matrix with as many rows as columns, or alone."""
    square = [a for a in g.integers if len(a.shape) == 2 and a.shape[0] == a.shape[1]]
    a = g.random.choice(square) if square else g.builder.constant(g.cells((3, 3), -9, 9))
    made = g.builder.identity(a.shape[0])
    combine = g.random.choice([g.builder.sub, g.builder.mul, g.builder.matmul, g.builder.add])
    return g.random.choice([made, g.builder.mul(made, g.random.randint(-9, 9)), combine(a, made), combine(made, a)])


def _transpose(g: RandomGraph) -> Tensor:
    a = g.either()
    return g.builder.transpose(a, g.random.sample(range(len(a.shape)), len(a.shape)))


def _reshape(g: RandomGraph) -> Tensor:
    a = g.either()
    sizes = [size for size in a.shape if size > 1]
    g.random.shuffle(sizes)
    return g.builder.reshape(a, g.random.choice([[-1], sizes, [1, *sizes], [-1, 1, *sizes[1:]], [*a.shape, 1]]))


def _expand(g: RandomGraph) -> Tensor:
    a = g.either()
    return g.builder.expand(a, (*g.sizes(1), *(g.random.choice(SIZES) if size == 1 else size for size in a.shape)))


def _unsqueeze(g: RandomGraph) -> Tensor:
    a = g.either()
    return g.builder.unsqueeze(a, [g.random.randint(-len(a.shape) - 1, len(a.shape))])


def _squeeze(g: RandomGraph) -> Tensor:
    a = g.either()
    return g.builder.squeeze(a, [axis for axis, size in enumerate(a.shape) if size == 1])


def _slice(g: RandomGraph) -> Tensor:
    a, axis = g.either(), g.random.randint(-2, 1)
    start, stop, step = g.random.randint(-4, 4), g.random.randint(-9, 9), g.random.choice([1, 1, 2, -1, -3])
    return g.builder.slice(a, axis, start, stop, step)


def _concat(g: RandomGraph) -> Tensor:
    a = g.integer()
    second = g.partner(a)
    return g.builder.concat([a, second if isinstance(second, Tensor) else a], g.random.randint(-1, 1))


def _gather(g: RandomGraph) -> Tensor:
    a = g.either()
    axis = g.random.randrange(max(1, len(a.shape)))
    size = (*a.shape, 1)[axis]
    return g.builder.gather(a, g.cells(g.sizes(g.random.randint(0, 2)), -size, size - 1), axis)


def _floor_div(g: RandomGraph) -> Tensor:
    return g.builder.floor_div(g.integer(), g.random.choice([1, 2, 3, 7, 16, 1000, 65537, 100003, 2**33]))


def _where(g: RandomGraph) -> Tensor:
    a = g.either()
    return g.builder.where(g.boolean(), a, g.partner(a))


def _not(g: RandomGraph) -> Tensor:
    return g.builder.not_(g.boolean())


def _cast(g: RandomGraph) -> Tensor:
    return g.builder.cast(g.boolean(), int) if g.random.random() < 0.5 else g.builder.cast(g.integer(), bool)


OPERATORS: list[Callable[[RandomGraph], Tensor]] = [
    *map(_binary, ("add", "sub", "mul", "max", "min", "equal")),
    *map(_binary, ("greater", "greater_or_equal", "less", "less_or_equal")),
    *map(_logic, ("and_", "or_", "equal")),
    *map(_unary, ("neg", "abs", "relu")),
    *map(_reduce, ("reduce_sum", "reduce_max")),
    *(_einsum, _einsum, _matmul, _scaled, _public_matmul, _identity, _floor_div, _where, _not, _cast),
    *(_transpose, _reshape, _expand, _unsqueeze, _squeeze, _slice, _concat, _gather),
]


def random_statement(random: Random) -> RandomGraph:
    """Inputs, operators, everything disclosed, and comparisons asserted that hold, nearly hold or do not."""
    graph = RandomGraph(random)
    for _ in range(random.randint(1, 2)):
        graph.add_weight(random.randint(0, 1))
    for _ in range(random.randint(0, 2)):
        graph.add_advice()
    if random.random() < 0.2:
        graph.add_histogram()
    for _ in range(random.randint(1, 12)):
        graph.step()
    g = graph.builder
    # Bounds of 2^61 leave room for the thresholds.
    graph.integers = [tensor for tensor in graph.integers if max(map(abs, g.bounds(tensor))) < 2**61]
    for number, tensor in enumerate(graph.integers):
        g.disclose(f"x{number}", tensor)
    for number, tensor in enumerate(graph.booleans):
        g.disclose(f"b{number}", g.cast(tensor, int))
    known = reference_outputs(g.build()[0], graph.inputs)
    for number in range(random.randint(0, 3)):
        g.assert_true(f"a{number}", random_assertion(graph, known))
    return graph


def random_assertion(graph: RandomGraph, known: dict[str, np.ndarray]) -> Tensor:
    """About a value that is known: tight bounds, off by one in either direction, and combinations."""
    g, random = graph.builder, graph.random
    number = random.randrange(len(graph.integers))
    x, cells = graph.integers[number], known[f"disclose/x{number}"]
    slack = random.choice([-1, 0, 1])
    claims: list[Callable[[], Tensor]] = [
        lambda: g.less_or_equal(x, int(cells.max()) + slack),
        lambda: g.less(x, int(cells.max()) + 1 + slack),
        lambda: g.greater(x, cells - 1 - slack),
        lambda: g.equal(x, cells + (slack if random.random() < 0.3 else 0)),
        lambda: g.not_(g.equal(x, int(cells.min()) - 1 + slack)),
        lambda: g.not_(g.cast(g.sub(x, cells), bool)),
        lambda: random.choice([b for b in graph.booleans if b.shape == x.shape] or [g.greater_or_equal(x, 3)]),
    ]
    made = random.choice(claims)()
    if random.random() < 0.4:
        other = g.less_or_equal(x, int(cells.max()))
        both = [g.and_(made, other), g.not_(g.or_(g.not_(made), g.not_(other))), g.or_(g.not_(other), made)]
        made = random.choice(both)
    return made

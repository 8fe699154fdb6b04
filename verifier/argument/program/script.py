"""The script of a program: advice, lookups, zero conditions, and the waves that reduce them to claims on committed
cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuits.errors import StatementError
from circuits.evaluate import sources_of
from circuits.program import Advice, Einsum, Indexed, Integers, Program, Value, Weight
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.field import ONE, ZERO, K, powers
from verifier.argument.forms import eq_factors
from verifier.argument.hidden import Hidden, weighted_sum
from verifier.argument.program.functional import Combination, Factors, Pusher, Request
from verifier.argument.program.regions import AdviceRegions, axis_bits
from verifier.argument.program.waves import Item, Side, Wave, items_of

MAX_REQUESTS = 100_000


def reachable(program: Program) -> list[Value]:
    """All values that the zero conditions depend on, sources before what uses them, in a fixed order."""
    order: dict[int, Value] = {}
    stack: list[tuple[Value, bool]] = [(value, False) for _, value in reversed(program.zeros)]
    while stack:
        value, done = stack.pop()
        if done:
            order.setdefault(id(value), value)
        elif id(value) not in order:
            stack.append((value, True))
            stack.extend((source, False) for source in reversed(sources_of(value)))
    return list(order.values())


def depths(values: Sequence[Value]) -> dict[int, int]:
    """Sumchecks on the longest path from the atoms, by id of the value."""
    depth: dict[int, int] = {}
    for value in values:
        below = max((depth[id(source)] for source in sources_of(value)), default=0)
        depth[id(value)] = below + isinstance(value, Einsum | Indexed)
    return depth


@dataclass(frozen=True)
class CompiledProgram:
    """What of a program does not change from proof to proof; computed once."""

    program: Program
    advice: tuple[Advice, ...]
    """All advice but the counts of tallies."""
    depth: Mapping[int, int]
    rank: Mapping[int, int]
    """Order of definition, by id of the value."""

    @staticmethod
    def of(program: Program) -> CompiledProgram:
        values = reachable(program)
        counts = {tally.counts.name for tally in program.tallies}
        advice = tuple(v for v in values if isinstance(v, Advice) and v.name not in counts)
        return CompiledProgram(program, advice, depths(values), {id(value): rank for rank, value in enumerate(values)})


class ProgramScript:
    """The script, in the halves before and after the commit phase."""

    def __init__(
        self,
        engine: Engine,
        shape: CompiledProgram,
        commitments: Sequence[Commitment],
        disclosed: Mapping[str, Integers],
    ) -> None:
        self._engine, self._shape = engine, shape
        counts = [tally.counts for tally in shape.program.tallies]
        self._commitments = commitments
        self._regions = AdviceRegions(engine, shape.advice, counts)
        self._pusher = Pusher(engine.models, commitments, self._regions, disclosed, shape.rank, engine.counting)
        self._known: dict[Request, Hidden] = {}
        self._open: dict[Request, None] = {}

    def after_commit(self) -> None:
        """Show all zero conditions.

        *Soundness*: the tensors are functions of the committed cells and public data. Each zero condition is
        evaluated at
        one random point, all are batched with powers of a challenge, and every value is an integer below 2^62 by
        interval analysis from looked-up ranges, given the validity of the commitments.
        """
        engine = self._engine
        alpha = engine.challenge()
        engine.counts.lookup_challenges += 1
        self._regions.look_up(alpha)
        self._tallies(alpha)
        self._zero_conditions()
        while self._open:
            deepest = max(self._shape.depth[id(request.value)] for request in self._open)
            chosen = [r for r in self._open if self._shape.depth[id(r.value)] == deepest]
            for request in chosen:
                del self._open[request]
            self._wave(chosen)

    def _tallies(self, alpha: K) -> None:
        """Fresh histograms of committed tensors."""
        found = []
        for tally in self._shape.program.tallies:
            source = tally.source
            if not isinstance(source, Weight):
                raise StatementError(f"{tally.name}: only a committed tensor can be counted: an error in the statement")
            blocks = self._commitments[source.commitment].layout.tensor_blocks(source.name)
            intervals = [(b.address, b.address + (1 << (b.log_rows + b.log_cols))) for b in blocks]
            found.append((tally.counts, self._engine.models[source.commitment], intervals))
        if found:
            self._regions.look_up_tallies(alpha, found)

    def _zero_conditions(self) -> None:
        engine, zeros = self._engine, self._shape.program.zeros
        if not zeros:
            return
        rank = max(len(value.shape) for _, value in zeros)
        # one point per axis, counted from the last, shared by all conditions
        size = [max((axis_bits(v.shape[-1 - a]) for _, v in zeros if len(v.shape) > a), default=0) for a in range(rank)]
        point = [[engine.challenge() for _ in range(count)] for count in size]
        weights = powers(engine.challenge(), len(zeros))
        engine.counts.batched_relations += len(zeros) + sum(size)
        functionals: list[tuple[Value, Factors, K]] = []
        for weight, (_, value) in zip(weights, zeros, strict=True):
            factors: Factors = tuple(
                eq_factors(point[len(value.shape) - 1 - axis][: axis_bits(length)])
                for axis, length in enumerate(value.shape)
            )
            functionals.append((value, factors, weight))
        self._settle(self._pusher.push(functionals), Hidden.public(ZERO))

    def _settle(self, combination: Combination, value: Hidden) -> None:
        """combination = value: requests are answered (padded) and queued, the rest is one claim."""
        answers = [(-coefficient, self._answer(request)) for request, coefficient in combination.requests.items()]
        rest = weighted_sum([(ONE, value - combination.public), *answers])
        if combination.terms:
            self._engine.claim(combination.terms, rest)
        else:
            self._engine.zero(rest)

    def _answer(self, request: Request) -> Hidden:
        if request not in self._known:
            if len(self._known) >= MAX_REQUESTS:
                raise StatementError("the statement graph is too deep: its values are used too often; split the policy")
            self._known[request] = self._engine.send(self._engine.workers.request(request))
            self._open[request] = None
        return self._known[request]

    def _wave(self, requests: Sequence[Request]) -> None:
        engine = self._engine
        weights = powers(engine.challenge(), len(requests))
        engine.counts.batched_relations += len(requests)
        items: list[Item] = []
        for weight, request in zip(weights, requests, strict=True):
            items.extend(items_of(request, weight))
        total = weighted_sum((weight, self._known[request]) for weight, request in zip(weights, requests, strict=True))
        wave = Wave(engine, items)
        worker = engine.workers.wave(items)
        point, total = wave.run(total, worker)
        quadratic, linear = [], [(-ONE, total)]
        for item, scale in zip(items, wave.scales(point), strict=True):
            left = self._evaluate(item.left, point)
            if item.right is None:
                linear.append((scale * (ONE if engine.counting else item.public_at(point)), left))
                continue
            right = left if item.right is item.left else self._evaluate(item.right, point)
            if not left.terms:
                linear.append((scale * left.known, right))
            elif not right.terms:
                linear.append((scale * right.known, left))
            else:
                quadratic.append((scale, left, right))
        if quadratic:
            engine.quad(quadratic, weighted_sum(linear))
        else:
            engine.zero(weighted_sum(linear))

    def _evaluate(self, side: Side, point: Sequence[K]) -> Hidden:
        """The operand at the point: public, an answered request, or sent, padded, and settled."""
        combination = self._pusher.push([(side.value, side.at(point), ONE)])
        if not combination.terms and not combination.requests:
            return Hidden.public(combination.public)
        if not combination.terms and len(combination.requests) == 1 and not combination.constant:
            ((request, coefficient),) = combination.requests.items()
            if coefficient == ONE:
                return self._answer(request)
        hidden = self._engine.send(self._engine.workers.evaluation(side.value, side.at(point)))
        self._settle(combination, hidden)
        return hidden

"""Groups 5, 15, 18, 22, 23, 24 on programs, the form in which real checks are proved: batched waves of sumchecks,
ranges of advice by limbs, published tensors, index maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import numpy as np
import pytest

from circuits.program import Advice, Constant, Einsum, Indexed, Program, Published, Sum, Value, Weight
from prover.argument.program import ProverWave
from tests.support.cheating import Cheater, CheatingWorkers, accepts, forge, rejects
from tests.support.model import Integers, Model, build
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.errors import FinalRelationError, MerkleError, ProofFormatError
from verifier.argument.field import ONE, ZERO, K, P
from verifier.argument.program.functional import Request
from verifier.argument.program.regions import MULTIPLICITIES, BlockLayout, limb_values, limbs_of, multiplicities
from verifier.argument.program.script import CompiledProgram, ProgramScript
from verifier.argument.program.waves import Item
from verifier.argument.statement import Statement
from verifier.argument.workers import Maybe

RANGE = 1 << 40
MATRIX = np.arange(15).reshape(3, 5) * 37 % 11 - 5
VECTOR = np.arange(10) * 13 % 7 - 3


@dataclass(frozen=True)
class Facts:
    """The values of one small program: the Gram matrix of a.weight, a gather of b.bias and the squares of its entries
    are published, and each row of a.weight has a sum of squares of at most `bound`."""

    gram: Integers
    gathered: Integers
    squares: Integers
    bound: int
    slack: Integers


def facts(bound: int = 1000) -> Facts:
    gathered = VECTOR[[9, 0, 3, 3]]
    rows = (MATRIX * MATRIX).sum(axis=1)
    return Facts(MATRIX @ MATRIX.T, gathered, gathered * gathered, bound, bound - rows)


@cache
def model() -> Model:
    return build({"a.weight": MATRIX, "b.bias": VECTOR})


@dataclass(frozen=True)
class Compiled:
    """The program as values, with the arrays that a prover puts in their places."""

    program: Program
    arrays: dict[int, Integers]
    slack: Advice
    shape: CompiledProgram


def compiled(claimed: Facts) -> Compiled:
    a, b = Weight((3, 5), -32768, 32767, "a.weight"), Weight((1, 10), -32768, 32767, "b.bias")
    gram = Einsum((3, 3), -RANGE, RANGE, a, a, (0, 1), (2, 1), (0, 2))
    rows = Einsum((3,), 0, RANGE, a, a, (0, 1), (0, 1), (0,))
    picked = Indexed((4,), -32768, 32767, (b,), np.array([9, 0, 3, 3]))
    squared = Einsum((4,), 0, RANGE, picked, picked, (0,), (0,), (0,))
    p_gram, p_picked, p_squared = (
        Published(v.shape, v.low, v.high, name)
        for v, name in ((gram, "gram"), (picked, "picked"), (squared, "squares"))
    )
    slack = Advice((3,), 0, (1 << 20) - 1, "slack")
    bound = Constant((3,), claimed.bound, claimed.bound, np.full(3, claimed.bound))

    def difference(*parts: tuple[int, Value]) -> Value:
        return Sum(parts[0][1].shape, -RANGE, RANGE, parts)

    zeros = [
        ("gram", difference((1, gram), (-1, p_gram))),
        ("picked", difference((1, picked), (-1, p_picked))),
        ("squares", difference((1, squared), (-1, p_squared))),
        ("bound", difference((1, bound), (-1, rows), (-1, slack))),
    ]
    program = Program([*zeros], [(p_gram, gram), (p_picked, picked), (p_squared, squared)])
    true = facts()
    arrays = {
        id(a): MATRIX, id(b): VECTOR.reshape(1, 10), id(gram): true.gram, id(picked): true.gathered,
        id(squared): true.squares, id(rows): (MATRIX * MATRIX).sum(axis=1),
    }  # fmt: skip
    return Compiled(program, arrays, slack, CompiledProgram.of(program))


@dataclass(frozen=True)
class Proved(Statement):
    """The statement of a program, as `verifier.argument.audit` makes it from a policy."""

    commitment: Commitment
    claimed: Facts
    code: Compiled = field(compare=False)

    kind = "program/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        claimed = self.claimed
        return tuple(int(x) for part in (claimed.gram, claimed.gathered, claimed.squares) for x in part.reshape(-1))

    def canonical(self) -> bytes:
        return f"program, bound {self.claimed.bound}".encode()

    def script(self, engine: Engine) -> None:
        published = {"gram": self.claimed.gram, "picked": self.claimed.gathered, "squares": self.claimed.squares}
        script = ProgramScript(engine, self.code.shape, self.commitments, published)
        engine.commit()
        script.after_commit()


def statement(claimed: Facts) -> Proved:
    return Proved(model().commitment, claimed, compiled(claimed))


def advice(slack: Advice, cells: Integers) -> dict[str, Any]:
    """Limbs and multiplicities of slack cells, in range or not: limb by limb what can be, the rest on top."""
    limbs = limbs_of(slack)
    ordered = BlockLayout(slack.shape).flatten(cells)
    regions: dict[str, Any] = {}
    for limb in limbs:
        last = limb is limbs[-1]
        parts = [(int(x) >> limb.shift) % (P if last else 1 << 16) for x in ordered]
        regions[limb.name] = np.array(parts, np.uint64)
    small = {name: np.array([int(x) if x < 1 << 20 else -1 for x in part]) for name, part in regions.items()}
    return {**regions, MULTIPLICITIES: multiplicities([slack], small)}


def run(claimed: Facts, engine: type[Cheater] = Cheater, cells: Integers | None = None) -> tuple[Proved, bytes]:
    true = statement(claimed)
    slack = claimed.slack if cells is None else cells

    def evaluate(value: Value) -> Integers:
        return true.code.arrays[id(value)]

    return true, forge(true, [model().data], advice(true.code.slack, slack), engine, program=evaluate).proof


def test_a_true_program() -> None:
    """What the attacks are measured against; the advice is that of the library."""
    proved, proof = run(facts())
    accepts(proved, proof)
    honest = limb_values(proved.code.slack, facts().slack)
    ours = advice(proved.code.slack, facts().slack)
    assert all(np.array_equal(ours[name].astype(np.int64), cells) for name, cells in honest.items())


def bent(name: str, change: Mapping[tuple[int, ...], int], bound: int = 1000) -> Facts:
    """The true facts with some cells of one tensor changed."""
    true = facts(bound)
    array = getattr(true, name).copy()
    for cell, step in change.items():
        array[cell] += step
    return Facts(**{**vars(true), name: array})


FALSE = {
    "one entry": bent("gram", {(0, 1): 1}),
    "two entries that make up for each other": bent("gram", {(0, 1): 1, (1, 0): -1}),
    "an entry beyond the real cells' sum": bent("gram", {(2, 2): 1 << 39}),
    "another cell picked": bent("gathered", {(1,): 1}),
    "two squares that make up for each other": bent("squares", {(2,): 1, (3,): -1}),
    "two conditions that make up for each other": Facts(
        **{**vars(bent("squares", {(0,): -1})), "gathered": bent("gathered", {(0,): 1}).gathered}
    ),
    "a square": bent("squares", {(0,): -2}),
}


@pytest.mark.parametrize("claimed", FALSE.values(), ids=FALSE.keys())
def test_false_published_tensors(claimed: Facts) -> None:
    """Groups 5, 22: one cell, two cells that cancel, a cell of another index."""
    proved, proof = run(claimed)
    rejects(FinalRelationError, proved, proof)
    _, honest = run(facts())
    rejects(MerkleError, proved, honest)


@pytest.mark.parametrize(
    "cells",
    [
        lambda slack: slack,
        lambda slack: slack % (1 << 20),
        lambda slack: np.maximum(slack, 0),
        lambda slack: np.full(3, slack.sum() // 3),
    ],
    ids=["negative as p - x", "modulo the range", "cut off at zero", "averaged over the rows"],
)
def test_a_norm_above_its_bound(cells: Any) -> None:
    """Group 23: the slack of a bound that does not hold is negative: no limbs show it."""
    rows = (MATRIX * MATRIX).sum(axis=1)
    false = facts(int(rows.max()) - 1)
    assert false.slack.min() < 0
    proved, proof = run(false, cells=cells(false.slack))
    rejects(FinalRelationError, proved, proof)


def test_a_norm_at_its_bound() -> None:
    """Group 23: equality is allowed, and needs no slack."""
    accepts(*run(facts(int((MATRIX * MATRIX).sum(axis=1).max()))))


def test_a_slack_above_its_range() -> None:
    """Group 23: the top limb is looked up from both sides: advice of 20 bits has no 21st, however true it would be."""
    rejects(FinalRelationError, *run(facts(1 << 21)))


def test_slack_moved_between_rows() -> None:
    """Group 23: each row has its own bound: a sum of slacks is not enough."""
    true = facts()
    moved = true.slack + np.array([5, -5, 0])
    rejects(FinalRelationError, *run(true, cells=moved))


class LyingWave(ProverWave):
    """Carries the errors of answers to requests through the rounds of their wave, each of them consistent."""

    def __init__(self, engine: Any, items: Sequence[Item]) -> None:
        super().__init__(engine, items)
        lies: dict[Request, K] = engine.lies
        self._excess = ZERO
        for item in items:
            if item.source == 0:
                self._excess = self._excess + lies.get(item.request, ZERO) * item.coefficient

    def messages(self, cubic: bool) -> tuple[Maybe, Maybe, Maybe]:
        c0, c2, c3 = super().messages(cubic)
        # g + excess / 2 has g(0) + g(1) = T + excess
        self._excess = self._excess * pow(2, -1, P)
        return cast(K, c0) + self._excess, c2, c3


class LyingWorkers(CheatingWorkers):
    """Answers the evaluations that the zero conditions ask for with lies that cancel in the sum of all conditions,
    a + gamma b - gamma^3 c = 0, and in the plain sum a + b + c of one wave."""

    def request(self, request: Request) -> Maybe:
        engine = cast(LyingAnswers, self._engine)
        true = cast(K, super().request(request))
        if len(engine.lies) == 3:
            return true
        gamma, value = engine.challenges[-1], request.value
        b, c = 1 + gamma * gamma * gamma, gamma - 1
        if isinstance(value, Indexed):
            lie = b
        elif value.output == (0, 2):
            lie = -(b + c)
        elif value.left is value.right and isinstance(value.left, Weight):
            lie = c
        else:
            return true
        engine.lies[request] = lie * engine.scale
        return true + engine.lies[request]

    def wave(self, items: Sequence[Item]) -> ProverWave:
        return LyingWave(self._engine, items)


class LyingAnswers(Cheater):
    """Lies about evaluations of bilinear values."""

    scale = ONE

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lies: dict[Request, K] = {}
        self.workers = LyingWorkers(self)


@pytest.mark.parametrize("scale", [ONE, K((5, 0, 7)), ZERO])
def test_errors_carried_through_waves(scale: K) -> None:
    """Groups 18, 25, 26: three wrong answers that satisfy the sum of all conditions, and whose errors would cancel in a
    wave without weights; every round of the wave is consistent. Its factors are tied to committed cells."""
    cheat = type("Lying", (LyingAnswers,), {"scale": scale})
    proved, proof = run(facts(), cheat)
    if scale == ZERO:
        accepts(proved, proof)
    else:
        rejects(FinalRelationError, proved, proof)
    rejects(FinalRelationError, *run(FALSE["one entry"], cheat))


def test_another_program_under_the_same_bytes() -> None:
    """Groups 15, 24: the prover runs a program without the bound; the verifier's has it."""
    false = facts(1)
    claimed = statement(false)
    weaker = statement(false)
    weaker.code.program.zeros.pop()
    shape = CompiledProgram.of(weaker.code.program)
    weaker = Proved(
        weaker.commitment, false, Compiled(weaker.code.program, weaker.code.arrays, weaker.code.slack, shape)
    )

    def evaluate(value: Value) -> Integers:
        return weaker.code.arrays[id(value)]

    proof = forge(weaker, [model().data], {}, program=evaluate).proof
    accepts(weaker, proof)
    with pytest.raises((MerkleError, ProofFormatError)):
        accepts(claimed, proof)

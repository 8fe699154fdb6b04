"""Group 22 on identity matrices, which are never written out: only true results of theirs are proved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from circuits.builder import GraphBuilder, Tensor
from circuits.evaluate import Evaluation, Witness, disclosed
from circuits.lowering import lower
from circuits.program import Integers, Program
from prover.argument.program import ProgramData
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.model import Model, build
from tests.support.toy import KERNELS
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.errors import FinalRelationError
from verifier.argument.program.script import CompiledProgram, ProgramScript
from verifier.argument.statement import Statement

MATRIX = np.arange(15).reshape(3, 5) * 37 % 11 - 5
Use = Callable[[GraphBuilder, Tensor], Tensor]

USES: dict[str, Use] = {
    "added": lambda g, w: g.sub(g.einsum("ik,jk->ij", w, w), g.mul(g.identity(3), 41)),
    "times a committed number": lambda g, w: g.mul(g.einsum("ij,ij->", w, w), g.identity(3)),
    "times a matrix": lambda g, w: g.matmul(w, g.identity(5)),
    "traced": lambda g, w: g.einsum("ij,ij->", g.einsum("ik,jk->ij", w, w), g.identity(3)),
    "cell by cell": lambda g, w: g.mul(g.einsum("ik,jk->ij", w, w), g.identity(3)),
    "cut": lambda g, w: g.mul(g.slice(g.identity(5), 0, 1, 4), w),
    "squared": lambda g, w: g.add(g.matmul(g.identity(3), g.identity(3)), g.einsum("ik,jk->ij", w, w)),
    "of one cell": lambda g, w: g.add(g.identity(1), g.reshape(g.einsum("ij,ij->", w, w), (1, 1))),
}


@cache
def model() -> Model:
    return build({"a.weight": MATRIX})


def program_of(use: Use) -> Program:
    """The program that publishes the result."""
    g = GraphBuilder("identity", 1)
    g.disclose("result", use(g, g.weight("a.weight", MATRIX.shape)))
    return lower([g.graph()])


@dataclass(frozen=True, eq=False)
class Proved(Statement):
    """The program publishes `claimed`."""

    commitment: Commitment
    program: Program
    claimed: Integers

    kind = "program/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return tuple(int(cell) for cell in self.claimed.reshape(-1))

    def canonical(self) -> bytes:
        return b"identity"

    def script(self, engine: Engine) -> None:
        published = {atom.name: self.claimed for atom, _ in self.program.published}
        script = ProgramScript(engine, CompiledProgram.of(self.program), self.commitments, published)
        engine.commit()
        script.after_commit()


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_an_identity(use: Use) -> None:
    """The true result is accepted; one cell more, on the diagonal or beside it, is not."""
    program = program_of(use)
    values = Evaluation(program, Witness(lambda _, name: MATRIX, lambda _, group: MATRIX))
    (true,) = disclosed(program, values).values()
    made = type(
        "Prover", (Cheater,), {"program": property(lambda _: ProgramData(KERNELS, values.__getitem__), lambda *_: None)}
    )
    proof = forge(Proved(model().commitment, program, true), [model().data], {}, made).proof
    accepts(Proved(model().commitment, program, true), proof)
    for cell in {(0,) * true.ndim, (0,) * (true.ndim - 1) + (true.shape[-1] - 1,) if true.ndim else ()}:
        false = true.copy()
        false[cell] += 1
        lie = Proved(model().commitment, program, false)
        rejects(FinalRelationError, lie, forge(lie, [model().data], {}, made).proof)

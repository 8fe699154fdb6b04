"""One-time pads are used once, and after y* the prover needs no secret (protocol.md, sections 5 and 7)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from prover.argument.kernels.reference import ReferenceCodeword
from prover.argument.opening import ProverOpening
from prover.argument.simulator import Coins, ProgrammedTranscript, foresee
from prover.argument.workers import ProverWorkers
from tests.support.toy import TINY, Toy
from tests.support.toy import commit as commit_toy
from tests.support.toy import squares as toy_squares
from tests.support.toy import weights as toy_weights
from tests.support.toy import witness as toy_witness
from tests.zero_knowledge.recording import RecordingEngine
from tests.zero_knowledge.statements import KERNELS, Ranged, Squares, commit, square_sum, weights, witness
from verifier.argument import opening
from verifier.argument.engine import Engine
from verifier.argument.field import K, Words
from verifier.argument.forms import Term
from verifier.argument.transcript import Kind

IN_CLEAR = {"clear", "vector", "exchange_root", "_exchange", "_element"}
COINS = ProgrammedTranscript(b"pads")


def toy_proof() -> RecordingEngine:
    values = toy_weights()
    commitment, data = commit_toy(values, KERNELS, TINY)
    statement = Toy(commitment, toy_squares(values))
    return RecordingEngine(statement, COINS.rewound(), [data], toy_witness(values)).run(statement)


def small_proof(kind: type[Squares]) -> RecordingEngine:
    cells = [weights(41, 3), weights(42, 2)]
    matrices, data = zip(*map(commit, cells), strict=True)
    statement = kind(tuple(matrices), square_sum(cells))
    return RecordingEngine(statement, COINS.rewound(), data, witness(cells)).run(statement)


@pytest.fixture(scope="module", params=["squares", "ranged", "toy"])
def proof(request: pytest.FixtureRequest) -> RecordingEngine:
    return toy_proof() if request.param == "toy" else small_proof({"squares": Squares, "ranged": Ranged}[request.param])


def test_every_pad_hides_one_value(proof: RecordingEngine) -> None:
    """Each index is the pad of one message or the mask of one operand, and none is left over."""
    assert len(proof.of_kind(Kind.MASKED)) == len(proof.values)
    uses = Counter(proof.sent) + Counter(proof.masks)
    assert set(uses.values()) == {1}
    assert sorted(uses) == list(range(proof.pads_used))
    assert proof.pads_used == proof.pads == proof.pad_code.pads


def test_every_operand_has_its_own_mask(proof: RecordingEngine) -> None:
    operands = {id(x) for terms, _ in proof.relations.quadratics for _, *pair in terms for x in pair}
    assert len(proof.masks) == len(operands)


def test_values_go_over_in_clear_in_two_modules_only() -> None:
    """The masked operands of the quadratic check, and what the opening shows of y* and pad*. Scripts have `send`."""
    speaking = {}
    for path in sorted(Path(opening.__file__).parent.rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        calls = {n.func.attr for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        if path.name != "engine.py" and calls & IN_CLEAR:
            speaking[path.name] = calls & IN_CLEAR
    assert speaking == {"opening.py": {"clear", "vector", "exchange_root"}, "quadratic.py": {"clear"}}


def test_the_number_of_messages_does_not_depend_on_the_weights() -> None:
    """Neither lengths nor pads: a proof by other weights under the same coins has the same messages."""
    engines = []
    for cells in ([weights(1, 2)], [np.zeros_like(weights(1, 2))]):
        matrix, data = commit(cells[0])
        statement = Ranged((matrix,), square_sum(cells))
        engines.append(RecordingEngine(statement, COINS.rewound(), [data], witness(cells)).run(statement))
    shapes = [[(m.kind, len(m.data), m.positions) for m in engine.messages] for engine in engines]
    assert shapes[0] == shapes[1]


# ---------------------------------------------------------------- after reveal


class ForgetfulEngine(RecordingEngine):
    """Forgets weights, advice, masks and pads once y* and pad* are known, and every column but those to be opened."""

    coins: Coins

    def forget(self) -> None:
        for data in self.data.values():
            data.cells = data.tails = data.mask = None
            pads = data is self.data[id(self.pad_oracle)]
            keep = self.coins.pad_positions if pads else self.coins.positions
            for word in data.codewords:
                assert isinstance(word, ReferenceCodeword)
                for row in word.values:
                    row[:] = [value if j in keep else 0 for j, value in enumerate(row)]
        self.pad_data = None
        self.pad_values = []
        self.witness = {}
        self.source.draws.clear()


class ForgetfulOpening(ProverOpening):
    def __init__(self, engine: ForgetfulEngine, terms: Sequence[Term]) -> None:
        super().__init__(engine, terms)
        self._forgetful = engine

    def reveal(self, eps: K) -> Words | None:
        result = super().reveal(eps)
        self._forgetful.forget()
        del self._forms, self._mask, self._point
        return result


class ForgetfulWorkers(ProverWorkers):
    def __init__(self, engine: ForgetfulEngine) -> None:
        super().__init__(engine)
        self._forgetful = engine

    def opening(self, engine: Engine, terms: Sequence[Term]) -> ProverOpening:
        return ForgetfulOpening(self._forgetful, terms)


@pytest.mark.parametrize("kind", [Squares, Ranged])
def test_nothing_after_reveal_depends_on_secrets_but_through_y_star(kind: type[Squares]) -> None:
    """A prover that forgets everything else at that moment finishes the same proof."""
    cells = [weights(43, 3), weights(44, 2)]
    matrices, data = zip(*map(commit, cells), strict=True)
    statement = kind(tuple(matrices), square_sum(cells))
    usual = RecordingEngine(statement, COINS.rewound(), data, witness(cells)).run(statement)
    stream = usual.randomness.stream()
    forgetful = ForgetfulEngine(statement, COINS.rewound(), data, witness(cells), stream)
    forgetful.coins = foresee(statement, COINS)
    forgetful.workers = ForgetfulWorkers(forgetful)
    assert forgetful.run(statement).proof == usual.proof
    assert forgetful.cells(forgetful.models[0]) is None

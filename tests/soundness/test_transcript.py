"""Groups 15, 16, 17, 27: who chooses positions and lengths, what is absorbed and when, what is committed when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest

from circuits.errors import StatementError
from prover.argument.opening import ProverOpening
from tests.soundness.conftest import Honest
from tests.support.algebra import kernel
from tests.support.cheating import Cheater, accepts, forge, rejects, transcripts
from tests.support.statements import Sums
from tests.support.toy import NONCE, commit, replace, weights
from verifier.argument import opening
from verifier.argument import statement as statement_module
from verifier.argument.engine import Engine, Oracle
from verifier.argument.errors import FinalRelationError, MerkleError, ProofFormatError, SoundnessError
from verifier.argument.field import ONE, K, P, Words, k_list, root_of_unity
from verifier.argument.forms import Term
from verifier.argument.hidden import NOTHING
from verifier.argument.parameters import Parameters, PlainLevel
from verifier.argument.statement import open_transcript
from verifier.argument.transcript import Kind, Transcript

# ---------------------------------------------------------------- group 15


class OwnPositions(Transcript):
    """Draws the positions that suit the prover."""

    def positions(self, n: int, count: int) -> list[int]:
        super().positions(n, count)
        return [5] * count


class FewerPositions(Transcript):
    """Draws one position and repeats it."""

    def positions(self, n: int, count: int) -> list[int]:
        return super().positions(n, count)[:1] * count


def own_transcript(kind: type[Transcript], case: Honest) -> Transcript:
    with transcripts(kind):
        return open_transcript(case.statement, NONCE)


@pytest.mark.parametrize("kind", [OwnPositions, FewerPositions])
def test_positions_of_the_provers_choice(micro: Honest, kind: type[Transcript]) -> None:
    """Group 15: every opening is consistent, at positions that the verifier did not draw."""
    prover = forge(micro.statement, [micro.data], micro.advice, transcript=own_transcript(kind, micro))
    rejects(MerkleError, micro.statement, prover.proof)


@pytest.mark.parametrize("offset", [-1, 1])
def test_lengths_of_the_provers_choice(micro: Honest, offset: int) -> None:
    """Group 15: a last vector that is shorter or longer, a column that is wider: lengths follow from the statement."""
    last = next(m for m in reversed(micro.prover.messages) if m.kind is Kind.VECTOR)
    cut = last.offset + last.size
    grown = micro.proof[:cut] + bytes(24) + micro.proof[cut:]
    shrunk = micro.proof[: cut - 24] + micro.proof[cut:]
    with pytest.raises((MerkleError, ProofFormatError)):
        accepts(micro.statement, grown if offset > 0 else shrunk)


def test_the_number_of_queries_of_the_provers_choice(micro: Honest) -> None:
    """Group 15: a prover who runs under parameters with one query, for a commitment that says four."""
    weak = replace(micro.commitment.parameters, queries=1)
    cheap = replace(micro.statement, commitment=replace(micro.commitment, parameters=weak))
    transcript = open_transcript(micro.statement, NONCE)
    proof = forge(cheap, [micro.data], micro.advice, transcript=transcript).proof
    with pytest.raises((MerkleError, ProofFormatError)):
        accepts(micro.statement, proof)
    with pytest.raises(SoundnessError):
        accepts(cheap, proof)


# ---------------------------------------------------------------- group 16


class Listening(Transcript):
    """Notes everything that is absorbed, and every draw."""

    log: list[tuple[str, bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.log = []

    def absorb(self, kind: Kind, data: bytes) -> None:
        self.log.append((kind.name, data))
        super().absorb(kind, data)

    def challenge(self) -> K:
        drawn = super().challenge()
        self.log.append(("drawn", drawn.to_bytes()))
        return drawn

    def positions(self, n: int, count: int) -> list[int]:
        drawn = super().positions(n, count)
        self.log.append(("drawn", bytes(str(drawn), "ascii")))
        return drawn


def heard(case: Honest) -> list[tuple[str, bytes]]:
    made: list[Listening] = []

    def listen() -> Listening:
        made.append(Listening())
        return made[-1]

    with mock.patch.object(statement_module, "Transcript", listen):
        accepts(case.statement, case.proof)
    return next(t.log for t in made if t.log and t.log[0][0] != "drawn")


def test_every_byte_is_absorbed_once_and_in_order(tiny: Honest) -> None:
    """Group 16: the verifier absorbs all public data, then the whole proof, message by message, and nothing else; after
    every message but the last openings something is drawn or another message follows."""
    log = heard(tiny)
    names = [name for name, _ in log]
    assert names[:5] == ["PARAMETERS", "STATEMENT", "NONCE", "COMMITMENT", "DISCLOSED"]
    assert tiny.statement.text in log[1][1]
    assert log[2][1] == NONCE
    assert log[3][1] == tiny.commitment.id
    assert b"".join(data for name, data in log[5:] if name != "drawn") == tiny.proof
    assert names[5:7] == ["ROOT", "ROOT"], "pads, then advice, before anything is drawn"
    assert "ROOT" not in names[7 : names.index("VECTOR")], "one commit phase"


class Deaf(Transcript):
    """Does not absorb vectors that are sent in clear."""

    def absorb(self, kind: Kind, data: bytes) -> None:
        if kind is not Kind.VECTOR:
            super().absorb(kind, data)


def without(kind: Kind) -> type[Transcript]:
    """A transcript that leaves out one kind of message."""

    class Without(Transcript):
        def absorb(self, absorbed: Kind, data: bytes) -> None:
            if absorbed is not kind:
                super().absorb(absorbed, data)

    return Without


@pytest.mark.parametrize("kind", list(Kind))
def test_a_prover_who_leaves_a_message_out(micro: Honest, kind: Kind) -> None:
    """Group 16: if any kind of message were not absorbed by the verifier, this prover's challenges would be the
    verifier's, and the message could be chosen after them."""
    prover = forge(micro.statement, [micro.data], micro.advice, transcript=own_transcript(without(kind), micro))
    with transcripts(without(kind)):
        accepts(micro.statement, prover.proof)
    with pytest.raises((MerkleError, FinalRelationError, ProofFormatError)):
        accepts(micro.statement, prover.proof)


WIDE = Parameters(1, 1, 7, 24, 8, (PlainLevel(3, 6, 6),))
"""A last vector of eight entries and six positions: room to move it."""


class Cancelling(ProverOpening):
    """Once the last positions are known, moves the last vector: zero at the positions, and the linear relation
    holds."""

    def level_fold(self, level: int) -> None:
        super().level_fold(level)
        cast(Any, self._engine).functional = k_list(self._plain._functional)


class LastValue(Cheater):
    opening_worker = Cancelling


def cancelled(prover: Cheater, defect: K, positions: Sequence[int]) -> bytes:
    """The proof with <last vector, L> moved by -defect and its values at the positions unchanged."""
    functional: list[K] = cast(Any, prover).functional
    size = len(functional)
    w = root_of_unity(64)
    free = kernel([[pow(w, j * i, P) for i in range(size)] for j in set(positions)])[0]
    step = -defect * sum((f * x for f, x in zip(functional, free, strict=True)), K((0, 0, 0))).inverse()
    last = next(m for m in reversed(prover.messages) if m.kind is Kind.VECTOR)
    words = np.frombuffer(prover.proof[last.offset : last.offset + last.size], "<u8").reshape(size, 3)
    vector = [K(tuple(int(c) for c in row)) + step * x for row, x in zip(words, free, strict=True)]
    data = b"".join(x.to_bytes() for x in vector)
    return prover.proof[: last.offset] + data + prover.proof[last.offset + last.size :]


@pytest.mark.parametrize("deaf", [True, False])
def test_a_last_vector_that_is_chosen_last(deaf: bool) -> None:
    """Group 16: a proof of a false sum is repaired in its last vector, which agrees with the columns at the positions
    that were drawn. If vectors were not absorbed, those positions would stay, and the proof would be accepted."""
    values = weights(128)
    commitment, data = commit(values, parameters=WIDE)
    false = Sums(commitment, 6, (int(values[:64].sum()) + 1, int(values[64:].sum())))
    with transcripts(Deaf if deaf else Transcript):
        prover = forge(false, [data], {}, LastValue)
        residual = residual_of(false, prover.proof)
        proof = cancelled(prover, residual, prover.seen["plain level 1"])
        if deaf:
            accepts(false, proof)
        else:
            with pytest.raises((MerkleError, ProofFormatError)):  # other positions, perhaps another number of them
                accepts(false, proof)


def residual_of(statement: Any, proof: bytes) -> K:
    """<last vector, L> - T, as the verifier computes it."""
    found: list[K] = []

    def look(functional: Any, vector: Words, claim: K, spots: Words, points: Words) -> None:
        found.append(functional.apply(vector, (vector.shape[1] - 1).bit_length()) - claim)

    with mock.patch.object(opening, "check_last_vector", look):
        accepts(statement, proof)
    return found[0]


# ---------------------------------------------------------------- group 17


class Stuck(Transcript):
    """Does not move on after a draw."""

    def _ratchet(self) -> None:
        pass


def test_no_challenge_is_drawn_twice(tiny: Honest) -> None:
    """Group 17: consecutive challenges without a message in between differ (branch and next lambda, for one), so that
    the proof of a prover without the ratchet is another one."""
    drawn = [data for name, data in heard(tiny) if name == "drawn"]
    assert len(set(drawn)) == len(drawn) > 60
    with transcripts(Stuck):
        prover = forge(tiny.statement, [tiny.data], tiny.advice)
        accepts(tiny.statement, prover.proof)
        assert len(set(prover.challenges)) < len(prover.challenges), "the ratchet is what keeps them apart"
    rejects(MerkleError, tiny.statement, prover.proof)


# ---------------------------------------------------------------- group 27


def commit_late(engine: Engine) -> None:
    engine.commit()
    engine.challenge()
    engine.commit()


def advice_late(engine: Engine) -> None:
    engine.commit()
    engine.advice("late", 4)


def draw_early(engine: Engine) -> None:
    engine.challenge()
    engine.commit()


def never_commit(engine: Engine) -> None:
    engine.challenge()


def send_early(engine: Engine) -> None:
    engine.send(None)
    engine.commit()


def foreign_oracle(engine: Engine) -> None:
    engine.commit()
    engine.claim([(Oracle("another", 1, 1, 1, 7, True), Term(ONE, (), 0))], NOTHING)


@pytest.mark.parametrize("script", [commit_late, advice_late, draw_early, never_commit, send_early, foreign_oracle])
def test_scripts_that_commit_late(micro: Honest, script: Any) -> None:
    """Group 27: whatever is committed after a challenge can depend on it; the engine refuses such scripts."""

    class Late(Sums):
        def script(self, engine: Engine) -> None:
            script(engine)

    rejects(StatementError, Late(micro.commitment, 3, (0,)), micro.proof)

"""The simulator: proofs of anything, without weights, under coins known in advance (protocol.md, section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from circuits.errors import FormatError, StatementError, VerificationError
from prover.argument.simulator import ProgrammedTranscript, foresee, simulate, simulate_commitment
from tests.support.toy import TINY, Toy
from tests.support.toy import commit as commit_toy
from tests.support.toy import weights as toy_weights
from tests.zero_knowledge.recording import RecordingEngine
from tests.zero_knowledge.statements import (
    KERNELS,
    NONCE,
    SMALL,
    Matrix,
    Ranged,
    Squares,
    Talkative,
    check_under,
    commit,
    simulated_commitments,
    simulated_proof,
    square_sum,
    weights,
    witness,
)
from verifier.argument.statement import verify

COINS = [ProgrammedTranscript(b"coins %d" % i) for i in range(3)]
FALSE_TOTAL = -1  # a sum of squares


@pytest.mark.parametrize("rows", [(1,), (2,), (3, 2), (1, 3, 1)], ids=str)
@pytest.mark.parametrize("kind", [Squares, Ranged])
def test_a_false_statement_is_accepted_under_programmed_coins(kind: type[Squares], rows: tuple[int, ...]) -> None:
    """Any number of commitments, with and without advice."""
    statement, proof = simulated_proof(kind(tuple(map(Matrix, rows)), FALSE_TOTAL), COINS[0])
    check_under(statement, proof, COINS[0])


def test_several_proofs_about_one_commitment_are_accepted() -> None:
    """One root, fixed before; three proofs of two kinds; at a position that two of them open, the same column."""
    blanks = [Squares((Matrix(2),), FALSE_TOTAL), Ranged((Matrix(2),), 10), Ranged((Matrix(2),), 11)]
    transcripts = COINS[:2]
    opened = {position for s, t in zip(blanks, transcripts, strict=False) for position in foresee(s, t).positions}
    transcripts.append(next(t for t in many_coins() if opened & set(foresee(blanks[2], t).positions)))
    claims = list(zip(blanks, transcripts, strict=True))
    statements, models = simulated_commitments(claims)
    for statement, transcript in zip(statements, transcripts, strict=True):
        assert statement.matrices == statements[0].matrices
        check_under(statement, simulate(statement, KERNELS, transcript, models), transcript)


def many_coins() -> Iterator[ProgrammedTranscript]:
    return (ProgrammedTranscript(b"many %d" % i) for i in count())


def test_the_statement_of_the_soundness_tests_is_simulated_too() -> None:
    """Weights in range and a sum of squares that is impossible."""
    commitment, _ = commit_toy(toy_weights(), KERNELS, TINY)
    blank = Toy(commitment, FALSE_TOTAL)
    coins = [foresee(blank, transcript) for transcript in COINS]
    model = simulate_commitment(commitment.oracle(), coins)
    statement = replace(blank, commitment=replace(commitment, root=model.root))
    for transcript in COINS:
        check_under(statement, simulate(statement, KERNELS, transcript, [model]), transcript)


def test_parameters_without_plain_levels_are_simulated_too() -> None:
    """The debugging set that sends y* in clear: it leaks nothing either."""
    bare = replace(SMALL, levels=())
    statement, proof = simulated_proof(Squares((Matrix(2, parameters=bare),), FALSE_TOTAL), COINS[0])
    check_under(statement, proof, COINS[0])


def test_repeated_positions_are_simulated_too() -> None:
    """A position that one proof draws twice."""
    blank = Squares((Matrix(2),), FALSE_TOTAL)
    coins = next(t for t in many_coins() if len(foresee(blank, t).positions) < SMALL.queries)
    statement, proof = simulated_proof(blank, coins)
    check_under(statement, proof, coins)


def test_a_script_that_leaks_cannot_be_simulated() -> None:
    with pytest.raises(StatementError, match="in clear"):
        simulated_proof(Talkative((Matrix(2),), FALSE_TOTAL), COINS[0])


def test_other_coins_reject_a_simulated_proof() -> None:
    statement, proof = simulated_proof(Squares((Matrix(2),), FALSE_TOTAL), COINS[0])
    for other in COINS[1:]:
        with pytest.raises((VerificationError, FormatError)):
            check_under(statement, proof, other)


@pytest.mark.parametrize("kind", [Squares, Ranged])
def test_real_coins_reject_a_simulated_proof(kind: type[Squares]) -> None:
    """Of a false statement and of one that could be true: the commitment has no opening."""
    for total in (FALSE_TOTAL, square_sum([weights(1, 2)])):
        statement, proof = simulated_proof(kind((Matrix(2),), total), COINS[0])
        with pytest.raises((VerificationError, FormatError)):
            verify(statement, proof, NONCE, minimum_bits=0)


def test_a_simulated_proof_has_the_form_of_a_real_one() -> None:
    """Under the same coins the same length."""
    cells = [weights(1, 2)]
    matrix, data = commit(cells[0])
    true = Ranged((matrix,), square_sum(cells))
    real = RecordingEngine(true, COINS[0].rewound(), [data], witness(cells)).run(true).proof
    assert len(simulated_proof(true, COINS[0])[1]) == len(real)


def test_two_simulations_share_nothing() -> None:
    blank = Squares((Matrix(2),), FALSE_TOTAL)
    first, second = (np.frombuffer(simulated_proof(blank, COINS[0])[1], "<u8") for _ in range(2))
    assert not np.isin(first, second).any()


def test_a_commitment_cannot_be_opened_where_it_was_not_simulated() -> None:
    blank = Squares((Matrix(2),), FALSE_TOTAL)
    (statement,), models = simulated_commitments([(blank, COINS[0])])
    with pytest.raises(StatementError, match="other positions"):
        simulate(statement, KERNELS, COINS[1], models)

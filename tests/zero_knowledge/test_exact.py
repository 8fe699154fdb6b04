"""Perfect zero knowledge, exactly: every proof can be explained by any other weights that satisfy the statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import cast

import numpy as np
import pytest

from prover.argument.oracle import OracleData
from prover.argument.simulator import ProgrammedTranscript, foresee
from tests.support.toy import TINY, Toy
from tests.support.toy import commit as commit_toy
from tests.support.toy import squares as toy_squares
from tests.support.toy import weights as toy_weights
from tests.support.toy import witness as toy_witness
from tests.zero_knowledge.explanation import explain, other_commitment, visible
from tests.zero_knowledge.recording import RecordingEngine
from tests.zero_knowledge.statements import (
    KERNELS,
    SMALL,
    Integers,
    Ranged,
    Squares,
    Talkative,
    check_under,
    commit,
    same_squares,
    square_sum,
    weights,
    witness,
)
from verifier.argument.transcript import Kind

# Rows of each commitment: one row and nothing else; no row variables to spare; gaps before and after (3 rows, then 2).
SHAPES = [(1,), (2,), (3, 2), (1, 3, 1)]
STATEMENTS = [Squares, Ranged]


def committed(kind: type[Squares], cells: Sequence[Integers]) -> tuple[Squares, list[OracleData]]:
    matrices, data = zip(*(commit(c) for c in cells), strict=True)
    return kind(tuple(matrices), square_sum(cells)), list(data)


def recommitted(
    statement: Squares, cells: Sequence[Integers], data: Sequence[OracleData], opened: set[int]
) -> tuple[Squares, list[OracleData]]:
    pairs = [other_commitment(c, d, opened, SMALL) for c, d in zip(cells, data, strict=True)]
    return replace(statement, matrices=tuple(m for m, _ in pairs)), [d for _, d in pairs]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_proof_is_also_a_proof_by_other_weights(kind: type[Squares], shape: tuple[int, ...]) -> None:
    """The same messages, opened columns and salts from other weights and other advice; and back again, to the same
    randomness."""
    cells = [weights(i, rows) for i, rows in enumerate(shape)]
    statement, data = committed(kind, cells)
    assert_explained(statement, data, cells, same_squares(cells, 7), ProgrammedTranscript(b"exact"))


def assert_explained(
    statement: Squares,
    data: Sequence[OracleData],
    cells: Sequence[Integers],
    others: Sequence[Integers],
    coins: ProgrammedTranscript,
) -> None:
    """A proof from `cells` is one from `others`, and back."""
    proof = RecordingEngine(statement, coins.rewound(), data, witness(cells)).run(statement)
    check_under(statement, proof.proof, coins)

    opened = set(foresee(statement, coins).positions)
    other_statement, other_data = recommitted(statement, others, data, opened)
    other = explain(proof, other_statement, other_data, witness(others, 1), coins)
    check_under(other_statement, other.proof, coins)
    assert visible(other) == visible(proof)

    back = explain(other, statement, data, witness(cells), coins)
    for name, array in vars(proof.randomness).items():
        assert np.array_equal(vars(back.randomness)[name], array), name
    assert back.proof == proof.proof


def test_repeated_positions_have_other_explanations() -> None:
    """A position that the proof draws twice."""
    cells = [weights(5, 2)]
    statement, data = committed(Squares, cells)
    coins = next(c for c in many_coins() if len(foresee(statement, c).positions) < SMALL.queries)
    assert_explained(statement, data, cells, same_squares(cells, 6), coins)


def test_the_statement_of_the_soundness_tests_has_other_explanations() -> None:
    """Two plain levels, lookups of a thousand cells."""
    values = toy_weights()
    others = np.random.default_rng(8).permutation(values)
    commitment, known = commit_toy(values, KERNELS, TINY)
    statement, coins = Toy(commitment, toy_squares(values)), ProgrammedTranscript(b"exact")
    proof = RecordingEngine(statement, coins.rewound(), [known], toy_witness(values)).run(statement)
    cells = others.reshape(-1, TINY.columns)
    matrix, data = other_commitment(cells, known, foresee(statement, coins).positions, TINY)
    other_statement = replace(statement, commitment=replace(commitment, root=matrix.root))
    other = explain(proof, other_statement, [data], toy_witness(others), coins)
    check_under(other_statement, other.proof, coins)
    assert visible(other) == visible(proof)


def test_all_promised_proofs_together_are_proofs_by_other_weights() -> None:
    """Three proofs (one promised, validity, migration) that use up the opening budget to the last position."""
    coins = saturating_coins()
    cells = [weights(1, 2)]
    others = same_squares(cells, 2)
    statement, data = committed(Ranged, cells)
    opened = {position for c in coins for position in foresee(statement, c).positions}
    assert len(opened) == SMALL.hiding
    other_statement, other_data = recommitted(statement, others, data, opened)
    for c in coins:
        proof = RecordingEngine(statement, c.rewound(), data, witness(cells)).run(statement)
        other = explain(proof, other_statement, other_data, witness(others, 3), c)
        assert visible(other) == visible(proof)


def saturating_coins() -> list[ProgrammedTranscript]:
    """Coins of three proofs that open 3 q different positions."""
    statement = Ranged((commit(weights(0, 2))[0],), 0)
    chosen: list[ProgrammedTranscript] = []
    opened: set[int] = set()
    for coins in many_coins():
        positions = set(foresee(statement, coins).positions)
        if len(positions) == SMALL.queries and not positions & opened:
            chosen.append(coins)
            opened |= positions
        if len(chosen) == SMALL.proofs + 2:
            break
    return chosen


def many_coins() -> Iterator[ProgrammedTranscript]:
    return (ProgrammedTranscript(b"many %d" % i) for i in count())


# ---------------------------------------------------------------- the power of this test


class OneMaskEngine(RecordingEngine):
    """Masks all operands of the quadratic check with one pad: A_a - A_b = e (X_a - X_b)."""

    def fresh_pads(self, count: int) -> range:
        masks = super().fresh_pads(count)
        self.masks = cast(range, [masks[0]] * count)
        return self.masks


@pytest.mark.parametrize(
    ("kind", "role"),
    [(Talkative, RecordingEngine), (Ranged, OneMaskEngine)],
    ids=["an evaluation in clear", "one mask for two operands"],
)
def test_a_protocol_that_leaks_has_no_other_explanation(kind: type[Squares], role: type[RecordingEngine]) -> None:
    cells = [weights(1, 2)]
    others = same_squares(cells, 2)
    coins = ProgrammedTranscript(b"exact")
    statement, data = committed(kind, cells)
    proof = role(statement, coins.rewound(), data, witness(cells)).run(statement)
    other_statement, other_data = recommitted(statement, others, data, set(foresee(statement, coins).positions))
    other = explain(proof, other_statement, other_data, witness(others), coins, role)
    different = {kind for (kind, x), (_, y) in zip(visible(proof), visible(other), strict=True) if x != y}
    assert Kind.CLEAR in different

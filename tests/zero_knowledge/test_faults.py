"""A proof made with faulty memory is rejected, and may give away a weight: `prove` verifies before it returns.

Zero knowledge is a promise about proofs that verify. One flipped bit in the prover's copy of the weights, after the
commitment was made, and the amount by which the verifier's last equation fails names the weight and its value. The
proofs here are made with the engine directly; from the public function such a proof never comes out.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from circuits.errors import StatementError
from prover.argument.prove import ProverFaultError, prove
from tests.zero_knowledge.recording import RecordingEngine
from tests.zero_knowledge.statements import KERNELS, NONCE, Squares, commit, square_sum, weights
from verifier.argument import opening
from verifier.argument.engine import Engine, VerifyingEngine
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import ONE, ZERO, K, P, Words, domain_points, eq_table, k_list
from verifier.argument.forms import Term
from verifier.argument.statement import dry_run, open_transcript, oracles, verify
from verifier.argument.workers import OpeningWorker, Workers

ROW, COLUMN = 1, 37


class Curious(Workers, OpeningWorker):
    """A verifier that writes down its own challenges: r, eps, and the spot weights alpha^(j+1) at the positions."""

    eps: K
    scales: Words
    drawn: Sequence[int]

    def __init__(self) -> None:
        self.point: list[K] = []
        self.carried = ONE

    def opening(self, engine: Engine, terms: Sequence[Term]) -> OpeningWorker:
        return self

    def row_bind(self, challenge: K) -> None:
        self.point.append(challenge)

    def reveal(self, eps: K) -> Words | None:
        self.eps = eps
        return None

    def level_start(self, level: int, scales: Words, positions: Sequence[int], log_length: int) -> None:
        self.scales, self.drawn = scales, positions

    def level_bind(self, challenge: K) -> None:
        # g(r) = g0 + r (T - 2 g0 - ginf) + ...: an error of T is multiplied by r
        self.carried = self.carried * challenge

    def effect(self, row: int, column: int, n: int) -> K:
        """By how much the last equation fails if one cell is too large by 1: eps eq(r, i) sum_j alpha^(j+1) x_j^c,
        times the challenges of the clear rounds."""
        points = [int(x) for x in domain_points(self.drawn, n)]
        powers = sum((s * pow(x, column, P) for s, x in zip(k_list(self.scales), points, strict=True)), ZERO)
        return self.carried * self.eps * k_list(eq_table(self.point))[row] * powers


def test_one_faulty_cell_gives_away_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = weights(51, 2)
    matrix, data = commit(cells)
    statement = Squares((matrix,), square_sum([cells]))
    assert data.cells is not None and cells[ROW, COLUMN] != 0
    data.cells[ROW, COLUMN] *= -1  # keeps the sum of squares: the prover's own checks do not notice
    proof = RecordingEngine(statement, open_transcript(statement, NONCE), [data], {}).run(statement).proof
    with pytest.raises(FinalRelationError):
        verify(statement, proof, NONCE, minimum_bits=0)
    with pytest.raises(ProverFaultError):
        prove(statement, KERNELS, [data], {}, NONCE, minimum_bits=0)

    # from here on, nothing but the proof
    misses: list[K] = []

    def miss(functional: opening.Functional, vector: Words, claim: K, spots: Words, points: Words) -> None:
        misses.append(functional.apply(vector, (vector.shape[1] - 1).bit_length()) - claim)

    monkeypatch.setattr(opening, "check_last_vector", miss)
    pads = dry_run(statement).pads
    reader = VerifyingEngine(statement.parameters, open_transcript(statement, NONCE), oracles(statement), pads, proof)
    reader.workers = curious = Curious()
    statement.script(reader)
    opening.finish(reader)
    found = []
    for row in range(matrix.rows):
        for column in range(matrix.parameters.columns):
            error = misses[0] * curious.effect(row, column, matrix.parameters.length).inverse()
            if error[1:] == (0, 0):
                found.append((row, column, (error[0] + P // 2) % P - P // 2))
    # wrong minus right is -2 w
    assert found == [(ROW, COLUMN, -2 * int(cells[ROW, COLUMN]))]


def test_data_of_another_commitment_are_refused_before_anything_is_sent() -> None:
    """The same cells under other hiding coefficients: the statement holds, but the openings would not fit the root."""
    cells = weights(52, 2)
    (matrix, data), (_, foreign) = commit(cells), commit(cells)
    statement = Squares((matrix,), square_sum([cells]))
    with pytest.raises(StatementError, match="another commitment"):
        prove(statement, KERNELS, [foreign], {}, NONCE, minimum_bits=0)
    verify(statement, prove(statement, KERNELS, [data], {}, NONCE, minimum_bits=0), NONCE, minimum_bits=0)

"""Any t0 positions of a commitment are independent of its data, and t0 + 1 are not (protocol.md, section 3)."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from prover.argument.oracle import OracleData
from tests.zero_knowledge.explanation import codeword_columns, other_commitment
from tests.zero_knowledge.linear import (
    SingularError,
    left_kernel,
    matching_tails,
    power_matrix,
    rank,
    solve,
)
from tests.zero_knowledge.recording import RecordingEngine, ReplayedStream
from tests.zero_knowledge.statements import (
    KERNELS,
    SMALL,
    Integers,
    Matrix,
    Squares,
    commit,
    same_squares,
    square_sum,
    weights,
)
from verifier.argument.engine import LABEL_MODEL
from verifier.argument.field import P, Words, f_sub
from verifier.argument.parameters import PadCode
from verifier.argument.statement import open_transcript

CELLS = weights(31, 2)
SQUARES = square_sum([CELLS])


# ---------------------------------------------------------------- within the budget


def hiding_matrix(positions: tuple[int, ...], columns: int, n: int) -> list[list[int]]:
    """How the hiding coefficients enter the values at the positions: x_j^(columns + k)."""
    return power_matrix(positions, n, range(columns, columns + len(positions)))


def test_any_positions_within_the_budget_are_independent_of_the_data() -> None:
    """Every set of t0 positions of a code of length 16, and random ones of the tests' code: the values there are a
    bijective function of the hiding coefficients, so uniform and independent, whatever the data."""
    for few in combinations(range(16), 3):
        assert rank(hiding_matrix(few, 8, 16)) == 3
    chooser = random.Random(1)
    for _ in range(20):
        positions = tuple(chooser.sample(range(SMALL.length), SMALL.hiding))
        assert rank(hiding_matrix(positions, SMALL.columns, SMALL.length)) == SMALL.hiding


def test_the_pad_oracle_hides_what_one_proof_opens() -> None:
    """Its q_P positions are as many as its hiding coefficients, behind any number of pads."""
    chooser = random.Random(2)
    for pads in (20, 61, 252):
        code: PadCode = SMALL.pad_code(pads)
        assert code.hiding == code.queries
        positions = tuple(chooser.sample(range(1 << code.log_length), code.queries))
        assert rank(hiding_matrix(positions, pads, 1 << code.log_length)) == code.queries


def test_any_columns_can_be_opened_whatever_the_weights() -> None:
    """For arbitrary columns at t0 positions, some randomness of the commitment has them. (Here: random columns.)"""
    chooser = np.random.default_rng(3)
    positions = sorted(int(j) for j in chooser.choice(SMALL.length, SMALL.hiding, replace=False))
    wanted = chooser.integers(0, P, (SMALL.hiding, 2), dtype=np.uint64)
    tails = matching_tails(CELLS.astype(np.int32), SMALL.log_length, positions, wanted)
    salts = np.zeros(4 << SMALL.log_length, np.uint64)
    _, data = commit(CELLS, ReplayedStream([tails, salts]))
    assert np.array_equal(codeword_columns(data, positions), wanted)


# ---------------------------------------------------------------- beyond it


def opened_columns(matrix: Matrix, data: OracleData, proofs: int) -> dict[int, Words]:
    """What so many real proofs show of the commitment. `prove` does not count; the ledger does."""
    statement = Squares((matrix,), SQUARES)
    seen: dict[int, Words] = {}
    for i in range(proofs):
        transcript = open_transcript(statement, i.to_bytes(16, "little"))
        for message in RecordingEngine(statement, transcript, [data], {}).run(statement).messages:
            if message.oracle is not None and message.oracle.label == LABEL_MODEL:
                seen |= dict(zip(message.positions, message.columns, strict=True))
    return seen


def leaked_equations(seen: dict[int, Words]) -> tuple[list[list[int]], list[list[int]]]:
    """Linear equations on a row of weights that opened columns imply: (coefficients, right sides by row).

    A combination of positions that no hiding coefficient enters is a combination of weights.
    """
    positions = sorted(seen)
    hiding = power_matrix(positions, SMALL.length, range(SMALL.columns, SMALL.message))
    plain = power_matrix(positions, SMALL.length, range(SMALL.columns))
    columns = [seen[position].tolist() for position in positions]
    kernel = left_kernel(hiding)
    return product(kernel, plain), product(kernel, columns)


def product(left: list[list[int]], right: list[list[int]]) -> list[list[int]]:
    return [
        [sum(x * y for x, y in zip(row, column, strict=True)) % P for column in zip(*right, strict=True)]
        for row in left
    ]


def as_columns(cells: Integers) -> list[list[int]]:
    """Cell c of every row, for every c, mod p."""
    return [[x % P for x in column] for column in cells.T.tolist()]


@pytest.fixture(scope="module")
def overdrawn() -> dict[int, Words]:
    """The columns that an owner without a ledger has shown after 50 proofs of a commitment made for one."""
    return opened_columns(*commit(CELLS), 50)


def first(seen: dict[int, Words], count: int) -> dict[int, Words]:
    assert len(seen) >= count
    return dict(list(seen.items())[:count])


def test_within_the_budget_no_equation_leaks(overdrawn: dict[int, Words]) -> None:
    assert leaked_equations(first(overdrawn, SMALL.hiding)) == ([], [])


def test_one_position_too_many_leaks_an_equation(overdrawn: dict[int, Words]) -> None:
    """An exact linear equation on each row, which the weights satisfy and others with the same public value do not."""
    (coefficients,), (right,) = leaked_equations(first(overdrawn, SMALL.hiding + 1))
    assert all(coefficients)
    assert product([coefficients], as_columns(CELLS)) == [right]
    (others,) = same_squares([CELLS], 5)
    assert product([coefficients], as_columns(others)) != [right]


def test_one_position_too_many_gives_away_a_weight(overdrawn: dict[int, Words]) -> None:
    """To somebody who knows all weights of a row but one (say, a published model with one secret patch)."""
    (coefficients,), (right,) = leaked_equations(first(overdrawn, SMALL.hiding + 1))
    row, secret = CELLS[0].tolist(), 37
    known = sum(c * w for i, (c, w) in enumerate(zip(coefficients, row, strict=True)) if i != secret)
    found = (right[0] - known) * pow(coefficients[secret], -1, P) % P
    assert (found if found < P // 2 else found - P) == row[secret]


def test_enough_proofs_give_away_every_weight(overdrawn: dict[int, Words]) -> None:
    coefficients, right = leaked_equations(first(overdrawn, SMALL.message))
    found = solve(coefficients, right)
    assert [[x if x < P // 2 else x - P for x in row] for row in zip(*found, strict=True)] == CELLS.tolist()


def test_beyond_the_budget_a_proof_has_no_other_explanation() -> None:
    """The exact test of zero knowledge (test_exact.py) fails, as it must, at t0 + 1 positions."""
    _, data = commit(CELLS)
    (others,) = same_squares([CELLS], 5)
    other_commitment(others, data, range(SMALL.hiding), SMALL)
    with pytest.raises(SingularError):
        other_commitment(others, data, range(SMALL.hiding + 1), SMALL)
    positions = list(range(SMALL.hiding + 1))
    plain = KERNELS.columns(KERNELS.encode(others.astype(np.int32), None, SMALL.log_length), positions)
    matrix = power_matrix(positions, SMALL.length, range(SMALL.columns, SMALL.message))
    with pytest.raises(SingularError):
        solve(matrix, f_sub(codeword_columns(data, positions), plain).tolist())

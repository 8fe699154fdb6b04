"""Group 32: parameters are derived or refused, checked by everybody, and never below what they claim."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.checkpoint.base import MAX_FLOAT_ENTRIES
from circuits.errors import StatementError
from tests.soundness.conftest import Honest
from tests.support.cheating import accepts, forge, rejects
from tests.support.toy import MICRO, NONCE, SOLID, TINY, Toy, ToyCommitment, replace
from verifier.argument.derive import GENEROUS, derive
from verifier.argument.errors import ProofFormatError, SoundnessError
from verifier.argument.field import P
from verifier.argument.parameters import Parameters, PlainLevel, query_error
from verifier.argument.soundness import account, bits
from verifier.argument.statement import verify


def sound(p: Parameters, entries: int) -> None:
    """Everything that section 8 demands, spelled out again."""
    p.check()
    n, k = p.length, p.columns + p.hiding
    assert p.queries >= 1
    assert p.hiding % (1 << p.levels[0].log_columns) == 0
    assert (p.proofs + 2) * p.queries <= p.hiding <= p.columns
    assert 10 * k <= 6 * n
    assert (n - k) // 2 >= 1
    above = k
    for level in p.levels:
        n, k = 1 << level.log_length, 1 << level.log_columns
        assert level.queries >= 1
        assert (n - k) // 2 >= 1
        assert 10 * k <= 6 * n
        assert above % k == 0
        above = k
    assert entries * 2**30 * 2 < P
    result = account(p, GENEROUS, p.pad_code(GENEROUS.pads))
    assert result.union <= Fraction(1, 2**p.target_bits)


def test_a_hundred_proofs_of_a_small_model() -> None:
    """Group 32: 100 proofs at 2^16 entries: found, with a positive number of queries."""
    p = derive(1 << 16, 100)
    sound(p, 1 << 16)
    assert p.proofs == 100
    assert p.hiding >= 102 * p.queries


@given(st.integers(-5, 2**34), st.integers(-5, 2**21))
@settings(max_examples=25)
def test_derivation_finds_or_refuses(entries: int, proofs: int) -> None:
    """Group 32: for any request, sound parameters or an error of ours."""
    try:
        p = derive(entries, proofs)
    except (SoundnessError, StatementError):
        return
    assert p.proofs == proofs
    sound(p, entries)


TABLE = [
    (20, 16, 16, 16, 8192, 369, [(9, 159), (8, 144)], 129.56, 131.42),
    (24, 64, 32, 19, 32768, 341, [(17, 159), (16, 144)], 129.54, 131.38),
    (27, 64, 64, 21, 131072, 342, [(17, 159), (16, 145), (8, 145)], 129.80, 131.77),
    (30, 64, 64, 24, 524288, 329, [(33, 159), (16, 145), (16, 145)], 129.62, 131.61),
    (32, 64, 64, 26, 2097152, 329, [(33, 159), (32, 145), (16, 145)], 129.77, 131.63),
]


@pytest.mark.parametrize(("log", "proofs", "rows", "columns", "hiding", "queries", "levels", "union", "worst"), TABLE)
def test_the_table_of_the_protocol(
    log: int,
    proofs: int,
    rows: int,
    columns: int,
    hiding: int,
    queries: int,
    levels: list[tuple[int, int]],
    union: float,
    worst: float,
) -> None:
    """Group 32: protocol.md, section 8, row by row."""
    p = derive(1 << log, proofs)
    assert ((1 << log) >> p.log_columns, p.log_columns, p.hiding, p.queries) == (rows, columns, hiding, queries)
    above, found = p.message, []
    for level in p.levels:
        found.append((above >> level.log_columns, level.queries))
        above = 1 << level.log_columns
    assert found == levels
    result = account(p, GENEROUS, p.pad_code(2500))
    assert abs(bits(result.union) - union) < 0.5
    assert abs(bits(result.worst_round) - worst) < 0.5


def test_sums_of_squares_cannot_wrap() -> None:
    """Group 32: more than 2^33 weights are refused, and no manifest can have as many."""
    with pytest.raises(StatementError):
        derive(1 << 33, 64)
    assert MAX_FLOAT_ENTRIES * 2**30 * 2 < P


def test_the_level_that_the_verifier_insists_on(micro: Honest, solid: Honest) -> None:
    """Group 32: by default 128 bits; the owner's parameters do not decide what is enough."""
    for case in (micro, solid):
        with pytest.raises(SoundnessError):
            verify(case.statement, case.proof, NONCE)
    verify(solid.statement, solid.proof, NONCE, minimum_bits=32)
    with pytest.raises(SoundnessError):
        verify(solid.statement, solid.proof, NONCE, minimum_bits=33)


@pytest.mark.parametrize("target", [3, 128, 200])
def test_parameters_that_claim_more_than_they_give(target: int) -> None:
    """Group 32: the account is the verifier's own; a claimed target that the queries miss is refused."""
    boast = replace(MICRO, target_bits=target)
    with pytest.raises(SoundnessError):
        verify(Toy(ToyCommitment(boast, bytes(32), 2), 0), b"", NONCE, minimum_bits=1)


BROKEN: dict[str, Any] = {
    "no queries": {"queries": 0},
    "more queries than positions are worth": {"queries": 5000},
    "negative hiding": {"hiding": -1},
    "no hiding": {"hiding": 0},
    "more hiding than columns": {"hiding": 2049},
    "rate above 0.6": {"hiding": 448},
    "hiding that does not divide": {"hiding": 321},
    "no proofs": {"proofs": 0},
    "more proofs than hiding": {"proofs": 2},
    "far too long": {"log_columns": 28},
    "too short": {"log_columns": 0},
    "level as long as the vector": {"levels": (PlainLevel(12, 14, 43),)},
    "level with rate above 0.6": {"levels": (PlainLevel(6, 6, 43),)},
    "level with no columns to halve": {"levels": (PlainLevel(6, 9, 43), PlainLevel(6, 9, 43))},
    "level without queries": {"levels": (PlainLevel(6, 9, 0),)},
    "level with all positions": {"levels": (PlainLevel(6, 9, 512),)},
    "level with negative size": {"levels": (PlainLevel(-1, 9, 43),)},
    "level far too long": {"levels": (PlainLevel(6, 29, 43),)},
    "seven levels": {"levels": tuple(PlainLevel(i, i + 3, 40) for i in range(6, -1, -1))},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_parameters_that_break_a_must(change: dict[str, Any]) -> None:
    """Group 32: each refused before a byte of the proof is read."""
    statement = Toy(ToyCommitment(replace(SOLID, **change), bytes(32), 1), 0)
    rejects(SoundnessError, statement, b"")


def test_debugging_parameters_are_refused(micro: Honest) -> None:
    """Group 32: without plain levels y* goes over in clear; only on request."""
    clear = replace(MICRO, levels=())
    statement = Toy(replace(micro.commitment, parameters=clear), micro.statement.total)
    rejects(StatementError, statement, micro.proof)
    proof = forge(statement, [micro.data], micro.advice).proof
    rejects(StatementError, statement, proof)
    verify(statement, proof, NONCE, minimum_bits=1, allow_clear_opening=True)


def test_a_level_with_no_room_for_an_error() -> None:
    """Group 32: e >= 1 at every level. The rate leaves one exception, n = 2 and k = 1, which cannot reach one bit."""
    tight = replace(SOLID, target_bits=1, levels=(PlainLevel(6, 9, 43), PlainLevel(0, 1, 1)))
    rejects(SoundnessError, Toy(ToyCommitment(tight, bytes(32), 1), 0), b"")


@given(st.integers(1, 14), st.integers(1, 60), st.integers(0, 40))
def test_query_errors_are_exact(log_n: int, queries: int, rate: int) -> None:
    """Group 32: rational arithmetic; more queries never hurt, and a full code has error (n - 1) / n or more."""
    n = 1 << log_n
    dimension = max(1, n * rate // 100)
    error = query_error(n, dimension, queries)
    assert 0 < error < 1
    assert query_error(n, dimension, queries + 1) < error
    assert error == Fraction(n - (n - dimension) // 2 - 1, n) ** queries


HOSTILE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from tests.support.toy import MICRO, NONCE, Toy, ToyCommitment, replace
from verifier.argument.errors import SoundnessError
from verifier.argument.statement import verify
boast = replace(MICRO, target_bits=int(sys.argv[1]))
try:
    verify(Toy(ToyCommitment(boast, bytes(32), 2), 0), b"", NONCE)
except SoundnessError:
    sys.exit(7)
"""


@pytest.mark.parametrize("target", [1000, 2**30, 2**40 - 1])
def test_a_boundless_target(target: int) -> None:
    """Groups 30, 32: target_bits comes from commitment.json and may be 2^40 - 1; refused in bounded time and memory."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", HOSTILE, str(target)], timeout=60, env=environment, check=False)
    assert run.returncode == 7


def test_the_micro_parameters_are_what_they_say(micro: Honest) -> None:
    """Group 32: the account of an accepted proof has every term, and union and worst round follow from them."""
    accepted = accepts(micro.statement, micro.proof)
    terms = accepted.account.terms
    assert sum((t.error * t.times for t in terms), Fraction(0)) == accepted.account.union
    names = "\n".join(t.name for t in terms if t.times)
    for part in ("alpha", "lambda", "theta", "beta", "eps", "pad oracle", "row fold", "level 0", "level 1", "spot"):
        assert part in names
    rejects(ProofFormatError, Toy(ToyCommitment(TINY, bytes(32), 4), 0), b"")

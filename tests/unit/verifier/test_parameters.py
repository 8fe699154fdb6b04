"""Every MUST of protocol.md, section 8, broken one at a time, and the strict reading of parameter bytes."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError, StatementError
from tests.unit.verifier.publics import commitment_of
from verifier.argument.derive import derive
from verifier.argument.errors import SoundnessError
from verifier.argument.parameters import (
    MAX_QUERIES,
    Parameters,
    PlainLevel,
    least_queries,
    query_error,
)
from verifier.argument.soundness import Counts, account, require
from verifier.argument.statement import dry_run, verify
from verifier.argument.validity import Validity

GOOD = derive(1 << 18, proofs=4)
COUNTS = Counts(pads=1000, lookup_entries=1 << 20, lookup_challenges=1, rows=40, row_variables=6)


def with_level(index: int, **changes: int) -> Parameters:
    levels = list(GOOD.levels)
    levels[index] = replace(levels[index], **changes)
    return replace(GOOD, levels=tuple(levels))


def test_good_parameters() -> None:
    GOOD.check()
    assert require(GOOD, COUNTS, 128).union <= Fraction(1, 2**128)
    assert (GOOD.columns, GOOD.length) == (1 << GOOD.log_columns, 2 << GOOD.log_columns)
    assert GOOD.message == GOOD.columns + GOOD.hiding


BROKEN: dict[str, Parameters] = {
    "t0 is not a multiple of 2^m1": replace(GOOD, hiding=GOOD.hiding + 1),
    "t0 > 2^m0": replace(GOOD, hiding=2 * GOOD.columns),
    "t0 below the promised openings": replace(GOOD, proofs=GOOD.hiding // GOOD.queries),
    "t0 below validity's and migration's share": replace(GOOD, proofs=GOOD.hiding // GOOD.queries - 1),
    "2^m0 + t0 > 0.6 n0": replace(GOOD, hiding=GOOD.columns // 4),
    "q0 = 0": replace(GOOD, queries=0),
    "q0 too large": replace(GOOD, queries=MAX_QUERIES + 1, proofs=1),
    "no proofs": replace(GOOD, proofs=0),
    "too many proofs": replace(GOOD, proofs=(1 << 20) + 1),
    "row length 1": replace(GOOD, log_columns=0),
    "row length 2^28": replace(GOOD, log_columns=28),
    "level with no queries": with_level(0, queries=0),
    "level with more queries than positions": with_level(-1, queries=1 << GOOD.levels[-1].log_length),
    "level of rate 1": with_level(0, log_length=GOOD.levels[0].log_columns),
    "level of rate above 1": with_level(0, log_length=GOOD.levels[0].log_columns - 1),
    "level longer than 2^28": with_level(0, log_length=29),
    "level that does not shrink": with_level(0, log_columns=GOOD.log_columns + 1, log_length=GOOD.log_columns + 4),
    "levels in the wrong order": replace(GOOD, levels=(*GOOD.levels, *GOOD.levels)),
    "seven levels": replace(GOOD, levels=tuple(PlainLevel(9 - i, 14 - i, 300) for i in range(7))),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_must(case: str) -> None:
    """Refused by the check that proving and verifying make, whatever the statement."""
    with pytest.raises(SoundnessError):
        BROKEN[case].check()
    with pytest.raises(SoundnessError):
        require(BROKEN[case], COUNTS, 1)


@pytest.mark.parametrize("case", BROKEN)
def test_a_verifier_refuses_before_reading_a_proof(case: str) -> None:
    commitment = replace(commitment_of({"w": (8, 8)}), parameters=BROKEN[case])
    with pytest.raises(SoundnessError):
        verify(Validity(commitment), b"", minimum_bits=1)


@pytest.mark.parametrize(
    "weak",
    [
        replace(GOOD, queries=GOOD.queries - 20),
        with_level(0, queries=GOOD.levels[0].queries - 20),
        with_level(-1, queries=GOOD.levels[-1].queries - 20),
        with_level(0, log_length=GOOD.levels[0].log_length - 2),
    ],
)
def test_a_term_that_misses_the_target(weak: Parameters) -> None:
    """Allowed shapes whose errors, or the union of them, exceed 2^-128."""
    weak.check()
    assert account(weak, COUNTS, weak.pad_code(COUNTS.pads)).union > Fraction(1, 2**128)
    with pytest.raises(SoundnessError, match="reaches"):
        require(weak, COUNTS, 128)


def test_the_union_must_reach_the_target_too() -> None:
    """Every term alone reaches it, all together do not."""
    counts = replace(COUNTS, sumcheck_rounds=1 << 64)
    result = account(GOOD, counts, GOOD.pad_code(counts.pads))
    assert result.worst_round <= Fraction(1, 2**128) < result.union
    with pytest.raises(SoundnessError):
        require(GOOD, counts, 128)


def test_a_verifier_insists_on_its_own_level() -> None:
    low = derive(1 << 18, 4, target_bits=80)
    require(low, COUNTS, 80)
    with pytest.raises(SoundnessError, match="made for 80 bits"):
        require(low, COUNTS, 81)


def test_debugging_parameters_are_refused() -> None:
    """y* in clear instead of the recursion: only where it is asked for."""
    commitment = replace(commitment_of({"w": (8, 8)}), parameters=replace(GOOD, levels=()))
    with pytest.raises(StatementError, match="debugging"):
        verify(Validity(commitment), b"")


@pytest.mark.parametrize("bits", [0, 193, 1 << 14, 1 << 39])
def test_an_absurd_target_is_refused_at_once(bits: int) -> None:
    """2^target_bits is an exact integer in the account: it must not be computed first."""
    with pytest.raises(SoundnessError, match="target"):
        replace(GOOD, target_bits=bits).check()


def test_an_absurd_row_length_costs_nothing() -> None:
    """log_columns = 2^33 costs a verifier gigabytes."""
    parameters = replace(GOOD, log_columns=1 << 26)
    tracemalloc.start()
    with pytest.raises(SoundnessError):
        parameters.check()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_code_that_corrects_nothing() -> None:
    """n = 2, one coefficient: e = 0. No such level reaches 128 bits, so this is a missing MUST and no attack."""
    with pytest.raises(SoundnessError):
        replace(GOOD, levels=(*GOOD.levels, PlainLevel(0, 1, 1))).check()


# ---------------------------------------------------------------- queries and the pad code


@given(st.integers(4, 20), st.data(), st.integers(1, 150))
def test_the_least_number_of_queries(log_n: int, data: st.DataObject, bits: int) -> None:
    n = 1 << log_n
    dimension = data.draw(st.integers(1, n * 6 // 10))
    error = Fraction(1, 2**bits)
    count = least_queries(n, dimension, error)
    radius = (n - dimension) // 2
    assert query_error(n, dimension, 1) == Fraction(n - radius - 1, n)
    assert count is not None
    assert query_error(n, dimension, count) <= error
    assert count == 1 or query_error(n, dimension, count - 1) > error


def test_codes_without_room() -> None:
    assert least_queries(16, 10, Fraction(1, 2)) is None
    assert least_queries(2, 1, Fraction(1, 2)) is None
    assert least_queries(1 << 20, 600_000, Fraction(1, 2**4000)) is None


@pytest.mark.parametrize("pads", [1, 100, 845, 846, 2500, 4000, 30_000])
def test_the_pad_code(pads: int) -> None:
    """The smallest power of two n >= 8 (pads + q) for which some q reaches the target, and the least such q."""
    code, target = GOOD.pad_code(pads), GOOD.term_error
    n = 1 << code.log_length
    assert (code.pads, code.hiding, code.dimension) == (pads, code.queries, pads + code.queries)
    assert 8 * (pads + code.queries) <= n
    assert code.error() <= target
    assert all(query_error(n, pads + q, q) > target for q in range(max(1, code.queries - 40), code.queries))
    half = n // 2
    largest = half // 8 - pads
    assert largest < 1 or query_error(half, pads + largest, largest) > target


def test_a_statement_too_large_for_any_pad_code() -> None:
    with pytest.raises(SoundnessError, match="split the policy"):
        GOOD.pad_code(1 << 26)


def test_the_counts_of_a_dry_run_are_what_is_accounted_for() -> None:
    """A commitment whose parameters are good for a small statement only is refused for a large one."""
    counts = dry_run(Validity(commitment_of({"w": (8, 8)})))
    assert counts.pads > 100 and counts.tree_layers == 2 * 17 - (17 - 16)
    assert counts.lookup_entries == 64 + (1 << 16)


# ---------------------------------------------------------------- bytes


def test_bytes_and_back() -> None:
    assert Parameters.from_json(json.loads(GOOD.to_bytes())) == GOOD
    assert GOOD.to_bytes() == json.dumps(GOOD.to_json(), sort_keys=True, separators=(",", ":")).encode()


def altered(**changes: Any) -> Any:
    content = {**GOOD.to_json(), **changes}
    return {key: value for key, value in content.items() if value is not ...}


LEVEL = {"log_columns": 10, "log_length": 13, "queries": 160}


@pytest.mark.parametrize(
    "content",
    [
        None, [], 7, "text", {},
        altered(extra=1), altered(queries=...), altered(levels=...),
        altered(queries="400"), altered(queries=400.0), altered(queries=True), altered(queries=-1),
        altered(queries=None),
        altered(target_bits=1 << 40), altered(log_columns=[12]),
        altered(levels={}), altered(levels=[7]), altered(levels=[[10, 13, 160]]), altered(levels=[{}]),
        altered(levels=[LEVEL] * 17), altered(levels=[{**LEVEL, "extra": 1}]),
        altered(levels=[{**LEVEL, "queries": -1}]),
        altered(levels=[{**LEVEL, "queries": 1.5}]),
    ],
)  # fmt: skip
def test_malformed_parameters(content: Any) -> None:
    with pytest.raises(FormatError):
        Parameters.from_json(content)


@pytest.mark.parametrize("field", ["log_columns", "hiding", "queries", "target_bits"])
def test_shapes_that_may_be_opened_together(field: str) -> None:
    assert GOOD.same_shape(replace(GOOD, proofs=GOOD.proofs + 1))
    assert not GOOD.same_shape(replace(GOOD, **{field: getattr(GOOD, field) + 1}))
    assert not GOOD.same_shape(replace(GOOD, levels=GOOD.levels[:-1]))


def test_the_log_of_the_length_is_exact() -> None:
    assert 1 << GOOD.log_length == GOOD.length
    assert math.log2(GOOD.length) == GOOD.log_length

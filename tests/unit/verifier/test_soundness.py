"""The account is exact: every term recomputed here from the formulas, in rationals, and the union is their sum."""

from __future__ import annotations

from fractions import Fraction
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.argument.derive import derive
from verifier.argument.field import P
from verifier.argument.soundness import Account, Counts, SoundnessTerm, account, bits

PARAMETERS = derive(1 << 20, 16)
COUNTS = Counts(
    pads=1234, gates=77, operands=150, claims=300, constraints=500, lookup_entries=3_000_000, lookup_challenges=2,
    tree_rounds=400, tree_layers=40, sumcheck_rounds=60, batched_relations=25, rows=20, row_variables=5,
)  # fmt: skip


def k(numerator: int) -> Fraction:
    return Fraction(numerator, P**3)


def spot(n: int, dimension: int, queries: int) -> Fraction:
    """All queries miss the more than e wrong positions."""
    wrong = (n - dimension) // 2 + 1
    return Fraction(n - wrong, n) ** queries


def expected_terms() -> dict[str, tuple[Fraction, int]]:
    p, pad = PARAMETERS, PARAMETERS.pad_code(COUNTS.pads)
    n0, columns0 = 2 << p.log_columns, 1 << p.log_columns
    terms = {
        "lookup challenges alpha": (k(2 * 3_000_000 + 2), 2),
        "fraction-tree rounds (degree 3)": (k(3), 400),
        "fraction-tree batching and branch": (k(2), 40),
        "other sumcheck rounds": (k(3), 60 + 5),
        "statement batching": (k(26), 1),
        "claim batching lambda": (k(301), 1),
        "quadratic batching theta and point e": (k(79), 2),
        "constraint batching beta": (k(501), 1),
        "mask and pad combination eps": (k(n0 + (1 << pad.log_length) + 2), 1),
        "pad oracle queries": (spot(1 << pad.log_length, COUNTS.pads + pad.queries, pad.queries), 1),
        "level 0 row fold": (k(n0 + 2), 6),
        "level 0 queries": (spot(n0, columns0 + p.hiding, p.queries), 1),
        "level 0 spot-claim batching alpha": (k(p.queries + 2), 1),
    }
    above = columns0 + p.hiding
    for i, level in enumerate(p.levels, start=1):
        n, columns = 1 << level.log_length, 1 << level.log_columns
        rows = -(-above // columns)
        variables = next(v for v in range(64) if 1 << v >= rows)
        terms[f"level {i} row fold and sumcheck"] = (k(n + 5), variables)
        terms[f"level {i} queries"] = (spot(n, columns, level.queries), 1)
        terms[f"level {i} spot-claim batching alpha"] = (k(level.queries + 2), 1)
        above = columns
    return terms


def test_every_term() -> None:
    result = account(PARAMETERS, COUNTS, PARAMETERS.pad_code(COUNTS.pads))
    assert {term.name: (term.error, term.times) for term in result.terms} == expected_terms()


def test_union_and_worst_round_are_exact() -> None:
    result = account(PARAMETERS, COUNTS, PARAMETERS.pad_code(COUNTS.pads))
    terms = expected_terms().values()
    assert result.union == sum((error * times for error, times in terms), Fraction(0))
    assert result.worst_round == max(error for error, _ in terms)
    assert isinstance(result.union, Fraction)


def test_a_term_that_never_happens_still_bounds_the_worst_round() -> None:
    """Rounds that a statement does not have count as nothing in the union."""
    result = Account((SoundnessTerm("a", Fraction(1, 4), 0), SoundnessTerm("b", Fraction(1, 8), 3)))
    assert result.union == Fraction(3, 8)
    assert "\nb" not in result.table().splitlines()[0]
    assert [line.split()[0] for line in result.table().splitlines()] == ["b", "all", "round"]


@given(st.integers(1, 2**80), st.integers(0, 3000))
def test_bits_of_tiny_errors(numerator: int, shift: int) -> None:
    """Also far below the smallest float."""
    error = Fraction(numerator, 2 ** (80 + shift))
    assert bits(error) == pytest.approx(80 + shift - log2(numerator), abs=1e-9)


def test_bits_of_nothing() -> None:
    assert bits(Fraction(0)) == float("inf")
    assert bits(Fraction(1)) == 0


def test_the_table_for_people() -> None:
    text = account(PARAMETERS, COUNTS, PARAMETERS.pad_code(COUNTS.pads)).table()
    assert all(name in text for name in expected_terms())
    assert text.splitlines()[-2].startswith("all rounds together")

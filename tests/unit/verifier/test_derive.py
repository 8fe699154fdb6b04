"""Derivation at commit time: the table of protocol.md, section 8, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from circuits.errors import StatementError
from verifier.argument.derive import GENEROUS, candidate, derive, describe, expected_digests, proof_bytes
from verifier.argument.errors import SoundnessError
from verifier.argument.soundness import account, bits

# log2 of the entries, proofs, pads; from the table: rows, columns, hiding, queries; plain levels (rows, queries); KB
TABLE = [
    (20, 16, 1800, (16, 16, 8192, 369), [(9, 159), (8, 144)], 578),
    (24, 64, 2200, (32, 19, 32768, 341), [(17, 159), (16, 144)], 781),
    (27, 64, 2500, (64, 21, 131072, 342), [(17, 159), (16, 145), (8, 145)], 975),
    (30, 64, 2900, (64, 24, 524288, 329), [(33, 159), (16, 145), (16, 145)], 1172),
    (32, 64, 3200, (64, 26, 2097152, 329), [(33, 159), (32, 145), (16, 145)], 1349),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"2^{row[0]}")
def test_the_table(row: tuple[int, int, int, tuple[int, ...], list[tuple[int, int]], int]) -> None:
    """Sizes within ten percent of the table's; whatever the shape, 128 bits."""
    log_entries, proofs, pads, _, _, kilobytes = row
    found = derive(1 << log_entries, proofs)
    found.check()
    rows = (1 << log_entries) >> found.log_columns
    assert proof_bytes(found, rows + 16, pads) / 1024 == pytest.approx(kilobytes, rel=0.1)
    counts = replace(GENEROUS, pads=pads, lookup_entries=2 << log_entries, rows=rows + 16)
    result = account(found, counts, found.pad_code(pads))
    assert result.union <= Fraction(1, 2**128)
    assert 128 <= bits(result.union) < 131 < bits(result.worst_round) < 134


@pytest.mark.parametrize("row", TABLE[:3], ids=lambda row: f"2^{row[0]}")
def test_the_shape_of_the_table(row: tuple[int, int, int, tuple[int, ...], list[tuple[int, int]], int]) -> None:
    """With the row length and the folds of the table, its hiding coefficients and queries come out exactly."""
    log_entries, proofs, _, (rows, log_columns, hiding, queries), levels, _ = row
    assert (1 << log_entries) >> log_columns == rows
    above, folds, length = log_columns, [], (1 << log_columns) + hiding
    for count, _ in levels:
        below = (length // (count - 1 if count % 2 else count)).bit_length() - 1
        folds.append(above - below)
        above, length = below, 1 << below
    found = candidate(log_columns, tuple(folds), proofs, 128)
    assert found is not None
    assert (found.hiding, found.queries) == (hiding, queries)
    assert [level.queries for level in found.levels] == pytest.approx([q for _, q in levels], abs=1)


@pytest.mark.parametrize("entries", [65_537, 70_000, 1 << 17, 10**6, (1 << 20) + 1])
@pytest.mark.parametrize("proofs", [1, 64])
def test_parameters_of_any_size(entries: int, proofs: int) -> None:
    found = derive(entries, proofs)
    found.check()
    assert found.proofs == proofs
    assert (proofs + 2) * found.queries <= found.hiding <= found.columns
    assert found.hiding % (1 << found.levels[0].log_columns) == 0
    assert "kB a proof" in describe(found, entries)


def test_sums_of_squares_that_could_wrap() -> None:
    """2 * 2^30 * entries must stay below p."""
    derive((1 << 33) - 2)
    for entries in ((1 << 33) - 1, 1 << 33, 1 << 40, 1 << 200):
        with pytest.raises(StatementError, match="wrap"):
            derive(entries)


def test_nothing_to_commit_to_or_to_promise() -> None:
    for entries, proofs in ((0, 1), (-1, 1), (1, 0), (1, -1)):
        with pytest.raises(StatementError, match="at least one"):
            derive(entries, proofs)


def test_many_proofs_of_a_small_model() -> None:
    """Found or refused, never with negative or too few queries (protocol.md, section 9, item 32)."""
    for proofs in (100, 1000, 10_000):
        try:
            found = derive(1 << 16, proofs)
        except SoundnessError as error:
            assert "promise fewer proofs" in str(error)
        else:
            found.check()
            assert found.hiding >= (proofs + 2) * found.queries


def test_more_proofs_cost_more() -> None:
    sizes = [
        proof_bytes(found, 1 << 20 >> found.log_columns, 2000) for found in (derive(1 << 20, n) for n in (1, 16, 64))
    ]
    assert sizes == sorted(sizes)


def test_a_row_length_that_is_asked_for() -> None:
    found = derive(1 << 18, 4, log_columns=15)
    assert found.log_columns == 15
    with pytest.raises(SoundnessError):
        derive(1 << 18, 1000, log_columns=10)


@pytest.mark.parametrize(("queries", "height"), [(1, 10), (8, 6), (64, 8), (300, 9)])
def test_the_expected_size_of_a_multiproof(queries: int, height: int) -> None:
    """Against the mean over random positions."""
    import random

    from verifier.argument.merkle import sibling_nodes

    source, n = random.Random(queries), 1 << height
    sizes = [len(sibling_nodes(sorted({source.randrange(n) for _ in range(queries)}), n)) for _ in range(300)]
    assert expected_digests(queries, height) == pytest.approx(math.fsum(sizes) / len(sizes), rel=0.03)

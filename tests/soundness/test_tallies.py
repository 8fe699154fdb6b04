"""Group 7 on fresh histograms: the counts of a tensor that has no histogram of its own are advice without a range, tied
to the committed cells by a lookup alone. Every lie satisfies all zero conditions, and succeeds without that lookup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from circuits.builder import GraphBuilder
from circuits.program import Integers
from tests.support.algebra import solve
from tests.support.cheating import accepts, coins, rejects
from tests.support.graphs import Case, fresh
from tests.support.lies import Lie, stopped_by
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import K

ZERO = 32768
"""The bin of the value 0."""
BINS = (-2, 0, 1, 2, 3, 7)
CELLS = {"w/x": np.array([[3, 3, 3, 1, -2, 7]]), "w/y": np.array([[3, 0, 0], [1, 2, 7]])}
X, Y = "0/1/counts", "0/2/counts"


@cache
def case() -> Case:
    """Of two tensors, the counts of some values and the sum of all are disclosed."""
    g = GraphBuilder("tallies", 1)
    for name in ("x", "y"):
        counts = g.histogram_of(g.weight(name, CELLS[f"w/{name}"].shape))
        g.disclose(f"bins of {name}", g.gather(counts, np.array(BINS) + ZERO))
        g.disclose(f"sum of {name}", g.matmul(counts, np.arange(-ZERO, ZERO)))
    return Case.of(g.graph(), CELLS)


def counts() -> tuple[Integers, Integers]:
    """The true counts of both tensors, to bend."""
    x, y = (np.bincount(cells.ravel() + ZERO, minlength=2 * ZERO).astype(np.int64) for cells in CELLS.values())
    return x, y


def test_the_truth() -> None:
    claim, proof = case().prove()
    accepts(fresh(claim), proof)
    assert claim.values == (1, 0, 1, 0, 3, 1, 15, 0, 2, 1, 1, 1, 1, 13)
    x, y = counts()
    assert Lie(case(), {X: x, Y: y}).claim.values == claim.values


def one_more(x: Integers, y: Integers) -> None:
    x[ZERO + 2] += 1


def one_less(x: Integers, y: Integers) -> None:
    x[ZERO + 3] -= 1


def moved_to_the_next_bin(x: Integers, y: Integers) -> None:
    x[[ZERO + 1, ZERO + 2]] += (-1, 1)


def moments_kept(x: Integers, y: Integers) -> None:
    """Number and sum stay: 3 + 3 is 2 + 4."""
    x[[ZERO + 2, ZERO + 3, ZERO + 4]] += (1, -2, 1)


def a_negative_count(x: Integers, y: Integers) -> None:
    """p - 1 where nobody looks, and one more that counts."""
    x[[ZERO - 5, ZERO + 2]] += (-1, 1)


def shifted(x: Integers, y: Integers) -> None:
    x[:] = np.roll(x, 1)


def reversed_(x: Integers, y: Integers) -> None:
    x[:] = x[::-1].copy()


def nothing(x: Integers, y: Integers) -> None:
    x[:] = 0


def exchanged(x: Integers, y: Integers) -> None:
    x[:], y[:] = y.copy(), x.copy()


def moved_to_the_other_tensor(x: Integers, y: Integers) -> None:
    """Both histograms together stay what they are."""
    x[ZERO + 3] -= 1
    y[ZERO + 3] += 1


def the_same_twice(x: Integers, y: Integers) -> None:
    y[:] = x


WRONG = [
    one_more, one_less, moved_to_the_next_bin, moments_kept, a_negative_count, shifted, reversed_, nothing, exchanged,
    moved_to_the_other_tensor, the_same_twice,
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_counts(wrong: Callable[[Integers, Integers], None]) -> None:
    x, y = counts()
    wrong(x, y)
    lie = Lie(case(), {X: x, Y: y})
    assert lie.claim.values != case().claim.values
    stopped_by("tallies", lie)


def test_counts_of_what_was_not_committed() -> None:
    """The prover counts x with one weight changed, and argues about that tensor throughout."""
    x, _ = counts()
    x[[ZERO + 7, ZERO + 3]] += (-1, 1)
    lie = Lie(case(), {X: x})
    (data,) = case().data
    bent = np.array(data.cells)
    block = case().statement.commitment.layout.tensor_blocks("x")[-1]
    bent.reshape(-1)[block.address : block.address + 2] = (-2, 3)
    assert int((bent != data.cells).sum()) == 1
    rejects(FinalRelationError, fresh(lie.claim), lie.prover([replace(data, cells=bent)]).proof)


def later_counts(alpha: K, more: int) -> Integers:
    """Counts of x, field elements in four bins, with the sum of fractions that is looked up and a sum of weights that
    is `more` than the true one: four equations mod p, once alpha is known."""
    bins = (2, 4, 5, 6)
    columns = [(alpha - value).inverse() for value in bins]
    found = solve([*([c[i] for c in columns] for i in range(3)), list(bins)], [0, 0, 0, more])
    assert found is not None
    x = counts()[0].astype(object)
    for value, change in zip(bins, found, strict=True):
        x[ZERO + value] += change
    return x


@cache
def sum_only() -> Case:
    g = GraphBuilder("tally", 1)
    g.disclose("sum", g.matmul(g.histogram_of(g.weight("x", (1, 6))), np.arange(-ZERO, ZERO)))
    return Case.of(g.graph(), {"w/x": CELLS["w/x"]})


def test_counts_chosen_after_alpha() -> None:
    """Whoever knows alpha beforehand finds counts for any statistic: they are committed before it is drawn."""
    with coins(b"known"):
        alpha = Lie(sum_only()).prover().challenges[0]
        lie = Lie(sum_only(), {X: later_counts(alpha, 1000)})
        assert lie.claim.values == (1015,) and not lie.failing
        accepts(fresh(lie.claim), lie.proof())
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())

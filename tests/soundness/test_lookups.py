"""Groups 6, 7, 19, 20, 26: values out of range, wrong multiplicities, lies inside fraction trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from circuits.errors import StatementError
from prover.argument.opening import ProverOpening
from tests.soundness.conftest import Honest
from tests.support.algebra import solve
from tests.support.cheating import CarryingTree, Cheater, accepts, coins, forge, rejects
from tests.support.statements import Grouped
from tests.support.toy import MICRO, Integers, Toy, commit, multiplicities, squares, weights, witness
from verifier.argument.errors import FinalRelationError, UnluckyChallengeError
from verifier.argument.field import HALF, ONE, ZERO, K, P, Words, lift
from verifier.argument.workers import Maybe, TreeWorker

Case = tuple[Toy, Any, Integers]


def with_value(value: int) -> Case:
    """A committed vector in which one cell is `value`, any field element, and the statement that is otherwise true."""
    cells = weights(128)
    field = lift(cells.astype(np.int64))
    field[5] = value % P
    commitment, data = commit(field, parameters=MICRO)
    total = (squares(cells) - int(cells[5]) ** 2 + value * value) % P
    cells[5] = 99
    return Toy(commitment, total if total < 1 << 63 else total - P), data, cells


OUTSIDE = [-9, 8, 2**15, -(2**15) - 1, HALF[0], P - 8 + 2**32, -8 * pow(3, -1, P), 2**62]


@pytest.mark.parametrize("value", OUTSIDE)
@pytest.mark.parametrize("counted", [None, 0, 15])
def test_one_weight_out_of_range(value: int, counted: int | None) -> None:
    """Group 6: one cell next to the range, far from it, or in range only as a residue (1/2 mod p doubled is 1). The
    best multiplicities drop it, or count it as the lowest or highest entry."""
    statement, data, cells = with_value(value)
    counts = multiplicities(cells)
    if counted is not None:
        counts[counted] += 1
    rejects(FinalRelationError, statement, forge(statement, [data], {"multiplicities": counts}).proof)


def test_the_same_cells_in_range() -> None:
    """Group 6: the extremes of the range themselves are accepted."""
    for value in (-8, 7):
        statement, data, cells = with_value(value)
        cells[5] = value
        accepts(statement, forge(statement, [data], witness(cells)).proof)


def swap(counts: Integers) -> None:
    counts[[0, 4]] = counts[[4, 0]]


def one_more(counts: Integers) -> None:
    counts[3] += 1


def moved(counts: Integers) -> None:
    counts[3] += 1
    counts[4] -= 1


def shifted(counts: Integers) -> None:
    counts[:] = np.roll(counts, 1)


def reversed_(counts: Integers) -> None:
    counts[:] = counts[::-1].copy()


def negative(counts: Integers) -> None:
    counts[0] += counts[1] + 1
    counts[1] = -1


def scaled(counts: Integers) -> None:
    counts[:] = 2 * counts


WRONG = [swap, one_more, moved, shifted, reversed_, negative, scaled]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_multiplicities(micro: Honest, wrong: Callable[[Integers], None]) -> None:
    """Group 7: two swapped (a permuted table), one too many, one moved, off by one, reversed, p - 1, all doubled."""
    counts = multiplicities(micro.weights)
    wrong(counts)
    assert (counts != multiplicities(micro.weights)).any()
    rejects(FinalRelationError, micro.statement, forge(micro.statement, [micro.data], {"multiplicities": counts}).proof)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("group", [0, 1])
def test_wrong_histograms(wrong: Callable[[Integers], None], group: int) -> None:
    """Group 7: the same lies in histograms that are committed with the model: these are exact, group by group."""
    grouped = Grouped()
    wrong(grouped.flat[grouped.tables[group] : grouped.tables[group] + 16])
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)


def test_histograms_of_two_groups_do_not_mix() -> None:
    """Group 7: a weight counted in the other group, and the two histograms exchanged."""
    grouped = Grouped()
    statement, data = grouped.commit()
    accepts(statement, forge(statement, [data], {}).proof)
    value = int(grouped.flat[0]) + 8
    grouped.flat[96 + value] -= 1
    grouped.flat[112 + value] += 1
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)
    grouped.recount()
    grouped.flat[96:112], grouped.flat[112:128] = grouped.flat[112:128].copy(), grouped.flat[96:112].copy()
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)


@pytest.mark.parametrize("value", [-9, 8, 1000])
def test_one_weight_of_a_group_out_of_range(value: int) -> None:
    """Group 6: in a committed histogram, as validity looks weights up."""
    grouped = Grouped()
    grouped.flat[33] = value
    grouped.recount()
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)


def test_a_table_with_duplicate_keys_is_refused() -> None:
    """Group 7: with equal keys in two tables counts could be moved between them: no party runs such a script."""
    statement, _ = Grouped().commit()
    rejects(StatementError, replace(statement, identities=(0, 0)), b"")


def late_multiplicities(alpha: K, cells: list[int]) -> list[int]:
    """Field elements m with sum_t m_t / (alpha - t) = sum_i 1 / (alpha - cell_i), whatever the cells are: three
    equations mod p, sixteen unknowns, once alpha is known."""
    target = sum(((alpha - x).inverse() for x in cells), ZERO)
    columns = [(alpha - t).inverse() for t in range(-8, 8)]
    found = solve([[c[i] for c in columns] for i in range(3)], list(target))
    assert found is not None
    return found


class LateMultiplicities(Cheater):
    """Commits to some multiplicities and, once alpha is known, argues with others, y* included."""

    def challenge(self) -> K:
        alpha = super().challenge()
        if len(self.challenges) == 1:
            data = self.data[id(self.auxiliary)]
            self.committed_cells = data.cells
            flat = [int(x) for x in np.asarray(self.data[id(self.models[0])].cells).reshape(-1)]
            cells = np.array(data.cells)
            cells[0, :16] = late_multiplicities(alpha, flat)
            data.cells = cells
        return alpha


class CommittedAtLast(ProverOpening):
    def reveal(self, eps: K) -> Words | None:
        engine = cast(LateMultiplicities, self._engine)
        engine.data[id(engine.auxiliary)].cells = engine.committed_cells
        return super().reveal(eps)


class LateButCommittedVector(LateMultiplicities):
    """The same, with a y* made of what was committed."""

    opening_worker = CommittedAtLast


@pytest.mark.parametrize("cheat", [LateMultiplicities, LateButCommittedVector])
def test_multiplicities_chosen_after_alpha(cheat: type[Cheater]) -> None:
    """Group 7: they exist for any weights, so they must be committed before alpha."""
    statement, data, cells = with_value(8)
    rejects(FinalRelationError, statement, forge(statement, [data], witness(cells), cheat).proof)


def test_why_alpha_comes_last() -> None:
    """Group 7: a prover who knows alpha beforehand commits to such multiplicities and is believed."""
    statement, data, _ = with_value(2**15)
    with coins(b"known"):
        alpha = forge(statement, [data], {"multiplicities": np.zeros(16, np.int64)}).challenges[0]
        flat = [int(x) for x in np.asarray(data.cells).reshape(-1)]
        counts = np.array(late_multiplicities(alpha, flat), np.uint64)
        proof = forge(statement, [data], {"multiplicities": counts}).proof
        accepts(statement, proof)
    rejects(FinalRelationError, statement, forge(statement, [data], {"multiplicities": counts}).proof)


class LyingRoots(Cheater):
    """The second tree (the table) gets the root that the first one needs; the error is carried down to its leaves."""

    bend = "numerator"

    def tree(self, worker: TreeWorker, number: int) -> TreeWorker:
        root = cast(tuple[K, K], worker.root())
        worker = Replayed(worker, root)
        if number == 0:
            self.first = root
            return worker
        return CarryingTree(worker, self.lie(root), self.bend)

    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return self.first[0] * root[1] * self.first[1].inverse(), root[1]


class Replayed(TreeWorker):
    """A tree whose root was already asked for."""

    def __init__(self, inner: TreeWorker, root: tuple[K, K]) -> None:
        self._root = root
        self.start, self.messages, self.bind, self.finals = (  # type: ignore[method-assign]
            inner.start, inner.messages, inner.bind, inner.finals,
        )  # fmt: skip

    def root(self) -> tuple[Maybe, Maybe]:
        return self._root


class LyingDenominator(LyingRoots):
    bend = "denominator"

    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return root[0], root[0] * self.first[1] * self.first[0].inverse()


class NothingOverNothing(LyingRoots):
    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return ZERO, ZERO


class NothingAndLeft(NothingOverNothing):
    bend = "left"


class SameRoots(LyingRoots):
    bend = "left"

    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return self.first


class UpsideDown(LyingRoots):
    """p and q exchanged, in both roots: cross multiplication does not notice."""

    def tree(self, worker: TreeWorker, number: int) -> TreeWorker:
        root = cast(tuple[K, K], worker.root())
        return CarryingTree(Replayed(worker, root), (root[1], root[0]), self.bend)


CARRIERS = [LyingRoots, LyingDenominator, NothingOverNothing, NothingAndLeft, SameRoots, UpsideDown]


@pytest.mark.parametrize("cheat", CARRIERS)
def test_an_error_carried_down_a_tree(cheat: type[Cheater]) -> None:
    """Groups 20, 26: the roots agree (0/0 agrees with everything), every gate holds, and the error arrives at the
    leaves, where numerator and denominator are tied to committed cells by two relations of different weights."""
    statement, data, cells = with_value(8)
    prover = forge(statement, [data], witness(cells), cheat)
    assert prover.trees == 2
    rejects(FinalRelationError, statement, prover.proof)


@pytest.mark.parametrize("cheat", [LyingRoots, NothingOverNothing])
def test_an_error_carried_down_a_tree_of_histograms(cheat: type[Cheater]) -> None:
    """Groups 20, 26: in a tree over runs and groups."""
    grouped = Grouped()
    grouped.flat[96] += 1
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}, cheat).proof)


class LyingCells(LyingRoots):
    """Lies in the first tree, that of the cells: its root gets the fraction of the table, which the prover knows."""

    def tree(self, worker: TreeWorker, number: int) -> TreeWorker:
        if number:
            return worker
        alpha = self.challenges[0]
        flat = [int(x) for x in np.asarray(self.data[id(self.models[0])].cells).reshape(-1)]
        self.table = sum(
            (
                (alpha - K(((t - 8) % P, 0, group))).inverse() * flat[address + t]
                for group, address in enumerate(Grouped().tables)
                for t in range(16)
            ),
            ZERO,
        )
        root = cast(tuple[K, K], worker.root())
        return CarryingTree(Replayed(worker, root), self.lie(root), self.bend)

    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return self.table * root[1], root[1]


class LyingCellDenominators(LyingCells):
    bend = "denominator"

    def lie(self, root: tuple[K, K]) -> tuple[K, K]:
        return root[0], root[0] * self.table.inverse()


@pytest.mark.parametrize("cheat", [LyingCells, LyingCellDenominators])
def test_an_error_carried_down_the_tree_of_the_cells(cheat: type[Cheater]) -> None:
    """Group 26: the lie is on the other side, in the numerators (all 1) or denominators of committed cells."""
    grouped = Grouped()
    grouped.flat[96] += 1
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}, cheat).proof)
    grouped.flat[96] -= 1
    statement, data = grouped.commit()
    accepts(statement, forge(statement, [data], {}, LyingCells).proof)


@pytest.mark.parametrize("cheat", [UpsideDown])
def test_a_true_statement_upside_down(micro: Honest, cheat: type[Cheater]) -> None:
    """Group 20: p and q swapped in a tree over honest weights."""
    rejects(FinalRelationError, micro.statement, forge(micro.statement, [micro.data], micro.advice, cheat).proof)


@pytest.mark.parametrize("number", [2, 4, 5, 7, 8, 9])
def test_a_challenge_that_is_divided_by_is_zero(micro: Honest, number: int) -> None:
    """Group 19: z_j = 0 leaves h(1) unconstrained; the verifier stops, whoever made the proof. (Challenge 2 is the
    branch of the first layer, 4 of the second, 5 the round of the third, ...)"""
    with coins(b"unlucky"):
        proof = forge(micro.statement, [micro.data], micro.advice).proof
        accepts(micro.statement, proof)
    with coins(b"unlucky", {number: ZERO}):
        rejects(UnluckyChallengeError, micro.statement, proof)
        with pytest.raises(UnluckyChallengeError):
            forge(micro.statement, [micro.data], micro.advice)
    with coins(b"unlucky", {number: ONE}):
        rejects(FinalRelationError, micro.statement, proof)

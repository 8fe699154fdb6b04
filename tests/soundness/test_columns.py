"""Groups 5, 7, 23: one statement with every kind of advice, and one wrong cell in every column of it.

The columns are certificates of one to four limbs, the bits and magnitudes of signs, quotients, remainders and their
slacks, the slacks of assertions, counts of fresh histograms, and the multiplicities of the table of limbs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from circuits.builder import GraphBuilder
from circuits.program import Advice, Published
from tests.support.cheating import accepts, rejects
from tests.support.graphs import Case, fresh
from tests.support.lies import Lie, Numbers
from verifier.argument.engine import CountingEngine
from verifier.argument.errors import FinalRelationError, MerkleError
from verifier.argument.program.regions import MULTIPLICITIES, BlockLayout, limbs_of
from verifier.argument.statement import oracles
from verifier.argument.transcript import Transcript

COUNTS = "0/4/counts"
LIMBS = {
    "0/advice/small": 1, "0/advice/wide": 2, "0/advice/widest": 4,
    "0/1/negative": 1, "0/1/magnitude": 3,
    "0/2/quotient": 2, "0/2/remainder": 2, "0/2/below": 2,
    "0/3/negative": 1, "0/3/magnitude": 1,
    "0/assert/bound": 3,
}  # fmt: skip
"""Limbs of all advice but counts, by name."""
COLUMNS = [f"{name}#{level}" for name, count in LIMBS.items() for level in range(count)]


@cache
def case() -> Case:
    """Everything that a graph can need advice for, on tensors of odd shapes in two commitments."""
    random = np.random.default_rng(11)
    inputs = {
        "w/a": random.integers(-32768, 32768, (3, 5)),
        "w/b": random.integers(-9, 9, (1, 7)),
        "w1/a": random.integers(-32768, 32768, (3, 5)),
        "advice/small": random.integers(0, 10, 3),
        "advice/wide": random.integers(-(1 << 19), 1 << 19, (2, 3)),
        "advice/widest": random.integers(-(1 << 60), 1 << 60, 2),
    }
    g = GraphBuilder("columns", 1)
    a, b, base = g.weight("a", (3, 5)), g.weight("b", (1, 7)), g.weight("a", (3, 5), commitment=1)
    small, wide = g.advice("small", (3,), 0, 9), g.advice("wide", (2, 3), -(1 << 20), (1 << 20) - 1)
    widest = g.advice("widest", (2,), -(1 << 61), (1 << 61) - 1)
    g.disclose("small", g.mul(small, g.constant(np.array([3, -1, 2]))))
    g.disclose("wide", g.transpose(g.add(wide, 1), [1, 0]))
    g.disclose("widest", widest)
    products = g.matmul(wide, g.sub(a, base))
    g.disclose("abs", g.reduce_sum(g.abs(products), [1]))
    g.disclose("quotients", g.floor_div(g.mul(b, 1 << 20), 100_003))
    g.disclose("larger", g.cast(g.less(a, base), int))
    g.disclose("statistic", g.matmul(g.histogram_of(b), g.constant(np.arange(1 << 16) % 11)))
    rows = g.einsum("ij,ij->i", a, a)
    g.assert_true("bound", g.less_or_equal(rows, 1 << 32))
    return Case.of(g.graph(), inputs)


@cache
def truth() -> dict[str, Numbers]:
    """All advice and all that is disclosed, by name."""
    program, values = case().claim.statements.program, case().values
    atoms: list[Advice | Published] = [*case().claim.compiled.advice, *(tally.counts for tally in program.tallies)]
    atoms.extend(published for published, _ in program.published)
    return {atom.name: values[atom].astype(object) for atom in atoms}


@cache
def honest_proof() -> bytes:
    return case().prove()[1]


def test_the_truth() -> None:
    """Proved by the library, and by the machinery that bends it below."""
    accepts(fresh(case().claim), honest_proof())
    accepts(fresh(case().claim), Lie(case(), truth()).proof())


def test_no_column_is_left_out() -> None:
    """The columns below are all advice regions of the proof."""
    claim = case().claim
    engine = CountingEngine(claim.parameters, Transcript(), oracles(claim), None)
    claim.script(engine)
    assert {region.name for region in engine.regions} == {*COLUMNS, COUNTS, MULTIPLICITIES}


def advice(column: str) -> tuple[Advice, int, int]:
    """The advice of a column, its shift, and the largest value of its limbs."""
    for atom in case().claim.compiled.advice:
        for limb in limbs_of(atom):
            if limb.name == column:
                return atom, limb.shift, limb.bound
    raise AssertionError(column)


@cache
def true_limbs() -> dict[str, Numbers]:
    """The cells of every region, by its name."""
    return Lie(case(), truth()).committed


def bent(column: str, value: int, cell: int) -> Lie:
    """All advice is true, but for one cell of one column, which the prover commits to and argues with."""
    atom, shift, _ = advice(column)
    cells, moved = true_limbs()[column].copy(), truth()[atom.name].copy()
    order = BlockLayout(atom.shape).flatten(np.arange(moved.size).reshape(atom.shape))
    moved.reshape(-1)[order[cell]] += (value - int(cells[cell])) << shift
    cells[cell] = value
    limbs = {limb.name: true_limbs()[limb.name] for limb in limbs_of(atom)}
    return Lie(case(), {**truth(), atom.name: moved}, {**limbs, column: cells})


def some_cell(column: str) -> int:
    """Another one for each column."""
    return COLUMNS.index(column) % len(true_limbs()[column])


def next_to(column: str) -> int:
    """A value of the column's range that is wrong for `some_cell`."""
    true = int(true_limbs()[column][some_cell(column)])
    return true + 1 if true < advice(column)[2] else true - 1


@pytest.mark.parametrize(
    "column", [pytest.param(name, marks=[] if name.endswith("#0") else pytest.mark.slow) for name in COLUMNS]
)
def test_another_value_in_range(column: str) -> None:
    """Every lookup holds; some zero condition does not."""
    lie = bent(column, next_to(column), some_cell(column))
    assert lie.failing and not lie.outside
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


@pytest.mark.parametrize("column", COLUMNS)
def test_a_value_out_of_range(column: str) -> None:
    """One beyond the largest or below the least."""
    value = advice(column)[2] + 1 if COLUMNS.index(column) % 2 else -1
    lie = bent(column, value, some_cell(column))
    assert lie.outside == [column]
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


@pytest.mark.slow
@pytest.mark.parametrize("column", COLUMNS)
def test_the_truth_argued_and_something_else_committed(column: str) -> None:
    """The prover argues with the true advice about a column that has another cell."""
    cells = true_limbs()[column].copy()
    cells[some_cell(column)] = next_to(column)
    lie = Lie(case(), truth(), {column: cells})
    assert not lie.failing and not lie.outside
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


@pytest.mark.parametrize("column", [COUNTS, MULTIPLICITIES])
@pytest.mark.parametrize("argued", [True, False])
def test_a_wrong_count(column: str, argued: bool) -> None:
    """One more of some value, and one less of another: of weights, of limbs; argued with or only committed to."""
    counts = true_limbs()[column].copy()
    (first, second, *_) = np.flatnonzero(counts)
    counts[first] += 1
    counts[second] -= 1
    given = {COUNTS: counts} if argued and column == COUNTS else {}
    lie = Lie(case(), {**truth(), **given}, {column: counts})
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


PUBLISHED = ("small", "wide", "widest", "abs", "quotients", "larger", "statistic")


def off_by(step: int, what: str, cell: int) -> dict[str, Numbers]:
    """The truth, but for one disclosed value, within its interval."""
    name = f"0/disclose/{what}"
    atom = case().claim.statements.published[name]
    values = truth()[name].copy().reshape(-1)
    values[cell] += step if atom.low <= values[cell] + step <= atom.high else -step
    return {**truth(), name: values.reshape(atom.shape)}


def test_what_is_disclosed() -> None:
    """All of it is bent below."""
    assert [f"0/disclose/{what}" for what in PUBLISHED] == list(case().claim.statements.published)


@pytest.mark.parametrize("what", PUBLISHED)
def test_a_disclosed_value_off_by_one(what: str) -> None:
    """Shown with the honest proof, and argued for throughout."""
    name = f"0/disclose/{what}"
    cell = truth()[name].size - 1
    lie = Lie(case(), off_by(1, what, cell))
    assert lie.failing == [name]
    rejects(MerkleError, fresh(lie.claim), honest_proof())
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


@pytest.mark.slow
@pytest.mark.parametrize("what", PUBLISHED)
def test_every_disclosed_value_off_by_one(what: str) -> None:
    for cell in range(truth()[f"0/disclose/{what}"].size):
        for step in (1, -1):
            lie = Lie(case(), off_by(step, what, cell))
            rejects(FinalRelationError, fresh(lie.claim), lie.proof())

"""Group 23 on bounds that are asserted: a >= b is shown by a slack a - b, limb by limb. Each lie is consistent mod p
but for one defence, and succeeds without it."""

from __future__ import annotations

from functools import cache

import pytest

from circuits.builder import GraphBuilder, Tensor
from circuits.evaluate import check
from circuits.program import Slack
from tests.support.cheating import accepts
from tests.support.graphs import Case, about, fresh
from tests.support.lies import Lie, Numbers, stopped_by
from verifier.argument.field import P
from verifier.argument.program.regions import limbs_of

CELLS = (5, 0, -7, 3)
"""Four, so that they are one block."""
WIDTHS = {1: 1, 2: 1 << 16, 4: 1 << 45}
"""Limbs of the slack, and what the row is multiplied by: differences of 2^16, 2^32 and 2^60."""
NAME = "0/assert/bound"


@cache
def case(limbs: int, at_most: int, strictly: bool = False) -> Case:
    """Every cell of factor * x is at most factor * at_most, or less."""
    factor = WIDTHS[limbs]

    def statement(g: GraphBuilder, x: Tensor) -> None:
        compare = g.less if strictly else g.less_or_equal
        g.assert_true("bound", compare(g.mul(x, factor), factor * at_most))

    return about(CELLS, statement)


def slack(case: Case) -> tuple[Slack, Numbers]:
    (recipe,) = case.statement.statements.program.recipes
    assert isinstance(recipe, Slack) and recipe.advice.name == NAME
    return recipe, case.values[recipe.advice].astype(object)


@pytest.mark.parametrize("limbs", WIDTHS)
def test_the_truth(limbs: int) -> None:
    """What the attacks are measured against: the largest cell may be the bound, and may not be more."""
    own, false = case(limbs, 5), case(limbs, 4)
    claim, proof = own.prove()
    accepts(fresh(claim), proof)
    assert len(limbs_of(slack(own)[0].advice)) == limbs
    assert check(false.statement.statements.program, false.values) == [NAME]


@pytest.mark.parametrize("limbs", WIDTHS)
def test_a_negative_slack(limbs: int) -> None:
    """-f is p - f: the limbs hold its low bits, and the rest is out of range of the top one."""
    lie = Lie(case(limbs, 4))
    assert lie.outside == [f"{NAME}#{limbs - 1}"]
    stopped_by("ranges", lie)


def test_equal_is_not_less() -> None:
    """5 < 5 needs a slack of -1."""
    own = case(1, 5, strictly=True)
    assert slack(own)[1].min() == -1
    stopped_by("ranges", Lie(own))


@pytest.mark.parametrize("level", range(4))
def test_the_limb_that_carries_the_error(level: int) -> None:
    """The negative slack in one limb, as -f / 2^(16 level) mod p: it may be any of them."""
    recipe, cells = slack(case(4, 4))
    regions = dict[str, Numbers]()
    for limb in limbs_of(recipe.advice):
        regions[limb.name] = (cells[0] >> limb.shift) & 0xFFFF
        regions[limb.name][0] = cells[0, 0] * pow(1 << limb.shift, -1, P) if limb.shift == 16 * level else 0
    lie = Lie(case(4, 4), regions=regions)
    assert lie.outside == [f"{NAME}#{level}"]
    stopped_by("ranges", lie)


@pytest.mark.parametrize("limbs", [1, 4])
@pytest.mark.parametrize("bent", ["cut off at zero", "two's complement", "moved to another cell"])
def test_a_slack_in_range(limbs: int, bent: str) -> None:
    """Every lookup holds, and the slack is not the difference."""
    recipe, cells = slack(case(limbs, 4))
    if bent == "two's complement":
        cells[0, 0] = recipe.advice.high
    else:
        cells[0, 2] += cells[0, 0] if bent == "moved to another cell" else 0
        cells[0, 0] = 0
    stopped_by(NAME, Lie(case(limbs, 4), {NAME: cells}))


@pytest.mark.parametrize("limbs", [2, 4])
def test_p_more(limbs: int) -> None:
    """A true slack has one set of limbs: those of the slack + p are the same residue, and are refused."""
    recipe, cells = slack(case(limbs, 5))
    regions = dict[str, Numbers]()
    for limb in limbs_of(recipe.advice):
        wrapped = (cells[0] + P) >> limb.shift
        regions[limb.name] = wrapped if limb.shift == 16 * (limbs - 1) else wrapped & 0xFFFF
    lie = Lie(case(limbs, 5), regions=regions)
    assert f"{NAME}#{limbs - 1}" in lie.outside
    stopped_by("ranges", lie)


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("up", [True, False])
def test_a_true_slack_by_other_limbs(level: int, up: bool) -> None:
    """2^16 more in one limb is one less in the next; or the reverse."""
    own = case(4, 5)
    honest, step = Lie(own).committed, 1 if up else -1
    low, high = (honest[f"{NAME}#{i}"].copy() for i in (level, level + 1))
    low[3], high[3] = low[3] + step * (1 << 16), high[3] - step
    lie = Lie(own, regions={f"{NAME}#{level}": low, f"{NAME}#{level + 1}": high})
    assert f"{NAME}#{level}" in lie.outside
    stopped_by("ranges", lie)

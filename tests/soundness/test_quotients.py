"""Group 23 on floor division, x = d q + r: quotients beside the true one, remainders of choice, wrap-around mod p. Each
lie is consistent mod p but for one defence, and succeeds without it."""

from __future__ import annotations

from functools import cache

import pytest

from circuits.builder import GraphBuilder, Tensor
from circuits.program import Quotient
from tests.support.cheating import accepts
from tests.support.graphs import Case, about, fresh
from tests.support.lies import Lie, Numbers, stopped_by
from verifier.argument.field import P

CELLS = (-32768, -1, 0, 6, 32767)
KINDS = {"small": (1, 7), "bounded again": (1 << 20, 100_003), "wide": (1 << 20, 1 << 33)}
"""(factor, divisor): floor(factor x / divisor). A remainder below 7 is one limb, one below 2^33 three; limbs show one
below 2^17, so that 100,003 needs a slack of its own."""


@cache
def case(kind: str, multiple: bool = False) -> Case:
    """The quotients of a row are disclosed, or the multiples of the divisor below it."""
    factor, divisor = KINDS[kind]

    def statement(g: GraphBuilder, x: Tensor) -> None:
        quotient = g.floor_div(g.mul(x, factor), divisor)
        g.disclose("shown", g.mul(quotient, divisor) if multiple else quotient)

    return about(CELLS, statement)


def parts(case: Case) -> tuple[Quotient, Numbers, Numbers, Numbers]:
    """The division with x, quotients and remainders: copies to bend."""
    recipe = case.statement.statements.program.recipes[0]
    assert isinstance(recipe, Quotient)
    x, q, r = (case.values[value].astype(object) for value in (recipe.source, recipe.quotient, recipe.remainder))
    return recipe, x, q, r


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth(kind: str) -> None:
    """What the attacks are measured against; -1 is rounded down."""
    for own in (case(kind), case(kind, multiple=True)):
        claim, proof = own.prove()
        accepts(fresh(claim), proof)
        truth = Lie(own)
        assert truth.claim.values == claim.values and not truth.failing and not truth.outside
    assert case(kind).claim.values[1] < 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "step"), [(1, 1), (3, 1), (2, -1), (3, -1)])
def test_a_quotient_beside_the_true_one(kind: str, cell: int, step: int) -> None:
    """One more leaves a negative remainder (ONNX's own division does that to -1), one less a remainder of d or more."""
    recipe, _, q, _ = parts(case(kind))
    q[0, cell] += step
    lie = Lie(case(kind), {recipe.quotient.name: q})
    assert lie.claim.values[cell] == case(kind).claim.values[cell] + step
    assert all(not name.startswith(recipe.quotient.name) for name in lie.outside)
    stopped_by("ranges", lie)


def test_a_remainder_that_its_limbs_allow() -> None:
    """0 = 100003 * -1 + 100003: the remainder fits its limbs, and only the slack below the divisor is negative. A slack
    in range does not belong to it."""
    own = case("bounded again")
    recipe, _, q, _ = parts(own)
    q[0, 2] = -1
    lie = Lie(own, {recipe.quotient.name: q})
    assert lie.outside == ["0/1/below#1"]
    stopped_by("ranges", lie)
    slack = own.statement.statements.program.recipes[1]
    below = own.values[vars(slack)["advice"]].astype(object)
    below[0, 2] = 0
    stopped_by("0/1/below", Lie(own, {recipe.quotient.name: q, "0/1/below": below}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_remainder_of_choice(kind: str) -> None:
    """Any remainder in range has its quotient (x - r) / d mod p, a fraction; d times it is an integer again."""
    own = case(kind, multiple=True)
    recipe, _, _, r = parts(own)
    r[0, 3] = (r[0, 3] + 1) % recipe.divisor
    lie = Lie(own, {recipe.remainder.name: r})
    assert abs(lie.claim.values[3] - own.claim.values[3]) in (1, recipe.divisor - 1)
    assert all(name.startswith(recipe.quotient.name) for name in lie.outside)
    stopped_by("ranges", lie)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", [1, -1])
def test_a_division_of_another_representative(kind: str, turns: int) -> None:
    """x + p and x - p have honest quotients and remainders, too: p / d lies far outside the quotient's range."""
    own = case(kind, multiple=True)
    recipe, x, q, _ = parts(own)
    q[0, 3] = (x[0, 3] + turns * P) // recipe.divisor
    lie = Lie(own, {recipe.quotient.name: q})
    assert lie.claim.values != own.claim.values
    assert all(name.startswith(recipe.quotient.name) for name in lie.outside)
    stopped_by("ranges", lie)


@pytest.mark.parametrize("kind", KINDS)
def test_quotient_and_remainder_in_range(kind: str) -> None:
    """They are what lookups allow, and do not add up to x."""
    recipe, _, q, r = parts(case(kind))
    q[0, 3] += 1
    stopped_by("0/1", Lie(case(kind), {recipe.quotient.name: q, recipe.remainder.name: r}))


@pytest.mark.parametrize("up", [True, False])
def test_the_same_remainder_by_other_limbs(up: bool) -> None:
    """2^16 more in one limb is one less in the next: the value is the same, a limb is not one."""
    own = case("wide")
    honest = Lie(own).committed
    low, high = (honest[f"0/1/remainder#{level}"].copy() for level in (0, 1))
    step = 1 if up else -1
    low[3], high[3] = low[3] + step * (1 << 16), high[3] - step
    lie = Lie(own, regions={"0/1/remainder#0": low, "0/1/remainder#1": high})
    assert lie.claim.values == own.claim.values and "0/1/remainder#0" in lie.outside
    stopped_by("ranges", lie)

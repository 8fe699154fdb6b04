"""The range checks of ezkl circuits in exact arithmetic: what satisfies them, and what does not, without ezkl."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from circuits.checks.base import Context
from circuits.compiled import PolicyStatements
from circuits.evaluate import Evaluation
from circuits.program import Integers, Value
from prover.audit import atoms, certify
from prover.progress import Progress
from tests.checks.models import integers_of, write
from tests.support.ezkl import matrix, policy
from verifier.backends.ezkl.builder import build_circuit
from verifier.backends.ezkl.circuit import BASE, FIELD, Circuit, Comparison, Complement
from verifier.backends.ezkl.errors import EzklProofError
from verifier.backends.ezkl.inputs import Hidden, conditions_of, cut
from verifier.backends.ezkl.ranges import BOUNDS, COMPARISONS, RANGE, challenge_cells, challenge_of

ASKED = policy('check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"')
Vectors = tuple[list[int], list[int]]


class Party:
    """An honest prover's circuit and hidden vectors."""

    def __init__(self, folder: Path) -> None:
        model = integers_of(write(folder / "m.safetensors", {"weight": matrix()}))
        statements = PolicyStatements.of(ASKED, Context(model.manifest))
        certified = certify([model], ASKED, Progress.silent())
        self.circuit: Circuit = build_circuit(statements.program, model.manifest, linked=False)
        self.values = Evaluation(statements.program, atoms([model], certified.certificates))
        hidden = Hidden.fresh(self.circuit, self.value)
        self.vectors: Vectors = hidden.weights(), hidden.advice([])

    def value(self, value: Value) -> Integers:
        return self.values[value]

    def run_of(self, kind: type) -> int:
        """Where the digits of the first run of a kind begin in the second vector."""
        start = 0
        for one in self.circuit.advice:
            if isinstance(one.source, kind):
                return start
            start += one.cells * one.digits
        raise AssertionError(kind)

    def conditions(self, vectors: Vectors) -> dict[str, int]:
        """At a random point."""
        point = challenge_cells(secrets.randbelow(FIELD))
        return dict(zip(self.circuit.conditions, conditions_of(self.circuit, self.value, vectors, point), strict=True))

    def recounted(self, vectors: Vectors) -> Vectors:
        """With multiplicities that fit the digits as far as they are digits."""
        weights, advice = vectors
        count = self.circuit.advice_digits
        every = [*weights[: self.circuit.weight_digits], *advice[:count]]
        found = [every.count(t) for t in range(BASE)]
        return weights, [*advice[:count], *found, *advice[count + BASE :]]


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("ranges"))


def test_honest_vectors_satisfy_every_condition(party: Party) -> None:
    assert party.conditions(party.vectors) == {RANGE: 0, BOUNDS: 0, COMPARISONS: 0}


def moved_up(party: Party, vectors: Vectors) -> Vectors:
    """256 more in a low digit, one less in the high one: the same weight."""
    vectors[0][0] += BASE
    vectors[0][1] -= 1
    return vectors


def halved(party: Party, vectors: Vectors) -> Vectors:
    """Half a unit in the low digit of a weight."""
    vectors[0][0] = pow(2, -1, FIELD)
    return vectors


def miscounted(party: Party, vectors: Vectors) -> Vectors:
    vectors[1][party.circuit.advice_digits] += 1
    return vectors


def above(party: Party, vectors: Vectors) -> Vectors:
    """A limb above its bound, its complement as it was."""
    run = party.run_of(Complement)
    vectors[1][run] ^= 1
    return party.recounted(vectors)


def over(party: Party, vectors: Vectors) -> Vectors:
    """A complement below zero."""
    vectors[1][party.run_of(Complement)] = FIELD - 1
    return vectors


def fraction(party: Party, vectors: Vectors) -> Vectors:
    """A comparison that counts a part of a weight."""
    vectors[1][party.run_of(Comparison)] ^= 1
    return party.recounted(vectors)


def turned(party: Party, vectors: Vectors) -> Vectors:
    """A comparison the other way round: u - 2^16 or u + 2^16, in the high digit."""
    run = party.run_of(Comparison) + 1
    start = party.circuit.advice
    comparison = next(one.source for one in start if isinstance(one.source, Comparison))
    negative = int(np.asarray(party.value(comparison.value)).reshape(-1)[0]) < comparison.start
    vectors[1][run] += -BASE if negative else BASE
    return party.recounted(vectors)


@pytest.mark.parametrize(
    ("lie", "condition"),
    [
        (moved_up, RANGE),
        (halved, RANGE),
        (miscounted, RANGE),
        (above, BOUNDS),
        (over, RANGE),
        (fraction, COMPARISONS),
        (turned, RANGE),
    ],
)
def test_every_lie_is_stopped_by_its_own_condition(
    party: Party, lie: Callable[[Party, Vectors], Vectors], condition: str
) -> None:
    vectors = lie(party, (list(party.vectors[0]), list(party.vectors[1])))
    assert party.conditions(vectors)[condition] != 0


def test_a_comparison_the_other_way_round_satisfies_all_but_the_range(party: Party) -> None:
    """Without the range of u the count would be the prover's to choose."""
    vectors = turned(party, (list(party.vectors[0]), list(party.vectors[1])))
    found = party.conditions(vectors)
    assert found[COMPARISONS] == found[BOUNDS] == 0 != found[RANGE]


def test_whoever_knows_the_point_can_forge_multiplicities(party: Party) -> None:
    """So it is drawn after them: they enter the hash."""
    weights, advice = moved_up(party, (list(party.vectors[0]), list(party.vectors[1])))
    point = challenge_cells(secrets.randbelow(FIELD))
    left = conditions_of(party.circuit, party.value, (weights, advice), point)[0]
    product = 1
    for digit in (*weights[: party.circuit.weight_digits], *advice[: party.circuit.advice_digits]):
        product = product * (point[0] + digit) % FIELD
    # the condition falls by product / (x + 0) for every unit of the first multiplicity
    advice[party.circuit.advice_digits] += left * pow(product * point[1], -1, FIELD)
    assert conditions_of(party.circuit, party.value, (weights, advice), point)[0] == 0
    assert party.conditions((weights, advice))[RANGE] != 0


def test_the_point_depends_on_context_and_both_commitments() -> None:
    points = [challenge_of(c, p) for c in (b"a", b"b") for p in ([b"x", b"y"], [b"y", b"x"], [b"x"], [b"xy"])]
    assert len(set(points)) == len(points)
    assert all(0 <= point < FIELD for point in points)


def test_inverses_are_inverses_and_points_without_them_are_refused() -> None:
    cells = challenge_cells(12345)
    assert all(cells[1 + t] * (12345 + t) % FIELD == 1 for t in range(BASE))
    for point in (0, FIELD - 1, FIELD - BASE + 1):
        with pytest.raises(EzklProofError, match="prove again"):
            challenge_cells(point)


def test_digits_are_cut_and_what_does_not_fit_stays_in_the_last() -> None:
    assert cut(np.array([0, 1, 65_535, 65_536, -1]), 2).tolist() == [0, 0, 1, 0, 255, 255, 0, 256, 255, -1]
    assert cut(np.array([7, 300]), 1).tolist() == [7, 300]

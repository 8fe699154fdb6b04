"""What a proof by ezkl shows of hidden cells: no lookup is left whose multiplicities it would commit to in the clear.

ezkl blinds neither its lookups' multiplicities nor the columns of committed inputs. The circuits have no lookups, and
the input columns end in blinds of our own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prover.backends.ezkl import prove_witness
from tests.support.bn254 import lagrange_points, proof_points
from tests.support.ezkl import NONCE, Owner, matrix, needs_ezkl, policy
from verifier.backends.ezkl.bn254 import Point, add, multiple
from verifier.backends.ezkl.circuit import FIELD, MASKS
from verifier.backends.ezkl.inputs import INPUT, Hidden, commitments, evaluate, write_inputs
from verifier.backends.ezkl.keys import derived
from verifier.backends.ezkl.reference_string import ReferenceString, generate

pytestmark = needs_ezkl
LOG_ROWS = 10
"""The height of the circuits, so that the string's own second basis is the one in use."""
UNUSABLE = 6
"""Rows that Halo2 keeps for its blinding."""
ASKED = policy('check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"')
POINTS = 12
"""A proof of these circuits begins with at least so many points: inputs, columns, permutation."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceString:
    return generate(tmp_path_factory.mktemp("srs") / "srs", LOG_ROWS)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory, reference: ReferenceString) -> Owner:
    return Owner.of(tmp_path_factory.mktemp("ezkl") / "model", {"weight": matrix()}, reference)


def test_whatever_is_no_input_column_is_blinded_anew_in_every_proof(owner: Owner, tmp_path: Path) -> None:
    """One witness, proved twice: the two proofs share the commitments to the inputs, and no other point."""
    statement, hidden = owner.statement(ASKED, linked=False), owner.hidden(ASKED, linked=False)
    circuit = statement.circuit
    with derived(circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        vectors = [hidden.weights(), hidden.advice([])]
        write_inputs(tmp_path / INPUT, [*vectors, [0] * circuit.public_cells])
        points = commitments(tmp_path, keys, owner.reference, owner.limits)
        public = circuit.public(statement.context(NONCE), statement.challenge(NONCE, points), [])
        write_inputs(tmp_path / INPUT, [*vectors, public])
        evaluate(tmp_path, keys, owner.limits)
        one, other = (proof_points(prove_witness(tmp_path, keys, owner.run), POINTS) for _ in range(2))
    assert [a == b for a, b in zip(one, other, strict=True)] == [index < 3 for index in range(POINTS)]
    assert not set(one[3:]) & set(other[3:])


def test_two_proofs_about_the_same_weights_share_no_point(owner: Owner) -> None:
    one, other = (set(proof_points(owner.audit(ASKED, linked=False).proof, POINTS)) for _ in range(2))
    assert not one & other


def committed(vector: list[int], lagrange: list[Point]) -> Point:
    """Where other columns have random cells, the last rows of an input column are 1."""
    rows = (1 << LOG_ROWS) - UNUSABLE
    total: Point = None
    for value, point in zip([*vector, *([0] * (rows - len(vector))), *([1] * UNUSABLE)], lagrange, strict=True):
        total = add(total, multiple(value % FIELD, point))
    return total


def test_commitments_to_hidden_vectors_contain_every_blind(owner: Owner, tmp_path: Path) -> None:
    """They are the vectors in the string's second basis: with any blind left out, another point."""
    statement, hidden = owner.statement(ASKED, linked=False), owner.hidden(ASKED, linked=False)
    circuit, lagrange = statement.circuit, lagrange_points(owner.reference.path)
    vectors = [hidden.weights(), hidden.advice([])]
    with derived(circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        write_inputs(tmp_path / INPUT, [*vectors, [0] * circuit.public_cells])
        points = commitments(tmp_path, keys, owner.reference, owner.limits)
    for vector, coordinate in zip(vectors, points, strict=False):
        found = committed(vector, lagrange)
        assert found is not None
        assert found[0] == int.from_bytes(coordinate, "big")
        places = range(len(vector) - MASKS, len(vector))
        assert all(lagrange[place] is not None for place in places)
        assert len({lagrange[place] for place in places}) == MASKS


def test_every_attempt_has_blinds_of_its_own(owner: Owner) -> None:
    circuit = owner.statement(ASKED).circuit
    drawn = [Hidden.fresh(circuit, lambda value: np.zeros(0, np.int64)) for _ in range(3)]
    assert len({blind for one in drawn for part in one.blinds for blind in part}) == 3 * 2 * MASKS

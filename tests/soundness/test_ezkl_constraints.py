"""The constraints that ezkl makes of a model force every output: read from the keys, not from ezkl's evaluation.

The verifier compares ezkl's own evaluation of a circuit with exact evaluation. A proof is about the constraints: if
ezkl took a cell anew where it should copy it, or left one open, a prover could show ranges of one vector and a norm of
another. Here random field elements in the input columns are followed through copies and gates to the instances.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.ezkl import Owner, matrix, needs_ezkl, policy
from tests.support.halo2 import ConstraintSystem
from verifier.backends.ezkl.circuit import BASE, FIELD, Circuit
from verifier.backends.ezkl.inputs import INPUT, evaluate, write_inputs
from verifier.backends.ezkl.keys import Keys, derived
from verifier.backends.ezkl.link import COORDINATES
from verifier.backends.ezkl.reference_string import ReferenceString, generate

pytestmark = [needs_ezkl, pytest.mark.slow]
OUTLIERS = 'check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"'
NORM = 'check: frobenius-norm, tensors: "*", at_most: "7"'
ALL = (
    OUTLIERS,
    NORM,
    'check: max-abs, tensors: "*", at_most: "6"',
    'check: mean, tensors: "*", at_most: "9"',
    'check: variance, tensors: "*", at_most: "9"',
    'check: spectral-norm, tensors: "*", at_most: "9"',
    'check: frobenius-norm, tensors: "*", over: together, at_most: "20"',
)
Tensors = dict[str, npt.NDArray[np.float32]]
ONE: Tensors = {"weight": matrix()}
CASES: dict[str, tuple[Tensors, tuple[str, ...], bool]] = {
    "counts and a norm": (ONE, (OUTLIERS, NORM), False),
    "linked": (ONE, (OUTLIERS, NORM), True),
    "one weight": ({"weight": matrix(1, (1, 1))}, (NORM,), True),
    "several tensors, every kind": (
        {"a": matrix(1, (5, 3)), "b": matrix(2, (1, 7)), "c": matrix(3, (2, 2))},
        ALL,
        True,
    ),
    "a disclosed value": ({"weight": matrix(1, (25, 40))}, ('check: mean, tensors: "*", disclose: true',), False),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceString:
    return generate(tmp_path_factory.mktemp("srs") / "srs", 13)


def outputs(circuit: Circuit, vectors: list[list[int]], keys: Keys, owner: Owner, folder: Path) -> list[int]:
    """As ezkl evaluates the circuit."""
    write_inputs(folder / INPUT, vectors)
    assert len(vectors[2]) == circuit.public_cells
    return evaluate(folder, keys, owner.limits)


@pytest.mark.parametrize("name", CASES)
def test_the_constraints_leave_one_value_for_every_output(
    tmp_path: Path, reference: ReferenceString, name: str
) -> None:
    """The one that ezkl computes, for any field elements in the input columns; rows beyond the outputs are free."""
    tensors, checks, linked = CASES[name]
    owner = Owner.of(tmp_path / "model", tensors, reference)
    circuit = owner.statement(policy(*checks), linked=linked).circuit
    vectors = [
        [secrets.randbelow(FIELD) for _ in range(size)] for size in (*circuit.hidden_sizes, circuit.public_cells)
    ]
    with derived(circuit, reference, owner.limits, proving=True) as keys:
        forced = ConstraintSystem.of(keys.folder).instances(vectors)
        found = outputs(circuit, vectors, keys, owner, tmp_path)
    assert forced[: circuit.outputs] == found
    assert set(forced[circuit.outputs :]) == {None}


@pytest.mark.parametrize("linked", [False, True])
def test_blinds_are_in_no_constraint_and_all_else_is(tmp_path: Path, reference: ReferenceString, linked: bool) -> None:
    """Digits are read twice, for the integers and for the rational identity; mask and multiplicities once."""
    owner = Owner.of(tmp_path / "model", ONE, reference)
    circuit = owner.statement(policy(OUTLIERS, NORM), linked=linked).circuit
    with derived(circuit, reference, owner.limits, proving=True) as keys:
        system = ConstraintSystem.of(keys.folder)
    weights, advice, public = ([len(system.cycle((c, row))) for row in range(system.rows)] for c in range(3))
    masks, digits = circuit.weight_digits, circuit.advice_digits
    assert set(weights[:masks]) == {3}
    assert weights[masks : masks + COORDINATES * linked] == [2] * (COORDINATES * linked)
    assert set(weights[masks + COORDINATES * linked :]) == {1}
    # a limb of one digit is the integer itself, and may be read more often
    assert all(length >= 3 for length in advice[:digits])
    assert advice[digits : digits + BASE] == [2] * BASE
    assert set(advice[digits + BASE :]) == {1}
    assert all(length >= 2 for length in public[: circuit.public_cells])
    assert set(public[circuit.public_cells :]) == {1}


def test_a_cell_that_is_not_copied_would_be_noticed(tmp_path: Path, reference: ReferenceString) -> None:
    """One use of a digit cut out of its cycle: nothing determines what is computed from it."""
    owner = Owner.of(tmp_path / "model", ONE, reference)
    circuit = owner.statement(policy(NORM), linked=False).circuit
    with derived(circuit, reference, owner.limits, proving=True) as keys:
        system = ConstraintSystem.of(keys.folder)
    digit, use, after, *_ = system.cycle((0, 0))
    system.next[digit[0]][digit[1]], system.next[use[0]][use[1]] = after, use
    vectors = [[1] * size for size in (*circuit.hidden_sizes, circuit.public_cells)]
    with pytest.raises(AssertionError, match="nothing determines"):
        system.instances(vectors)

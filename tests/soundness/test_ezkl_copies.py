"""Halo2 forces what the circuit reads to equal what is committed: seen in the copy constraints of the proving key.

The model selects cells of the input vectors by gathers. If ezkl took those cells anew, a prover could show ranges of
one vector and a norm of another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ezkl import Owner, matrix, needs_ezkl, policy
from tests.support.halo2 import copies, cycle_lengths
from verifier.backends.ezkl.circuit import BASE, Complement
from verifier.backends.ezkl.keys import PROVING_KEY, derived
from verifier.backends.ezkl.link import COORDINATES
from verifier.backends.ezkl.reference_string import ReferenceString, generate

pytestmark = needs_ezkl
ASKED = policy(
    'check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"',
    'check: frobenius-norm, tensors: "*", at_most: "8"',
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceString:
    return generate(tmp_path_factory.mktemp("srs") / "srs", 10)


@pytest.mark.slow
@pytest.mark.parametrize("linked", [False, True])
def test_every_committed_cell_that_is_read_is_copied(tmp_path: Path, reference: ReferenceString, linked: bool) -> None:
    """Digits twice (into integers and into the rational identity), masks and multiplicities once, blinds never; public
    cells at least into the output, and every output to the instances."""
    owner = Owner.of(tmp_path / "model", {"weight": matrix()}, reference)
    circuit = owner.statement(ASKED, linked=linked).circuit
    with derived(circuit, reference, owner.limits, proving=True) as keys:
        found = copies(keys.path(PROVING_KEY).read_bytes(), keys.log_rows)
    weights, advice, public, instances = (cycle_lengths(found, column) for column in (0, 1, 2, len(found) - 1))
    # a limb or comparison of one digit is the integer itself: it may be read more often
    assert set(weights[: circuit.weight_digits]) == {3}
    start = circuit.weight_digits
    assert weights[start : start + COORDINATES * linked] == [2] * (COORDINATES * linked)
    assert set(weights[start + COORDINATES * linked :]) == {1}
    assert all(length >= 3 for length in advice[: circuit.advice_digits])
    assert advice[circuit.advice_digits :][:BASE] == [2] * BASE
    assert set(advice[circuit.advice_digits + BASE :]) == {1}
    assert any(isinstance(one.source, Complement) for one in circuit.advice)
    assert all(length >= 3 for length in public[2 : circuit.public_cells])
    assert all(length >= 2 for length in public[:2])
    assert set(public[circuit.public_cells :]) == {1}
    assert all(length >= 2 for length in instances[: circuit.outputs])

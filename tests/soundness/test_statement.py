"""Groups 4, 5, 24: a proof of something else, a false public value, a relation of the prover's choice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from circuits.errors import StatementError, WeightproofError
from tests.soundness.conftest import Honest
from tests.support.algebra import shortest_row
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.statements import Sums
from tests.support.toy import MICRO, NONCE, Toy, commit, multiplicities, squares
from verifier.argument.errors import FinalRelationError, MerkleError
from verifier.argument.field import ONE, K, P
from verifier.argument.parameters import PlainLevel
from verifier.argument.statement import verify
from verifier.argument.workers import CellFractions, PieceFractions


class Renamed(Toy):
    kind = "toy/v2"


def test_a_proof_of_another_statement(micro: Honest) -> None:
    """Group 4: other canonical bytes (policy, threshold), another kind, another nonce: the transcript differs."""
    accepts(micro.statement, micro.proof)
    rejects(MerkleError, replace(micro.statement, text=b"another policy"), micro.proof)
    rejects(MerkleError, replace(micro.statement, text=b""), micro.proof)
    rejects(MerkleError, Renamed(micro.commitment, micro.statement.total), micro.proof)
    rejects(MerkleError, micro.statement, micro.proof, bytes(16))
    rejects(MerkleError, micro.statement, micro.proof, NONCE + b"\x00")


@pytest.mark.parametrize("nonce", [b"", b"short", bytes(15), bytes(257)])
def test_a_nonce_that_cannot_be_one(micro: Honest, nonce: bytes) -> None:
    """Group 4: without a nonce of 16 to 256 bytes a proof could be made in advance, or for somebody else."""
    rejects(StatementError, micro.statement, micro.proof, nonce)


def test_a_reusable_statement_takes_no_nonce(micro: Honest) -> None:
    """Group 4: a reusable proof is not a fresh one and the reverse."""

    class Reusable(Toy):
        reusable = True

    statement = Reusable(micro.commitment, micro.statement.total)
    rejects(StatementError, statement, micro.proof)
    rejects(MerkleError, statement, micro.proof, b"")


def test_a_proof_for_another_commitment(micro: Honest) -> None:
    """Group 4: the same root under another manifest, and another root under the same manifest."""
    other = replace(micro.commitment, manifest=b"other names, shapes or scales")
    rejects(MerkleError, Toy(other, micro.statement.total), micro.proof)
    other, _ = commit(micro.weights, parameters=MICRO, seed=b"\x01" * 32)
    rejects(MerkleError, Toy(other, micro.statement.total), micro.proof)


@pytest.mark.parametrize(
    "other",
    [
        replace(MICRO, levels=(PlainLevel(2, 6, 6),)),
        replace(MICRO, levels=(PlainLevel(2, 5, 7),)),
        replace(MICRO, levels=(PlainLevel(1, 5, 6),)),
        replace(MICRO, levels=(PlainLevel(2, 5, 6), PlainLevel(1, 4, 6))),
    ],
)
def test_a_proof_under_other_parameters(micro: Honest, other: Any) -> None:
    """Group 4: a parameter set that would suit the prover better is part of the id and of the transcript."""
    statement = Toy(replace(micro.commitment, parameters=other), micro.statement.total)
    with pytest.raises(WeightproofError) as caught:
        verify(statement, micro.proof, NONCE, minimum_bits=1)
    assert caught.type.__name__ in {"MerkleError", "ProofFormatError"}


@pytest.mark.parametrize("difference", [1, -1, 2**32, -(2**40)])
def test_a_false_public_value(micro: Honest, difference: int) -> None:
    """Group 5: proved for the true value and shown for the false one; or argued for the false one throughout."""
    false = replace(micro.statement, total=micro.statement.total + difference)
    rejects(MerkleError, false, micro.proof)
    rejects(FinalRelationError, false, forge(false, [micro.data], micro.advice).proof)


def test_a_false_public_value_in_a_solid_proof(solid: Honest) -> None:
    """Group 5, where luck is ruled out."""
    false = replace(solid.statement, total=solid.statement.total + 1)
    rejects(FinalRelationError, false, forge(false, [solid.data], solid.advice).proof)


def unbound_tuple(rho: K, count: int) -> list[int]:
    """Small integers d, not all 0, with sum_k rho^k d_k = 0 in K: three equations mod p, found by lattice reduction."""
    weight, power, rows = 1 << 40, ONE, []
    for k in range(count):
        rows.append([int(i == k) for i in range(count)] + [weight * c for c in power])
        power = power * rho
    rows += [[0] * count + [weight * P * int(i == k) for i in range(3)] for k in range(3)]
    found = shortest_row(rows)
    assert not any(found[count:])
    return found[:count]


def test_sixteen_disclosed_integers(micro: Honest) -> None:
    """Group 5: an honest proof fixes one linear combination of sixteen disclosed values, with a known challenge.
    Lattice reduction finds small false values with the same combination. They are rejected because disclosed values
    are absorbed before the challenge; the statement that does not absorb them falls."""
    true = tuple(int(x) for x in micro.weights.reshape(16, 8).sum(axis=1))
    for absorbed, breaks in ((True, False), (False, True)):
        statement = Sums(micro.commitment, 3, true, absorbed)
        prover = forge(statement, [micro.data], {})
        accepts(statement, prover.proof)
        difference = unbound_tuple(prover.challenges[0], 16)
        assert any(difference)
        assert max(map(abs, difference)) < 1 << 16, "values that a reader would believe"
        false = replace(statement, values=tuple(a + b for a, b in zip(true, difference, strict=True)))
        if breaks:
            accepts(false, prover.proof)
        else:
            rejects(MerkleError, false, prover.proof)
            rejects(FinalRelationError, false, forge(false, [micro.data], {}).proof)


@pytest.mark.parametrize("wrap", [P, -P, 2**63])
def test_a_disclosed_integer_beyond_64_bits(micro: Honest, wrap: int) -> None:
    """Groups 5, 23, 30: the same residue mod p, but no signed 64-bit integer: an error of ours, not of struct."""
    rejects(StatementError, replace(micro.statement, total=micro.statement.total + wrap), micro.proof)


class OtherIdentity(Cheater):
    """Looks the cells up under an identity of its own choice."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        honest = self.workers.tree

        def tree(spec: CellFractions | PieceFractions) -> Any:
            if isinstance(spec, PieceFractions):
                spec = replace(spec, pieces=tuple(replace(piece, identity=5) for piece in spec.pieces))
            return honest(spec)

        self.workers.tree = tree  # type: ignore[method-assign]


def test_a_relation_of_the_provers_choice(micro: Honest) -> None:
    """Group 24: the prover argues a weaker statement (a table that starts at -9, another relation id) under the bytes
    of the verifier's statement. Nothing of that comes from the proof."""
    values = np.minimum(micro.weights, 6)
    values[3] = -9
    commitment, data = commit(values, parameters=MICRO)
    claimed = Toy(commitment, squares(values))
    weaker = replace(claimed, lowest=-9)
    counts = {"multiplicities": multiplicities(values, lowest=-9)}
    prover = forge(claimed, [data], counts, script=weaker.script)
    rejects(FinalRelationError, claimed, prover.proof)
    accepts(weaker, forge(weaker, [data], counts).proof)
    other = replace(micro.statement, identity=5)
    prover = forge(micro.statement, [micro.data], micro.advice, script=other.script)
    accepts(other, forge(other, [micro.data], micro.advice).proof)
    rejects(FinalRelationError, micro.statement, prover.proof)
    rejects(
        FinalRelationError, micro.statement, forge(micro.statement, [micro.data], micro.advice, OtherIdentity).proof
    )


def test_the_script_is_not_in_the_canonical_bytes(micro: Honest) -> None:
    """Group 24: two statements with the same bytes and different scripts have the same transcript: only the verifier's
    own compiler keeps them apart, so it must never take a script, or a parameter of one, from an owner."""
    stated = replace(micro.statement, identity=5)
    assert stated.canonical() == micro.statement.canonical()
    rejects(FinalRelationError, stated, micro.proof)

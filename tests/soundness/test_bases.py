"""Groups 4, 8, 13 on audits over several commitments: bases exchanged, renamed, shown twice, opened in the place of one
another. The policy is a real one; proofs are those of `audit_model`, and of provers that stop at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from circuits.errors import PolicyError, StatementError
from prover.argument.engine import FalseStatementError
from tests.support.base_models import HONEST, POLICY, Names, World, near, policy
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.graphs import KERNELS
from tests.support.lies import Lie
from verifier.argument.audit import Audit, Bases
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Oracle
from verifier.argument.errors import FinalRelationError, MerkleError
from verifier.bundle import Bundle

EXCHANGED = {"first": "second", "second": "first"}
OTHERS: dict[str, Names] = {
    "another base": {"first": "third", "second": "second"},
    "bases exchanged": EXCHANGED,
    "one base under both names": {"first": "first", "second": "first"},
    "the audited model as a base": {"first": "tuned", "second": "second"},
}


@pytest.fixture(scope="module")
def honest(world: World) -> Bundle:
    return world.bundle()


def argued(world: World, asked: Audit, names: Names, engine: type[Cheater] | None = None) -> bytes:
    """A proof by an owner who puts these models in the places of the bases that are asked about."""
    lie = Lie(world.case(asked, names))
    if engine is None:
        return lie.proof()
    return forge(lie.claim, lie.case.data, lie.witness, engine, program=lie.values.__getitem__, kernels=KERNELS).proof


def test_the_truth(world: World, honest: Bundle) -> None:
    """What the attacks are measured against; with other bases there is nothing to prove."""
    accepts(world.audit(), honest.proof)
    accepts(world.audit(), argued(world, world.audit(), HONEST))
    with pytest.raises(FalseStatementError):
        world.bundle(EXCHANGED)


def test_names_tell_bases_apart_not_their_order(world: World, honest: Bundle) -> None:
    """Owner and verifier may list the bases in any order."""
    backwards = world.audit({"second": "second", "first": "first"})
    assert backwards.commitments == world.audit().commitments
    accepts(backwards, honest.proof)
    accepts(world.audit(), world.bundle({"second": "second", "first": "first"}).proof)


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS.keys())
def test_a_proof_with_other_bases(world: World, honest: Bundle, names: Names) -> None:
    """Groups 4, 13: shown to a verifier who has other commitments under these names."""
    rejects(MerkleError, world.audit(names), honest.proof)


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS.keys())
def test_an_owner_who_takes_other_models_for_the_bases(world: World, names: Names) -> None:
    """Groups 8, 13: the true bases are argued with where the verifier has others, and the reverse; openings do not
    belong to the roots."""
    rejects(MerkleError, world.audit(names), argued(world, world.audit(names), HONEST))
    rejects(MerkleError, world.audit(), argued(world, world.audit(), names))


@pytest.mark.parametrize("names", ["another base", "bases exchanged", "one base under both names"])
def test_a_false_statement_about_the_bases_that_are_meant(world: World, names: str) -> None:
    """The verifier's bases are argued with, and the statement is false of them."""
    asked = world.audit(OTHERS[names])
    rejects(FinalRelationError, asked, argued(world, asked, OTHERS[names]))


def test_one_commitment_under_two_names_is_itself(world: World) -> None:
    """Group 13: a verifier may give one commitment for both bases; where that is true of both, it is proved, and says
    nothing about any other."""
    asked = policy(near({"commitment": "first"}), near({"commitment": "second"}, "2"))
    twice = {"first": "second", "second": "second"}
    bundle = world.bundle(twice, asked)
    accepts(world.audit(twice, asked=asked), bundle.proof)
    rejects(MerkleError, world.audit(HONEST, asked=asked), bundle.proof)
    with pytest.raises(FalseStatementError):
        world.bundle(HONEST, asked)


class OpensAnother(Cheater):
    """Argues with the right data, and opens the columns of another base."""

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        if oracle is self.models[1]:
            data = self.data[id(self.models[2])]
            return data.opening(KERNELS, oracle, positions)
        return super()._opening(oracle, positions)


class ArguesWithAnother(Cheater):
    """Opens the right columns, and argues with the cells of another model of the same layout."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        own, other = (self.data[id(self.models[i])] for i in (1, 2))
        self.data[id(self.models[1])] = replace(own, cells=other.cells)


@pytest.mark.parametrize(("cheat", "error"), [(OpensAnother, MerkleError), (ArguesWithAnother, FinalRelationError)])
def test_openings_of_another_base(world: World, cheat: type[Cheater], error: type[Exception]) -> None:
    """Groups 8, 13: at the same positions, with its own salts and paths; or none of it but the cells."""
    rejects(error, world.audit(), argued(world, world.audit(), HONEST, cheat))


def test_audited_model_and_base_exchanged(world: World) -> None:
    """Group 13: a difference is as large from either side, and yet it is another statement."""
    asked = policy(near({"commitment": "second"}))
    proof = world.bundle({"second": "second"}, asked).proof
    accepts(world.audit({"second": "second"}, asked=asked), proof)
    rejects(MerkleError, world.audit({"second": "tuned"}, "second", asked), proof)


def test_a_base_under_another_manifest(world: World, honest: Bundle) -> None:
    """Groups 4, 13: the base's root, published with a coarser scale; with parameters of another shape, which cannot be
    opened together with it."""
    base = world.models["first"].commitment
    entries = tuple(replace(entry, scale=entry.scale - 1) for entry in base.manifest.tensors)
    coarser = Commitment(base.parameters, replace(base.manifest, tensors=entries), base.root)
    second = world.models["second"].commitment
    given = Bases({"first": coarser, "second": second})
    audited = world.models["tuned"].commitment
    rejects(MerkleError, Audit(POLICY, audited, (), given), honest.proof)
    narrow = Commitment(replace(base.parameters, queries=base.parameters.queries - 1), base.manifest, base.root)
    rejects(StatementError, Audit(POLICY, audited, (), Bases({"first": narrow, "second": second})), honest.proof)


def test_bases_too_few_or_too_many(world: World, honest: Bundle) -> None:
    """A base that is missing is missed; one that the policy does not name would be opened for nothing, and is part of
    the statement."""
    rejects(PolicyError, world.audit({"first": "first"}), honest.proof)
    rejects(MerkleError, world.audit({**HONEST, "third": "third"}), honest.proof)

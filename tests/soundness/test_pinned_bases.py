"""A base model that a policy pins is that one commitment, whoever names what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from circuits.errors import PolicyError
from tests.support.base_models import World, near, policy, same_body
from verifier.decision import BaseFiles, decide, pinned_commitments

ID, OTHER = "a" * 64, "b" * 64


def pinned(identity: str | None, name: str = "first") -> dict[str, Any]:
    return {"commitment": name} if identity is None else {"commitment": name, "id": identity}


def test_a_policy_without_ids_leaves_the_choice_to_somebody_and_is_refused() -> None:
    with pytest.raises(PolicyError, match="needs one id"):
        pinned_commitments(policy(same_body(pinned(None))))


def test_one_name_with_two_ids_is_refused() -> None:
    with pytest.raises(PolicyError, match="needs one id"):
        pinned_commitments(policy(same_body(pinned(ID)), near(pinned(OTHER))))


def test_ids_are_read_by_name() -> None:
    both = policy(same_body(pinned(ID)), near(pinned(OTHER, "second")))
    assert pinned_commitments(both) == {"first": ID, "second": OTHER}


def test_an_id_is_part_of_the_policy() -> None:
    digests = {policy(same_body(pinned(identity))).digest for identity in (None, ID, OTHER)}
    assert len(digests) == 3


@pytest.mark.parametrize("base", [{"file_sha256": ID, "id": ID}, {"commitment": "first", "id": "abc"}])
def test_an_id_belongs_to_a_commitment(base: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        policy(same_body(base))


def test_another_commitment_under_the_pinned_name_is_refused_by_owner_and_verifier(world: World) -> None:
    first = world.models["first"].commitment.id
    asked = policy(same_body(pinned(first.hex())))
    bundle = world.bundle({"first": "first"}, asked)

    def decided(given: Path) -> None:
        decide(world.folders / "tuned", bundle, asked, bundle.nonce, 1, BaseFiles({"first": given}))

    decided(world.folders / "first")
    with pytest.raises(PolicyError, match="must be the commitment"):
        decided(world.folders / "second")
    with pytest.raises(PolicyError, match="must be the commitment"):
        world.bundle({"first": "tuned"}, asked)

"""Groups 4, 5, 13 on what a verifier decides from files: a bundle, the folders of the commitments, public base files.

Every file but the policy comes from somebody else. Each of them is replaced here by another that is true of something
else, and its header rewritten where it has one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from circuits.errors import FormatError, PolicyError, StatementError, VerificationError
from circuits.policy import Policy
from prover.audit import audit_model
from prover.progress import Progress
from tests.support.base_models import HONEST, POLICY, Names, World, near, policy, same_body
from tests.support.graphs import KERNELS
from tests.support.toy import NONCE
from verifier.argument.audit import Bases
from verifier.argument.errors import MerkleError, ProofFormatError, SoundnessError
from verifier.bundle import Bundle
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE, BaseFiles, Decision, decide, public_bases

OTHER_NONCE = bytes(range(1, 17))


@pytest.fixture(scope="module")
def bundle(world: World) -> Bundle:
    return world.bundle()


def base_folders(world: World, names: Names = HONEST) -> BaseFiles:
    return BaseFiles({base: world.folders / name for base, name in names.items()})


def decided(
    world: World,
    bundle: Bundle,
    bases: BaseFiles | None = None,
    asked: Policy = POLICY,
    nonce: bytes | None = NONCE,
    folder: Path | None = None,
) -> Decision:
    """A decision about `tuned` with the honest bases, unless said otherwise. The bundle travels as a file."""
    carried = Bundle.from_bytes(bundle.to_bytes())
    own = folder or world.folders / "tuned"
    return decide(own, carried, asked, nonce, 1, base_folders(world) if bases is None else bases)


def refused(error: type[Exception], match: str, *args: object, **options: object) -> None:
    """`decided` raises exactly this class of error, in words like these."""
    with pytest.raises(error, match=match or None) as caught:
        decided(*args, **options)  # type: ignore[arg-type]
    assert caught.type is error, caught.type


def test_the_truth(world: World, bundle: Bundle) -> None:
    """The report names every base by the id of its commitment."""
    report = decided(world, bundle).report()
    assert report["verdict"] == "accepted"
    assert report["bases"] == {name: world.models[name].commitment.id.hex() for name in ("first", "second")}
    assert (
        decided(world, bundle, base_folders(world, {"second": "second", "first": "first"})).disclosed
        == bundle.disclosed
    )


# ---------------------------------------------------------------- the bundle


def test_a_bundle_about_another_commitment(world: World, bundle: Bundle) -> None:
    """Group 4: as it is, and with the id that the verifier expects written over its own."""
    for name in ("first", "third"):
        other = world.folders / name
        refused(VerificationError, "another commitment", world, bundle, folder=other)
        rewritten = replace(bundle, commitment=world.models[name].commitment.id)
        refused(MerkleError, "", world, rewritten, folder=other)


def test_a_second_commitment_to_the_same_checkpoint(world: World, bundle: Bundle, tmp_path: Path) -> None:
    """Group 4: the same weights under another seed are another commitment."""
    again = world.commit("tuned")
    World.publish(tmp_path / "again", again)
    assert np.array_equal(again.integers.flat, world.models["tuned"].integers.flat)
    refused(VerificationError, "another commitment", world, bundle, folder=tmp_path / "again")
    rewritten = replace(bundle, commitment=again.commitment.id)
    refused(MerkleError, "", world, rewritten, folder=tmp_path / "again")


@pytest.mark.parametrize(
    "asked",
    [
        policy(same_body({"commitment": "first"}), near({"commitment": "second"}, "0.9")),
        policy(same_body({"commitment": "first"}), near({"commitment": "second"}) | {"count": 2}),
        policy(same_body({"commitment": "first"}), near({"commitment": "second"}), name="another name"),
        policy(near({"commitment": "second"}), same_body({"commitment": "first"})),
        policy(same_body({"commitment": "first"})),
        policy(same_body({"commitment": "second"}), near({"commitment": "first"})),
    ],
    ids=["stricter", "written otherwise", "renamed", "reordered", "shortened", "bases exchanged"],
)
def test_a_bundle_for_another_policy(world: World, bundle: Bundle, asked: Policy) -> None:
    """Group 4: even for one that says the same."""
    refused(VerificationError, "another policy", world, bundle, asked=asked)
    with pytest.raises((MerkleError, ProofFormatError)):
        decided(world, replace(bundle, policy=asked.digest), asked=asked)


def test_a_bundle_for_another_nonce(world: World, bundle: Bundle) -> None:
    """Group 4: a verifier who hands out no nonce is told that freshness is not shown, and cannot be given an empty
    one."""
    refused(VerificationError, "another nonce", world, bundle, nonce=OTHER_NONCE)
    refused(MerkleError, "", world, replace(bundle, nonce=OTHER_NONCE), nonce=OTHER_NONCE)
    refused(MerkleError, "", world, replace(bundle, nonce=OTHER_NONCE), nonce=None)
    for nonce in (b"", NONCE[:15]):
        refused(StatementError, "nonce", world, replace(bundle, nonce=nonce), nonce=None)
    refused(FormatError, "nonce", world, replace(bundle, nonce=bytes(257)), nonce=None)
    decision = decided(world, bundle, nonce=None)
    assert not decision.nonce_from_verifier
    assert "freshness is not shown" in decision.report()["nonce"]


def test_values_that_the_policy_does_not_ask_for(world: World, bundle: Bundle) -> None:
    """Group 5: whatever a bundle discloses is part of the statement."""
    refused(VerificationError, "another number of values", world, replace(bundle, disclosed=(1,)))


def test_disclosed_values_are_those_of_the_proof(world: World) -> None:
    """Group 5: one off in any of them, and beyond the interval that the policy's compiler knows."""
    asked = policy({"check": "kurtosis", "tensors": "*", "over": "together", "disclose": True})
    honest = world.bundle({}, asked)
    own = BaseFiles()
    true = decided(world, honest, own, asked).disclosed
    assert true == honest.disclosed and len(true) >= 4
    for number in range(len(true)):
        values = (*true[:number], true[number] + (-1) ** number, *true[number + 1 :])
        with pytest.raises(VerificationError):
            decided(world, replace(honest, disclosed=values), own, asked)
    refused(VerificationError, "is not in", world, replace(honest, disclosed=(1 << 62, *true[1:])), own, asked)
    refused(VerificationError, "another number", world, replace(honest, disclosed=true[:-1]), own, asked)


# ---------------------------------------------------------------- the folders


def spoiled(world: World, name: str, place: Path, file: str, data: bytes | None) -> Path:
    """A copy of a public folder with one file replaced, or without it."""
    folder = place / f"{name} without {file}"
    shutil.copytree(world.folders / name, folder)
    (folder / file).unlink()
    if data is not None:
        (folder / file).write_bytes(data)
    return folder


def proof_of(world: World, name: str) -> bytes:
    return (world.folders / name / VALIDITY_FILE).read_bytes()


def commitment_of(world: World, name: str) -> bytes:
    return (world.folders / name / COMMITMENT_FILE).read_bytes()


SPOILED: dict[str, tuple[type[Exception], str, Callable[[World, str], bytes | None]]] = {
    "no validity proof": (FormatError, VALIDITY_FILE, lambda *_: None),
    "an empty one": (ProofFormatError, VALIDITY_FILE, lambda *_: b""),
    "another model's": (MerkleError, VALIDITY_FILE, lambda world, _: proof_of(world, "third")),
    "a truncated one": (ProofFormatError, VALIDITY_FILE, lambda world, name: proof_of(world, name)[:-1]),
    "one with a tail": (ProofFormatError, VALIDITY_FILE, lambda world, name: proof_of(world, name) + b"\0"),
    "no commitment": (FormatError, COMMITMENT_FILE, lambda *_: None),
    "another commitment": (MerkleError, COMMITMENT_FILE, lambda world, _: commitment_of(world, "third")),
    "another scale in the manifest": (
        FormatError, COMMITMENT_FILE,
        lambda world, name: commitment_of(world, name).replace(b'"scale": 12', b'"scale": 11'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("role", ["audited", "base"])
@pytest.mark.parametrize("kind", SPOILED)
def test_a_folder_that_is_not_whole(world: World, bundle: Bundle, tmp_path: Path, kind: str, role: str) -> None:
    """Groups 4, 13: the validity of the audited model and of every base is checked from its own folder; a statement
    about a commitment whose histograms and ranges were never shown means nothing."""
    error, file, make = SPOILED[kind]
    name = "tuned" if role == "audited" else "first"
    folder = spoiled(world, name, tmp_path, file, make(world, name))
    if role == "audited":
        refused(error, "", world, bundle, folder=folder)
    else:
        refused(error, "", world, bundle, BaseFiles({**base_folders(world).folders, "first": folder}))


@pytest.mark.parametrize(
    "names",
    [
        {"first": "third", "second": "second"},
        {"first": "second", "second": "first"},
        {"first": "first", "second": "first"},
        {"first": "tuned", "second": "tuned"},
        {**HONEST, "third": "third"},
    ],
    ids=["another", "exchanged", "one twice", "the audited one", "one more"],
)
def test_other_base_folders(world: World, bundle: Bundle, names: Names) -> None:
    """Group 13: every folder is a valid one; the bundle is about others."""
    refused(MerkleError, "", world, bundle, base_folders(world, names))


def test_a_base_that_is_not_given(world: World, bundle: Bundle) -> None:
    """Under its own name, that is: the prover's name for it does not count."""
    for names in ({"first": "first"}, {"first": "first", "other": "second"}):
        refused(PolicyError, "was not given", world, bundle, base_folders(world, names))


def test_parameters_of_a_base_below_the_level_asked_for(world: World, bundle: Bundle) -> None:
    """The toy parameters of all these models reach four bits."""
    with pytest.raises(SoundnessError):
        decide(world.folders / "tuned", bundle, POLICY, NONCE, bases=base_folders(world))


# ---------------------------------------------------------------- public files


def public_bundle(world: World, file: Path, asked: Policy) -> Bundle:
    """The library's proof against a public base file."""
    audited = world.opened("tuned")
    public = public_bases([file], audited.model.commitment.manifest)
    return audit_model(audited, asked, NONCE, KERNELS, Progress.silent(), public=public)


def test_a_public_base_file_that_is_replaced(world: World, tmp_path: Path) -> None:
    """Group 13: the policy pins its digest: other weights, the same weights in another file, another file besides,
    or a commitment in its place are no answer; nor is a proof about another file, which the policy would have to
    pin."""
    world.folders.stat()
    file, digest = world.file("first"), world.digest("first")
    asked = policy(same_body({"file_sha256": digest}), near({"file_sha256": digest}, "100"))
    honest = public_bundle(world, file, asked)
    own = BaseFiles(checkpoints=(file,))
    assert decided(world, honest, own, asked).report()["bases"] == {digest: "public file"}
    decided(world, honest, BaseFiles(checkpoints=(world.file("third"), file)), asked)

    moved, resaved = tmp_path / "base.safetensors", tmp_path / "resaved.safetensors"
    shutil.copy(file, moved)
    decided(world, honest, BaseFiles(checkpoints=(moved,)), asked)
    shutil.copy(world.file("third"), moved)
    save_file(load_file(file), resaved, metadata={"format": "np"})
    for other in (moved, resaved):
        refused(PolicyError, "was not given", world, honest, BaseFiles(checkpoints=(other,)), asked)
    refused(PolicyError, "was not given", world, honest, BaseFiles(), asked)
    refused(PolicyError, "must be", world, honest, BaseFiles({digest: world.folders / "first"}), asked)
    refused(PolicyError, "has the name of", world, honest, BaseFiles({digest: world.folders / "first"}, (file,)), asked)

    third = world.digest("third")
    pinned = policy(near({"file_sha256": third}, "1000"))
    bundle = public_bundle(world, world.file("third"), pinned)
    rewritten = replace(bundle, policy=asked.digest)
    with pytest.raises((MerkleError, ProofFormatError)):
        decided(world, rewritten, own, asked)


def test_what_an_owner_makes_of_a_public_base(world: World) -> None:
    """Group 13: integers that are not the file's own are other constants of the statement, and the verifier quantises
    the file itself."""
    world.folders.stat()
    file, digest = world.file("third"), world.digest("third")
    asked = policy(same_body({"file_sha256": digest}))
    audited = world.opened("tuned")
    manifest, integers = public_bases([file], audited.model.commitment.manifest)[digest]
    bent = {**integers, "body.weight": audited.model.integers.matrix("body.weight")}
    bundle = audit_model(audited, asked, NONCE, KERNELS, Progress.silent(), public={digest: (manifest, bent)})
    refused(MerkleError, "", world, bundle, BaseFiles(checkpoints=(file,)), asked)
    assert Bases(public={digest: (manifest, bent)}).context(audited.model.commitment).public[digest] is bent

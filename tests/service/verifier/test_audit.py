"""An audit between two processes over mutual TLS: nonce, proof, verdict, attestation, receipt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from circuits.errors import FormatError, PolicyError
from tests.end_to_end.commands import ACCEPTED, verifier
from tests.end_to_end.models import norms, write_policy
from tests.service.parties import Owner, Service
from verifier.attestation.bundle import read_bundle
from verifier.bundle import Bundle
from verifier.log.monitor import read_checkpoint
from verifier.log.note import VerifierKey
from verifier.log.source import FolderSource
from verifier.service.certificate import fetch_certificate
from verifier.service.client import VerifierClient
from verifier.service.errors import ConflictError, NotFoundError, StateError
from weightproof.v1 import verifier_service_pb2 as wire


@pytest.fixture(scope="module")
def accepted(service: Service, owner: Owner, tmp_path_factory: pytest.TempPathFactory) -> wire.Audit:
    """An audit that ended well."""
    acme = service.client("acme")
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path_factory.mktemp("bundle") / "bundle")
    acme.submit_proof(audit.name, bundle)
    return acme.wait_audit(audit.name)


def test_a_true_statement_is_accepted_signed_and_logged(
    service: Service, owner: Owner, acme: VerifierClient, accepted: wire.Audit, tmp_path: Path
) -> None:
    assert accepted.verdict == wire.VERDICT_ACCEPTED
    fetch_certificate(acme, accepted.name, tmp_path)
    attestation = tmp_path / "attestation.intoto.jsonl"
    public = service.folder / "attestation.pub"
    policy = ("--policy", owner.policy)
    verifier("attestation", "verify", attestation, "--key", public, *policy).clean(ACCEPTED)
    receipt = tmp_path / "receipt.tlog-proof"
    key = service.folder / "log.pub"
    verifier("log", "verify", receipt, "--key", key, "--attestation", attestation).clean(ACCEPTED)
    # offline, from the fetched folder alone, the proof itself verifies again
    nonce = ("--nonce", accepted.nonce.hex())
    verifier("verify", tmp_path, tmp_path / "bundle", "--policy", tmp_path / "policy.yaml", *nonce).clean(ACCEPTED)


def test_the_log_holds_one_entry_per_envelope_and_only_grows(
    service: Service, acme: VerifierClient, accepted: wire.Audit, tmp_path: Path
) -> None:
    fetch_certificate(acme, accepted.name, tmp_path)
    envelopes = len(read_bundle(tmp_path / "attestation.intoto.jsonl").envelopes)
    key = service.folder / "log.pub"
    _, head = read_checkpoint(FolderSource(service.folder / "log"), VerifierKey.read(key))
    assert head.size % envelopes == 0 and head.size > accepted.log_index
    verifier("log", "monitor", service.folder / "log", "--key", key, "--state", tmp_path / "seen").clean(ACCEPTED)


def test_a_false_proof_is_a_verdict_and_uses_up_the_nonce(owner: Owner, acme: VerifierClient, tmp_path: Path) -> None:
    audit = owner.open_audit(acme)
    bundle = Bundle.read(owner.prove(audit.nonce, tmp_path / "bundle"))
    changed = bytearray(bundle.proof)
    changed[len(changed) // 2] ^= 1
    forged = tmp_path / "forged"
    forged.write_bytes(
        Bundle(bundle.commitment, bundle.policy, bundle.nonce, bundle.disclosed, bytes(changed)).to_bytes()
    )
    acme.submit_proof(audit.name, forged)
    decided = acme.wait_audit(audit.name)
    assert decided.verdict == wire.VERDICT_REJECTED and decided.error and decided.reason
    assert not decided.HasField("attestation")
    with pytest.raises(StateError, match="used already"):
        acme.submit_proof(audit.name, tmp_path / "bundle")
    with pytest.raises(StateError, match="no certificate"):
        fetch_certificate(acme, audit.name, tmp_path / "certificate")


def test_asking_twice_changes_nothing(owner: Owner, acme: VerifierClient, accepted: wire.Audit, tmp_path: Path) -> None:
    request_id = os.urandom(8).hex()
    first = owner.open_audit(acme, request_id)
    assert owner.open_audit(acme, request_id) == first
    bundle = owner.prove(first.nonce, tmp_path / "bundle")
    acme.submit_proof(first.name, bundle)
    acme.submit_proof(first.name, bundle)
    ended = acme.wait_audit(first.name)
    assert ended.verdict == wire.VERDICT_ACCEPTED
    assert acme.submit_proof(first.name, bundle) == ended


def test_a_request_id_stands_for_one_audit(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    request_id = os.urandom(8).hex()
    audit = owner.open_audit(acme, request_id)
    other = write_policy(tmp_path / "other.yaml", norms("999"))
    published = service.client("regulator").publish_policy(other.read_bytes())
    with pytest.raises(ConflictError):
        acme.create_audit(request_id, audit.commitment, published.name)


def test_a_proof_for_another_audit_is_refused_and_the_nonce_kept(
    owner: Owner, acme: VerifierClient, accepted: wire.Audit, tmp_path: Path
) -> None:
    audit, other = owner.open_audit(acme), owner.open_audit(acme)
    bundle = owner.prove(other.nonce, tmp_path / "bundle")
    with pytest.raises(FormatError, match="another nonce"):
        acme.submit_proof(audit.name, bundle)
    assert acme.audit(audit.name).state == wire.AUDIT_STATE_OPEN
    acme.submit_proof(other.name, bundle)
    assert acme.wait_audit(other.name).verdict == wire.VERDICT_ACCEPTED


def test_a_valid_proof_under_another_policy_is_refused(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    weaker = write_policy(tmp_path / "weaker.yaml", norms("100000"))
    service.client("regulator").publish_policy(weaker.read_bytes())
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path / "bundle", weaker)
    with pytest.raises(FormatError, match="another policy"):
        acme.submit_proof(audit.name, bundle)


def test_an_unknown_policy_or_commitment_gets_no_nonce(owner: Owner, acme: VerifierClient) -> None:
    commitment = owner.register(acme)
    with pytest.raises(NotFoundError, match="policy"):
        acme.create_audit("x", commitment, "policies/" + "0" * 64)
    with pytest.raises(NotFoundError, match="commitment"):
        acme.create_audit("x", "commitments/" + "0" * 64, owner.policy_name)


def test_an_owner_cannot_choose_what_a_base_model_is(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    regulator, commitment = service.client("regulator"), owner.register(acme)
    budget: dict[str, Any] = {"check": "change-budget", "tensors": "*", "norm": "max", "at_most": "0.01"}
    open_choice = write_policy(tmp_path / "open.yaml", {**budget, "base": {"commitment": "clean"}})
    with pytest.raises(PolicyError, match="the owner must not choose"):
        regulator.publish_policy(open_choice.read_bytes())
    pinned = {"commitment": "clean", "id": "c" * 64}
    policy = regulator.publish_policy(write_policy(tmp_path / "p.yaml", {**budget, "base": pinned}).read_bytes())
    for bases in ({}, {"clean": commitment}, {"other": commitment}):
        with pytest.raises(FormatError, match="not those that its policy pins"):
            acme.create_audit(os.urandom(8).hex(), commitment, policy.name, bases)


def test_an_invalid_commitment_gets_no_nonce(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    rival = service.client("rival")
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "commitment.json").write_bytes((owner.folder / "commitment.json").read_bytes())
    proof = bytearray((owner.folder / "validity.proof").read_bytes())
    proof[len(proof) // 2] ^= 1
    (folder / "validity.proof").write_bytes(proof)
    name = rival.register_commitment(folder, "stolen").name
    with pytest.raises(Exception, match="invalid"):
        rival.wait_commitment(name)
    with pytest.raises(StateError, match="not valid"):
        rival.create_audit("x", name, owner.policy_name)


def test_lists_come_in_pages(owner: Owner, service: Service, acme: VerifierClient) -> None:
    names = {owner.open_audit(acme).name for _ in range(3)}
    found = [audit.name for audit in acme.audits()]
    assert names <= set(found) and len(found) == len(set(found))
    stub = acme._stub  # the page size is not a parameter of the client
    pages: list[str] = []
    token = ""
    while True:
        answer = stub.ListAudits(wire.ListAuditsRequest(page_size=2, page_token=token), timeout=10)
        pages.extend(audit.name for audit in answer.audits)
        assert len(answer.audits) <= 2
        token = answer.next_page_token
        if not token:
            break
    assert pages == found


def test_a_service_that_is_told_to_stop_ends_cleanly_and_starts_again(
    certificates: object, owner: Owner, tmp_path: Path, service: Service
) -> None:
    other = Service.make(tmp_path / "service", service.certificates, policies=[owner.policy]).start()
    client = other.client("acme")
    name = owner.open_audit(client).name
    assert other.stop() == 0
    other.start()
    assert other.client("acme").audit(name).state == wire.AUDIT_STATE_OPEN
    assert other.stop() == 0
    other.close()

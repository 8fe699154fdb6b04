"""From a proof that the verifier accepted, through certificate and log, to a relying party: with nothing made up."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from circuits.errors import FormatError
from circuits.policy import Policy
from tests.end_to_end.commands import ACCEPTED, prover
from tests.end_to_end.models import norms, small_tensors, write_policy, write_safetensors
from tests.unit.verifier.attestation.examples import (
    DATES,
    OWNER,
    PROVED,
    REGULATOR,
    SUBJECT,
    UNTIL,
    VERIFIED,
    audit,
    report,
    signed,
)
from verifier.attestation.bundle import bundle_bytes, parse_bundle
from verifier.attestation.issue import SVR, Dates, attest, model_audit, verification_result
from verifier.attestation.keys import SigningKey
from verifier.attestation.statement import Statement, model_digest
from verifier.attestation.verification import verify
from verifier.bundle import Bundle
from verifier.decision import Decision, decide
from verifier.log.entry import attestation_entry
from verifier.log.note import NoteSigner
from verifier.log.receipt import Receipt
from verifier.log.writer import LogWriter

NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[Decision, Path]:
    """A small model, committed and audited by the commands, and decided on; and its file."""
    place = tmp_path_factory.mktemp("decided")
    model = write_safetensors(place / "model.safetensors", small_tensors())
    folder, bundle = place / "commitment", place / "bundle"
    policy = write_policy(place / "policy.yaml", norms("25"), norms("30", over="together"))
    prover("commit", model, "--out", folder, "--proofs", "2").clean(ACCEPTED)
    arguments = ("--model", model, "--policy", policy, "--out", bundle, "--nonce", NONCE.hex())
    prover("audit", folder, *arguments).clean(ACCEPTED)
    return decide(folder, Bundle.read(bundle), Policy.read(policy), NONCE), model


def test_the_whole_way(decided: tuple[Decision, Path], key: SigningKey, stranger: SigningKey, tmp_path: Path) -> None:
    decision, model = decided
    now = datetime.now(UTC)
    dates = Dates(now, now, now + timedelta(days=365))
    owners = attest(decision, stranger, OWNER, "small", dates)
    regulators = attest(decision, key, REGULATOR, "small", dates, {"bundle": "12" * 32})
    assert (len(owners), len(regulators)) == (1, 2)
    signer = NoteSigner.generate("log.example/weights")
    with LogWriter(tmp_path / "log", signer, create=True) as writer:
        numbers = writer.append([attestation_entry(envelope) for envelope in regulators])
        receipt = writer.receipt(numbers[0]).to_bytes()
    certificate = bundle_bytes(owners + regulators)

    # years later, offline: two files and two public keys
    envelopes = parse_bundle(certificate).envelopes
    digest = hashlib.sha256(hashlib.sha256(model.read_bytes()).digest()).hexdigest()
    found = verify(envelopes, key.public, now + timedelta(days=300), subject=digest)
    assert found.audit.commitment == decision.commitment.id.hex()
    assert found.audit.policy.digest.sha256 == decision.policy.digest.hex()
    assert found.audit.nonce == "verifier"
    assert [(c.metric, c.comparator, c.threshold) for c in found.audit.claims] == [
        ("frobenius-norm", "<=", "25"),
        ("frobenius-norm", "<=", "30"),
    ]
    assert found.audit.claims[0].about == ("layer.0.bias", "layer.0.weight", "layer.1.weight")
    assert Receipt.from_bytes(receipt).verify(attestation_entry(found.envelope), signer.key).size == 2
    assert verify(envelopes, stranger.public, now).audit.issuer == OWNER


def test_the_summary_of_the_regulator(decided: tuple[Decision, Path], key: SigningKey) -> None:
    decision, _ = decided
    full, short = (Statement.from_bytes(e.payload) for e in attest(decision, key, REGULATOR, "small", DATES))
    assert short.predicate_type == SVR
    assert short.subjects == full.subjects
    assert short.subjects[0].sha256 == model_digest(decision.commitment.manifest.files)
    assert short.predicate == {
        "verifier": {
            "id": REGULATOR.id,
            "policies": [{"name": "test", "digest": {"sha256": decision.policy.digest.hex()}}],
        },
        "timeCreated": "2026-03-01T12:00:00Z",
        "properties": ["WEIGHTPROOF_EXACT_FROBENIUS_NORM", "WEIGHTPROOF_POLICY_SATISFIED"],
    }


def test_a_property_that_was_not_shown_is_not_summarised() -> None:
    claims = [{**report()["claims"][0], "passed": False}, report()["claims"][2]]
    assert verification_result(audit(claims=claims))["properties"] == ["WEIGHTPROOF_THEOREM_SAME_EXCEPT"]


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": []},
        {"commitment": "short"},
        {"policy": {"name": "", "digest": "ef" * 32}},
        {"claims": [{**report()["claims"][0], "strength": "absolute"}]},
        {"claims": [{**report()["claims"][0], "parameters": {"at_most": "about 3"}}]},
    ],
)
def test_what_cannot_be_attested(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        audit(**changes)
    with pytest.raises(FormatError, match="validUntil"):
        model_audit(report(), REGULATOR, Dates(PROVED, UNTIL, VERIFIED), {})
    with pytest.raises(FormatError, match="zone"):
        model_audit(report(), REGULATOR, Dates(PROVED.replace(tzinfo=None), VERIFIED, UNTIL), {})


def test_an_entry_of_the_log_shows_digests_only(key: SigningKey) -> None:
    envelope = signed(key)
    entry = json.loads(attestation_entry(envelope))
    assert entry == {
        "format": "weightproof/log-entry/v1",
        "payload": {"sha256": hashlib.sha256(envelope.payload).hexdigest()},
        "payloadType": "application/vnd.in-toto+json",
        "signature": {"sha256": hashlib.sha256(envelope.signature).hexdigest()},
    }
    assert SUBJECT.name not in attestation_entry(envelope).decode()

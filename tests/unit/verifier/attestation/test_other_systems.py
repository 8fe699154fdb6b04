"""Attestations of proofs by another system say whose reference string they rest on and whether they are linked."""

from __future__ import annotations

from typing import Any

import pytest

from circuits.errors import FormatError, TrustError
from tests.unit.verifier.attestation.examples import DURING, REGULATOR, SUBJECT, audit, signed
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import verification_result
from verifier.attestation.keys import SigningKey
from verifier.attestation.predicate import MODEL_AUDIT, MODEL_AUDIT_OTHER_SYSTEM, ModelAudit
from verifier.attestation.statement import PAYLOAD_TYPE, Statement
from verifier.attestation.summary import summary
from verifier.attestation.verification import verify
from verifier.backends.ezkl.decision import PROOF_SYSTEM, REGIME


def ezkl_audit(*, linked: bool = True, origin: str = "designated", **changes: Any) -> ModelAudit:
    """What an ezkl decision's report becomes."""
    return audit(
        REGULATOR,
        proof_system=PROOF_SYSTEM,
        linked=linked,
        reference_string={"sha256": "aa" * 32, "origin": origin},
        security={"target_bits": 100, "regime": REGIME},
        **changes,
    )


def envelope(key: SigningKey, found: ModelAudit, predicate_type: str = MODEL_AUDIT_OTHER_SYSTEM) -> Envelope:
    statement = Statement((SUBJECT,), predicate_type, found.to_json())
    return Envelope.sign(statement.to_bytes(), PAYLOAD_TYPE, key)


def test_the_predicate_names_system_string_and_link() -> None:
    value = ezkl_audit().to_json()
    assert value["proofSystem"] == PROOF_SYSTEM
    assert value["referenceString"] == {"digest": {"sha256": "aa" * 32}, "origin": "designated"}
    assert value["linked"] is True
    assert "per round" not in value["soundnessRegime"]
    assert ModelAudit.from_json(value, MODEL_AUDIT_OTHER_SYSTEM) == ezkl_audit()


def test_attestations_of_native_proofs_are_as_they_were(key: SigningKey) -> None:
    value = audit().to_json()
    assert "linked" not in value
    assert "referenceString" not in value
    assert audit().predicate_type == MODEL_AUDIT
    assert verify([signed(key)], key.public, DURING).audit == audit()


def test_a_linked_one_is_relied_on(key: SigningKey) -> None:
    found = ezkl_audit()
    assert verify([envelope(key, found)], key.public, DURING).audit == found


def test_an_unlinked_one_is_not_relied_on(key: SigningKey) -> None:
    with pytest.raises(TrustError, match="not linked"):
        verify([envelope(key, ezkl_audit(linked=False))], key.public, DURING)
    assert verification_result(ezkl_audit(linked=False))["properties"] == []


def test_members_of_one_version_are_refused_in_the_other(key: SigningKey) -> None:
    """A reader of v0.1 never meets a claim that v0.2 would qualify."""
    for found, predicate_type in ((ezkl_audit(), MODEL_AUDIT), (audit(), MODEL_AUDIT_OTHER_SYSTEM)):
        with pytest.raises(TrustError, match="members"):
            verify([envelope(key, found, predicate_type)], key.public, DURING)
    half = ezkl_audit().to_json()
    del half["linked"]
    with pytest.raises(FormatError, match="come together"):
        ModelAudit.from_json(half, MODEL_AUDIT_OTHER_SYSTEM)


def test_the_summary_says_it_in_words() -> None:
    statement = Statement((SUBJECT,), MODEL_AUDIT_OTHER_SYSTEM, {})
    own = "\n".join(summary(statement, ezkl_audit(linked=False)))
    assert "made by the issuer: it convinces the issuer only" in own
    assert "NOT LINKED" in own
    public = "\n".join(summary(statement, ezkl_audit(origin="perpetual powers of tau")))
    assert "of perpetual powers of tau" in public
    assert "Linked to the commitment." in public

"""Relying on an attestation: denied unless a passing, unexpired one by the given key is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from circuits.errors import TrustError, WeightproofError
from verifier.attestation.envelope import Envelope
from verifier.attestation.keys import PublicKey
from verifier.attestation.predicate import MODEL_AUDIT, MODEL_AUDIT_OTHER_SYSTEM, ModelAudit
from verifier.attestation.statement import PAYLOAD_TYPE, Statement

CLOCK_SKEW = timedelta(minutes=5)
"""How far the issuer's clock may be ahead of ours. The end of validity has no such allowance."""
MAX_REASONS = 10


@dataclass(frozen=True)
class Attestation:
    """An envelope and what it says. Only `verify` and `relied_on` say whether it is to be believed."""

    envelope: Envelope
    statement: Statement
    audit: ModelAudit

    @staticmethod
    def open(envelope: Envelope) -> Attestation:
        """Parse a model-audit attestation, signed by whomever. Raises FormatError, TrustError (another type)."""
        if envelope.payload_type != PAYLOAD_TYPE:
            raise TrustError(f"the payload is not {PAYLOAD_TYPE}")
        statement = Statement.from_bytes(envelope.payload)
        if statement.predicate_type not in (MODEL_AUDIT, MODEL_AUDIT_OTHER_SYSTEM):
            raise TrustError(f"the predicate is not {MODEL_AUDIT}")
        return Attestation(envelope, statement, ModelAudit.from_json(statement.predicate, statement.predicate_type))

    def relied_on(self, at: datetime) -> None:
        """Raises TrustError unless every claim passed, about this commitment, and `at` lies within the validity."""
        if not self.audit.passed:
            failed = ", ".join(claim.id for claim in self.audit.claims if not claim.passed)
            raise TrustError(f"it says that claims were not shown: {failed}"[:500])
        if self.audit.linked is False:
            raise TrustError("its proof is not linked to the commitment: it says nothing about this model's weights")
        if at < self.audit.begins - CLOCK_SKEW:
            raise TrustError(f"it was verified at {self.audit.verified_at}, which is in the future; check the clock")
        if at >= self.audit.ends:
            raise TrustError(f"it expired at {self.audit.valid_until}; ask for a new audit")


def verify(
    envelopes: Sequence[Envelope],
    key: PublicKey,
    at: datetime,
    *,
    subject: str | None = None,
    policy: str | None = None,
    commitment: str | None = None,
) -> Attestation:
    """The attestation to rely on: signed by the key, passing, valid at `at`, and about what the caller names.

    Args:
        at: a moment with a time zone.
        subject, policy, commitment: digests in hex that it must be about; None for any.

    Soundness: with no `subject` or `commitment` given, the caller must compare them with the model at hand. A bundle
    may lack attestations that its bearer does not want to be seen: absence of a failed one means nothing.

    Of several the latest is returned, whatever their order in the file. Raises TrustError: there is none, with reasons.
    """
    found: list[Attestation] = []
    reasons: list[str] = []
    for number, envelope in enumerate(envelopes, start=1):
        try:
            envelope.verify(key)
            attestation = Attestation.open(envelope)
            attestation.relied_on(at)
            _check_about(attestation, subject, policy, commitment)
        except WeightproofError as error:
            reasons.append(f"attestation {number}: {error}")
        else:
            found.append(attestation)
    if not found:
        listed = "; ".join(reasons[:MAX_REASONS]) or "there is no attestation at all"
        raise TrustError(f"no passing, unexpired attestation by the key {key.key_id[:16]}: {listed}")
    return max(found, key=lambda item: (item.audit.begins, item.envelope.payload))


def _check_about(attestation: Attestation, subject: str | None, policy: str | None, commitment: str | None) -> None:
    audit = attestation.audit
    if subject is not None and subject not in {item.sha256 for item in attestation.statement.subjects}:
        raise TrustError(f"it is about another model than {subject}")
    if policy is not None and policy != audit.policy.digest.sha256:
        raise TrustError(f"it is about the policy {audit.policy.digest.sha256}, not {policy}")
    if commitment is not None and commitment != audit.commitment:
        raise TrustError(f"it is about the commitment {audit.commitment}, not {commitment}")

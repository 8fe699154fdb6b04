"""The integers that an attestation quotes, in real units: they need the policy and the public commitment to be read."""

from __future__ import annotations

from circuits.checks.base import Context
from circuits.checks.disclosed import Disclosure
from circuits.disclosures import disclosing, read_disclosures
from circuits.errors import TrustError
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.attestation.predicate import ModelAudit


def require_same(audit: ModelAudit, policy: Policy | None, commitment: Commitment | None) -> None:
    """Raises TrustError if the attestation is about another policy or another commitment than these."""
    if policy is not None and policy.digest.hex() != audit.policy.digest.sha256:
        raise TrustError(f"it is about the policy {audit.policy.digest.sha256}, not {policy.digest.hex()}")
    if commitment is not None and commitment.id.hex() != audit.commitment:
        raise TrustError(f"it is about the commitment {audit.commitment}, not {commitment.id.hex()}")


def attested_disclosures(audit: ModelAudit, policy: Policy, commitment: Commitment) -> list[Disclosure]:
    """The disclosed statistics, in the order of the proof.

    Soundness: they are the issuer's word, like the claims; the signature must have been checked.

    Raises TrustError (another policy or commitment), FormatError (not what this policy discloses), PolicyError,
    StatementError (the policy does not fit the model).
    """
    require_same(audit, policy, commitment)
    instances = disclosing(policy, Context(commitment.manifest))
    return read_disclosures(policy, instances, [int(value) for value in audit.disclosed])

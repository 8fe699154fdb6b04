"""An attestation in plain language: the same sentences from the same statement, always.

Every word may come from an attacker until a signature was checked, so nothing unprintable reaches a terminal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from verifier.attestation.predicate import Claim, ModelAudit
from verifier.attestation.statement import Statement

_STRENGTH = {
    "theorem": "a theorem: it holds for every input of the stated domain",
    "exact": "an exact fact about the weights",
    "indicator": "an indicator: evidence only",
}
_COMPARATOR = {"<=": "is at most", ">=": "is at least", "holds": "holds", "disclosed": "is disclosed"}


@dataclass(frozen=True)
class Sentence:
    """The parts of a sentence about a claim: what it says, how strong that is, and what it does not mean."""

    says: str
    strength: str
    caution: str

    @staticmethod
    def of(claim: Claim) -> Sentence:
        """The same parts from the same claim, with nothing unprintable in them."""
        scope = ", ".join(f"{key} {_plain(value)}" for key, value in sorted(claim.parameters.items()))
        about = f"{claim.metric} ({scope})" if scope else claim.metric
        if claim.about:
            about += f" of {claim.about[0] if len(claim.about) == 1 else f'each of {len(claim.about)}'}"
        outcome = " ".join(filter(None, (_COMPARATOR[claim.comparator], claim.threshold)))
        verdict = "" if claim.passed else "NOT SHOWN: "
        return Sentence(
            printable(f"{verdict}{about} {outcome}"),
            f"this is {_STRENGTH[claim.strength]}",
            printable(f"what it does not mean: {claim.does_not_mean.rstrip('.')}."),
        )

    def __str__(self) -> str:
        return f"{self.says}; {self.strength}; {self.caution}"


def sentence(claim: Claim) -> str:
    """One claim: what it says, how strong that is, and what it does not mean."""
    return str(Sentence.of(claim))


def summary(statement: Statement, audit: ModelAudit) -> list[str]:
    """The lines of a summary: who says what about which model, and one sentence per claim."""
    subjects = ", ".join(f"{subject.name} (sha256 {subject.sha256})" for subject in statement.subjects)
    fresh = "chosen by the verifier" if audit.nonce == "verifier" else "chosen by the prover: freshness is not shown"
    lines = [
        f"Model: {subjects}.",
        f"Issued by {audit.issuer.id}, as {audit.issuer.role}.",
        f"Policy: {audit.policy.name} (sha256 {audit.policy.digest.sha256}).",
        f"Commitment: {audit.commitment}.",
        *(f"{number}. {sentence(claim)}" for number, claim in enumerate(audit.claims, start=1)),
        f"Proof system {audit.proof_system}, {audit.security_bits} bits {audit.soundness_regime}; nonce {fresh}.",
        f"Proved {audit.proved_at}, verified {audit.verified_at}, valid until {audit.valid_until}.",
    ]
    if audit.reference_string is not None:
        origin = audit.reference_string
        whose = "made by the issuer: it convinces the issuer only" if origin.designated else f"of {origin.origin}"
        lines.append(f"Rests on the reference string {origin.digest.sha256}, {whose}.")
    if audit.linked is not None:
        shown = (
            "Linked to the commitment" if audit.linked else "NOT LINKED to the commitment: shown for some weights only"
        )
        lines.append(f"{shown}.")
    if audit.not_covered:
        lines.append(f"Not covered: {len(audit.not_covered)} tensors of integers or booleans.")
    if audit.disclosed:
        lines.append(f"Values disclosed: {len(audit.disclosed)}.")
    lines.extend(f"Evidence: {item.name} (sha256 {item.digest.sha256})." for item in audit.evidence)
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """The text with everything that is not printable written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)

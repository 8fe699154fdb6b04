"""From an accepted decision to signed statements: the audit, and the regulator's short summary of it (SVR).

Source of the summary: in-toto attestation, predicate "Simple Verification Result", v0.2 (verifier.policies required).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from circuits.errors import FormatError
from verifier.argument.parameters import PROTOCOL_VERSION
from verifier.attestation.envelope import Envelope, Signs
from verifier.attestation.predicate import (
    Claim,
    Digest,
    Evidence,
    Issuer,
    ModelAudit,
    PolicyReference,
    ReferenceStringOrigin,
)
from verifier.attestation.statement import PAYLOAD_TYPE, Statement, Subject, model_digest
from verifier.attestation.times import format_time
from verifier.backends.ezkl.decision import EzklDecision
from verifier.decision import Decision

SVR = "https://in-toto.io/attestation/svr/v0.2"
_THRESHOLDS: dict[str, Literal["<=", ">="]] = {"at_most": "<=", "at_least": ">="}


@dataclass(frozen=True)
class Dates:
    """Moments, each with a time zone: when it was proved (the prover's word), verified, and until when that counts."""

    proved: datetime
    verified: datetime
    until: datetime


def attest(
    decision: Decision | EzklDecision,
    key: Signs,
    issuer: Issuer,
    name: str,
    dates: Dates,
    evidence: Mapping[str, str] | None = None,
) -> list[Envelope]:
    """Sign what was decided: the audit and, from anyone but the owner, the SVR summary.

    Args:
        decision: an accepted one; there is no other.
        issuer: who signs, and in which role.
        name: what people call the model.
        evidence: SHA-256 (hex) of what was looked at, by name, such as {"bundle": ...}.

    Raises FormatError (a name or a time that cannot be), TrustError (the key does not sign).
    """
    subject = Subject(name, model_digest(decision.commitment.manifest.files))
    return attest_report(decision.report(), subject, key, issuer, dates, evidence)


def attest_report(
    report: Mapping[str, Any],
    subject: Subject,
    key: Signs,
    issuer: Issuer,
    dates: Dates,
    evidence: Mapping[str, str] | None = None,
) -> list[Envelope]:
    """The same from a decision's report, where decision and signature are made by different processes."""
    audit = model_audit(report, issuer, dates, evidence or {})
    statements = [Statement((subject,), audit.predicate_type, audit.to_json())]
    if issuer.role != "owner":
        statements.append(Statement((subject,), SVR, verification_result(audit)))
    return [Envelope.sign(statement.to_bytes(), PAYLOAD_TYPE, key) for statement in statements]


def model_audit(report: Mapping[str, Any], issuer: Issuer, dates: Dates, evidence: Mapping[str, str]) -> ModelAudit:
    """The predicate of a decision's report. Raises FormatError."""
    try:
        security, reference = report["security"], report.get("reference_string")
        return ModelAudit(
            issuer=issuer,
            claims=tuple(claims(report["claims"])),
            commitment=report["commitment"],
            policy=PolicyReference(name=report["policy"]["name"], digest=Digest(sha256=report["policy"]["digest"])),
            nonce="verifier" if report["nonce"] == "the verifier's" else "prover",
            not_covered=tuple(report.get("not_covered", ())),
            disclosed=tuple(report["disclosed"]),
            proof_system=report.get("proof_system", PROTOCOL_VERSION),
            security_bits=str(security["target_bits"]),
            soundness_regime=security["regime"]
            if reference
            else f"per round of the interactive protocol; {security['regime']}",
            reference_string=reference
            and ReferenceStringOrigin(digest=Digest(sha256=reference["sha256"]), origin=reference["origin"]),
            linked=report.get("linked"),
            proved_at=format_time(dates.proved),
            verified_at=format_time(dates.verified),
            valid_until=format_time(dates.until),
            evidence=tuple(Evidence(name=name, digest=Digest(sha256=sha256)) for name, sha256 in evidence.items()),
        )
    except ValueError as error:
        raise FormatError(f"this cannot be attested: {error}") from None


def claims(checks: list[dict[str, Any]]) -> Iterator[Claim]:
    """The claims of the checks of a report: one per threshold, or one for a check without thresholds."""
    for number, check in enumerate(checks, start=1):
        parameters = {key: value for key, value in check["parameters"].items() if value is not None}
        thresholds = {key: parameters.pop(key) for key in _THRESHOLDS if key in parameters}
        plain: Literal["disclosed", "holds"] = "disclosed" if parameters.get("disclose") else "holds"
        for key, threshold in thresholds.items() or [("", None)]:
            yield Claim(
                id="/".join(filter(None, (str(number), check["check"], key))),
                metric=check["check"],
                about=tuple(check.get("about", ())),
                parameters={"version": str(check["version"]), **_text(parameters)},
                comparator=_THRESHOLDS[key] if key else plain,
                threshold=threshold,
                passed=check["passed"],
                strength=check["strength"],
                does_not_mean=check["does_not_mean"],
            )


def verification_result(audit: ModelAudit) -> dict[str, Any]:
    """The SVR predicate: who verified, which policy, when, and the properties by name, without their thresholds."""
    properties = {
        "WEIGHTPROOF_" + f"{claim.strength}_{claim.metric}".upper().replace("-", "_")
        for claim in audit.claims
        if claim.passed
    }
    if audit.linked is False:
        # shown for some weights, not for those of the subject
        properties = set()
    elif audit.passed:
        properties.add("WEIGHTPROOF_POLICY_SATISFIED")
    policy = {"name": audit.policy.name, "digest": {"sha256": audit.policy.digest.sha256}}
    return {
        "verifier": {"id": audit.issuer.id, "policies": [policy]},
        "timeCreated": audit.verified_at,
        "properties": sorted(properties),
    }


def _text(value: Any) -> Any:
    """Integers as strings, at any depth: see predicate."""
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_text(item) for item in value]
    return str(value) if type(value) is int else value

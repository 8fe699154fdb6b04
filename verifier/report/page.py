"""The contents of a report, section by section, in plain words and bounded lists; the template only lays them out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from circuits.checks.base import Context
from circuits.checks.disclosed import decimal_text
from circuits.errors import WeightproofError
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.attestation.predicate import Claim, ModelAudit
from verifier.attestation.statement import model_digest
from verifier.attestation.summary import Sentence
from verifier.report.material import Material, Signed
from verifier.report.plots import Curve, Rows, plots
from verifier.report.self_check import Command, commands
from verifier.report.text import Listing, clip, plural

MAX_CLAIMS = 2_000
MAX_LISTED = 100
MAX_DISCLOSED = MAX_TENSORS_OF_COMMITMENT = 400
MAX_RESOLVED = 200
"""Patterns that are matched against the names of the model."""
MAX_POLICY_LINES = 1_000
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SAYS = {
    "regulator": "a regulator: somebody other than the owner verified the proof",
    "certifier": "a certification body: somebody other than the owner verified the proof",
    "owner": "the owner of the model: this is the owner's word about the owner's model",
}


@dataclass(frozen=True)
class ClaimBlock:
    """One claim."""

    number: int
    sentence: Sentence
    strength: str
    passed: bool
    count: str
    tensors: Listing


@dataclass(frozen=True)
class Signer:
    """One checked signature."""

    says: str
    issuer: str
    key: str
    dated: str
    until: str
    payload: str


@dataclass(frozen=True)
class TensorRow:
    """A tensor of the public commitment."""

    name: str
    shape: str
    dtype: str
    scale: int
    rounding: str


@dataclass(frozen=True)
class CommitmentPart:
    """What the commitment publishes."""

    facts: tuple[tuple[str, str], ...]
    tensors: tuple[TensorRow, ...]
    more: int
    files: Listing
    subject: str


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    verdict: str
    passed: bool
    caution: str
    facts: tuple[tuple[str, str], ...]
    signers: tuple[Signer, ...]
    results: tuple[tuple[str, str, str, Listing], ...]
    left_out: int
    logged: str
    claims: tuple[ClaimBlock, ...]
    more_claims: int
    strengths: str
    disclosures: tuple[tuple[str, str, str, str], ...]
    more_disclosures: int
    unread: int
    plots: tuple[Rows | Curve, ...]
    not_covered: Listing
    fresh: bool
    commands: tuple[Command, ...]
    technical: tuple[tuple[str, str], ...]
    evidence: tuple[tuple[str, str], ...]
    commitment: CommitmentPart | None
    policy: Listing | None

    @staticmethod
    def of(material: Material) -> Page:
        """Lay out what was gathered."""
        relied_on = material.signed[0]
        audit = relied_on.attestation.audit
        context = None if material.commitment is None else Context(material.commitment.manifest)
        read = material.disclosures or ()
        disclosed = tuple(
            (one.name, one.label, "" if one.value is None else decimal_text(one.value), one.bracket)
            for one in read[:MAX_DISCLOSED]
        )
        manifest = None if context is None else context.manifest
        return Page(
            title=f"Audit of {clip(_model(relied_on), 200)}",
            verdict=_verdict(relied_on),
            passed=audit.passed,
            caution="No claim means that a model is safe, or that it has no backdoor.",
            facts=_facts(relied_on),
            signers=tuple(_signer(one) for one in material.signed),
            results=tuple(
                (clip(one.verifier, 300), clip(one.created, 40), one.key, Listing.of(one.properties, MAX_LISTED))
                for one in material.results[:MAX_LISTED]
            ),
            left_out=material.left_out,
            logged=_logged(material),
            claims=tuple(_claims(audit.claims[:MAX_CLAIMS], context)),
            more_claims=max(0, len(audit.claims) - MAX_CLAIMS),
            strengths=_strengths(audit),
            disclosures=disclosed,
            more_disclosures=len(read) - len(disclosed),
            unread=len(audit.disclosed) if material.disclosures is None else 0,
            plots=tuple(plots(audit.claims[:MAX_CLAIMS], read, manifest)),
            not_covered=Listing.of(audit.not_covered, MAX_LISTED),
            fresh=audit.nonce == "verifier",
            commands=tuple(commands(material)),
            technical=_technical(audit),
            evidence=tuple((clip(item.name, 300), item.digest.sha256) for item in audit.evidence),
            commitment=None if material.commitment is None else _commitment(material.commitment, relied_on),
            policy=None if material.policy is None else _policy(material.policy),
        )


def _model(signed: Signed) -> str:
    return signed.attestation.statement.subjects[0].name


def _verdict(signed: Signed) -> str:
    audit = signed.attestation.audit
    issuer, model = clip(audit.issuer.id, 300), clip(_model(signed), 200)
    who = f"According to {issuer}, {audit.issuer.role}, whose signature was checked for this report,"
    if audit.passed:
        claims = "the one claim below was" if len(audit.claims) == 1 else f"all {len(audit.claims):,} claims below were"
        return f"{who} {claims} shown to hold for the model {model}; this is valid until {_date(audit.ends)}."
    failed = sum(not claim.passed for claim in audit.claims)
    return f"{who} {failed:,} of {plural(len(audit.claims), 'claim')} about the model {model} were NOT shown to hold."


def _date(moment: datetime) -> str:
    """Such as 1 March 2027, 12:00:00 UTC; in English whatever the locale is."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M:%S} UTC"


def _facts(signed: Signed) -> tuple[tuple[str, str], ...]:
    audit = signed.attestation.audit
    subjects = signed.attestation.statement.subjects
    more = [("Further models", f"{len(subjects) - 1:,}, see the attestation")] if len(subjects) > 1 else []
    return (
        ("Model", clip(_model(signed), 300)),
        ("Digest of its files", f"sha256:{subjects[0].sha256}"),
        *more,
        ("Commitment", audit.commitment),
        ("Policy", clip(audit.policy.name, 300)),
        ("Digest of the policy", f"sha256:{audit.policy.digest.sha256}"),
        ("Valid", f"from {audit.verified_at} until {audit.valid_until}"),
    )


def _signer(signed: Signed) -> Signer:
    audit = signed.attestation.audit
    return Signer(
        _SAYS[audit.issuer.role],
        clip(audit.issuer.id, 300),
        signed.key,
        audit.verified_at,
        audit.valid_until,
        signed.payload_sha256,
    )


def _logged(material: Material) -> str:
    entry = material.logged
    if entry is None:
        return ""
    issuer = clip(material.signed[entry.number].attestation.audit.issuer.id, 300)
    return (
        f"The attestation of {issuer} is entry {entry.index:,} of the {entry.size:,} entries of the log"
        f" {clip(entry.origin, 300)}, whose root was {entry.root}; the receipt and the log's signature were checked."
    )


def _claims(claims: Sequence[Claim], context: Context | None) -> list[ClaimBlock]:
    resolved: dict[str, list[str] | None] = {}
    blocks = []
    for number, claim in enumerate(claims, start=1):
        tensors = _tensors(claim, context, resolved)
        sentence = Sentence.of(claim)
        blocks.append(
            ClaimBlock(
                number,
                Sentence(clip(sentence.says), sentence.strength, clip(sentence.caution)),
                claim.strength,
                claim.passed,
                plural(len(tensors), "tensor"),
                Listing.of(tensors, MAX_LISTED),
            )
        )
    return blocks


def _tensors(claim: Claim, context: Context | None, resolved: dict[str, list[str] | None]) -> Sequence[str]:
    """The tensors that a claim is about: its labels, or what its pattern matches where a label stands for several."""
    labels = tuple(dict.fromkeys(claim.about))
    pattern = claim.parameters.get("tensors")
    if context is None or not isinstance(pattern, str) or all(label in context.tensors for label in labels):
        return labels
    if pattern not in resolved and len(resolved) < MAX_RESOLVED:
        try:
            resolved[pattern] = [tensor.name for tensor in context.select(pattern)]
        except WeightproofError:
            resolved[pattern] = None
    return resolved.get(pattern) or labels


def _strengths(audit: ModelAudit) -> str:
    counts = Counter[str](claim.strength for claim in audit.claims)
    names = {"theorem": "theorem", "exact": "exact fact", "indicator": "indicator"}
    return ", ".join(plural(counts[key], name) for key, name in names.items() if counts[key])


def _technical(audit: ModelAudit) -> tuple[tuple[str, str], ...]:
    return (
        ("Proof system", clip(audit.proof_system, 300)),
        ("Soundness", f"{audit.security_bits} bits {clip(audit.soundness_regime, 500)}"),
        ("Nonce", "chosen by the verifier" if audit.nonce == "verifier" else "chosen by the prover"),
        ("Proved", f"{audit.proved_at}, as the owner says"),
        ("Verified", f"{audit.verified_at}, as the issuer says"),
        ("Valid until", audit.valid_until),
    )


def _commitment(commitment: Commitment, signed: Signed) -> CommitmentPart:
    manifest = commitment.manifest
    weights = sum(tensor.entries for tensor in manifest.tensors)
    kinds = Counter(tensor.dtype for tensor in manifest.tensors)
    facts = (
        ("Weights", f"{weights:,}"),
        ("Tensors", ", ".join(f"{count:,} of {dtype}" for dtype, count in sorted(kinds.items()))),
        ("Further names of the same tensors", f"{len(manifest.tied):,}"),
        ("Integer and boolean tensors, by digest only", f"{len(manifest.excluded):,}"),
        ("Histogram groups", f"{len(manifest.groups):,}"),
        ("Proofs that the commitment has room for", f"{commitment.parameters.proofs:,}"),
        ("Root", commitment.root.hex()),
    )
    rows = tuple(
        TensorRow(
            tensor.name,
            " × ".join(map(str, tensor.shape)) or "scalar",
            tensor.dtype,
            tensor.scale,
            decimal_text(tensor.rounding_bound, 1),
        )
        for tensor in manifest.tensors[:MAX_TENSORS_OF_COMMITMENT]
    )
    files = [f"{name}: sha256:{digest}" for name, digest in sorted(manifest.files.items())]
    follows = bool(manifest.files) and model_digest(manifest.files) == signed.attestation.statement.subjects[0].sha256
    subject = (
        "The digest of the model in the attestation is that of these files."
        if follows
        else "The digest of the model in the attestation is NOT that of these files: ask the issuer why."
    )
    more = max(0, len(manifest.tensors) - MAX_TENSORS_OF_COMMITMENT)
    return CommitmentPart(facts, rows, more, Listing.of(files, MAX_LISTED, 700), subject)


def _policy(policy: Policy) -> Listing:
    """The policy as JSON, line by line, defaults filled in."""
    lines = json.dumps(json.loads(policy.canonical), indent=2, ensure_ascii=False).split("\n")
    return Listing.of(lines, MAX_POLICY_LINES, 800)

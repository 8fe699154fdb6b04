"""The commands with which a reader checks a report for himself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from verifier.report.material import Material


@dataclass(frozen=True)
class Command:
    """A line for a shell, and what it shows. File names are examples; everything else is meant literally."""

    shows: str
    line: str


def commands(material: Material) -> Iterator[Command]:
    """In the order in which they are worth running."""
    signed = material.signed[0]
    audit = signed.attestation.audit
    yield Command(
        f"Is the key at hand the right one? This must print {signed.key}; compare that with what the issuer publishes.",
        "openssl pkey -pubin -in issuer.pub -outform DER | sha256sum",
    )
    yield Command(
        "Is the attestation signed, unexpired, and about this model and commitment?",
        "weightproof-verifier attestation verify audit.intoto.jsonl --key issuer.pub"
        f" --subject {signed.attestation.statement.subjects[0].sha256} --commitment {audit.commitment}",
    )
    yield Command(
        f"Is a policy file the one that was asked for? This must print {audit.policy.digest.sha256}.",
        "weightproof-verifier policy digest policy.yaml",
    )
    yield Command(
        "Is the attestation in the log?",
        "weightproof-verifier log verify audit.tlog-proof --key log.pub --attestation audit.intoto.jsonl",
    )
    yield Command(
        "Does the proof itself hold? It needs the owner's public files and the bundle, and no trust in any issuer.",
        "weightproof-verifier verify commitment/ bundle --policy policy.yaml --nonce NONCE --account",
    )
    yield Command(
        "Is the model in use the committed one? Whoever has the checkpoint and the owner's folder can tell.",
        "weightproof-prover reproduce commitment/ model.safetensors",
    )
    yield Command(
        "Does this page say what the attestation says? The same inputs give the same file, byte for byte.",
        "weightproof-verifier report audit.intoto.jsonl --key issuer.pub"
        + (" --commitment commitment/commitment.json" if material.commitment else "")
        + (" --policy policy.yaml" if material.policy else "")
        + (" --receipt audit.tlog-proof --log-key log.pub" if material.logged else "")
        + " --out again.html",
    )

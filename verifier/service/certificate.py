"""A certificate is a folder: the attestations, the log's receipt, the report, and the files that they are about."""

from __future__ import annotations

from pathlib import Path

from circuits.errors import FormatError
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE
from verifier.service.blobs import disk, write_durably
from verifier.service.client import VerifierClient
from verifier.service.errors import StateError
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire

ATTESTATION_FILE = "attestation.intoto.jsonl"
RECEIPT_FILE = "receipt.tlog-proof"
REPORT_FILE = "report.json"
BUNDLE_FILE = "bundle"
POLICY_FILE = "policy.yaml"


def fetch_certificate(client: VerifierClient, name: str, folder: Path) -> list[Path]:
    """Download the files of an accepted audit "audits/{id}" into a folder; their paths.

    Raises StateError if it was not accepted, NotFoundError, FormatError if the folder cannot be written.
    """
    audit = client.audit(name)
    if audit.verdict != wire.VERDICT_ACCEPTED:
        raise StateError(f"{name} has no certificate: {audit.error or 'it is not decided'} {audit.reason}".rstrip())
    wanted = (
        (ATTESTATION_FILE, artifacts.ARTIFACT_KIND_ATTESTATION),
        (RECEIPT_FILE, artifacts.ARTIFACT_KIND_RECEIPT),
        (REPORT_FILE, artifacts.ARTIFACT_KIND_REPORT),
        (BUNDLE_FILE, artifacts.ARTIFACT_KIND_PROOF_BUNDLE),
        (COMMITMENT_FILE, artifacts.ARTIFACT_KIND_COMMITMENT),
        (VALIDITY_FILE, artifacts.ARTIFACT_KIND_VALIDITY_PROOF),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"cannot make {folder}: {error.strerror}") from None
    _, policy = client.policy(audit.policy)
    contents = {POLICY_FILE: policy, **{file: client.download(audit.name, kind) for file, kind in wanted}}
    with disk():
        for file, content in contents.items():
            write_durably(folder / file, content, 0o644)
    return [folder / file for file in contents]

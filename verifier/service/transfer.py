"""Limits and digests of the files that go between the parties."""

from __future__ import annotations

import hashlib
from pathlib import Path

from circuits.errors import FormatError
from verifier import bundle
from verifier.argument.commitment import MAX_COMMITMENT_BYTES
from verifier.argument.statement import MAX_PROOF_BYTES
from verifier.attestation.bundle import MAX_BUNDLE_BYTES as MAX_ATTESTATION_BYTES
from verifier.log.receipt import MAX_RECEIPT_BYTES
from weightproof.v1 import artifacts_pb2 as wire

CHUNK_BYTES = 256 << 10
MAX_CHUNK_BYTES = 1 << 20
MAX_POLICY_BYTES = 1 << 20
MAX_REPORT_BYTES = 64 << 20
DIGEST_BYTES = 32
LIMITS: dict[int, int] = {
    wire.ARTIFACT_KIND_COMMITMENT: MAX_COMMITMENT_BYTES,
    wire.ARTIFACT_KIND_VALIDITY_PROOF: MAX_PROOF_BYTES,
    wire.ARTIFACT_KIND_PROOF_BUNDLE: bundle.MAX_BUNDLE_BYTES,
    wire.ARTIFACT_KIND_POLICY: MAX_POLICY_BYTES,
    wire.ARTIFACT_KIND_ATTESTATION: MAX_ATTESTATION_BYTES,
    wire.ARTIFACT_KIND_RECEIPT: MAX_RECEIPT_BYTES,
    wire.ARTIFACT_KIND_REPORT: MAX_REPORT_BYTES,
}
"""The largest file of each kind, in bytes."""
UPLOADED = (wire.ARTIFACT_KIND_COMMITMENT, wire.ARTIFACT_KIND_VALIDITY_PROOF, wire.ARTIFACT_KIND_PROOF_BUNDLE)
"""The kinds that clients may upload."""


def file_digest(path: Path) -> wire.Digest:
    """Size and SHA-256 of a file. Raises FormatError if it cannot be read."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").digest()
            return wire.Digest(sha256=sha256, size=file.tell())
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from None


def bytes_digest(data: bytes) -> wire.Digest:
    """Size and SHA-256 of bytes."""
    return wire.Digest(sha256=hashlib.sha256(data).digest(), size=len(data))

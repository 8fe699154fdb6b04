"""Submitting: everything between a checkpoint and a certificate that was checked with the regulator's own keys.

Every step asks what is so before it changes anything, so a job that was killed goes on where it stopped: commitments
are registered by content, the audit has a request_id made of the job's id, a bundle is sealed once and then only sent.
The verifier is not trusted: what it answers is compared with what was asked, and its certificate is checked offline.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circuits.errors import FormatError, VerificationError
from circuits.policy import Policy
from prover.directory import OwnerFolder
from prover.ledger import PROOF
from prover.service.settings import Verifier
from prover.service.state import remember
from prover.service.work import Result, Work, ensure_commitment, prove_once
from verifier.attestation.bundle import read_bundle
from verifier.attestation.keys import PublicKey
from verifier.attestation.verification import Attestation, verify
from verifier.log.entry import attestation_entry
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt
from verifier.service.blobs import disk
from verifier.service.certificate import ATTESTATION_FILE, RECEIPT_FILE, fetch_certificate
from verifier.service.client import Identity, VerifierClient
from verifier.service.errors import StateError
from weightproof.v1 import verifier_service_pb2 as wire

CALL_PATIENCE = 20.0
WAIT_SECONDS = 120.0
MIN_NONCE_BYTES = 16
CERTIFICATE = "certificate"


class RejectedError(VerificationError):
    """The verifier checked the proof and rejected it."""


@dataclass(frozen=True)
class Trust:
    """The regulator's public keys: who signs attestations, and who signs the log."""

    attestation: PublicKey
    log: VerifierKey

    @staticmethod
    def read(attestation: Path, log: Path) -> Trust:
        """Raises FormatError."""
        return Trust(PublicKey.read(attestation), VerifierKey.read(log))


def connect(verifier: Verifier) -> VerifierClient:
    """Dial the verifier of the settings. Raises FormatError if a PEM file cannot be read."""
    identity = Identity(verifier.certificate, verifier.key, verifier.authority)
    return VerifierClient(verifier.address, identity, server_name=verifier.server_name, patience=CALL_PATIENCE)


def submit(work: Work) -> Result:
    """Commit if need be, register, open an audit, prove, submit, wait, fetch the certificate and check it."""
    settings = work.settings.verifier
    if settings is None:
        raise StateError("the configuration names no [verifier] to submit to")
    trust = Trust.read(settings.attestation_key, settings.log_key)
    place, checkpoint, digest = work.checkpoint()
    owner, _ = ensure_commitment(work, checkpoint, digest)
    with closing(connect(settings)) as client:
        with work.progress.stage("ask for the policy"):
            policy = published_policy(client, work.job.payload["policy"])
        with work.progress.stage("register"):
            registered = client.register_commitment(owner.path, place.name)
            if registered.name != f"commitments/{owner.commitment.id.hex()}":
                raise StateError("the verifier registered another commitment than the one that was sent")
        with work.progress.stage("wait for the commitment's check"):
            client.wait_commitment(registered.name, WAIT_SECONDS)
        with work.progress.stage("open an audit"):
            audit = open_audit(work, client, owner, policy)
        if audit.state == wire.AUDIT_STATE_OPEN:
            bundle = prove_once(work, owner, place, policy, audit.nonce)
            proved = datetime.fromtimestamp(bundle.stat().st_mtime, UTC)
            with work.progress.stage("submit"):
                client.submit_proof(audit.name, bundle, proved)
        with work.progress.stage("wait for the verdict"):
            audit = decided(client, audit.name)
        with work.progress.stage("check the certificate"):
            folder = work.folder / CERTIFICATE
            attestation = fetch_checked(client, audit.name, folder, trust, policy.digest, owner.commitment.id, digest)
    return {
        "audit": audit.name,
        "commitment": owner.commitment.id.hex(),
        "model": digest,
        "policy": policy.digest.hex(),
        "verdict": "accepted",
        "certificate": str(folder),
        "log_index": str(audit.log_index),
        "valid_until": attestation.audit.valid_until,
        "proofs_left": owner.ledger.remaining(PROOF),
    }


def published_policy(client: VerifierClient, name: str) -> Policy:
    """A policy by its name, which is its digest. Raises NotFoundError, FormatError, PolicyError."""
    policy = Policy.from_bytes(client.policy(name)[1])
    if name != f"policies/{policy.digest.hex()}":
        raise FormatError(f"the verifier sent another policy than {name}")
    return policy


def open_audit(work: Work, client: VerifierClient, owner: OwnerFolder, policy: Policy) -> wire.Audit:
    """The job's audit. Raises StateError if it is not what was asked for, or not what an earlier attempt was told."""
    commitment, policy_name = f"commitments/{owner.commitment.id.hex()}", f"policies/{policy.digest.hex()}"
    audit = client.create_audit(f"job-{work.job.id}", commitment, policy_name)
    if (audit.commitment, audit.policy) != (commitment, policy_name) or len(audit.nonce) < MIN_NONCE_BYTES:
        raise StateError("the verifier opened another audit than the one that was asked for")
    remember(work.folder / "audit.json", {"audit": audit.name, "nonce": audit.nonce.hex()})
    if audit.state == wire.AUDIT_STATE_EXPIRED:
        raise StateError(f"{audit.name} expired before its proof was submitted; ask for a new job")
    return audit


def decided(client: VerifierClient, name: str, seconds: float = WAIT_SECONDS) -> wire.Audit:
    """Wait for an accepted verdict. Raises RejectedError, StateError (expired), UnavailableError (takes longer)."""
    audit = client.wait_audit(name, seconds)
    if audit.state == wire.AUDIT_STATE_EXPIRED:
        raise StateError(f"{name} expired before its proof was submitted; ask for a new audit")
    if audit.verdict != wire.VERDICT_ACCEPTED:
        raise RejectedError(f"{name}: {audit.error}: {audit.reason}")
    return audit


def fetch_checked(
    client: VerifierClient,
    name: str,
    folder: Path,
    trust: Trust,
    policy: bytes,
    commitment: bytes,
    model: str | None = None,
) -> Attestation:
    """Fetch the certificate of an accepted audit into `folder`, which appears once everything in it was checked.

    A certificate that is there already is checked again instead.

    Args:
        policy, commitment: digests that it must be about; model: the digest of the checkpoint's files, if known.

    Raises TrustError, VerificationError, FormatError, StateError.
    """
    if folder.exists() and any(folder.iterdir()):
        return check_certificate(folder, trust, policy, commitment, model)
    with disk():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
            fetched = Path(staging) / folder.name
            fetch_certificate(client, name, fetched)
            attestation = check_certificate(fetched, trust, policy, commitment, model)
            fetched.rename(folder)
    return attestation


def check_certificate(
    folder: Path, trust: Trust, policy: bytes, commitment: bytes, model: str | None = None
) -> Attestation:
    """Check attestation and receipt of a certificate offline. Raises TrustError, VerificationError, FormatError."""
    envelopes = read_bundle(folder / ATTESTATION_FILE).envelopes
    about: dict[str, Any] = {"policy": policy.hex(), "commitment": commitment.hex(), "subject": model}
    attestation = verify(envelopes, trust.attestation, datetime.now(UTC), **about)
    Receipt.read(folder / RECEIPT_FILE).verify(attestation_entry(attestation.envelope), trust.log)
    return attestation

"""VerifierService: every call is authenticated, authorised, answered or refused by name.

An owner that asks for what is another's hears that it is not there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuits.checkpoint.base import quote
from circuits.errors import FormatError
from circuits.policy import Policy
from verifier.argument.parameters import PROTOCOL_VERSION
from verifier.bundle import MAX_HEADER_BYTES, BundleHeader
from verifier.decision import pinned_commitments
from verifier.service import messages
from verifier.service.answers import answered
from verifier.service.blobs import BlobStore, disk
from verifier.service.database import now
from verifier.service.decisions import Decisions
from verifier.service.errors import BusyError, NotFoundError, StateError
from verifier.service.identity import Caller, Identities
from verifier.service.records import AuditState, Record, Records
from verifier.service.settings import Limits
from verifier.service.transfer import CHUNK_BYTES, DIGEST_BYTES, LIMITS, MAX_POLICY_BYTES
from verifier.service.uploads import Uploads
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire
from weightproof.v1 import verifier_service_pb2_grpc as stubs

WATCH_POLL_SECONDS = 0.25
WATCH_SECONDS = 600.0
MAX_BASES = 16
MAX_TITLE = 200
CLOCK_SKEW_SECONDS = 300.0
MAX_TIME = 4102444800.0
"""2100-01-01: later times are nobody's clock."""


@dataclass(frozen=True)
class About:
    """What the service says about itself."""

    issuer: str
    attestation_key: str
    log_key: str
    base_files: dict[str, Path]


class VerifierServicer(stubs.VerifierServiceServicer):
    """The methods, over records, blobs and uploads."""

    def __init__(
        self,
        identities: Identities,
        records: Records,
        blobs: BlobStore,
        limits: Limits,
        about: About,
        decisions: Decisions,
    ) -> None:
        self.identities = identities
        self._records, self._blobs, self._limits, self._about = records, blobs, limits, about
        self._decisions = decisions
        self._uploads = Uploads(records, blobs, limits)
        self._watches: Counter[str] = Counter()

    # files

    @answered("owner", "regulator")
    async def Upload(self, request: AsyncIterator[Any], caller: Caller) -> artifacts.UploadResponse:
        digest = await self._uploads.receive(caller, request)
        return artifacts.UploadResponse(digest=digest)

    @answered("owner", "regulator")
    async def QueryUpload(self, request: artifacts.QueryUploadRequest, caller: Caller) -> artifacts.QueryUploadResponse:
        received, complete = await self._uploads.query(caller, request.kind, request.digest)
        return artifacts.QueryUploadResponse(received=received, complete=complete)

    @answered()
    async def Download(
        self, request: artifacts.DownloadRequest, caller: Caller
    ) -> AsyncIterator[artifacts.DownloadResponse]:
        sha256 = await asyncio.to_thread(self._artifact, caller, request.name, request.kind)
        with disk():
            file = self._blobs.path(sha256).open("rb")
            with file:
                size = os.fstat(file.fileno()).st_size
                if request.offset > size:
                    raise FormatError(f"the file has {size} bytes; it cannot be read from {request.offset} on")
                file.seek(request.offset)
                yield artifacts.DownloadResponse(digest=artifacts.Digest(sha256=sha256, size=size))
                while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield artifacts.DownloadResponse(chunk=piece)

    def _artifact(self, caller: Caller, name: str, kind: int) -> bytes:
        """The SHA-256 of the file of a kind that belongs to a name. Raises NotFoundError, FormatError."""
        collection = name.partition("/")[0]
        files: dict[int, bytes | None] = {}
        if collection == "commitments":
            row = self._records.commitment(messages.parse_name(name, "commitments"), _scope(caller))
            files = {
                artifacts.ARTIFACT_KIND_COMMITMENT: row.commitment,
                artifacts.ARTIFACT_KIND_VALIDITY_PROOF: row.validity,
            }
        elif collection == "audits":
            row = self._records.audit(messages.parse_name(name, "audits"), _scope(caller))
            audited = self._records.commitment(row.commitment, row.owner)
            files = {
                artifacts.ARTIFACT_KIND_PROOF_BUNDLE: row.bundle,
                artifacts.ARTIFACT_KIND_COMMITMENT: audited.commitment,
                artifacts.ARTIFACT_KIND_VALIDITY_PROOF: audited.validity,
            }
            if row.state == "DECIDED":
                files |= {
                    artifacts.ARTIFACT_KIND_ATTESTATION: row.attestation,
                    artifacts.ARTIFACT_KIND_RECEIPT: row.receipt,
                    artifacts.ARTIFACT_KIND_REPORT: row.report,
                }
        sha256 = files.get(kind)
        if sha256 is None:
            raise NotFoundError(f"{quote(name)} has no file of this kind (yet)")
        return sha256

    # policies

    @answered("regulator")
    async def PublishPolicy(self, request: wire.PublishPolicyRequest, caller: Caller) -> wire.PublishPolicyResponse:
        row = await asyncio.to_thread(self.publish, request.content)
        return wire.PublishPolicyResponse(policy=messages.policy_message(row))

    def publish(self, content: bytes) -> Record:
        """Check and store a policy file; its base commitments have ids. Raises FormatError, PolicyError."""
        if len(content) > MAX_POLICY_BYTES:
            raise FormatError(f"a policy file has at most {MAX_POLICY_BYTES} bytes")
        policy = Policy.from_bytes(content)
        pinned_commitments(policy)
        return self._records.publish(policy.digest.hex(), policy.name, len(policy.checks), content)

    @answered()
    async def GetPolicy(self, request: wire.GetPolicyRequest, caller: Caller) -> wire.GetPolicyResponse:
        identity = messages.parse_name(request.name, "policies")
        row = await asyncio.to_thread(self._records.policy, identity)
        return wire.GetPolicyResponse(policy=messages.policy_message(row), content=row.content)

    @answered()
    async def ListPolicies(self, request: wire.ListPoliciesRequest, caller: Caller) -> wire.ListPoliciesResponse:
        after, limit = messages.parse_page(request.page_size, request.page_token)
        rows = await asyncio.to_thread(self._records.policies, after, limit)
        return wire.ListPoliciesResponse(
            policies=map(messages.policy_message, rows), next_page_token=messages.next_token(rows, limit)
        )

    # commitments

    @answered("owner")
    async def RegisterCommitment(
        self, request: wire.RegisterCommitmentRequest, caller: Caller
    ) -> wire.RegisterCommitmentResponse:
        if not 0 < len(request.title) <= MAX_TITLE or not request.title.isprintable():
            raise FormatError(f"a model's title has 1 to {MAX_TITLE} printable characters")
        commitment = await asyncio.to_thread(
            self._records.require_upload, caller.id, artifacts.ARTIFACT_KIND_COMMITMENT, _sha256(request.commitment)
        )
        validity = await asyncio.to_thread(
            self._records.require_upload,
            caller.id,
            artifacts.ARTIFACT_KIND_VALIDITY_PROOF,
            _sha256(request.validity_proof),
        )
        identity = await self._decisions.identify(caller.id, self._blobs.path(commitment.sha256))
        row = await asyncio.to_thread(
            self._records.register,
            caller.id,
            identity,
            request.title,
            commitment,
            validity,
            self._limits.waiting_checks,
        )
        self._decisions.wake()
        return wire.RegisterCommitmentResponse(commitment=messages.commitment_message(row))

    @answered()
    async def GetCommitment(self, request: wire.GetCommitmentRequest, caller: Caller) -> wire.GetCommitmentResponse:
        row = await asyncio.to_thread(self._commitment, caller, request.name)
        return wire.GetCommitmentResponse(commitment=messages.commitment_message(row))

    def _commitment(self, caller: Caller, name: str) -> Record:
        return self._records.commitment(messages.parse_name(name, "commitments"), _scope(caller))

    @answered()
    async def ListCommitments(
        self, request: wire.ListCommitmentsRequest, caller: Caller
    ) -> wire.ListCommitmentsResponse:
        after, limit = messages.parse_page(request.page_size, request.page_token)
        rows = await asyncio.to_thread(self._records.commitments, _scope(caller), after, limit)
        return wire.ListCommitmentsResponse(
            commitments=map(messages.commitment_message, rows), next_page_token=messages.next_token(rows, limit)
        )

    @answered()
    async def WatchCommitment(
        self, request: wire.WatchCommitmentRequest, caller: Caller
    ) -> AsyncIterator[wire.WatchCommitmentResponse]:
        async for row in self._watch(caller, lambda: self._commitment(caller, request.name), ("VALID", "INVALID")):
            yield wire.WatchCommitmentResponse(commitment=messages.commitment_message(row))

    # audits

    @answered("owner")
    async def CreateAudit(self, request: wire.CreateAuditRequest, caller: Caller) -> wire.CreateAuditResponse:
        row = await asyncio.to_thread(self._create, caller, request)
        return wire.CreateAuditResponse(audit=messages.audit_message(row))

    def _create(self, caller: Caller, request: wire.CreateAuditRequest) -> Record:
        request_id = messages.parse_request_id(request.request_id)
        policy = self._records.policy(messages.parse_name(request.policy, "policies"))
        if len(request.bases) > MAX_BASES or any(len(name) > MAX_TITLE for name in request.bases):
            raise FormatError(f"an audit has at most {MAX_BASES} base models, with names of {MAX_TITLE} characters")
        commitment = self._valid(caller, request.commitment)
        bases = {name: self._valid(caller, base).id for name, base in sorted(request.bases.items())}
        if bases != pinned_commitments(Policy.from_bytes(policy.content)):
            raise FormatError("the base models of this audit are not those that its policy pins; see GetPolicy")
        return self._records.create_audit(
            caller.id,
            request_id,
            commitment.id,
            policy.digest,
            bases,
            self._limits.nonce_seconds,
            self._limits.open_audits,
        )

    def _valid(self, caller: Caller, name: str) -> Record:
        row = self._commitment(caller, name)
        if row.state != "VALID":
            raise StateError(f"the commitment {row.id} is {row.state.lower()}, not valid; see GetCommitment")
        return row

    @answered("owner")
    async def SubmitProof(self, request: wire.SubmitProofRequest, caller: Caller) -> wire.SubmitProofResponse:
        row = await asyncio.to_thread(self._submit, caller, request)
        self._decisions.wake()
        return wire.SubmitProofResponse(audit=messages.audit_message(row))

    def _submit(self, caller: Caller, request: wire.SubmitProofRequest) -> Record:
        identity = messages.parse_name(request.name, "audits")
        audit = self._records.audit(identity, caller.id)
        kind = artifacts.ARTIFACT_KIND_PROOF_BUNDLE
        file = self._records.require_upload(caller.id, kind, _sha256(request.bundle))
        proved = request.prove_time.seconds + request.prove_time.nanos * 1e-9
        if not request.HasField("prove_time"):
            proved = now()
        if not 0 <= proved <= min(now() + CLOCK_SKEW_SECONDS, MAX_TIME):
            raise FormatError("prove_time is in the future; compare your clock with ours, or leave it out")
        if audit.state == "OPEN":
            require_about(audit, BundleHeader.from_bytes(self._blobs.start(file.sha256, MAX_HEADER_BYTES)))
        return self._records.submit(identity, caller.id, file, proved, self._limits.waiting_checks)

    @answered()
    async def GetAudit(self, request: wire.GetAuditRequest, caller: Caller) -> wire.GetAuditResponse:
        row = await asyncio.to_thread(self._audit, caller, request.name)
        return wire.GetAuditResponse(audit=messages.audit_message(row))

    def _audit(self, caller: Caller, name: str) -> Record:
        return self._records.audit(messages.parse_name(name, "audits"), _scope(caller))

    @answered()
    async def ListAudits(self, request: wire.ListAuditsRequest, caller: Caller) -> wire.ListAuditsResponse:
        after, limit = messages.parse_page(request.page_size, request.page_token)
        commitment = messages.parse_name(request.commitment, "commitments") if request.commitment else ""
        states: dict[int, AuditState] = {
            wire.AUDIT_STATE_OPEN: "OPEN",
            wire.AUDIT_STATE_VERIFYING: "VERIFYING",
            wire.AUDIT_STATE_DECIDED: "DECIDED",
            wire.AUDIT_STATE_EXPIRED: "EXPIRED",
        }
        state = states.get(request.state)
        rows = await asyncio.to_thread(self._records.audits, _scope(caller), after, limit, commitment, state)
        return wire.ListAuditsResponse(
            audits=map(messages.audit_message, rows), next_page_token=messages.next_token(rows, limit)
        )

    @answered()
    async def WatchAudit(
        self, request: wire.WatchAuditRequest, caller: Caller
    ) -> AsyncIterator[wire.WatchAuditResponse]:
        async for row in self._watch(caller, lambda: self._audit(caller, request.name), ("DECIDED", "EXPIRED")):
            yield wire.WatchAuditResponse(audit=messages.audit_message(row))

    @answered()
    async def GetServiceInfo(self, request: wire.GetServiceInfoRequest, caller: Caller) -> wire.GetServiceInfoResponse:
        return wire.GetServiceInfoResponse(
            proof_system=PROTOCOL_VERSION,
            issuer=self._about.issuer,
            attestation_key=self._about.attestation_key,
            log_key=self._about.log_key,
            limits={artifacts.ArtifactKind.Name(kind): limit for kind, limit in LIMITS.items()},
            base_files=map(bytes.fromhex, self._about.base_files),
        )

    async def _watch(self, caller: Caller, read: Callable[[], Record], ended: tuple[str, ...]) -> AsyncIterator[Record]:
        """The record now and at every change, until it has ended or WATCH_SECONDS are over."""
        stop = time.monotonic() + WATCH_SECONDS
        seen: Record | None = None
        with self._watching(caller):
            while time.monotonic() < stop:
                row = await asyncio.to_thread(read)
                if row != seen:
                    yield row
                    seen = row
                if row.state in ended:
                    return
                await asyncio.sleep(WATCH_POLL_SECONDS)

    @contextmanager
    def _watching(self, caller: Caller) -> Iterator[None]:
        if self._watches[caller.id] >= self._limits.watches:
            raise BusyError(f"{self._limits.watches} watches of yours are open; close one first")
        self._watches[caller.id] += 1
        try:
            yield
        finally:
            self._watches[caller.id] -= 1


def require_about(audit: Record, bundle: BundleHeader) -> None:
    """Raises FormatError if a bundle says itself that it is not for this audit; the nonce is then kept."""
    wanted = {"commitment": audit.commitment, "policy": audit.policy, "nonce": audit.nonce.hex()}
    for what, value in wanted.items():
        if getattr(bundle, what).hex() != value:
            raise FormatError(f"this bundle is for another {what}; submit the one that was proved for this audit")


def _scope(caller: Caller) -> str | None:
    """Whose records the caller may see; None: everybody's."""
    return None if caller.sees_all else caller.id


def _sha256(digest: artifacts.Digest) -> bytes:
    if len(digest.sha256) != DIGEST_BYTES:
        raise FormatError(f"a digest has {DIGEST_BYTES} bytes")
    return digest.sha256

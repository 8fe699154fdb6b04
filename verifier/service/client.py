"""A verifier's client: for owners, who submit, and for regulators and auditors, who publish, list and fetch.

Every call has a deadline. What the network breaks is tried again, uploads at the byte where they stopped; what the
service refuses is raised as the error of the tree that it stands for.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuits.errors import FormatError, VerificationError
from circuits.files import read_limited
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE
from verifier.service.errors import UnavailableError
from verifier.service.status import from_rpc_error
from verifier.service.transfer import CHUNK_BYTES, LIMITS, file_digest
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire
from weightproof.v1 import verifier_service_pb2_grpc as stubs

CALL_SECONDS = 30.0
STREAM_SECONDS = 600.0
MAX_PEM_BYTES = 1 << 20
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),
)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Identity:
    """PEM files: who we are (certificate chain and private key), and who may say who the other side is (CA)."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Certificate chain, private key, CA. Raises FormatError."""
        return (
            read_limited(self.certificate, MAX_PEM_BYTES, "certificate"),
            read_limited(self.key, MAX_PEM_BYTES, "private key"),
            read_limited(self.authority, MAX_PEM_BYTES, "CA certificate"),
        )


class VerifierClient:
    """A connection to one verifier. Threads may share it.

    Attributes:
        patience: seconds for which calls are tried again while the verifier cannot be reached.
    """

    def __init__(self, address: str, identity: Identity, *, server_name: str | None = None, patience: float = 60.0):
        """Raises FormatError if a PEM file cannot be read. Connects at the first call.

        Args:
            address: HOST:PORT.
            server_name: the name in the server's certificate, if it is not HOST.
        """
        certificate, key, authority = identity.read()
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        options = [*_OPTIONS, *([("grpc.ssl_target_name_override", server_name)] if server_name else [])]
        self._channel = grpc.secure_channel(address, credentials, options)
        self._stub = stubs.VerifierServiceStub(self._channel)
        self.address, self.patience = address, patience

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> VerifierClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def service_info(self) -> wire.GetServiceInfoResponse:
        """Issuer, public keys and limits: to be compared with what the regulator published elsewhere."""
        return self._call(lambda: self._stub.GetServiceInfo(wire.GetServiceInfoRequest(), timeout=CALL_SECONDS))

    def require_serving(self) -> None:
        """Ask grpc.health.v1; a certificate of the clients' CA is enough, with or without a role.

        Raises UnavailableError unless the service says that it serves.
        """
        health = health_pb2_grpc.HealthStub(self._channel)
        answer = self._call(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS))
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            raise UnavailableError(f"{self.address} answers {state}: it is starting or stopping; ask again later")

    def publish_policy(self, content: bytes) -> wire.Policy:
        """Regulators only. Raises PolicyError or FormatError if it is no policy, AccessError."""
        request = wire.PublishPolicyRequest(content=content)
        return self._call(lambda: self._stub.PublishPolicy(request, timeout=CALL_SECONDS)).policy

    def policy(self, name: str) -> tuple[wire.Policy, bytes]:
        """A published policy and its file. Raises NotFoundError."""
        request = wire.GetPolicyRequest(name=name)
        answer = self._call(lambda: self._stub.GetPolicy(request, timeout=CALL_SECONDS))
        return answer.policy, answer.content

    def policies(self) -> Iterator[wire.Policy]:
        """All published policies."""

        def page(token: str) -> tuple[Sequence[wire.Policy], str]:
            answer = self._stub.ListPolicies(wire.ListPoliciesRequest(page_token=token), timeout=CALL_SECONDS)
            return answer.policies, answer.next_page_token

        return self._pages(page)

    def register_commitment(self, folder: Path, title: str) -> wire.Commitment:
        """Upload commitment.json and validity.proof of an owner's folder; registering it twice changes nothing.

        Returns while its check may still wait: see `wait_commitment`.
        """
        request = wire.RegisterCommitmentRequest(
            commitment=self.upload(artifacts.ARTIFACT_KIND_COMMITMENT, folder / COMMITMENT_FILE),
            validity_proof=self.upload(artifacts.ARTIFACT_KIND_VALIDITY_PROOF, folder / VALIDITY_FILE),
            title=title,
        )
        return self._call(lambda: self._stub.RegisterCommitment(request, timeout=CALL_SECONDS)).commitment

    def commitment(self, name: str) -> wire.Commitment:
        """Raises NotFoundError."""
        request = wire.GetCommitmentRequest(name=name)
        return self._call(lambda: self._stub.GetCommitment(request, timeout=CALL_SECONDS)).commitment

    def commitments(self) -> Iterator[wire.Commitment]:
        """All commitments that the caller may see."""

        def page(token: str) -> tuple[Sequence[wire.Commitment], str]:
            answer = self._stub.ListCommitments(wire.ListCommitmentsRequest(page_token=token), timeout=CALL_SECONDS)
            return answer.commitments, answer.next_page_token

        return self._pages(page)

    def wait_commitment(self, name: str, seconds: float = STREAM_SECONDS) -> wire.Commitment:
        """Wait until a commitment's proof of validity was checked.

        Raises VerificationError if it is invalid, UnavailableError if it takes longer.
        """

        def ended(commitment: wire.Commitment) -> bool:
            return commitment.state != wire.COMMITMENT_STATE_PENDING

        last = self._watch(
            lambda timeout: self._stub.WatchCommitment(wire.WatchCommitmentRequest(name=name), timeout=timeout),
            lambda answer: answer.commitment,
            ended,
            seconds,
        )
        if last.state == wire.COMMITMENT_STATE_INVALID:
            raise VerificationError(f"the verifier found the commitment invalid: {last.reason}")
        return last

    def create_audit(
        self, request_id: str, commitment: str, policy: str, bases: dict[str, str] | None = None
    ) -> wire.Audit:
        """Open an audit and get its nonce; the same request_id gets the same audit again.

        Args:
            request_id: 1 to 64 characters.
            commitment: "commitments/{hex}"; policy: "policies/{hex}"; bases: commitments by the policy's names.
        """
        request = wire.CreateAuditRequest(
            request_id=request_id, commitment=commitment, policy=policy, bases=bases or {}
        )
        return self._call(lambda: self._stub.CreateAudit(request, timeout=CALL_SECONDS)).audit

    def submit_proof(self, name: str, bundle: Path, proved: datetime | None = None) -> wire.Audit:
        """Upload a bundle and submit it to the audit "audits/{id}"; the same bundle may be submitted again."""
        moment = None
        if proved is not None:
            moment = Timestamp()
            moment.FromDatetime(proved)
        digest = self.upload(artifacts.ARTIFACT_KIND_PROOF_BUNDLE, bundle)
        request = wire.SubmitProofRequest(name=name, bundle=digest, prove_time=moment)
        return self._call(lambda: self._stub.SubmitProof(request, timeout=CALL_SECONDS)).audit

    def audit(self, name: str) -> wire.Audit:
        """Raises NotFoundError."""
        request = wire.GetAuditRequest(name=name)
        return self._call(lambda: self._stub.GetAudit(request, timeout=CALL_SECONDS)).audit

    def audits(self, commitment: str = "") -> Iterator[wire.Audit]:
        """All audits that the caller may see, or those of one commitment."""

        def page(token: str) -> tuple[Sequence[wire.Audit], str]:
            request = wire.ListAuditsRequest(page_token=token, commitment=commitment)
            answer = self._stub.ListAudits(request, timeout=CALL_SECONDS)
            return answer.audits, answer.next_page_token

        return self._pages(page)

    def wait_audit(self, name: str, seconds: float = STREAM_SECONDS) -> wire.Audit:
        """Wait until an audit is decided or expired; a rejection is returned, not raised.

        Raises UnavailableError if it takes longer.
        """
        ended = (wire.AUDIT_STATE_DECIDED, wire.AUDIT_STATE_EXPIRED)
        return self._watch(
            lambda timeout: self._stub.WatchAudit(wire.WatchAuditRequest(name=name), timeout=timeout),
            lambda answer: answer.audit,
            lambda audit: audit.state in ended,
            seconds,
        )

    def upload(self, kind: artifacts.ArtifactKind, path: Path) -> artifacts.Digest:
        """Upload a file, from where an earlier upload of it stopped. Raises FormatError, TooLargeError."""
        digest = file_digest(path)

        def attempt() -> artifacts.Digest:
            query = artifacts.QueryUploadRequest(kind=kind, digest=digest)
            known = self._stub.QueryUpload(query, timeout=CALL_SECONDS)
            if known.complete:
                return digest
            return self._stub.Upload(_pieces(kind, path, digest, known.received), timeout=STREAM_SECONDS).digest

        return self._call(attempt)

    def download(self, name: str, kind: artifacts.ArtifactKind) -> bytes:
        """A file of an audit, commitment or policy. Raises NotFoundError; FormatError if it does not arrive whole."""
        data = bytearray()
        expected: artifacts.Digest | None = None

        def attempt() -> bytes:
            nonlocal expected
            request = artifacts.DownloadRequest(name=name, kind=kind, offset=len(data))
            for answer in self._stub.Download(request, timeout=STREAM_SECONDS):
                if answer.HasField("digest"):
                    if expected is not None and answer.digest != expected:
                        raise FormatError(f"{name} changed while it was downloaded; download it again")
                    expected = answer.digest
                data.extend(answer.chunk)
                if len(data) > LIMITS[kind]:
                    raise FormatError(f"{name} is larger than any file of its kind may be")
            return bytes(data)

        content = self._call(attempt)
        if expected is None or hashlib.sha256(content).digest() != expected.sha256:
            raise FormatError(f"{name} did not arrive whole; download it again")
        return content

    def _pages(self, page: Callable[[str], tuple[Sequence[Answer], str]]) -> Iterator[Answer]:
        token: str | None = ""
        while token is not None:
            items, following = self._call(partial(page, token))
            yield from items
            token = following or None

    def _call(self, attempt: Callable[[], Answer]) -> Answer:
        """The answer of `attempt`, tried again with growing pauses while the verifier cannot be reached."""
        give_up = time.monotonic() + self.patience
        pause = 0.1
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                named = from_rpc_error(error, self.address)
                if not isinstance(named, UnavailableError) or time.monotonic() + pause > give_up:
                    raise named from None
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _watch(
        self,
        stream: Callable[[float], Iterator[object]],
        subject: Callable[..., Answer],
        ended: Callable[[Answer], bool],
        seconds: float,
    ) -> Answer:
        give_up = time.monotonic() + seconds

        def attempt() -> Answer | None:
            last = None
            for answer in stream(max(give_up - time.monotonic(), 0.001)):
                last = subject(answer)
                if ended(last):
                    return last
            return None

        while True:
            last = self._call(attempt)
            if last is not None:
                return last
            if time.monotonic() >= give_up:
                raise UnavailableError(f"the verifier did not decide within {seconds:g} s; ask again later")


def _pieces(
    kind: artifacts.ArtifactKind, path: Path, digest: artifacts.Digest, offset: int
) -> Iterator[artifacts.UploadRequest]:
    yield artifacts.UploadRequest(header=artifacts.UploadHeader(kind=kind, digest=digest, offset=offset))
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(CHUNK_BYTES):
            yield artifacts.UploadRequest(chunk=piece)

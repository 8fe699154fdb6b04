"""The daemon's client, over its Unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc

from verifier.service.errors import UnavailableError
from verifier.service.status import from_rpc_error
from weightproof.v1 import prover_service_pb2 as wire
from weightproof.v1 import prover_service_pb2_grpc as stubs

CALL_SECONDS = 30.0
PAGE = 200
Answer = TypeVar("Answer")


class ProverClient:
    """A connection to a daemon on this machine. Every method raises the error that the daemon answered with."""

    def __init__(self, socket: Path) -> None:
        """Connects at the first call. Raises UnavailableError if there is no socket."""
        if not socket.is_socket():
            raise UnavailableError(f"no daemon listens at {socket}; start it with `weightproof-prover serve`")
        self._address = f"unix:{socket}"
        self._channel = grpc.insecure_channel(self._address)
        self._stub = stubs.ProverServiceStub(self._channel)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> ProverClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def commit(self, request_id: str, model: str, proofs: int = 0) -> wire.Job:
        """Raises AccessError, NotFoundError, FormatError, ConflictError, as the others that make jobs."""
        request = wire.CommitRequest(request_id=request_id, model=model, proofs=proofs)
        return self._call(lambda: self._stub.Commit(request, timeout=CALL_SECONDS)).job

    def measure(self, request_id: str, model: str, policy: bytes) -> wire.Job:
        """Measure a policy file in the clear."""
        request = wire.MeasureRequest(request_id=request_id, model=model, policy=policy)
        return self._call(lambda: self._stub.Measure(request, timeout=CALL_SECONDS)).job

    def audit(self, request_id: str, model: str, policy: bytes, nonce: bytes = b"") -> wire.Job:
        """Prove a policy file."""
        request = wire.AuditRequest(request_id=request_id, model=model, policy=policy, nonce=nonce)
        return self._call(lambda: self._stub.Audit(request, timeout=CALL_SECONDS)).job

    def submit(self, request_id: str, model: str, policy: str) -> wire.Job:
        """Prove a published policy, "policies/{hex}", to the verifier, and fetch the certificate."""
        request = wire.SubmitRequest(request_id=request_id, model=model, policy=policy)
        return self._call(lambda: self._stub.Submit(request, timeout=CALL_SECONDS)).job

    def job(self, name: str) -> wire.Job:
        """Raises NotFoundError."""
        request = wire.GetJobRequest(name=name)
        return self._call(lambda: self._stub.GetJob(request, timeout=CALL_SECONDS)).job

    def jobs(self, state: wire.JobState = wire.JOB_STATE_UNSPECIFIED) -> Iterator[wire.Job]:
        """All jobs, oldest first, without their results."""
        token = ""
        while True:
            request = wire.ListJobsRequest(page_size=PAGE, page_token=token, state=state)
            answer = self._page(request)
            yield from answer.jobs
            token = answer.next_page_token
            if not token:
                return

    def watch(self, name: str) -> Iterator[wire.Job]:
        """The job now and at every change, until it has ended."""
        try:
            for answer in self._stub.WatchJob(wire.WatchJobRequest(name=name)):
                yield answer.job
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._address) from None

    def cancel(self, name: str) -> wire.Job:
        """Raises NotFoundError, StateError if it has ended."""
        request = wire.CancelJobRequest(name=name)
        return self._call(lambda: self._stub.CancelJob(request, timeout=CALL_SECONDS)).job

    def _page(self, request: wire.ListJobsRequest) -> wire.ListJobsResponse:
        return self._call(lambda: self._stub.ListJobs(request, timeout=CALL_SECONDS))

    def _call(self, attempt: Callable[[], Answer]) -> Answer:
        try:
            return attempt()
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._address) from None

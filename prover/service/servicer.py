"""ProverService: requests are checked, become jobs, and are answered at once; jobs are watched until they end."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable
from typing import Any

from circuits.errors import FormatError
from circuits.policy import Policy
from prover.service.hooks import Hooks
from prover.service.messages import job_message, parse_job, parse_state
from prover.service.models import allowed_path
from prover.service.settings import ProverSettings, policy_name
from verifier.service.answers import answered
from verifier.service.errors import StateError
from verifier.service.identity import Caller, Identities
from verifier.service.jobs import Job, JobQueue
from verifier.service.paging import next_token, parse_page, parse_request_id
from verifier.service.settings import KnownIdentity
from verifier.service.transfer import MAX_POLICY_BYTES
from weightproof.v1 import prover_service_pb2 as wire
from weightproof.v1 import prover_service_pb2_grpc as stubs

WATCH_POLL_SECONDS = 0.25
MAX_PROOFS = 1 << 20
NONCE_BYTES = range(16, 257)
LOCAL = "local"


class Callers(Identities):
    """Whoever can open the Unix socket is the owner; over TCP, the SPIFFE ids of the configuration."""

    def __init__(self, clients: Iterable[str]) -> None:
        super().__init__(KnownIdentity(spiffe=client, role="owner") for client in clients)

    def caller(self, context: Any) -> Caller:
        """Raises AccessError."""
        if context.peer().startswith("unix:"):
            return Caller(LOCAL, "owner")
        return super().caller(context)


class ProverServicer(stubs.ProverServiceServicer):
    """The methods, over the queue of jobs."""

    def __init__(self, settings: ProverSettings, queue: JobQueue, hooks: Hooks) -> None:
        self.identities = Callers(settings.listen.clients if settings.listen is not None else ())
        self._settings, self._queue, self._hooks = settings, queue, hooks

    @answered("owner")
    async def Commit(self, request: wire.CommitRequest, caller: Caller) -> wire.CommitResponse:
        if request.proofs > MAX_PROOFS:
            raise FormatError(f"a commitment allows at most {MAX_PROOFS} proofs")
        job = await self._submit(caller, request, "commit", {"proofs": request.proofs})
        return wire.CommitResponse(job=job_message(job))

    @answered("owner")
    async def Measure(self, request: wire.MeasureRequest, caller: Caller) -> wire.MeasureResponse:
        job = await self._submit(caller, request, "measure", {"policy": await _policy(request.policy)})
        return wire.MeasureResponse(job=job_message(job))

    @answered("owner")
    async def Audit(self, request: wire.AuditRequest, caller: Caller) -> wire.AuditResponse:
        if request.nonce and len(request.nonce) not in NONCE_BYTES:
            raise FormatError("a nonce has 16 to 256 bytes")
        payload = {"policy": await _policy(request.policy), "nonce": request.nonce.hex()}
        job = await self._submit(caller, request, "audit", payload)
        return wire.AuditResponse(job=job_message(job))

    @answered("owner")
    async def Submit(self, request: wire.SubmitRequest, caller: Caller) -> wire.SubmitResponse:
        if self._settings.verifier is None:
            raise StateError("the configuration names no [verifier] to submit to")
        try:
            policy = policy_name(request.policy)
        except ValueError as error:
            raise FormatError(str(error)) from None
        job = await self._submit(caller, request, "submit", {"policy": policy})
        return wire.SubmitResponse(job=job_message(job))

    @answered("owner")
    async def GetJob(self, request: wire.GetJobRequest, caller: Caller) -> wire.GetJobResponse:
        return wire.GetJobResponse(job=await self._job(parse_job(request.name)))

    @answered("owner")
    async def ListJobs(self, request: wire.ListJobsRequest, caller: Caller) -> wire.ListJobsResponse:
        after, limit = parse_page(request.page_size, request.page_token)
        jobs = await asyncio.to_thread(self._queue.list, after, limit, parse_state(request.state))
        messages = [job_message(job, result=False) for job in jobs]
        return wire.ListJobsResponse(jobs=messages, next_page_token=next_token(jobs, limit))

    @answered("owner")
    async def WatchJob(self, request: wire.WatchJobRequest, caller: Caller) -> AsyncIterator[wire.WatchJobResponse]:
        identity, last = parse_job(request.name), None
        while True:
            message = await self._job(identity)
            if message != last:
                yield wire.WatchJobResponse(job=message)
                last = message
            if message.state not in (wire.JOB_STATE_QUEUED, wire.JOB_STATE_RUNNING):
                return
            await asyncio.sleep(WATCH_POLL_SECONDS)

    @answered("owner")
    async def CancelJob(self, request: wire.CancelJobRequest, caller: Caller) -> wire.CancelJobResponse:
        job = await asyncio.to_thread(self._queue.cancel, parse_job(request.name))
        return wire.CancelJobResponse(job=job_message(job))

    async def _submit(self, caller: Caller, request: Any, kind: str, payload: dict[str, Any]) -> Job:
        """Queue a job about the request's model. Raises AccessError, NotFoundError, FormatError, ConflictError."""
        request_id = parse_request_id(request.request_id)
        place = await asyncio.to_thread(allowed_path, request.model, self._settings.models)
        content = {**payload, "model": str(place)}
        return await asyncio.to_thread(self._queue.submit, caller.id, request_id, kind, content)

    async def _job(self, identity: str) -> wire.Job:
        def read() -> wire.Job:
            return job_message(self._queue.get(identity), self._hooks.of(identity))

        return await asyncio.to_thread(read)


async def _policy(content: bytes) -> str:
    """A policy file for a payload. Raises FormatError, PolicyError."""
    if not 0 < len(content) <= MAX_POLICY_BYTES:
        raise FormatError(f"a policy file has 1 to {MAX_POLICY_BYTES} bytes")
    await asyncio.to_thread(Policy.from_bytes, content)
    return base64.b64encode(content).decode()

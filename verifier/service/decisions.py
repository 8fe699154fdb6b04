"""What happens to a submitted file in the background: checked in a child process, signed, logged, answered.

Each step can be repeated. What was signed is kept before it is logged, and a logged entry is found again, so a crash
anywhere gives one attestation, one log entry, one verdict.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from circuits.checkpoint import strict_json
from circuits.errors import FormatError, WeightproofError
from circuits.policy import Policy
from verifier.attestation.bundle import bundle_bytes, parse_bundle
from verifier.attestation.issue import Dates, attest_report
from verifier.attestation.keys import SigningKey
from verifier.attestation.predicate import Issuer
from verifier.attestation.statement import Subject
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE, pinned_files
from verifier.log.entry import attestation_entry
from verifier.log.writer import LogWriter
from verifier.service import child
from verifier.service.blobs import BlobStore, disk
from verifier.service.errors import StorageError
from verifier.service.jobs import Job, JobQueue
from verifier.service.metrics import DECISION_SECONDS, DECISIONS
from verifier.service.records import AUDIT_JOB, VALIDITY_JOB, Record, Records
from verifier.service.settings import VerifierSettings
from verifier.service.transfer import LIMITS, MAX_REPORT_BYTES
from weightproof.v1 import artifacts_pb2 as wire

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
IDENTIFY_SECONDS = 60.0
_WORKER = "verifier.service.worker"
_PROBLEMS = {
    "time": ("LimitError", "the check took more time than this service gives"),
    "memory": ("LimitError", "the check took more memory than this service gives"),
    "crash": ("CrashError", "the check crashed"),
}
CRASHES = 3
WORK_PREFIX = "check-"
logger = logging.getLogger(__name__)


class _CrashedError(WeightproofError):
    """The child died without an answer."""


class Decisions:
    """The background work of a service."""

    def __init__(
        self,
        settings: VerifierSettings,
        records: Records,
        queue: JobQueue,
        blobs: BlobStore,
        log: LogWriter,
        key: SigningKey,
        base_files: dict[str, Path],
    ) -> None:
        self._settings, self._records, self._queue, self._blobs = settings, records, queue, blobs
        self._log, self._key, self._base_files = log, key, base_files
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._logging = asyncio.Lock()
        self._identifying = asyncio.Semaphore(settings.limits.workers)
        self._turns: dict[str, asyncio.Lock] = {}

    def wake(self) -> None:
        """There may be work."""
        self._wake.set()

    async def identify(self, owner: str, commitment: Path) -> str:
        """The id of an uploaded commitment.json, hex; one at a time of each owner. Raises FormatError if it is none."""
        limits = self._settings.limits
        async with self._turns.setdefault(owner, asyncio.Lock()), self._identifying:
            task = {"kind": "identify", "commitment": str(commitment)}
            seconds = min(limits.worker_seconds, IDENTIFY_SECONDS)
            answer = await child.run(_WORKER, task, limits.worker_memory, seconds)
        if answer.value is None:
            raise FormatError(f"commitment.json cannot be read here: {_PROBLEMS[answer.problem][1]}")
        if answer.value["verdict"] != "accepted":
            raise FormatError(answer.value["reason"])
        return str(answer.value["commitment"])

    async def run(self) -> None:
        """Work until cancelled; a job in hand is then put back."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.limits.workers):
                group.create_task(self._work(f"{self._name}-{number}"))

    async def _work(self, worker: str) -> None:
        while True:
            try:
                job = await asyncio.to_thread(self._queue.claim, worker, (VALIDITY_JOB, AUDIT_JOB))
            except StorageError as error:
                logger.warning("%s", error)
                job = None
            if job is None:
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
                continue
            await self._do(job, worker)

    async def _do(self, job: Job, worker: str) -> None:
        beat = asyncio.create_task(self._beat(job, worker))
        handler = self._validity if job.kind == VALIDITY_JOB else self._decide
        try:
            await handler(job)
            await asyncio.to_thread(self._queue.finish, job, worker, "SUCCEEDED")
        except asyncio.CancelledError:
            with suppress(StorageError):
                self._queue.release(job, worker)
            raise
        except (WeightproofError, OSError) as error:
            # storage, key or log failed: the proof is not to blame, the lease lapses and the job is tried again
            logger.error("job %s (%s): %s: %s", job.id, job.kind, type(error).__name__, error)
            await asyncio.sleep(POLL_SECONDS)
            with suppress(StorageError):
                forgiven = not isinstance(error, _CrashedError)
                await asyncio.to_thread(self._queue.release, job, worker, forgiven)
        except Exception:
            logger.exception("job %s (%s) failed", job.id, job.kind)
            await asyncio.sleep(POLL_SECONDS)
            with suppress(StorageError):
                await asyncio.to_thread(self._give_up, job, worker)
        finally:
            beat.cancel()

    def _give_up(self, job: Job, worker: str) -> None:
        """After an error that nobody foresaw: try again, but not for ever."""
        if job.attempts < CRASHES:
            self._queue.release(job, worker, forgiven=False)
            return
        error, reason = _PROBLEMS["crash"]
        if job.kind == VALIDITY_JOB:
            row = self._records.commitment_number(job.payload["number"])
            self._records.settle_commitment(row.number, row.validity, "INVALID", f"{error}: {reason}")
        else:
            self._records.reject(job.payload["audit"], error, reason)
        self._queue.finish(job, worker, "FAILED", error=error, reason=reason)

    async def _beat(self, job: Job, worker: str) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with suppress(StorageError):
                await asyncio.to_thread(self._queue.heartbeat, job, worker)

    async def _validity(self, job: Job) -> None:
        row = await asyncio.to_thread(self._records.commitment_number, job.payload["number"])
        if row.state != "PENDING":
            return
        with self._folder() as folder:
            task = {"kind": "validity", "folder": str(self._commitment_folder(folder / "commitment", row))}
            answer = await self._check(task, job)
        if answer["verdict"] == "accepted":
            await asyncio.to_thread(self._records.settle_commitment, row.number, row.validity, "VALID", "")
        else:
            reason = f"{answer['error']}: {answer['reason']}"
            await asyncio.to_thread(self._records.settle_commitment, row.number, row.validity, "INVALID", reason)

    async def _decide(self, job: Job) -> None:
        audit = await asyncio.to_thread(self._records.audit, job.payload["audit"], None)
        if audit.state != "VERIFYING":
            return
        if audit.attestation is None:
            commitment = await asyncio.to_thread(self._records.commitment, audit.commitment, audit.owner)
            with self._folder() as folder, DECISION_SECONDS.time():
                answer = await self._check(await asyncio.to_thread(self._task, folder, audit, commitment), job)
            if answer["verdict"] != "accepted":
                await asyncio.to_thread(self._records.reject, audit.id, answer["error"], answer["reason"])
                DECISIONS.labels("rejected").inc()
                return
            try:
                audit = await asyncio.to_thread(self._sign, audit, commitment, answer)
            except FormatError as error:
                await asyncio.to_thread(self._records.reject, audit.id, "FormatError", str(error))
                DECISIONS.labels("rejected").inc()
                return
            if audit.attestation is None:
                return  # rejected meanwhile, by a worker that had this job before
        async with self._logging:
            await asyncio.to_thread(self._publish, audit)
        DECISIONS.labels("accepted").inc()

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        with disk(), tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=self._settings.state) as folder:
            yield Path(folder)

    def _commitment_folder(self, folder: Path, row: Record) -> Path:
        """A folder that looks like an owner's, of links to stored files."""
        with disk():
            folder.mkdir()
            (folder / COMMITMENT_FILE).symlink_to(self._blobs.path(row.commitment))
            (folder / VALIDITY_FILE).symlink_to(self._blobs.path(row.validity))
        return folder

    def _task(self, folder: Path, audit: Record, commitment: Record) -> dict[str, Any]:
        policy = self._records.policy(audit.policy).content
        with disk():
            (folder / "policy.yaml").write_bytes(policy)
        pinned = pinned_files(Policy.from_bytes(policy))
        bases = {}
        for number, (name, identity) in enumerate(json.loads(audit.bases).items()):
            row = self._records.commitment(identity, audit.owner)
            bases[name] = str(self._commitment_folder(folder / f"base-{number}", row))
        return {
            "kind": "decide",
            "folder": str(self._commitment_folder(folder / "commitment", commitment)),
            "bundle": str(self._blobs.path(audit.bundle)),
            "policy": str(folder / "policy.yaml"),
            "nonce": audit.nonce.hex(),
            "bases": bases,
            "base_files": [str(self._base_files[digest]) for digest in sorted(pinned & set(self._base_files))],
        }

    async def _check(self, task: dict[str, Any], job: Job) -> dict[str, Any]:
        """The child's answer. A crash is tried again; when that does not help, it counts as a failed check."""
        limits = self._settings.limits
        answer = await child.run(_WORKER, task, limits.worker_memory, limits.worker_seconds)
        if answer.value is not None:
            return answer.value
        if answer.problem == "crash" and job.attempts < CRASHES:
            raise _CrashedError(f"the check crashed and will be tried again: {answer.detail}")
        error, reason = _PROBLEMS[answer.problem]
        logger.error("%s: %s", reason, answer.detail)
        return {"verdict": "rejected", "error": error, "reason": reason}

    def _sign(self, audit: Record, commitment: Record, answer: dict[str, Any]) -> Record:
        report = answer["report"]
        if (report["commitment"], report["policy"]["digest"]) != (audit.commitment, audit.policy):
            raise StorageError("the stored files are not those of this audit; restore them from a backup")
        moment = datetime.now(UTC)
        signing = self._settings.signing
        # the owner's word, as far as it can be: the nonce was not there before
        proved = datetime.fromtimestamp(max(audit.created, audit.proved or 0.0), UTC)
        dates = Dates(min(proved, moment), moment, moment + timedelta(days=signing.valid_days))
        envelopes = attest_report(
            report,
            Subject(f"{commitment.title} ({audit.owner})", answer["model"]),  # the name is the owner's word
            self._key,
            Issuer(role="regulator", id=signing.id),
            dates,
            {
                "commitment.json": commitment.commitment.hex(),
                "validity.proof": commitment.validity.hex(),
                "bundle": audit.bundle.hex(),
                **{
                    f"base {name}: commitment.json": self._records.commitment(base, audit.owner).commitment.hex()
                    for name, base in json.loads(audit.bases).items()
                },
            },
        )
        content, attestation = strict_json.dumps(report), bundle_bytes(envelopes)
        if len(content) > MAX_REPORT_BYTES or len(attestation) > LIMITS[wire.ARTIFACT_KIND_ATTESTATION]:
            raise FormatError(f"the report of this audit has more than {MAX_REPORT_BYTES} bytes: fewer, larger tensors")
        return self._records.sign_audit(
            audit.id, self._blobs.put(content), self._blobs.put(attestation), self._log.size
        )

    def _publish(self, audit: Record) -> None:
        """Append the attestation to the log, unless a crash came after that, and give the verdict."""
        data = self._blobs.read(audit.attestation, LIMITS[wire.ARTIFACT_KIND_ATTESTATION])
        entries = [attestation_entry(envelope) for envelope in parse_bundle(data).envelopes]
        index = self._log.find(entries[0], audit.log_from)
        if index is None:
            with disk():
                index = self._log.append(entries)[0]
        receipt = self._blobs.put(self._log.receipt(index).to_bytes())
        self._records.accept(audit.id, receipt, index)

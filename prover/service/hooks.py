"""Hooks: commands and webhooks that hear when a job has ended. They never change how it ended.

Deliveries are rows of the database, so every end is announced at least once and at most `attempts` times, whatever is
killed. Measured values never leave through a hook: they are for the owner's eyes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

from sqlalchemy import Column, Connection, Float, Integer, String, Table, Text, insert, select, update

from circuits.errors import FormatError
from circuits.files import read_limited
from prover.service.settings import Hook
from verifier.service.database import METADATA, Database, now
from verifier.service.jobs import ENDED, JOBS, Job, JobQueue

MAX_SECRET_BYTES = 4096
MAX_ERROR = 500
BATCH = 100
SIGNATURE_HEADER = "X-Weightproof-Signature"
DELIVERY_HEADER = "X-Weightproof-Delivery"
PRIVATE_KINDS = ("measure",)
logger = logging.getLogger(__name__)

ANNOUNCED = Table("announced", METADATA, Column("job", String(32), primary_key=True))
DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("job", String(32), primary_key=True),
    Column("hook", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # PENDING, DELIVERED, FAILED
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Column("error", Text, nullable=False),
)


class HookError(Exception):
    """A hook did not take its delivery."""


@dataclass(frozen=True)
class Delivery:
    """One end of a job for one hook, and what became of it."""

    job: str
    hook: str
    delivered: bool
    attempts: int
    error: str


class Hooks:
    """The hooks of a configuration over the jobs of a database."""

    def __init__(self, database: Database, queue: JobQueue, hooks: Sequence[Hook]) -> None:
        self._database, self._queue = database, queue
        self._hooks = {hook.name: hook for hook in hooks}

    def deliver(self) -> int:
        """Announce new ends and make all deliveries that are due; how many were tried. Takes as long as the hooks do.

        Raises StorageError.
        """
        self._database.attempt(self._announce)
        tried = 0
        while (row := self._database.attempt(self._next)) is not None:
            tried += 1
            hook, job = self._hooks[row.hook], self._queue.get(row.job)
            try:
                run(hook, job)
            except HookError as error:
                final = row.attempts >= hook.attempts
                logger.warning("hook %s of job %s, attempt %d: %s", hook.name, job.id, row.attempts, error)
                due = now() + hook.retry_after * 2 ** (row.attempts - 1)
                self._record(row, "FAILED" if final else "PENDING", due, str(error)[:MAX_ERROR])
            else:
                self._record(row, "DELIVERED", 0.0, "")
        return tried

    def of(self, job: str) -> list[Delivery]:
        """What became of the deliveries of a job."""
        query = select(DELIVERIES).where(DELIVERIES.c.job == job).order_by(DELIVERIES.c.hook)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [Delivery(row.job, row.hook, row.state == "DELIVERED", row.attempts, row.error) for row in rows]

    def _announce(self, connection: Connection) -> None:
        """Make deliveries for jobs that have ended, each once."""
        fresh = JOBS.c.id.not_in(select(ANNOUNCED.c.job))
        ended = select(JOBS.c.id, JOBS.c.kind).where(JOBS.c.state.in_(ENDED), fresh).order_by(JOBS.c.number)
        for job in connection.execute(ended.limit(BATCH)).all():
            connection.execute(insert(ANNOUNCED).values(job=job.id))
            for hook in self._hooks.values():
                if job.kind in hook.on:
                    values = {"job": job.id, "hook": hook.name, "state": "PENDING", "attempts": 0, "due": 0.0}
                    connection.execute(insert(DELIVERIES).values(**values, error=""))

    def _next(self, connection: Connection) -> Any:
        """The next delivery that is due, counted as tried before it is: a crash on the way is an attempt."""
        due = (DELIVERIES.c.state == "PENDING") & (DELIVERIES.c.due <= now())
        known = DELIVERIES.c.hook.in_(list(self._hooks))
        row = connection.execute(select(DELIVERIES).where(due, known).order_by(DELIVERIES.c.due).limit(1)).one_or_none()
        if row is None:
            return None
        hook, key = self._hooks[row.hook], self._key(row)
        if row.attempts >= hook.attempts:
            connection.execute(update(DELIVERIES).where(key).values(state="FAILED"))
            return None
        again = now() + hook.timeout + hook.retry_after * 2**row.attempts
        connection.execute(update(DELIVERIES).where(key).values(attempts=row.attempts + 1, due=again))
        return connection.execute(select(DELIVERIES).where(key)).one()

    def _record(self, row: Any, state: str, due: float, error: str) -> None:
        values = {"state": state, "due": due, "error": error}
        self._database.attempt(lambda c: c.execute(update(DELIVERIES).where(self._key(row)).values(**values)))

    @staticmethod
    def _key(row: Any) -> Any:
        return (DELIVERIES.c.job == row.job) & (DELIVERIES.c.hook == row.hook)


def document(job: Job) -> bytes:
    """What a hook gets: a JSON object."""
    private = job.kind in PRIVATE_KINDS
    content = {
        "format": "weightproof/job-ended/v1",
        "name": f"jobs/{job.id}",
        "kind": job.kind,
        "state": job.state,
        "model": job.payload.get("model"),
        "policy": job.payload.get("policy") if job.kind == "submit" else None,
        "created": f"{job.created:.3f}",
        "updated": f"{job.updated:.3f}",
        "result": None if private else job.result,
        "error": job.error,
        "reason": None if private else job.reason,
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def run(hook: Hook, job: Job) -> None:
    """Make one delivery. Raises HookError."""
    if hook.command is not None:
        run_command(hook.command, document(job), hook.timeout)
    else:
        post(hook, document(job), f"{job.id}/{hook.name}")


def run_command(command: Sequence[str], body: bytes, timeout: float) -> None:
    """Run a program, without a shell, with `body` on stdin. Raises HookError: not started, too long, exit code."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(body)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, stdin=given, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise HookError(f"cannot start {command[0]}: {error}") from None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise HookError(f"{command[0]} took longer than {timeout:g} s") from None
        if code != 0:
            size = errors.seek(0, os.SEEK_END)
            errors.seek(max(0, size - MAX_ERROR // 2))
            told = errors.read(MAX_ERROR // 2).decode("utf-8", "replace").strip()
            raise HookError(f"{command[0]} ended with {code}: {told}")


def signature(secret: bytes, body: bytes) -> str:
    """The value of SIGNATURE_HEADER."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are failures: the configuration says where the job is told."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def post(hook: Hook, body: bytes, delivery: str) -> None:
    """POST a signed document. Raises HookError unless the answer is 2xx."""
    assert hook.url is not None and hook.secret is not None
    try:
        secret = read_limited(hook.secret, MAX_SECRET_BYTES, "secret").strip()
    except FormatError as error:
        raise HookError(str(error)) from None
    if len(secret) < 16:
        raise HookError(f"the secret in {hook.secret} has fewer than 16 bytes; make one with `openssl rand -hex 32`")
    headers = {
        "Content-Type": "application/json",
        SIGNATURE_HEADER: signature(secret, body),
        DELIVERY_HEADER: delivery,
    }
    handlers: list[Any] = [_NoRedirects()]
    if hook.loopback:
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(hook.url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=hook.timeout) as answer:
            if not 200 <= answer.status < 300:
                raise HookError(f"{hook.url} answered {answer.status}")
    except urllib.error.HTTPError as error:
        error.close()
        raise HookError(f"{hook.url} answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise HookError(f"{hook.url} cannot be reached: {error}") from None

"""A durable queue: one table, leases and heartbeats. A worker that dies loses its lease, and the job is queued again.

Handlers must be idempotent: what a lost worker did half is done again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    case,
    func,
    select,
    update,
)

from verifier.service.database import METADATA, Database, now
from verifier.service.errors import ConflictError, NotFoundError, StateError

State = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]
ENDED: tuple[State, ...] = ("SUCCEEDED", "FAILED", "CANCELLED")
MAX_ATTEMPTS = 5
LEASE_SECONDS = 30.0
MAX_PAGE = 1000

JOBS = Table(
    "jobs",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), unique=True, nullable=False),
    Column("owner", String(512), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("stage", String(200), nullable=False, default=""),
    Column("fraction", Float, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("leased_by", String(64)),
    Column("leased_until", Float),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("started", Float, nullable=False, default=0.0),
    Column("cancel", Integer, nullable=False, default=0),
    Column("result", Text),
    Column("error", String(64)),
    Column("reason", Text),
    UniqueConstraint("owner", "request_id"),
    Index("turns", "owner", "started"),
)


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read. Times are seconds since 1970, `started` is 0 before the
    first time; `cancel` says that somebody asked to stop it."""

    number: int
    id: str
    owner: str
    request_id: str
    kind: str
    payload: dict[str, Any]
    state: State
    stage: str
    fraction: float
    attempts: int
    leased_by: str | None
    leased_until: float | None
    created: float
    updated: float
    started: float
    cancel: bool
    result: dict[str, Any] | None
    error: str | None
    reason: str | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def _job(row: Row[Any]) -> Job:
    values = dict(row._mapping)
    result = values["result"]
    return Job(
        **{
            **values,
            "payload": json.loads(values["payload"]),
            "result": None if result is None else json.loads(result),
            "cancel": bool(values["cancel"]),
        }
    )


class JobQueue:
    """The jobs of a database. Any number of processes may work on them."""

    def __init__(self, database: Database, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database, self._lease = database, lease_seconds

    def submit(self, owner: str, request_id: str, kind: str, payload: dict[str, Any]) -> Job:
        """Queue a job; with a request_id that the owner has used before, the job that it stands for.

        Raises ConflictError if that job is another one.
        """
        job: Job = self._database.attempt(self.add, owner, request_id, kind, payload)
        return job

    @staticmethod
    def add(connection: Connection, owner: str, request_id: str, kind: str, payload: dict[str, Any]) -> Job:
        """The same within a transaction that changes more."""
        text = json.dumps(payload, sort_keys=True)
        query = select(JOBS).where(JOBS.c.owner == owner, JOBS.c.request_id == request_id)
        known = connection.execute(query).one_or_none()
        if known is not None:
            if (known.kind, known.payload) != (kind, text):
                raise ConflictError(f"the request_id {request_id!r} stands for another job; choose a new one")
            return _job(known)
        moment = now()
        connection.execute(
            JOBS.insert().values(
                id=secrets.token_hex(16),
                owner=owner,
                request_id=request_id,
                kind=kind,
                payload=text,
                state="QUEUED",
                created=moment,
                updated=moment,
            )
        )
        return _job(connection.execute(query).one())

    @staticmethod
    def unfinished(connection: Connection, owner: str) -> int:
        """How many jobs of an owner wait or run."""
        query = select(func.count()).where(JOBS.c.owner == owner, JOBS.c.state.in_(("QUEUED", "RUNNING")))
        return int(connection.execute(query).scalar_one())

    def claim(self, worker: str, kinds: Sequence[str]) -> Job | None:
        """A job that waits, or whose worker was lost, leased to `worker`; None if there is none.

        It is the oldest job of the owner whose last turn is longest ago: nobody waits behind another's queue. A job
        that lost its worker MAX_ATTEMPTS times fails, with the error "LostWorkerError".
        """

        def transaction(connection: Connection) -> Job | None:
            moment = now()
            lost = (JOBS.c.state == "RUNNING") & (JOBS.c.leased_until < moment)
            due = JOBS.c.leased_until.is_(None) | (JOBS.c.leased_until < moment)
            claimable = ((JOBS.c.state == "QUEUED") & due) | lost
            connection.execute(
                update(JOBS).where(lost, JOBS.c.cancel == 1).values(state="CANCELLED", updated=moment, leased_by=None)
            )
            connection.execute(
                update(JOBS)
                .where(lost, JOBS.c.attempts >= MAX_ATTEMPTS)
                .values(
                    state="FAILED",
                    updated=moment,
                    leased_by=None,
                    error="LostWorkerError",
                    reason=f"the worker was lost {MAX_ATTEMPTS} times: out of memory, or killed; see its log",
                )
            )
            waiting = (
                select(JOBS.c.owner, func.min(JOBS.c.number).label("number"))
                .where(JOBS.c.kind.in_(kinds), claimable)
                .group_by(JOBS.c.owner)
                .subquery()
            )
            turns = JOBS.alias()
            last = (
                select(func.max(turns.c.started)).where(turns.c.owner == waiting.c.owner).correlate(waiting)
            ).scalar_subquery()
            row = connection.execute(
                select(JOBS)
                .join(waiting, JOBS.c.number == waiting.c.number)
                .order_by(func.coalesce(last, 0.0), JOBS.c.number)
                .limit(1)
            ).one_or_none()
            if row is None:
                return None
            connection.execute(
                update(JOBS)
                .where(JOBS.c.number == row.number)
                .values(
                    state="RUNNING",
                    attempts=row.attempts + 1,
                    started=moment,
                    leased_by=worker,
                    leased_until=moment + self._lease,
                    updated=moment,
                )
            )
            return self._one(connection, row.id)

        job: Job | None = self._database.attempt(transaction)
        return job

    def heartbeat(self, job: Job, worker: str, stage: str = "", fraction: float = 0.0) -> bool:
        """Keep the lease; False if the work should stop: it was cancelled, or somebody else has it."""

        def transaction(connection: Connection) -> bool:
            moment = now()
            changed = connection.execute(
                update(JOBS)
                .where(self._held(job, worker), JOBS.c.cancel == 0)
                .values(
                    leased_until=moment + self._lease, updated=moment, stage=stage[:200], fraction=min(fraction, 1.0)
                )
            )
            return changed.rowcount == 1

        kept: bool = self._database.attempt(transaction)
        return kept

    def finish(
        self,
        job: Job,
        worker: str,
        state: State,
        result: dict[str, Any] | None = None,
        error: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """End a job; False if it is no longer this worker's, and then nothing changed."""

        def transaction(connection: Connection) -> bool:
            changed = connection.execute(
                update(JOBS)
                .where(self._held(job, worker))
                .values(
                    state=state,
                    result=None if result is None else json.dumps(result, sort_keys=True),
                    error=error,
                    reason=reason,
                    updated=now(),
                    leased_by=None,
                    leased_until=None,
                )
            )
            return changed.rowcount == 1

        ended: bool = self._database.attempt(transaction)
        return ended

    def release(self, job: Job, worker: str, forgiven: bool = True, pause: float = 0.0) -> None:
        """Put a job back; `forgiven`, as if it had not been started: its worker stops, or the trouble will pass.

        Nobody gets it again within `pause` seconds. If somebody asked to stop it, it is cancelled instead.
        """

        def transaction(connection: Connection) -> None:
            connection.execute(
                update(JOBS)
                .where(self._held(job, worker))
                .values(
                    state=case((JOBS.c.cancel == 1, "CANCELLED"), else_="QUEUED"),
                    attempts=JOBS.c.attempts - int(forgiven),
                    leased_by=None,
                    leased_until=now() + pause if pause > 0 else None,
                    updated=now(),
                )
            )

        self._database.attempt(transaction)

    def recover(self) -> int:
        """Queue again whatever runs: for a process that knows that no other works on this queue. How many they were."""

        def transaction(connection: Connection) -> int:
            state = case((JOBS.c.cancel == 1, "CANCELLED"), else_="QUEUED")
            values = {"state": state, "leased_by": None, "leased_until": None, "updated": now()}
            return int(connection.execute(update(JOBS).where(JOBS.c.state == "RUNNING").values(values)).rowcount)

        count: int = self._database.attempt(transaction)
        return count

    def cancel(self, identity: str) -> Job:
        """Cancel a job: at once if it waits, at its next heartbeat if it runs. Raises NotFoundError, StateError."""

        def transaction(connection: Connection) -> Job:
            job = self._one(connection, identity)
            if job.state in ("SUCCEEDED", "FAILED"):
                raise StateError(f"job {identity} has ended: {job.state.lower()}")
            values: dict[str, Any] = {"cancel": 1, "updated": now()}
            if job.state == "QUEUED":
                values["state"] = "CANCELLED"
            connection.execute(update(JOBS).where(JOBS.c.id == identity).values(**values))
            return self._one(connection, identity)

        job: Job = self._database.attempt(transaction)
        return job

    def get(self, identity: str) -> Job:
        """Raises NotFoundError."""
        with self._database.begin() as connection:
            return self._one(connection, identity)

    def list(self, after: int = 0, limit: int = 50, state: State | None = None) -> list[Job]:
        """Jobs whose number is above `after`, at most `limit` (1 to 1000), oldest first."""
        query = select(JOBS).where(JOBS.c.number > after).order_by(JOBS.c.number).limit(max(1, min(limit, MAX_PAGE)))
        if state is not None:
            query = query.where(JOBS.c.state == state)
        with self._database.begin() as connection:
            return [_job(row) for row in connection.execute(query)]

    @staticmethod
    def _held(job: Job, worker: str) -> Any:
        return (JOBS.c.id == job.id) & (JOBS.c.state == "RUNNING") & (JOBS.c.leased_by == worker)

    @staticmethod
    def _one(connection: Connection, identity: str) -> Job:
        row = connection.execute(select(JOBS).where(JOBS.c.id == identity)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {identity}")
        return _job(row)

"""The service's records: who uploaded what, commitments, policies, audits. Every change is one transaction."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Table, func, insert, select, update

from verifier.service.database import Database, now
from verifier.service.errors import BusyError, ConflictError, NotFoundError, StateError
from verifier.service.jobs import JobQueue
from verifier.service.tables import AUDITS, COMMITMENTS, NONCE_BYTES, POLICIES, UPLOADS

CommitmentState = Literal["PENDING", "VALID", "INVALID"]
AuditState = Literal["OPEN", "VERIFYING", "DECIDED", "EXPIRED"]
VALIDITY_JOB, AUDIT_JOB = "validity", "decide"

Record = Row[Any]
_AUDIT_LIMIT = "{} audits are open; submit their proofs, or wait until they expire"


@dataclass(frozen=True)
class File:
    """A stored file: SHA-256 and size in bytes."""

    sha256: bytes
    size: int


class Records:
    """The tables behind their transitions. Threads may share it.

    Every method raises StorageError if the database fails; then nothing changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # uploads

    def uploaded(self, owner: str, kind: int, sha256: bytes) -> File | None:
        """A complete upload of this owner."""
        query = select(UPLOADS).where(UPLOADS.c.owner == owner, UPLOADS.c.kind == kind, UPLOADS.c.sha256 == sha256)
        row = self._first(query)
        return None if row is None else File(row.sha256, row.size)

    def require_upload(self, owner: str, kind: int, sha256: bytes) -> File:
        """Raises StateError if the owner has not uploaded this file."""
        file = self.uploaded(owner, kind, sha256)
        if file is None:
            raise StateError(f"the file {sha256.hex()} was not uploaded; upload it first")
        return file

    def stored_bytes(self, owner: str) -> int:
        """The sizes of all complete uploads of an owner."""
        row = self._first(select(func.coalesce(func.sum(UPLOADS.c.size), 0)).where(UPLOADS.c.owner == owner))
        return int(row[0]) if row is not None else 0

    def add_upload(self, owner: str, kind: int, file: File) -> None:
        """Remember a complete upload."""

        def transaction(connection: Connection) -> None:
            key = (UPLOADS.c.owner == owner) & (UPLOADS.c.kind == kind) & (UPLOADS.c.sha256 == file.sha256)
            if connection.execute(select(UPLOADS).where(key)).one_or_none() is None:
                values = {"owner": owner, "kind": kind, "sha256": file.sha256, "size": file.size, "created": now()}
                connection.execute(insert(UPLOADS).values(values))

        self._database.attempt(transaction)

    # policies

    def publish(self, digest: str, title: str, checks: int, content: bytes) -> Record:
        """Store a policy; storing it again changes nothing."""

        def transaction(connection: Connection) -> Record:
            query = select(POLICIES).where(POLICIES.c.digest == digest)
            row = connection.execute(query).one_or_none()
            if row is None:
                values = {"digest": digest, "title": title, "checks": checks, "content": content, "created": now()}
                connection.execute(insert(POLICIES).values(values))
                row = connection.execute(query).one()
            return row

        record: Record = self._database.attempt(transaction)
        return record

    def policy(self, digest: str) -> Record:
        """Raises NotFoundError."""
        row = self._first(select(POLICIES).where(POLICIES.c.digest == digest))
        if row is None:
            raise NotFoundError(f"there is no policy {digest}; see ListPolicies")
        return row

    def policies(self, after: int, limit: int) -> list[Record]:
        """Policies numbered above `after`, oldest first."""
        return self._page(select(POLICIES), POLICIES, after, limit)

    # commitments

    def register(
        self, owner: str, identity: str, title: str, commitment: File, validity: File, waiting_limit: int
    ) -> Record:
        """Store a commitment and queue the check of its validity; storing it again changes nothing.

        A commitment that was found invalid is checked again if it comes with another proof. Raises BusyError if
        `waiting_limit` checks of the owner are not done.
        """

        def transaction(connection: Connection) -> Record:
            query = select(COMMITMENTS).where(COMMITMENTS.c.owner == owner, COMMITMENTS.c.id == identity)
            row = connection.execute(query).one_or_none()
            moment = now()
            values = {"validity": validity.sha256, "validity_size": validity.size, "updated": moment}
            if row is None:
                values |= {"owner": owner, "id": identity, "title": title, "state": "PENDING", "created": moment}
                values |= {"commitment": commitment.sha256, "commitment_size": commitment.size}
                connection.execute(insert(COMMITMENTS).values(values))
            elif row.state == "INVALID" and row.validity != validity.sha256:
                values |= {"state": "PENDING", "reason": ""}
                connection.execute(update(COMMITMENTS).where(COMMITMENTS.c.number == row.number).values(values))
            else:
                return row
            row = connection.execute(query).one()
            self._queue(connection, owner, VALIDITY_JOB, {"number": row.number}, waiting_limit)
            return row

        record: Record = self._database.attempt(transaction)
        return record

    def commitment(self, identity: str, owner: str | None) -> Record:
        """A commitment of an owner, or with None the first of any owner. Raises NotFoundError."""
        query = select(COMMITMENTS).where(COMMITMENTS.c.id == identity).order_by(COMMITMENTS.c.number).limit(1)
        if owner is not None:
            query = query.where(COMMITMENTS.c.owner == owner)
        row = self._first(query)
        if row is None:
            raise NotFoundError(f"there is no commitment {identity} of yours; register it first")
        return row

    def commitment_number(self, number: int) -> Record:
        """Raises NotFoundError."""
        row = self._first(select(COMMITMENTS).where(COMMITMENTS.c.number == number))
        if row is None:
            raise NotFoundError(f"there is no commitment number {number}")
        return row

    def commitments(self, owner: str | None, after: int, limit: int) -> list[Record]:
        """Commitments numbered above `after`, of one owner or of all."""
        query = select(COMMITMENTS)
        if owner is not None:
            query = query.where(COMMITMENTS.c.owner == owner)
        return self._page(query, COMMITMENTS, after, limit)

    def settle_commitment(self, number: int, validity: bytes, state: CommitmentState, reason: str) -> None:
        """The outcome of the check of this proof of validity, unless there is one already."""
        pending = (COMMITMENTS.c.state == "PENDING") & (COMMITMENTS.c.validity == validity)
        self._change(
            update(COMMITMENTS)
            .where(COMMITMENTS.c.number == number, pending)
            .values(state=state, reason=_plain(reason, 2000), updated=now())
        )

    # audits

    def create_audit(
        self,
        owner: str,
        request_id: str,
        commitment: str,
        policy: str,
        bases: dict[str, str],
        lifetime: float,
        open_limit: int,
    ) -> Record:
        """Open an audit with a fresh nonce; with a request_id that was used before, the audit that it stands for.

        Raises ConflictError if that one is about something else, BusyError if too many are open.
        """
        text = json.dumps(bases, sort_keys=True)

        def transaction(connection: Connection) -> Record:
            query = select(AUDITS).where(AUDITS.c.owner == owner, AUDITS.c.request_id == request_id)
            row = connection.execute(query).one_or_none()
            if row is not None:
                if (row.commitment, row.policy, row.bases) != (commitment, policy, text):
                    raise ConflictError(f"the request_id {request_id!r} stands for another audit; choose a new one")
                return row
            moment = now()
            mine = (AUDITS.c.owner == owner) & (AUDITS.c.state == "OPEN") & (AUDITS.c.expires > moment)
            count = connection.execute(select(func.count()).select_from(AUDITS).where(mine)).scalar_one()
            if count >= open_limit:
                raise BusyError(_AUDIT_LIMIT.format(count))
            connection.execute(
                insert(AUDITS).values(
                    id=secrets.token_hex(16),
                    owner=owner,
                    request_id=request_id,
                    commitment=commitment,
                    policy=policy,
                    bases=text,
                    state="OPEN",
                    nonce=os.urandom(NONCE_BYTES),
                    created=moment,
                    updated=moment,
                    expires=moment + lifetime,
                )
            )
            return connection.execute(query).one()

        record: Record = self._database.attempt(transaction)
        return record

    def audit(self, identity: str, owner: str | None) -> Record:
        """An audit of an owner, or with None of any; one whose time is over is EXPIRED. Raises NotFoundError."""
        query = select(AUDITS).where(AUDITS.c.id == identity)
        if owner is not None:
            query = query.where(AUDITS.c.owner == owner)

        def transaction(connection: Connection) -> Record:
            self._expire(connection)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NotFoundError(f"there is no audit {identity} of yours")
            return row

        record: Record = self._database.attempt(transaction)
        return record

    def audits(
        self, owner: str | None, after: int, limit: int, commitment: str = "", state: AuditState | None = None
    ) -> list[Record]:
        """Audits numbered above `after`, of one owner or of all."""
        self._database.attempt(self._expire)
        query = select(AUDITS)
        if owner is not None:
            query = query.where(AUDITS.c.owner == owner)
        if commitment:
            query = query.where(AUDITS.c.commitment == commitment)
        if state is not None:
            query = query.where(AUDITS.c.state == state)
        return self._page(query, AUDITS, after, limit)

    def submit(self, identity: str, owner: str, bundle: File, proved: float, waiting_limit: int) -> Record:
        """Use up the nonce of an open audit and queue the check of its proof; the same bundle again changes nothing.

        Raises NotFoundError, StateError (another proof came first, or the time is over), BusyError (as many as
        `waiting_limit` checks of the owner are not done).
        """

        def transaction(connection: Connection) -> Record:
            self._expire(connection)
            query = select(AUDITS).where(AUDITS.c.id == identity, AUDITS.c.owner == owner)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NotFoundError(f"there is no audit {identity} of yours")
            if row.state == "EXPIRED":
                raise StateError("the audit has expired; open a new one: its nonce needs a new proof")
            if row.state != "OPEN":
                if row.bundle == bundle.sha256:
                    return row
                raise StateError("the nonce of this audit was used already; open a new audit")
            connection.execute(
                update(AUDITS)
                .where(AUDITS.c.number == row.number, AUDITS.c.state == "OPEN")
                .values(
                    state="VERIFYING",
                    bundle=bundle.sha256,
                    bundle_size=bundle.size,
                    proved=proved,
                    updated=now(),
                )
            )
            self._queue(connection, owner, AUDIT_JOB, {"audit": identity}, waiting_limit)
            return connection.execute(query).one()

        record: Record = self._database.attempt(transaction)
        return record

    def sign_audit(self, identity: str, report: bytes, attestation: bytes, log_from: int) -> Record:
        """Keep what was signed, once: the attestation that came first stays, and a rejected audit gets none."""

        def transaction(connection: Connection) -> Record:
            connection.execute(
                update(AUDITS)
                .where(AUDITS.c.id == identity, AUDITS.c.state == "VERIFYING", AUDITS.c.attestation.is_(None))
                .values(report=report, attestation=attestation, log_from=log_from, updated=now())
            )
            return connection.execute(select(AUDITS).where(AUDITS.c.id == identity)).one()

        record: Record = self._database.attempt(transaction)
        return record

    def accept(self, identity: str, receipt: bytes, log_index: int) -> None:
        """The verdict, once attestation and log entry are there."""
        values = {"verdict": "ACCEPTED", "receipt": receipt, "log_index": log_index}
        self._decide(identity, AUDITS.c.attestation.is_not(None), values)

    def reject(self, identity: str, error: str, reason: str) -> None:
        """The verdict on a proof that failed; none on one that was attested already."""
        values = {"verdict": "REJECTED", "error": _plain(error, 64), "reason": _plain(reason, 2000)}
        self._decide(identity, AUDITS.c.attestation.is_(None), values)

    def _decide(self, identity: str, condition: Any, values: dict[str, Any]) -> None:
        self._change(
            update(AUDITS)
            .where(AUDITS.c.id == identity, AUDITS.c.state == "VERIFYING", condition)
            .values(state="DECIDED", updated=now(), **values)
        )

    @staticmethod
    def _queue(connection: Connection, owner: str, kind: str, payload: dict[str, Any], limit: int) -> None:
        count = JobQueue.unfinished(connection, owner)
        if count >= limit:
            raise BusyError(f"{count} checks of yours are not done; wait until one is")
        JobQueue.add(connection, owner, secrets.token_hex(16), kind, payload)

    @staticmethod
    def _expire(connection: Connection) -> None:
        moment = now()
        late = (AUDITS.c.state == "OPEN") & (AUDITS.c.expires <= moment)
        connection.execute(update(AUDITS).where(late).values(state="EXPIRED", updated=moment))

    def _first(self, query: Any) -> Record | None:
        row: Record | None = self._database.attempt(lambda connection: connection.execute(query).first())
        return row

    def _page(self, query: Any, table: Table, after: int, limit: int) -> list[Record]:
        page = query.where(table.c.number > after).order_by(table.c.number).limit(limit)
        rows: list[Record] = self._database.attempt(lambda connection: list(connection.execute(page)))
        return rows

    def _change(self, statement: Any) -> None:
        self._database.attempt(lambda connection: connection.execute(statement).rowcount)


def _plain(text: str, length: int) -> str:
    """At most so many printable characters: what a reason quotes from hostile input does no harm to who reads it."""
    return "".join(character if character.isprintable() else "?" for character in text[:length])

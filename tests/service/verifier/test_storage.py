"""The queue and the records on SQLite and on PostgreSQL: what happens at once, twice, late, or after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from circuits.errors import FormatError, WeightproofError
from tests.service.parties import Owner, Service, running
from verifier.service import database, jobs
from verifier.service.database import Database
from verifier.service.errors import BusyError, ConflictError, NotFoundError, StateError
from verifier.service.jobs import MAX_ATTEMPTS, Job, JobQueue
from verifier.service.records import File, Records
from weightproof.v1 import verifier_service_pb2 as wire

KINDS = ("work",)


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def queue(store: Database) -> JobQueue:
    return JobQueue(store, lease_seconds=0.2)


@pytest.fixture
def records(store: Database) -> Records:
    return Records(store)


def in_parallel(action: Callable[[int], object], count: int) -> list[object]:
    """The outcomes of `action(0..count-1)`, run at once; errors are outcomes, too."""
    outcomes: list[object] = []

    def one(number: int) -> None:
        try:
            outcomes.append(action(number))
        except WeightproofError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_jobs_are_worked_on_once_and_in_order(store: Database) -> None:
    queue = JobQueue(store)
    submitted = [queue.submit("acme", str(number), "work", {"number": number}).id for number in range(12)]
    claimed = in_parallel(lambda number: [queue.claim(f"w{number}", KINDS) for _ in range(3)], 4)
    ids = [job.id for batch in claimed for job in batch if isinstance(job, Job)]  # type: ignore[attr-defined]
    assert sorted(ids) == sorted(submitted)
    assert queue.claim("w", KINDS) is None


def test_a_request_id_makes_one_job_and_stands_for_it(queue: JobQueue) -> None:
    outcomes = in_parallel(lambda _: queue.submit("acme", "same", "work", {"a": 1}).id, 6)
    assert len(set(outcomes)) == 1
    with pytest.raises(ConflictError):
        queue.submit("acme", "same", "work", {"a": 2})
    assert queue.submit("rival", "same", "work", {"a": 2}).id not in outcomes


def test_a_lost_lease_queues_the_job_again_and_the_loser_changes_nothing(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit("acme", "1", "work", {})
    first = queue.claim("one", KINDS)
    assert first is not None and queue.claim("two", KINDS) is None
    assert queue.heartbeat(first, "one", "stage", 0.5)
    clock = database.now()
    monkeypatch.setattr(jobs, "now", lambda: clock + 1.0)
    second = queue.claim("two", KINDS)
    assert second is not None and second.attempts == 2
    assert not queue.heartbeat(first, "one")
    assert not queue.finish(first, "one", "SUCCEEDED", {"wrong": True})
    assert queue.finish(second, "two", "SUCCEEDED", {"right": True})
    assert queue.get(first.id).result == {"right": True}


def test_a_job_that_kills_its_workers_fails_by_name(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = queue.submit("acme", "1", "work", {}).id
    clock = database.now()
    for attempt in range(MAX_ATTEMPTS):
        monkeypatch.setattr(jobs, "now", lambda attempt=attempt: clock + attempt)
        assert queue.claim("w", KINDS) is not None
    monkeypatch.setattr(jobs, "now", lambda: clock + MAX_ATTEMPTS + 1)
    assert queue.claim("w", KINDS) is None
    assert (queue.get(identity).state, queue.get(identity).error) == ("FAILED", "LostWorkerError")


def test_cancelling(queue: JobQueue) -> None:
    waiting, other = queue.submit("acme", "1", "work", {}), queue.submit("acme", "2", "work", {})
    assert queue.cancel(waiting.id).state == "CANCELLED"
    job = queue.claim("w", KINDS)
    assert job is not None and job.id == other.id
    queue.cancel(other.id)
    assert not queue.heartbeat(job, "w")
    assert queue.finish(job, "w", "CANCELLED")
    with pytest.raises(NotFoundError):
        queue.cancel("none")


def test_a_released_job_waits_again(queue: JobQueue) -> None:
    queue.submit("acme", "1", "work", {})
    job = queue.claim("w", KINDS)
    assert job is not None
    queue.release(job, "w")
    assert queue.get(job.id).attempts == 0
    again = queue.claim("v", KINDS)
    assert again is not None
    queue.release(again, "v", forgiven=False)
    assert queue.get(job.id).attempts == 1


def open_audit(records: Records, request_id: str = "1", lifetime: float = 60.0) -> str:
    identity: str = records.create_audit("acme", request_id, "c" * 64, "d" * 64, {}, lifetime, 3).id
    return identity


def test_a_nonce_is_used_once_whoever_is_faster(records: Records) -> None:
    identity = open_audit(records)
    files = [File(os.urandom(32), 10) for _ in range(6)]
    outcomes = in_parallel(lambda number: records.submit(identity, "acme", files[number], 0.0, 9), 6)
    winners = [row for row in outcomes if not isinstance(row, WeightproofError)]
    assert len(winners) == 1 and sum(isinstance(row, StateError) for row in outcomes) == 5
    assert records.submit(identity, "acme", File(winners[0].bundle, 10), 0.0, 9).state == "VERIFYING"  # type: ignore[attr-defined]


def test_nonces_never_repeat_and_open_audits_are_limited(records: Records) -> None:
    identities = [open_audit(records, str(number)) for number in range(3)]
    assert len({bytes(records.audit(identity, "acme").nonce) for identity in identities}) == 3
    with pytest.raises(BusyError, match="3 audits are open"):
        open_audit(records, "4")
    assert open_audit(records, "1") == identities[1]  # asked again, not opened again


def test_an_audit_expires(records: Records) -> None:
    identity = open_audit(records, lifetime=-1.0)
    assert records.audit(identity, "acme").state == "EXPIRED"
    with pytest.raises(StateError, match="expired"):
        records.submit(identity, "acme", File(b"x" * 32, 1), 0.0, 9)


def test_audits_are_their_owners(records: Records) -> None:
    identity = open_audit(records)
    with pytest.raises(NotFoundError):
        records.audit(identity, "rival")
    with pytest.raises(NotFoundError):
        records.submit(identity, "rival", File(b"x" * 32, 1), 0.0, 9)
    assert records.audit(identity, None).owner == "acme"


def test_the_first_signature_and_the_first_verdict_stay(records: Records) -> None:
    identity = open_audit(records)
    records.submit(identity, "acme", File(b"x" * 32, 1), 0.0, 9)
    first = records.sign_audit(identity, b"r" * 32, b"a" * 32, 0)
    assert records.sign_audit(identity, b"s" * 32, b"b" * 32, 5).attestation == first.attestation
    records.accept(identity, b"t" * 32, 7)
    records.reject(identity, "TooLateError", "no")
    row = records.audit(identity, "acme")
    assert (row.state, row.verdict, row.log_index) == ("DECIDED", "ACCEPTED", 7)


def test_a_commitment_is_checked_again_only_with_another_proof(records: Records) -> None:
    commitment, bad, good = File(b"c" * 32, 1), File(b"b" * 32, 1), File(b"g" * 32, 1)
    row = records.register("acme", "e" * 64, "title", commitment, bad, 9)
    records.settle_commitment(row.number, bad.sha256, "INVALID", "because")
    assert records.register("acme", "e" * 64, "title", commitment, bad, 9).state == "INVALID"
    assert records.register("acme", "e" * 64, "title", commitment, good, 9).state == "PENDING"
    records.settle_commitment(row.number, good.sha256, "VALID", "")
    assert records.register("acme", "e" * 64, "title", commitment, bad, 9).state == "VALID"


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite+nothing:///x"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(FormatError):
        Database(url)


def test_an_audit_end_to_end_on_postgresql(postgresql_url: str, service: Service, owner: Owner, tmp_path: Path) -> None:
    made = Service.make(tmp_path / "service", service.certificates, database=postgresql_url, policies=[owner.policy])
    with running(made) as started:
        acme = started.client("acme")
        audit = owner.open_audit(acme)
        acme.submit_proof(audit.name, owner.prove(audit.nonce, tmp_path / "bundle"))
        assert acme.wait_audit(audit.name).verdict == wire.VERDICT_ACCEPTED

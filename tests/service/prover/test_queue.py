"""What the daemon needs of the queue besides: jobs that wait for a while, and that are cancelled while they wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.progress import Progress
from verifier.service.database import Database
from verifier.service.jobs import Job, JobQueue

KINDS = ("work",)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield JobQueue(database)
    database.close()


def claimed(queue: JobQueue, request_id: str = "a") -> Job:
    queue.submit("local", request_id, "work", {})
    job = queue.claim("w", KINDS)
    assert job is not None
    return job


def test_a_job_that_is_put_back_for_a_while_lets_others_go_first(queue: JobQueue) -> None:
    first = claimed(queue)
    queue.release(first, "w", pause=0.3)
    assert queue.claim("w", KINDS) is None
    second = claimed(queue, "b")
    assert second.id != first.id
    time.sleep(0.35)
    again = queue.claim("w", KINDS)
    assert again is not None and again.id == first.id and again.attempts == 1


def test_a_job_that_was_cancelled_is_not_put_back(queue: JobQueue) -> None:
    job = claimed(queue)
    assert queue.cancel(job.id).state == "RUNNING"
    queue.release(job, "w", pause=60)
    assert queue.get(job.id).state == "CANCELLED"


def test_a_job_that_was_cancelled_is_not_recovered(queue: JobQueue) -> None:
    cancelled, other = claimed(queue), claimed(queue, "b")
    queue.cancel(cancelled.id)
    queue.recover()
    assert (queue.get(cancelled.id).state, queue.get(other.id).state) == ("CANCELLED", "QUEUED")


def test_progress_tells_stages_and_fractions() -> None:
    told: list[tuple[str, float]] = []
    progress = Progress.observed(lambda stage, fraction: told.append((stage, fraction)))
    with progress.stage("count", 4) as step:
        for _ in range(5):
            step()
    with progress.stage("unknown") as step:
        step()
    assert told == [*(("count", fraction) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0)), *2 * [("unknown", 0.0)]]
    assert list(progress.seconds) == ["count", "unknown"]

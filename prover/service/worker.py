"""The process that does one job: `python -m prover.service.worker`, told on stdin which one, gone when stdin closes.

It keeps the job's lease by heartbeats that say how far it is, and stops when a heartbeat tells it to: the job was
cancelled, or somebody else has it. It may be killed at any moment: the lease lapses and the job is done again.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType

from circuits.errors import WeightproofError
from prover.progress import Progress
from prover.service import work
from prover.service.settings import ProverSettings
from prover.service.state import StateFolder
from prover.service.submission import submit
from prover.service.work import Result, Work
from verifier.service.database import Database, now
from verifier.service.errors import StorageError, UnavailableError
from verifier.service.jobs import Job, JobQueue

HANDLERS: Mapping[str, Callable[[Work], Result]] = {
    "commit": work.commit,
    "measure": work.measure,
    "audit": work.audit,
    "submit": submit,
}
MAX_REASON = 2000
BEAT_SECONDS = 0.5
STOP_SECONDS = 10.0
"""How long computations get to notice that the job is over."""
RETRY_SECONDS = 20.0
LOST_STATUS = 75
logger = logging.getLogger(__name__)


class Stop(BaseException):
    """Raised in the main thread, wherever it is, when the job has to stop."""


class Heart(threading.Thread):
    """Beats until it is stopped, or until the job is no longer ours.

    Attributes:
        lost: a heartbeat said that the work should stop.
    """

    def __init__(self, queue: JobQueue, job: Job, name: str, lease: float) -> None:
        super().__init__(daemon=True)
        self._queue, self._job, self._worker = queue, job, name
        self._interval, self._lease = min(BEAT_SECONDS, lease / 5), lease
        self._stage, self._fraction = "start", 0.0
        self._end = threading.Event()
        self.lost = False

    def report(self, stage: str, fraction: float) -> None:
        """What the next heartbeat says."""
        self._stage, self._fraction = stage, fraction

    def stop(self) -> None:
        """Return after the last heartbeat."""
        self._end.set()
        self.join()

    def run(self) -> None:
        """See the class."""
        last = time.monotonic()
        while not self._end.wait(self._interval):
            try:
                kept = self._queue.heartbeat(self._job, self._worker, self._stage, self._fraction)
                last = time.monotonic()
            except StorageError:
                kept = time.monotonic() < last + self._lease
            if not kept:
                self.lost = True
                os.kill(os.getpid(), signal.SIGTERM)
                if not self._end.wait(STOP_SECONDS):
                    os._exit(LOST_STATUS)
                return


def perform(settings: ProverSettings, queue: JobQueue, job: Job, name: str) -> None:
    """Do a job and record how it ended."""
    heart = Heart(queue, job, name, settings.lease)
    progress = Progress.observed(heart.report)
    heart.start()
    try:
        result = HANDLERS[job.kind](Work(settings, job, progress))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        heart.stop()
        seconds = {stage: f"{value:.3f}" for stage, value in progress.seconds.items()}
        queue.finish(job, name, "SUCCEEDED", result={**result, "seconds": seconds})
    except Stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        heart.stop()
        if heart.lost:
            queue.finish(job, name, "CANCELLED")  # without effect if somebody else has the job
        else:
            queue.release(job, name)
    except UnavailableError as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        heart.stop()
        patience = settings.verifier.patience_hours * 3600 if settings.verifier is not None else 0.0
        if now() < job.created + patience:
            logger.warning("%s waits: %s", job.id, error)
            queue.release(job, name, pause=RETRY_SECONDS)
        else:
            fail(queue, job, name, error)
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        heart.stop()
        if not isinstance(error, WeightproofError):
            logger.exception("job %s failed", job.id)
        fail(queue, job, name, error)


def fail(queue: JobQueue, job: Job, name: str, error: Exception) -> None:
    """Record an error by its name."""
    reason = str(error) or "the machine has too little memory; raise worker_memory, or use a larger one"
    queue.finish(job, name, "FAILED", error=type(error).__name__[:64], reason=reason[:MAX_REASON])


def stop_handler(number: int, frame: FrameType | None) -> None:
    """SIGTERM: unwind, so that nothing half-written stays behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def end_with_parent() -> None:
    """Leave as soon as the daemon is gone, however it went: its end of stdin closes then."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(LOST_STATUS)

    threading.Thread(target=wait, daemon=True).start()


def limit_memory(limit: int | None) -> None:
    """Limit what may be allocated; files that are mapped do not count. No core dumps: they would hold weights."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Read {"settings", "job", "worker"} from the first line of stdin, and do the job."""
    os.umask(0o077)
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            sys.exit(LOST_STATUS)
        line += piece
    task = json.loads(line)
    settings = ProverSettings.from_json(task["settings"])
    limit_memory(settings.worker_memory)
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    database = Database(StateFolder(settings.state).database)
    queue = JobQueue(database, settings.lease)
    job = queue.get(task["job"])
    signal.signal(signal.SIGTERM, stop_handler)
    try:
        perform(settings, queue, job, task["worker"])
    except Stop:  # between two jobs' ends: nothing to undo
        sys.exit(LOST_STATUS)
    finally:
        database.close()


if __name__ == "__main__":
    main()

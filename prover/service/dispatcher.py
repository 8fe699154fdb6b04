"""Doing the jobs of the queue, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from prover.service.settings import ProverSettings
from prover.service.state import StateFolder
from prover.service.worker import HANDLERS
from verifier.service.errors import StorageError
from verifier.service.jobs import Job, JobQueue

POLL_SECONDS = 0.2
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A worker's process, its job, and the name under which it holds the lease."""

    process: subprocess.Popen[bytes]
    job: Job
    worker: str


class Dispatcher:
    """Starts a worker for every job, at most `settings.workers` at a time. A lost one's job comes back by its lease."""

    def __init__(self, settings: ProverSettings, queue: JobQueue, lock: int) -> None:
        """`lock`: the state folder's, which workers inherit: the folder is busy as long as one of them lives."""
        self._settings, self._queue, self._lock = settings, queue, lock
        self._running: list[Running] = []

    async def run(self) -> None:
        """Dispatch until cancelled; then stop the workers and put their jobs back."""
        try:
            while True:
                self._reap()
                try:
                    while len(self._running) < self._settings.workers and await self._start():
                        pass
                except StorageError as error:
                    logger.warning("%s", error)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._stop()

    async def _start(self) -> bool:
        worker = secrets.token_hex(16)
        claim = asyncio.create_task(asyncio.to_thread(self._queue.claim, worker, list(HANDLERS)))
        try:
            job = await asyncio.shield(claim)
        except asyncio.CancelledError:
            job = await claim
            if job is not None:
                self._queue.release(job, worker)
            raise
        if job is None:
            return False
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "prover.service.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        self._running.append(Running(process, job, worker))
        task = {"settings": self._settings.to_json(), "job": job.id, "worker": worker}
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # died at once; its lease will lapse
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()  # and stays open: its end tells the worker that we are gone
        logger.info("job %s (%s), attempt %d: process %d", job.id, job.kind, job.attempts, process.pid)
        return True

    def _reap(self) -> None:
        lost = False
        for running in [one for one in self._running if one.process.poll() is not None]:
            self._forget(running)
            if running.process.returncode != 0:
                code = running.process.returncode
                logger.warning("the worker of job %s ended with %d; see above for its log", running.job.id, code)
                lost = True
        if lost and not self._running:  # then what lies about half-made is nobody's
            StateFolder(self._settings.state).sweep()

    def _forget(self, running: Running) -> None:
        self._running.remove(running)
        if running.process.stdin is not None:
            with suppress(BrokenPipeError):
                running.process.stdin.close()

    async def _stop(self) -> None:
        for running in self._running:
            running.process.send_signal(signal.SIGTERM)
        waited = 0.0
        while waited < self._settings.stop_after and any(one.process.poll() is None for one in self._running):
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        for running in list(self._running):
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
            with suppress(StorageError):
                self._queue.release(running.job, running.worker)  # without effect if it did so itself
            self._forget(running)

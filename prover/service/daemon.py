"""The process: it owns the state folder, listens, dispatches jobs, watches folders, runs hooks, and ends in order."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from circuits.files import read_limited
from prover.service.dispatcher import Dispatcher
from prover.service.hooks import Hooks
from prover.service.servicer import ProverServicer
from prover.service.settings import Listen, ProverSettings
from prover.service.state import StateFolder
from prover.service.watcher import Watcher
from verifier.service.client import MAX_PEM_BYTES
from verifier.service.database import Database
from verifier.service.errors import StorageError, UnavailableError
from verifier.service.jobs import JobQueue
from weightproof.v1 import prover_service_pb2, prover_service_pb2_grpc

SERVICE = prover_service_pb2.DESCRIPTOR.services_by_name["ProverService"].full_name
GRACE_SECONDS = 2.0
HOOK_POLL_SECONDS = 0.5
MAX_CALLS = 256
_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.so_reuseport", 0),
)
logger = logging.getLogger(__name__)


class Daemon:
    """A configured daemon; `serve` runs it until it is told to stop."""

    def __init__(self, settings: ProverSettings) -> None:
        """Take the state folder. Raises FormatError, BusyError (another daemon has it), StorageError."""
        os.umask(0o077)
        self._settings = settings
        state = StateFolder(settings.state)
        state.prepare()
        self._lock = state.lock()
        state.sweep()
        self._database = Database(state.database)
        self._queue = JobQueue(self._database, settings.lease)
        self._queue.recover()  # with the lock nobody else is at work
        self._hooks = Hooks(self._database, self._queue, settings.hooks)
        self._dispatcher = Dispatcher(settings, self._queue, self._lock)
        self._chores: list[tuple[Callable[[], Any], float]] = [(self._hooks.deliver, HOOK_POLL_SECONDS)]
        for watch in settings.watch:
            memory = settings.state / f"watch-{hashlib.sha256(str(watch.folder).encode()).hexdigest()[:16]}.json"
            self._chores.append((Watcher(watch, settings.models, self._queue, memory).scan, watch.interval))

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Answer until SIGTERM or SIGINT, then put running jobs back. `ready` is told the address once it answers.

        Raises UnavailableError, FormatError.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            stack.callback(os.close, self._lock)
            stack.callback(self._database.close)
            status = health.HealthServicer()
            server = await self._start(status)
            stack.push_async_callback(server.stop, GRACE_SECONDS)
            for action, interval in self._chores:
                chore = Background(action, interval)
                chore.start()
                stack.callback(chore.stop)
            work = asyncio.create_task(self._dispatcher.run())
            for name in (SERVICE, ""):
                await status.set(name, health_pb2.HealthCheckResponse.SERVING)
            ready(f"unix:{self._settings.socket_path}")
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            logger.info("stopping")
            await status.enter_graceful_shutdown()
            await server.stop(GRACE_SECONDS)
            failed = work.done()
            for task in (work, waiting):
                task.cancel()
            await asyncio.wait({work, waiting})
            if failed:
                work.result()

    async def _start(self, status: health.HealthServicer) -> grpc.aio.Server:
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        servicer = ProverServicer(self._settings, self._queue, self._hooks)
        prover_service_pb2_grpc.add_ProverServiceServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        socket = self._settings.socket_path
        try:
            socket.unlink(missing_ok=True)  # a killed daemon's: the state folder is ours alone
            server.add_insecure_port(f"unix:{socket}")  # the umask makes it 0600
        except (OSError, RuntimeError) as error:
            raise UnavailableError(f"cannot listen on {socket}: {error}") from None
        if self._settings.listen is not None:
            listen = self._settings.listen
            try:
                server.add_secure_port(listen.address, credentials(listen))
            except RuntimeError:
                raise UnavailableError(f"cannot listen on {listen.address}: is the port taken?") from None
        await server.start()
        with suppress(OSError):
            socket.chmod(0o600)
        return server


class Background(threading.Thread):
    """Does something again and again beside the server, until stopped. At the end of the process it is not waited for:
    what it does may be cut off anywhere."""

    def __init__(self, action: Callable[[], Any], interval: float) -> None:
        super().__init__(daemon=True)
        self._action, self._interval, self._end = action, interval, threading.Event()

    def run(self) -> None:
        """See the class."""
        while not self._end.is_set():
            try:
                self._action()
            except StorageError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("this will be tried again")
            self._end.wait(self._interval)

    def stop(self) -> None:
        """Do nothing more; what is being done gets a moment to end."""
        self._end.set()
        self.join(GRACE_SECONDS)


def credentials(listen: Listen) -> grpc.ServerCredentials:
    """Server credentials that demand a client certificate. Raises FormatError if a file cannot be read."""
    key = read_limited(listen.tls.key, MAX_PEM_BYTES, "private key")
    chain = read_limited(listen.tls.certificate, MAX_PEM_BYTES, "certificate")
    authority = read_limited(listen.tls.client_authority, MAX_PEM_BYTES, "CA certificate")
    return grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)

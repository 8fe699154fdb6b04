"""The process: mutual TLS, health, reflection, metrics, background work, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
import signal
from contextlib import AsyncExitStack, suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from circuits.files import read_limited
from verifier.attestation.keys import PublicKey, SigningKey
from verifier.decision import files_by_digest
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter
from verifier.service.blobs import BlobStore, disk
from verifier.service.database import Database
from verifier.service.decisions import WORK_PREFIX, Decisions
from verifier.service.door import Door
from verifier.service.errors import UnavailableError
from verifier.service.identity import Identities
from verifier.service.jobs import JobQueue
from verifier.service.records import Records
from verifier.service.servicer import About, VerifierServicer
from verifier.service.settings import Tls, VerifierSettings
from verifier.service.transfer import MAX_CHUNK_BYTES, MAX_POLICY_BYTES
from weightproof.v1 import verifier_service_pb2, verifier_service_pb2_grpc

SERVICE = verifier_service_pb2.DESCRIPTOR.services_by_name["VerifierService"].full_name
GRACE_SECONDS = 10.0
SWEEP_SECONDS = 3600.0
MAX_PEM_BYTES = 1 << 20
MAX_FILES = 8192
# A server answers pings as rarely as every 20 s without closing the connection (keepalive of the client: 30 s).
_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_concurrent_streams", 64),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
)
assert max(MAX_CHUNK_BYTES, MAX_POLICY_BYTES) < 4 << 20
logger = logging.getLogger(__name__)


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Server credentials that demand a client certificate. Raises FormatError if a file cannot be read."""
    key = read_limited(tls.key, MAX_PEM_BYTES, "private key")
    chain = read_limited(tls.certificate, MAX_PEM_BYTES, "certificate")
    authority = read_limited(tls.client_authority, MAX_PEM_BYTES, "CA certificate")
    return grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)


def _connections() -> int:
    """How many connections may be open: half of the files that this process may open, after asking for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MAX_FILES) if hard != resource.RLIM_INFINITY else MAX_FILES
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted) // 2


class VerifierServer:
    """A configured service; `serve` runs it until it is told to stop.

    Attributes:
        port: the port that it listens on, once it is started.
    """

    def __init__(self, settings: VerifierSettings) -> None:
        """Open keys, log and database. Raises FormatError, TrustError, LogBusyError, StorageError."""
        self._settings = settings
        with disk():
            settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._credentials = credentials(settings.tls)
        public = PublicKey.read(settings.signing.public_key)
        key = SigningKey(settings.signing.key, public)
        signer = NoteSigner.read(settings.log.key)
        base_files = files_by_digest(settings.base_files)
        self._log = LogWriter(settings.log.folder, signer)
        self._database = Database(settings.database_url)
        records, blobs = Records(self._database), BlobStore(settings.state)
        self._blobs = blobs
        queue = JobQueue(self._database)
        # whoever has the log open is alone: what runs, or lies about, is a killed process's
        queue.recover()
        for folder in settings.state.glob(f"{WORK_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)
        self._decisions = Decisions(settings, records, queue, blobs, self._log, key, base_files)
        about = About(settings.signing.id, public.to_pem().decode(), str(signer.key), base_files)
        identities = Identities(settings.identities)
        self._servicer = VerifierServicer(identities, records, blobs, settings.limits, about, self._decisions)
        for path in settings.policies:
            self._servicer.publish(read_limited(path, MAX_POLICY_BYTES, "policy"))
        self.port = 0

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Answer until SIGTERM or SIGINT; then finish what is being answered. Raises UnavailableError."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._database.close)
            stack.callback(self._log.close)
            status = health.HealthServicer()
            server = await self._start(status)
            stack.push_async_callback(server.stop, GRACE_SECONDS)
            if self._settings.metrics is not None:
                host, _, port = self._settings.metrics.rpartition(":")
                metrics, thread = start_http_server(int(port), host)
                stack.callback(thread.join)
                stack.callback(metrics.shutdown)
            work = asyncio.create_task(self._decisions.run())
            sweep = asyncio.create_task(self._sweep())
            for name in (SERVICE, ""):
                await status.set(name, health_pb2.HealthCheckResponse.SERVING)
            logger.info("serving on port %d", self.port)
            if ready is not None:
                ready.set()
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            logger.info("stopping")
            with suppress(TimeoutError):  # a watcher that does not read may hold it up
                async with asyncio.timeout(GRACE_SECONDS):
                    await status.enter_graceful_shutdown()
            await server.stop(GRACE_SECONDS)
            for task in (sweep, waiting):
                task.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                work.result()

    async def _start(self, status: health.HealthServicer) -> grpc.aio.Server:
        limits = self._settings.limits
        options = (*_OPTIONS, ("grpc.max_allowed_incoming_connections", _connections()))
        door = Door(self._servicer.identities, limits)
        server = grpc.aio.server(interceptors=[door], options=options, maximum_concurrent_rpcs=limits.calls)
        verifier_service_pb2_grpc.add_VerifierServiceServicer_to_server(self._servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        reflection.enable_server_reflection(
            (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), server
        )
        try:
            self.port = server.add_secure_port(self._settings.listen, self._credentials)
        except RuntimeError:
            raise UnavailableError(f"cannot listen on {self._settings.listen}: is the port taken?") from None
        await server.start()
        return server

    async def _sweep(self) -> None:
        while True:
            try:
                dropped = await asyncio.to_thread(self._blobs.drop_old_parts)
                if dropped:
                    logger.info("forgot %d unfinished uploads", dropped)
            except UnavailableError as error:
                logger.warning("%s", error)
            await asyncio.sleep(SWEEP_SECONDS)

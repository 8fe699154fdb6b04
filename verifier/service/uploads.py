"""Receiving files: every byte counted, every wait limited, everything on disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from circuits.errors import FormatError
from verifier.service.blobs import BlobStore, Part
from verifier.service.errors import BusyError, StateError, TooLargeError, UnavailableError
from verifier.service.identity import Caller
from verifier.service.metrics import UPLOADED, UPLOADS
from verifier.service.records import File, Records
from verifier.service.settings import Limits
from verifier.service.transfer import DIGEST_BYTES, LIMITS, MAX_CHUNK_BYTES
from verifier.service.transfer import UPLOADED as KINDS
from weightproof.v1 import artifacts_pb2 as wire

Result = TypeVar("Result")


class Uploads:
    """The uploads of all callers."""

    def __init__(self, records: Records, blobs: BlobStore, limits: Limits) -> None:
        self._records, self._blobs, self._limits = records, blobs, limits
        self._streams: Counter[str] = Counter()
        self._busy: set[object] = set()

    async def query(self, caller: Caller, kind: int, digest: wire.Digest) -> tuple[int, bool]:
        """Bytes held of a caller's file, and whether it is complete. Raises FormatError, TooLargeError, BusyError."""
        require_acceptable(kind, digest)
        known = await asyncio.to_thread(self._records.uploaded, caller.id, kind, digest.sha256)
        if known is not None:
            return known.size, True
        part = await self._part(caller, kind, digest)
        return part.received, False

    async def receive(self, caller: Caller, messages: AsyncIterator[wire.UploadRequest]) -> wire.Digest:
        """Take a stream: a header, then chunks. What came before a break is kept.

        Raises:
            FormatError, TooLargeError: a message that makes no sense, or more than was announced or allowed.
            StateError: the offset is not where the file ends.
            BusyError: too many streams, unfinished uploads or stored bytes.
            UnavailableError: the sender was too slow.
        """
        async with asyncio.timeout(self._limits.upload_seconds):
            with self._stream(caller):
                first = await self._next(messages)
                if first is None or first.WhichOneof("part") != "header":
                    raise FormatError("an upload begins with a header")
                header = first.header
                require_acceptable(header.kind, header.digest)
                known = await asyncio.to_thread(self._records.uploaded, caller.id, header.kind, header.digest.sha256)
                if known is not None:
                    return header.digest
                await self._require_room(caller, header.digest.size)
                part = await self._part(caller, header.kind, header.digest)
                with self._only(part):
                    await self._take(part, header.offset, messages)
                    file = File(header.digest.sha256, header.digest.size)
                    await _to_the_end(self._keep, caller, header.kind, part, file)
                return header.digest

    async def _take(self, part: Part, offset: int, messages: AsyncIterator[wire.UploadRequest]) -> None:
        received = part.received
        if received != offset:
            raise StateError(f"{received} bytes of this upload are held, not {offset}; ask QueryUpload")
        while (message := await self._next(messages)) is not None:
            chunk = message.chunk
            if message.WhichOneof("part") != "chunk" or not 0 < len(chunk) <= MAX_CHUNK_BYTES:
                raise FormatError(f"after the header come chunks of 1 to {MAX_CHUNK_BYTES} bytes")
            offset = await _to_the_end(self._blobs.append, part, offset, chunk)
            UPLOADED.inc(len(chunk))
        if offset != part.size:
            raise FormatError(f"the upload ended after {offset} of {part.size} bytes; go on from there")

    def _keep(self, caller: Caller, kind: int, part: Part, file: File) -> None:
        self._blobs.complete(part)
        self._records.add_upload(caller.id, kind, file)

    async def _next(self, messages: AsyncIterator[wire.UploadRequest]) -> wire.UploadRequest | None:
        try:
            async with asyncio.timeout(self._limits.chunk_seconds):
                return await anext(messages, None)
        except TimeoutError:
            raise UnavailableError(
                f"no data came for {self._limits.chunk_seconds:g} s; go on from the byte that QueryUpload tells"
            ) from None

    async def _part(self, caller: Caller, kind: int, digest: wire.Digest) -> Part:
        return await asyncio.to_thread(
            self._blobs.part, caller.id, kind, digest.sha256, digest.size, self._limits.unfinished_uploads
        )

    async def _require_room(self, caller: Caller, size: int) -> None:
        stored = await asyncio.to_thread(self._records.stored_bytes, caller.id)
        if stored + size > self._limits.stored_bytes:
            raise BusyError(f"{caller.id} has stored {stored} of {self._limits.stored_bytes} bytes; ask the regulator")

    @contextmanager
    def _stream(self, caller: Caller) -> Iterator[None]:
        if self._streams[caller.id] >= self._limits.parallel_uploads:
            raise BusyError(f"{self._limits.parallel_uploads} uploads of yours are running; wait for one to end")
        self._streams[caller.id] += 1
        UPLOADS.inc()
        try:
            yield
        finally:
            UPLOADS.dec()
            self._streams[caller.id] -= 1

    @contextmanager
    def _only(self, part: Part) -> Iterator[None]:
        if part.path in self._busy:
            raise BusyError("this file is being uploaded already, by another call")
        self._busy.add(part.path)
        try:
            yield
        finally:
            self._busy.discard(part.path)


async def _to_the_end(change: Callable[..., Result], *arguments: Any) -> Result:
    """Make a change in a thread; a call that is cancelled meanwhile ends after it, not during it."""
    running = asyncio.ensure_future(asyncio.to_thread(change, *arguments))
    try:
        return await asyncio.shield(running)
    finally:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({running})


def require_acceptable(kind: int, digest: wire.Digest) -> None:
    """Raises FormatError or TooLargeError unless a file of this kind, digest and size may be uploaded."""
    if kind not in KINDS:
        raise FormatError("this kind of file is not uploaded")
    if len(digest.sha256) != DIGEST_BYTES:
        raise FormatError(f"a digest has {DIGEST_BYTES} bytes")
    if not 0 < digest.size <= LIMITS[kind]:
        raise TooLargeError(f"a file of this kind has 1 to {LIMITS[kind]} bytes, not {digest.size}")

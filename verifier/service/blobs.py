"""Files by their SHA-256: uploads grow as parts, are checked when complete, and are then never changed.

A caller sees only what it has uploaded itself: knowing the digest of somebody's file gives nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.service.errors import BusyError, StateError, StorageError, TooLargeError

PART_DAYS = 7


@contextmanager
def disk() -> Iterator[None]:
    """Raises StorageError where the disk fails: full, read-only, gone."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"the service's disk failed: {error.strerror}; nothing was lost, try again later") from None


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file as a whole or not at all, and sync it to disk. Raises OSError."""
    staging = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(staging, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Part:
    """An upload that has begun: the file that holds its first bytes, and what it shall become."""

    path: Path
    sha256: bytes
    size: int

    @property
    def received(self) -> int:
        """Bytes held."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


class BlobStore:
    """Content-addressed files below a folder, and the parts of uploads beside them. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageError if the folders cannot be made."""
        self._blobs, self._parts = folder / "blobs", folder / "uploads"
        with disk():
            for path in (folder, self._blobs, self._parts):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, sha256: bytes) -> Path:
        """Where the file of this digest is, or would be."""
        name = sha256.hex()
        return self._blobs / name[:2] / name

    def has(self, sha256: bytes) -> bool:
        """Whether the whole file is there."""
        return self.path(sha256).is_file()

    def read(self, sha256: bytes, limit: int) -> bytes:
        """A whole file. Raises StorageError if it is missing or damaged."""
        try:
            data = read_limited(self.path(sha256), limit, "stored file")
        except FormatError as error:
            raise StorageError(f"{error}; restore it from a backup") from None
        if hashlib.sha256(data).digest() != sha256:
            raise StorageError(f"the stored file {sha256.hex()} is damaged; restore it from a backup")
        return data

    def start(self, sha256: bytes, length: int) -> bytes:
        """The first bytes of a stored file, at most `length`. Raises StorageError."""
        with disk(), self.path(sha256).open("rb") as file:
            return file.read(length)

    def put(self, data: bytes) -> bytes:
        """Store a file; its digest. Raises StorageError."""
        sha256 = hashlib.sha256(data).digest()
        if not self.has(sha256):
            with disk():
                self._place(sha256)
                write_durably(self.path(sha256), data)
        return sha256

    def part(self, owner: str, kind: int, sha256: bytes, size: int, unfinished: int) -> Part:
        """The part of an owner's upload, begun or not.

        Raises BusyError if the owner has `unfinished` others, StorageError.
        """
        with disk():
            folder = self._parts / hashlib.sha256(owner.encode()).hexdigest()
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / f"{kind}-{size}-{sha256.hex()}"
            others = [other for other in folder.iterdir() if other != path]
            if len(others) >= unfinished:
                raise BusyError(f"{len(others)} uploads are unfinished; finish one of them first")
        return Part(path, sha256, size)

    def append(self, part: Part, offset: int, data: bytes) -> int:
        """Add bytes behind the first `offset`; the new length. Nothing is held in memory between calls.

        Raises StateError if the part does not end at `offset`, TooLargeError beyond its size, StorageError.
        """
        if offset + len(data) > part.size:
            raise TooLargeError(f"the upload has more than the {part.size} bytes that its header announced")
        with disk(), open(os.open(part.path, os.O_CREAT | os.O_WRONLY, 0o600), "r+b") as file:
            if file.seek(0, os.SEEK_END) != offset:
                raise StateError("the upload goes on at another byte; ask QueryUpload where")
            try:
                file.write(data)
                file.flush()
            except OSError:
                file.truncate(offset)
                raise
        return offset + len(data)

    def complete(self, part: Part) -> None:
        """Check the digest of a part and make it a blob. Raises FormatError if it is another file, StorageError."""
        with disk():
            try:
                with part.path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").digest()
                    os.fsync(file.fileno())
            except FileNotFoundError:
                if self.has(part.sha256):
                    return
                raise
            if found != part.sha256:
                part.path.unlink(missing_ok=True)
                raise FormatError("the upload does not have the SHA-256 that its header announced; upload it again")
            self._place(part.sha256)
            os.replace(part.path, self.path(part.sha256))
            sync_folder(self.path(part.sha256).parent)

    def _place(self, sha256: bytes) -> None:
        folder = self.path(sha256).parent
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._blobs)

    def drop_old_parts(self, days: float = PART_DAYS) -> int:
        """Forget uploads that nobody went on with for so many days; how many they were."""
        oldest = time.time() - days * 86400
        dropped = 0
        with disk():
            for path in self._parts.glob("*/*"):
                if path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
                    dropped += 1
        return dropped

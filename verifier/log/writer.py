"""The log's one writer: appends entries to static tile files so that a crash at any point loses nothing acknowledged.

Order of an append, every step durable before the next: (1) tiles and bundles of the new size; (2) the signed
checkpoint, as `checkpoint.next`; (3) its renaming to `checkpoint`, which publishes it. Before (2) a crash leaves files
that no checkpoint needs; they are overwritten later. From (2) on, opening the log finishes the append: what may have
been seen is never taken back, so no two signed checkpoints can contradict each other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from circuits.errors import FormatError
from verifier.log.checkpoint import Checkpoint, open_checkpoint
from verifier.log.errors import LogBusyError, LogDamagedError
from verifier.log.files import Staging, sync_folder
from verifier.log.merkle import EMPTY_ROOT, leaf_hash, verify_consistency
from verifier.log.note import MAX_NOTE_BYTES, NoteSigner
from verifier.log.receipt import Receipt
from verifier.log.source import FolderSource
from verifier.log.tiles import (
    CHECKPOINT_PATH,
    HEIGHT,
    WIDTH,
    TileSource,
    TileTree,
    bundle_path,
    complete_root,
    encode_bundle,
    tile_path,
)

NEXT = "checkpoint.next"
LOCK = "lock"
STAGING = "staging"


@dataclass(frozen=True)
class _Overlay:
    """The files that an append is about to write, over those that are there."""

    files: Mapping[str, bytes]
    below: TileSource

    def read(self, path: str, limit: int) -> bytes | None:
        return self.files[path] if path in self.files else self.below.read(path, limit)


class LogWriter:
    """A log opened for writing; at most one at a time per folder, also across processes. Threads may share it.

    Publish `checkpoint` and `tile/` of the folder as static files; the rest is the writer's own.
    """

    def __init__(self, folder: Path, signer: NoteSigner, *, create: bool = False) -> None:
        """Open a log and finish what a crash interrupted; with `create`, start an empty one.

        A key must never be used for a second log: two logs with one key are a fork. Restore a lost folder instead.

        Raises:
            FormatError: there is no log in the folder or, with `create`, there is one already.
            LogBusyError: somebody else has it open for writing.
            LogDamagedError: its tiles do not belong to its checkpoint.
            TrustError: its checkpoint is not signed by this key.
        """
        self._folder, self._signer = folder, signer
        self._source, self._staging = FolderSource(folder), Staging(folder / STAGING)
        self._mutex = threading.Lock()
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        self._lock = self._acquire()
        try:
            if create == any((folder / name).exists() for name in (CHECKPOINT_PATH, NEXT)):
                raise FormatError(f"{folder} has a log already" if create else self._missing)
            self._staging.clear()
            if create:
                self._publish(Checkpoint(signer.key.name, 0, EMPTY_ROOT))
            self._head()
        except BaseException:
            self.close()
            raise

    @property
    def _missing(self) -> str:
        return f"there is no log in {self._folder}; start it once, with `create`, or restore it from a backup"

    def _acquire(self) -> int:
        """The lock, released by the kernel when the process ends."""
        try:
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            raise FormatError(self._missing) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise LogBusyError(f"another writer has the log {self._folder} open; stop it first") from None
        return descriptor

    def close(self) -> None:
        """Let another process write."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def checkpoint(self) -> bytes:
        """The published checkpoint, a signed note."""
        with self._mutex:
            return self._read(CHECKPOINT_PATH)

    @property
    def size(self) -> int:
        """The number of entries."""
        with self._mutex:
            return self._head().size

    def find(self, entry: bytes, start: int) -> int | None:
        """The number of the first entry from `start` on that equals `entry`, or None. Raises LogDamagedError."""
        with self._mutex:
            head = self._head()
            tree = TileTree(self._source, head.size)
            for number in range(start // WIDTH, -(-head.size // WIDTH)):
                for offset, found in enumerate(tree.bundle(number)):
                    index = number * WIDTH + offset
                    if found == entry and start <= index < head.size:
                        return index
            return None

    def append(self, entries: Sequence[bytes]) -> range:
        """Add entries; their numbers. When it returns, they are durable and under a published checkpoint.

        If it raises, they are all in the log or none is; opening the log, or the next append, settles which.

        Raises FormatError (an entry of more than 65,535 bytes), LogDamagedError, OSError (disk full).
        """
        with self._mutex:
            old = self._head()
            new_size = old.size + len(entries)
            files, filled = self._new_files(old, entries)
            if not files:
                return range(old.size, old.size)
            tree = TileTree(_Overlay(files, self._source), new_size)
            new = Checkpoint(old.origin, new_size, tree.root())
            if old.size:
                verify_consistency(old.size, new.size, tree.consistency_proof(old.size), old.root, new.root)
            self._write(files)
            self._publish(new)
            for path in filled:  # tlog-tiles: partial tiles may go once the full one is there
                shutil.rmtree(self._folder / (path + ".p"), ignore_errors=True)
            return range(old.size, new_size)

    def receipt(self, index: int) -> Receipt:
        """The receipt of entry number `index`, under the published checkpoint, with the entry as its extra data.

        Raises IndexError if there is no such entry, LogDamagedError.
        """
        with self._mutex:
            note = self._read(CHECKPOINT_PATH)
            head = open_checkpoint(note, self._signer.key)
            if not 0 <= index < head.size:
                raise IndexError(f"the log has {head.size} entries, none with number {index}")
            tree = TileTree(self._source, head.size)
            receipt = Receipt(
                index, tuple(tree.inclusion_proof(index)), note, tree.bundle(index // WIDTH)[index % WIDTH]
            )
            receipt.verify(receipt.extra or b"", self._signer.key)
            return receipt

    def _head(self) -> Checkpoint:
        """The checkpoint to build on: finishes an interrupted publication, and checks the tiles of the right edge."""
        key = self._signer.key
        pending = self._source.read(NEXT, MAX_NOTE_BYTES)
        if pending is not None:
            self._check_tiles(open_checkpoint(pending, key))
            published = self._source.read(CHECKPOINT_PATH, MAX_NOTE_BYTES)
            if published is not None and open_checkpoint(published, key).size > open_checkpoint(pending, key).size:
                raise LogDamagedError(f"{self._folder / NEXT} is older than the published checkpoint; remove it")
            os.replace(self._folder / NEXT, self._folder / CHECKPOINT_PATH)
            sync_folder(self._folder)
        head = open_checkpoint(self._read(CHECKPOINT_PATH), key)
        self._check_tiles(head)
        return head

    def _check_tiles(self, checkpoint: Checkpoint) -> None:
        root = TileTree(self._source, checkpoint.size).root()
        if root != checkpoint.root:
            raise LogDamagedError(
                f"the tiles in {self._folder} have the root {root.hex()}, the checkpoint of size {checkpoint.size}"
                f" {checkpoint.root.hex()}; restore the folder from a backup that is not older than the checkpoint"
            )

    def _new_files(self, old: Checkpoint, entries: Sequence[bytes]) -> tuple[dict[str, bytes], list[str]]:
        """The tiles and bundles that the entries add, by path, and the paths of those that become full."""
        tree = TileTree(self._source, old.size)
        files: dict[str, bytes] = {}
        filled: list[str] = []
        if not entries:
            return files, filled
        first = old.size // WIDTH
        bundled = [*(tree.bundle(first) if old.size % WIDTH else ()), *entries]
        for start in range(0, len(bundled), WIDTH):
            part = bundled[start : start + WIDTH]
            files[bundle_path(first + start // WIDTH, len(part))] = encode_bundle(part)
            if len(part) == WIDTH:
                filled.append(bundle_path(first + start // WIDTH))
        level, hashes = 0, [leaf_hash(entry) for entry in entries]
        while hashes:
            count = old.size >> (HEIGHT * level)
            first = count // WIDTH
            row = [*(tree.tile(level, first) if count % WIDTH else ()), *hashes]
            hashes = []
            for start in range(0, len(row), WIDTH):
                tile = row[start : start + WIDTH]
                files[tile_path(level, first + start // WIDTH, len(tile))] = b"".join(tile)
                if len(tile) == WIDTH:
                    filled.append(tile_path(level, first + start // WIDTH))
                    hashes.append(complete_root(tile))
            level += 1
        return files, filled

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Step 1: the tiles, durably."""
        folders = {self._folder}
        for path, data in files.items():
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._staging.put(target, data)
            folders.update(parent for parent in target.parents if self._folder in parent.parents)
        for folder in folders:
            sync_folder(folder)

    def _publish(self, checkpoint: Checkpoint) -> None:
        """Steps 2 and 3."""
        self._staging.put(self._folder / NEXT, checkpoint.sign(self._signer))
        sync_folder(self._folder)
        os.replace(self._folder / NEXT, self._folder / CHECKPOINT_PATH)
        sync_folder(self._folder)

    def _read(self, path: str) -> bytes:
        data = self._source.read(path, MAX_NOTE_BYTES)
        if data is None:
            raise LogDamagedError(f"the log {self._folder} has no {path}")
        return data

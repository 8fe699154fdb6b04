"""Watching folders: a checkpoint that appears or changes is submitted, once it no longer changes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from circuits.checkpoint.base import Checkpoint
from circuits.errors import FormatError, WeightproofError
from prover.checkpoints import READERS
from prover.service.models import checkpoint_digest, open_allowed
from prover.service.settings import Watch
from verifier.service.blobs import disk, write_durably
from verifier.service.jobs import JobQueue

OWNER = "watch"
Signature = tuple[tuple[str, int, int, int, int], ...]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A model as it was looked at: of every file name, size, times of change (ns) and inode; and its digest."""

    signature: Signature
    digest: str


class Watcher:
    """One watched folder. The digests of unchanged files are kept in a file, so that a restart does not read them."""

    def __init__(self, watch: Watch, models: Sequence[Path], queue: JobQueue, memory: Path) -> None:
        self._watch, self._models, self._queue, self._memory = watch, models, queue, memory
        self._before: dict[str, Signature] = {}
        self._asked: set[str] = set()
        self._seen = self._recall()

    def scan(self) -> int:
        """Look once; the number of new jobs. A model is digested when two looks in a row saw the same.

        Raises StorageError.
        """
        before, self._before = self._before, {}
        jobs = 0
        for place, checkpoint in self._candidates():
            try:
                signature = sign(checkpoint)
                self._before[str(place)] = signature
                if before.get(str(place)) == signature:
                    digest = self._digest(place, checkpoint, signature)
                    jobs += sum(self._submit(place, digest, policy) for policy in self._watch.policies)
            except (FormatError, OSError) as error:  # it is being written, or went away
                logger.info("%s is not ready: %s", place, error)
        return jobs

    def _candidates(self) -> Iterator[tuple[Path, Checkpoint]]:
        """The checkpoints that lie directly in the folder: files that no index lists, and folders of files."""
        opened: list[tuple[Path, Checkpoint]] = []
        shards: set[Path] = set()
        try:
            entries = sorted(self._watch.folder.iterdir())
        except OSError as error:
            logger.warning("cannot watch %s: %s", self._watch.folder, error.strerror)
            return
        for entry in entries:
            if entry.name.startswith(".") or not (entry.is_dir() or entry.name.lower().endswith(tuple(READERS))):
                continue
            try:
                place, checkpoint = open_allowed(str(entry), self._models)
            except WeightproofError as error:
                logger.info("%s is no model, or not yet: %s", entry, error)
                continue
            opened.append((place, checkpoint))
            if len(checkpoint.paths) > 1 or entry.name.endswith(".index.json"):
                shards |= {path.resolve() for path in checkpoint.paths.values()}
        for place, checkpoint in opened:
            if place not in shards or place.name.endswith(".index.json"):
                yield place, checkpoint

    def _digest(self, place: Path, checkpoint: Checkpoint, signature: Signature) -> str:
        """Raises FormatError if the model changes while it is read."""
        seen = self._seen.get(str(place))
        if seen is not None and seen.signature == signature:
            return seen.digest
        digest = checkpoint_digest(checkpoint)
        if sign(checkpoint) != signature:
            raise FormatError("it changed while it was read")
        self._seen[str(place)] = Seen(signature, digest)
        content = {path: {"signature": one.signature, "digest": one.digest} for path, one in self._seen.items()}
        with disk():
            write_durably(self._memory, json.dumps(content).encode())
        return digest

    def _submit(self, place: Path, digest: str, policy: str) -> bool:
        """Ask for an audit, once for every model and policy, however often the model comes back."""
        about = json.dumps([str(place), digest, policy]).encode()
        request_id = f"watch-{hashlib.sha256(about).hexdigest()[:56]}"
        if request_id in self._asked:
            return False
        payload = {"model": str(place), "policy": policy, "digest": digest}
        job = self._queue.submit(OWNER, request_id, "submit", payload)
        self._asked.add(request_id)
        logger.info("%s has the digest %s: job %s", place, digest, job.id)
        return True

    def _recall(self) -> dict[str, Seen]:
        """What an earlier daemon had seen; nothing if that cannot be read: then all is read again."""
        try:
            content = json.loads(self._memory.read_bytes())
            return {
                path: Seen(
                    tuple((str(a), int(b), int(c), int(d), int(e)) for a, b, c, d, e in one["signature"]), one["digest"]
                )
                for path, one in content.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def sign(checkpoint: Checkpoint) -> Signature:
    """What changes when a file of the checkpoint is written or replaced. Raises OSError."""
    found = []
    for name, path in sorted(checkpoint.paths.items()):
        status = path.stat()
        found.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return tuple(found)

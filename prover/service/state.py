"""The daemon's own folder, and who may use it: one daemon at a time, and nobody else of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.service.blobs import disk, write_durably
from verifier.service.errors import BusyError, StateError

MAX_NOTE_BYTES = 1 << 16


class StateFolder:
    """Paths in the state folder. Everything in it is for its owner's eyes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> str:
        """The URL of the database of jobs."""
        return f"sqlite:///{self.path / 'jobs.db'}"

    @property
    def certificates(self) -> Path:
        return self.path / "certificates"

    def commitment(self, model_digest: str) -> Path:
        """The owner's folder of the commitment to the model with this digest (hex)."""
        return self.path / "commitments" / model_digest

    def job(self, identity: str) -> Path:
        """The folder of a job, made if it is not there."""
        folder = self.path / "jobs" / identity
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def prepare(self) -> None:
        """Make the folder, or check that it is ours and closed to others. Raises FormatError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
            if status.st_uid != os.geteuid():
                raise FormatError(f"the state folder {self.path} belongs to another user; run as that one")
            self.path.chmod(0o700)
            for name in ("commitments", "jobs"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot use the state folder {self.path}: {error.strerror}") from None

    def lock(self, patience: float = 10.0) -> int:
        """Take the folder for this process and all that inherit the descriptor: it is free once all of them are gone.

        So a daemon never starts while a worker of a killed one still proves. Raises BusyError after `patience` seconds.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError:
                if time.monotonic() > give_up:
                    os.close(descriptor)
                    raise BusyError(
                        f"another daemon, or a worker of one, uses the state folder {self.path}; stop it first"
                    ) from None
            time.sleep(0.05)

    def sweep(self) -> None:
        """Remove what commitments that were killed half-made left behind; only while locked, and while no job runs."""
        for folder in (self.path / "commitments").glob(".*"):
            shutil.rmtree(folder, ignore_errors=True)


def remember(path: Path, content: dict[str, Any]) -> None:
    """Write a note that never changes again: what a job found out first holds for its later attempts.

    Raises StateError if it was written before and says something else, FormatError if it cannot be read or written.
    """
    if path.exists():
        earlier = recall(path)
        if earlier != content:
            changed = ", ".join(sorted(key for key in {*content, *earlier} if content.get(key) != earlier.get(key)))
            raise StateError(f"{changed} changed since the job began; ask for a new job")
        return
    with disk():
        write_durably(path, json.dumps(content, sort_keys=True).encode(), 0o600)


def recall(path: Path) -> dict[str, Any]:
    """A note. Raises FormatError."""
    try:
        content = json.loads(read_limited(path, MAX_NOTE_BYTES, "note"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FormatError(f"{path} is damaged; ask for a new job")
    return content

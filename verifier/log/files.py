"""Files that are there completely or not at all, also after a crash or a power cut."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Staging:
    """Writes files through a folder of its own on the same file system, from which they are moved into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Forget what a crash left half-written. Raises OSError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(exist_ok=True)

    def put(self, path: Path, data: bytes) -> None:
        """Replace the file at `path`: its content is durable before the name is; for the name, see `sync_folder`.

        Raises OSError; `path` is then as it was.
        """
        temporary = self._folder / "file"
        _write(temporary, data)
        os.replace(temporary, path)


def replace_file(path: Path, data: bytes) -> None:
    """Replace one file durably, through a temporary name beside it. Raises OSError."""
    temporary = path.with_name(path.name + ".new")
    _write(temporary, data)
    os.replace(temporary, path)
    sync_folder(path.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

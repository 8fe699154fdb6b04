"""Reading regular files in bounded memory: sizes, mapped byte ranges, streamed digests."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from circuits.errors import FormatError


def file_size(path: Path) -> int:
    """Size of a regular file in bytes; FormatError for pipes, devices and folders (opening a pipe would hang)."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(f"{path.name}: not a regular file; copy the checkpoint to a plain file first")
    return status.st_size


def read_prefix(path: Path, limit: int) -> bytes:
    """The whole file as bytes, refused with FormatError above `limit` bytes."""
    size = file_size(path)
    if size > limit:
        raise FormatError(
            f"{path.name}: {size} bytes, more than the {limit} that such a file may have; is it the right file?"
        )
    return path.read_bytes()


def map_bytes(path: Path, offset: int, length: int) -> npt.NDArray[np.uint8]:
    """Bytes [offset, offset + length) of a file as a read-only array (length,) that is paged in when it is read.

    Raises:
        FormatError: the range is empty or does not lie within the file.
    """
    if length <= 0 or offset < 0 or offset + length > file_size(path):
        raise FormatError(
            f"{path.name}: bytes {offset} to {offset + length} are not in the file, which is truncated or was changed;"
            " download or export it again"
        )
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(length,)))


def digest_files(paths: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file as lower-case hex, by the same names; hashed in parallel, 256 KiB at a time.

    Raises:
        FormatError: a file is missing, unreadable or not a regular file.
    """

    def digest(path: Path) -> str:
        try:
            file_size(path)
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror}); check the path and permissions") from error

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(paths, pool.map(digest, paths.values()), strict=True))

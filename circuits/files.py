"""Reading small files from untrusted places."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from circuits.errors import FormatError


def read_limited(path: Path, limit: int, what: str) -> bytes:
    """A whole regular file of at most `limit` bytes; devices and pipes are refused without waiting for them.

    Raises:
        FormatError: it cannot be read, is no regular file, or is longer.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FormatError(f"the {what} {path} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise FormatError(f"cannot read the {what} {path}: {error.strerror}") from None
    if len(data) > limit:
        raise FormatError(f"the {what} {path} has more than {limit} bytes: not a {what}")
    return data

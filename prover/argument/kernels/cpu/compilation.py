"""How the kernels are compiled and where the machine code is kept.

Machine code is cached in a directory of its own for each version of the sources, of numba, of llvmlite and of the host
processor, so that stale code is never loaded: beside the package if that is writable, else in the user's cache
directory. A `NUMBA_CACHE_DIR` of the environment takes precedence for the machine code, not for the marker.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba

# numba's settings are set at run time, unknown to type checkers
config: Any = numba.config

_MARKER = "complete"


@cache
def cache_directory() -> Path:
    """Where the machine code for these sources on this host is kept; need not exist yet."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for part in (numba.__version__, llvmlite.__version__, llvmlite.binding.get_host_cpu_name()):
        digest.update(part.encode() + b"\0")
    name = f"kernels-{digest.hexdigest()[:16]}"
    beside = package / "__pycache__"
    if os.access(beside if beside.is_dir() else package, os.W_OK):
        return beside / name
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return user / "weightproof" / name


def is_compiled() -> bool:
    """Whether every kernel's machine code is in the cache."""
    return (cache_directory() / _MARKER).is_file()


def remove_stale() -> None:
    """Delete the machine code of other versions of the sources."""
    for directory in cache_directory().parent.glob("kernels-*"):
        if directory != cache_directory():
            shutil.rmtree(directory, ignore_errors=True)


def mark_compiled() -> None:
    """Record that every kernel's machine code is in the cache."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    (cache_directory() / _MARKER).touch()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile to machine code on first use, cached on disk; the interpreter lock is released while it runs."""
    before = config.CACHE_DIR
    if not before:
        config.CACHE_DIR = str(cache_directory())
    try:
        return numba.njit(nogil=True, cache=True)(function)
    finally:
        config.CACHE_DIR = before

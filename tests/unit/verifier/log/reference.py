"""RFC 6962 written down as it stands there, over lists in memory; and logs to try things on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import FormatError
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter

ORIGIN = "log.example/weights"


def mth(entries: Sequence[bytes]) -> bytes:
    """MTH(D[n]), section 2.1."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]), section 2.1.1."""
    if len(entries) == 1:
        return []
    k = 1
    while 2 * k < len(entries):
        k *= 2
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b), section 2.1.2."""
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = 1
    while 2 * k < len(entries):
        k *= 2
    if m <= k:
        return [*subproof(m, entries[:k], whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def tile_files(entries: Sequence[bytes]) -> dict[str, bytes]:
    """The files of a log as c2sp.org/tlog-tiles defines them, one hash at a time."""
    files = {}
    level = 0
    while (count := len(entries) // 256**level) > 0:
        for n in range(-(-count // 256)):
            hashes = [
                mth(entries[i * 256**level : (i + 1) * 256**level]) for i in range(256 * n, min(count, 256 * n + 256))
            ]
            suffix = "" if len(hashes) == 256 else f".p/{len(hashes)}"
            files[f"tile/{level}/{n:03d}{suffix}"] = b"".join(hashes)
            if level == 0:
                part = entries[256 * n : 256 * n + 256]
                files[f"tile/entries/{n:03d}{suffix}"] = b"".join(len(e).to_bytes(2, "big") + e for e in part)
        level += 1
    return files


@dataclass
class MemorySource:
    """The files of a log in a dict."""

    files: Mapping[str, bytes]

    def read(self, path: str, limit: int) -> bytes | None:
        data = self.files.get(path)
        if data is not None and len(data) > limit:
            raise FormatError(f"{path} is too long")
        return data


def numbered(count: int, prefix: str = "entry") -> list[bytes]:
    return [f"{prefix} {number}".encode() for number in range(count)]


def new_log(folder: Path, entries: Sequence[bytes] = (), signer: NoteSigner | None = None) -> NoteSigner:
    """A closed log with these entries; returns its key."""
    signer = signer or NoteSigner.generate(ORIGIN)
    with LogWriter(folder, signer, create=True) as writer:
        writer.append(entries)
    return signer

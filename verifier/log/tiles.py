"""Tiles: a log as static files of 256 consecutive hashes, and proofs computed from them.

Source: c2sp.org/tlog-tiles, height 8. Tile n of level l holds MTH(D[(256n + i) 256^l : (256n + i + 1) 256^l]) for
i = 0 .. 255; the rightmost tile of a level may be partial. Proofs are those of RFC 6962, section 2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from circuits.errors import FormatError
from verifier.log.errors import LogDamagedError
from verifier.log.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash, split_point

WIDTH = 256
HEIGHT = 8
MAX_ENTRY_BYTES = 65_535
MAX_TILE_BYTES = WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES = WIDTH * (2 + MAX_ENTRY_BYTES)
CHECKPOINT_PATH = "checkpoint"


class TileSource(Protocol):
    """Where the files of a log are read from. What it returns is not trusted."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at a path relative to the log, None if there is none. Raises FormatError above `limit` bytes."""


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Such as "tile/0/x001/234" or, partial, "tile/0/x001/234.p/17"."""
    return f"tile/{level}/{_index_path(index)}" + ("" if width == WIDTH else f".p/{width}")


def bundle_path(index: int, width: int = WIDTH) -> str:
    """The entries whose hashes are in the tile of level 0 with this index and width."""
    return f"tile/entries/{_index_path(index)}" + ("" if width == WIDTH else f".p/{width}")


def _index_path(index: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile `index` of a level has in a tree of `size` leaves, 0 to 256."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - index * WIDTH))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length as a big-endian u16. Raises FormatError if one is longer than 65,535 bytes."""
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise FormatError(f"an entry of the log has at most {MAX_ENTRY_BYTES} bytes; log a digest instead")
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle, at most 256. Raises LogDamagedError."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(data):
        end = offset + 2 + int.from_bytes(data[offset : offset + 2], "big")
        if offset + 2 > len(data) or end > len(data) or len(entries) == WIDTH:
            raise LogDamagedError("a bundle of entries is truncated, or has more than 256 entries")
        entries.append(data[offset + 2 : end])
        offset = end
    return entries


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The hash of a complete tree over 2^k hashes."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


class TileTree:
    """The tree of the first `size` entries of a log, read from its tiles.

    Soundness: a source may return anything. Compare `root` with a signed checkpoint, and check the proofs against it,
    before using either. Every method raises LogDamagedError if a tile is missing or has another length than it must.
    """

    def __init__(self, source: TileSource, size: int) -> None:
        self.size = size
        self._source = source
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def tile(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile, as many as it has in a tree of this size (none beyond it)."""
        if (level, index) not in self._tiles:
            width = tile_width(level, index, self.size)
            data = self._read(tile_path(level, index, width), tile_path(level, index), width, MAX_TILE_BYTES)
            if len(data) not in (width * HASH_BYTES, MAX_TILE_BYTES):
                raise LogDamagedError(f"{tile_path(level, index, width)}: {len(data)} bytes are not {width} hashes")
            self._tiles[level, index] = [data[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(width)]
        return self._tiles[level, index]

    def bundle(self, index: int) -> list[bytes]:
        """The entries of a bundle, as many as it has in a tree of this size; compared with no hash."""
        width = tile_width(0, index, self.size)
        entries = decode_bundle(self._read(bundle_path(index, width), bundle_path(index), width, MAX_BUNDLE_BYTES))
        if len(entries) < width:
            raise LogDamagedError(f"{bundle_path(index, width)}: {len(entries)} entries, not {width}")
        return entries[:width]

    def entries(self, start: int) -> Iterator[bytes]:
        """The entries from number `start` on, each compared with its hash in the tiles; one bundle in memory."""
        for index in range(start // WIDTH, -(-self.size // WIDTH)):
            hashes = self.tile(0, index)
            for offset, entry in enumerate(self.bundle(index)):
                if index * WIDTH + offset >= start:
                    if leaf_hash(entry) != hashes[offset]:
                        raise LogDamagedError(f"entry {index * WIDTH + offset} is not the one that was hashed")
                    yield entry
            self._tiles.pop((0, index), None)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves, by default of all."""
        size = self.size if size is None else size
        return self._range_hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int) -> list[bytes]:
        """PATH(index, D[size]), from the leaf's sibling to the root's child; 0 <= index < size."""
        proof: list[bytes] = []
        start, end = 0, self.size
        while end - start > 1:
            middle = start + split_point(end - start)
            if index < middle:
                proof.append(self._range_hash(middle, end))
                end = middle
            else:
                proof.append(self._range_hash(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """PROOF(old_size, D[size]), from below; 0 < old_size <= size."""
        proof: list[bytes] = []
        start, end = 0, self.size
        while end != old_size:
            middle = start + split_point(end - start)
            if old_size <= middle:
                proof.append(self._range_hash(middle, end))
                end = middle
            else:
                proof.append(self._range_hash(start, middle))
                start = middle
        if start:
            proof.append(self._range_hash(start, end))
        return proof[::-1]

    def _read(self, path: str, full: str, width: int, limit: int) -> bytes:
        """A file, or the full one in its place: a partial tile may be deleted once the full one exists."""
        data = self._source.read(path, limit) if width else b""
        if data is None and path != full:
            data = self._source.read(full, limit)
        if data is None:
            raise LogDamagedError(f"the log has no {path}, which its checkpoint of size {self.size} needs")
        return data

    def _range_hash(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]), start a multiple of the least power of two that is at least end - start."""
        count = end - start
        if count & (count - 1) == 0:
            level, height = divmod(count.bit_length() - 1, HEIGHT)
            first = start >> (HEIGHT * level)
            tile = self.tile(level, first // WIDTH)
            return complete_root(tile[first % WIDTH : first % WIDTH + (1 << height)])
        middle = start + split_point(count)
        return node_hash(self._range_hash(start, middle), self._range_hash(middle, end))

"""The file that carries a proof from owner to verifier.

Layout: magic line, commitment id (32 bytes), policy digest (32), nonce length u16 and nonce, number of disclosed
integers u32 and
the integers (i64), the proof bytes. Little-endian. Everything before the proof is compared with, or checked by, what
the verifier itself knows; nothing in it is trusted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.argument.statement import MAX_NONCE_BYTES, MAX_PROOF_BYTES

MAGIC = b"weightproof/bundle/v1\n"
MAX_DISCLOSED = 1 << 20
MAX_BUNDLE_BYTES = MAX_PROOF_BYTES + 8 * MAX_DISCLOSED + 4096
MAX_HEADER_BYTES = len(MAGIC) + 64 + 2 + MAX_NONCE_BYTES


@dataclass(frozen=True)
class BundleHeader:
    """What a bundle claims to be about: the ids of commitment and policy, 32 bytes each, and the nonce."""

    commitment: bytes
    policy: bytes
    nonce: bytes

    @staticmethod
    def from_bytes(data: bytes) -> BundleHeader:
        """Parse the start of a bundle; MAX_HEADER_BYTES are enough. Raises FormatError."""
        if not data.startswith(MAGIC):
            raise FormatError("this file is not a proof bundle; make one with `weightproof-prover audit`")
        nonce = len(MAGIC) + 66
        if len(data) < nonce:
            raise FormatError("the bundle is truncated; transfer it again")
        (length,) = struct.unpack("<H", data[nonce - 2 : nonce])
        if length > MAX_NONCE_BYTES:
            raise FormatError("the bundle's nonce is too long")
        if len(data) < nonce + length:
            raise FormatError("the bundle is truncated; transfer it again")
        return BundleHeader(data[nonce - 66 : nonce - 34], data[nonce - 34 : nonce - 2], data[nonce : nonce + length])

    @property
    def length(self) -> int:
        """Bytes that it takes."""
        return len(MAGIC) + 66 + len(self.nonce)


@dataclass(frozen=True)
class Bundle:
    """A proof and what it claims to be about."""

    commitment: bytes
    policy: bytes
    nonce: bytes
    disclosed: tuple[int, ...]
    proof: bytes

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                MAGIC,
                self.commitment,
                self.policy,
                struct.pack("<H", len(self.nonce)),
                self.nonce,
                struct.pack(f"<I{len(self.disclosed)}q", len(self.disclosed), *self.disclosed),
                self.proof,
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> Bundle:
        """Raises FormatError if the bytes are no bundle."""
        header = BundleHeader.from_bytes(data[:MAX_HEADER_BYTES])
        offset = header.length

        def take(size: int) -> bytes:
            nonlocal offset
            piece = data[offset : offset + size]
            if len(piece) != size:
                raise FormatError("the bundle is truncated; transfer it again")
            offset += size
            return piece

        (count,) = struct.unpack("<I", take(4))
        if count > MAX_DISCLOSED:
            raise FormatError("the bundle announces too many disclosed integers")
        disclosed = struct.unpack(f"<{count}q", take(8 * count))
        return Bundle(header.commitment, header.policy, header.nonce, disclosed, data[offset:])

    @staticmethod
    def read(path: Path) -> Bundle:
        """Read a bundle of at most MAX_BUNDLE_BYTES. Raises FormatError."""
        return Bundle.from_bytes(read_limited(path, MAX_BUNDLE_BYTES, "bundle"))

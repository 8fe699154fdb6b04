"""SHA-256 with one domain byte in front of every input (protocol.md, section 1)."""

from __future__ import annotations

import hashlib
import struct

DIGEST_BYTES = 32

LEAF = b"\x00"
NODE = b"\x01"
TRANSCRIPT_START = b"\x10"
ABSORB = b"\x11"
FIELD_CHALLENGE = b"\x12"
POSITIONS = b"\x13"
RATCHET = b"\x14"
COMMITMENT_ID = b"\x20"
DERIVATION = b"\x21"


def digest(domain: bytes, *parts: bytes) -> bytes:
    """SHA-256 of the domain byte and the concatenated parts. Parts of variable length must be framed by the caller."""
    state = hashlib.sha256(domain)
    for part in parts:
        state.update(part)
    return state.digest()


def framed(*parts: bytes) -> bytes:
    """Injective encoding of a list of byte strings: each behind its u64 length."""
    return b"".join(struct.pack("<Q", len(part)) + part for part in parts)

"""The Fiat-Shamir transcript: a hash chain that absorbs public data and messages and yields challenges.

Source: protocol.md, section 4. *Soundness*: a value that is not absorbed before the challenges that depend on it can be
chosen after them; engines therefore append to the proof and absorb in one place only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

from verifier.argument import hashing
from verifier.argument.field import K, P


class Kind(IntEnum):
    """What an absorbed string is; part of the hash input."""

    PARAMETERS = 1
    STATEMENT = 2
    NONCE = 3
    COMMITMENT = 4
    DISCLOSED = 5
    ROOT = 6
    MASKED = 7
    CLEAR = 8
    VECTOR = 9
    OPENED = 10


class Transcript:
    """State st of 32 bytes, starting at H(10 || "weightproof/1")."""

    def __init__(self) -> None:
        self._state = hashing.digest(hashing.TRANSCRIPT_START, b"weightproof/1")

    def absorb(self, kind: Kind, data: bytes) -> None:
        """st = H(11 || st || kind u8 || length u64 || data)."""
        self._state = hashing.digest(hashing.ABSORB, self._state, struct.pack("<BQ", kind, len(data)), data)

    def _words(self, domain: bytes) -> Iterator[int]:
        state, counter = self._state, 0
        while True:
            yield from struct.unpack("<4Q", hashing.digest(domain, state, struct.pack("<Q", counter)))
            counter += 1

    def _ratchet(self) -> None:
        self._state = hashing.digest(hashing.RATCHET, self._state)

    def challenge(self) -> K:
        """A uniform element of K: the first three words below p."""
        words = self._words(hashing.FIELD_CHALLENGE)
        a, b, c = (next(w for w in words if w < P) for _ in range(3))
        self._ratchet()
        return K((a, b, c))

    def positions(self, n: int, count: int) -> list[int]:
        """`count` uniform positions below n (a power of two), repetitions possible, in the order drawn."""
        words = self._words(hashing.POSITIONS)
        drawn = [next(words) & (n - 1) for _ in range(count)]
        self._ratchet()
        return drawn

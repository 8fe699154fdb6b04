"""Randomness that hides: keyed derivation from 256 fresh bits of the operating system (protocol.md, section 3).

A stream is AES-256 in counter mode under the key H(21 || framed(seed, labels...)): one key, one stream, one purpose.
"""

from __future__ import annotations

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from verifier.argument import hashing
from verifier.argument.field import K, P, Words, k_list

SEED_BYTES = 32


def fresh_seed() -> bytes:
    """256 bits from the operating system."""
    return os.urandom(SEED_BYTES)


class Stream:
    """Uniform values for one purpose, named by its labels. Two streams with one seed and one list of labels are equal:
    callers must never ask twice for the same purpose."""

    def __init__(self, seed: bytes, *labels: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError("a seed has 32 bytes")
        key = hashing.digest(hashing.DERIVATION, hashing.framed(seed, *labels))
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> Words:
        """`count` uniform 64-bit words."""
        return np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8").astype(np.uint64, copy=False)

    def field(self, *shape: int) -> Words:
        """Uniform elements of F, by rejection of words >= p (probability 2^-32 each)."""
        count = int(np.prod(shape))
        words = self.words(count)
        accepted = words[words < np.uint64(P)]
        while accepted.size < count:
            more = self.words(count - accepted.size)
            accepted = np.concatenate([accepted, more[more < np.uint64(P)]])
        return accepted.reshape(shape)

    def vector(self, count: int) -> Words:
        """Uniform K array (3, count)."""
        return self.field(3, count)

    def element(self) -> K:
        """One uniform element of K."""
        return k_list(self.vector(1))[0]

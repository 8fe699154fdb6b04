"""The file that carries an ezkl proof from owner to verifier.

Layout: magic line; commitment id, policy digest, digests of the reference string, of the settings and of the
verification key that the owner derived (32 bytes each); nonce length u16 and nonce; number of disclosed integers u32
and the integers (i64); length u32 of ezkl's proof and the proof; length u32 of the link's proof and the proof (0
without a link). Little-endian; nothing may remain. The digests are only compared with what the verifier derives
itself, to say what differs: no key, no settings and no instance travels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from circuits.files import read_limited
from verifier.argument.statement import MAX_NONCE_BYTES, MAX_PROOF_BYTES
from verifier.backends.ezkl.errors import EzklBundleError

MAGIC = b"weightproof/ezkl-bundle/v1\n"
MAX_EZKL_PROOF_BYTES = 1 << 20
MAX_DISCLOSED = 1 << 16
MAX_BUNDLE_BYTES = MAX_PROOF_BYTES + MAX_EZKL_PROOF_BYTES + 8 * MAX_DISCLOSED + 4096


@dataclass(frozen=True)
class EzklBundle:
    """A proof and what it claims to be about."""

    commitment: bytes
    policy: bytes
    reference: bytes
    settings: bytes
    key: bytes
    nonce: bytes
    disclosed: tuple[int, ...]
    proof: bytes
    link: bytes = b""

    def to_bytes(self) -> bytes:
        digests = (self.commitment, self.policy, self.reference, self.settings, self.key)
        return b"".join(
            (
                MAGIC,
                *digests,
                struct.pack("<H", len(self.nonce)),
                self.nonce,
                struct.pack(f"<I{len(self.disclosed)}q", len(self.disclosed), *self.disclosed),
                struct.pack("<I", len(self.proof)),
                self.proof,
                struct.pack("<I", len(self.link)),
                self.link,
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> EzklBundle:
        """Raises EzklBundleError if the bytes are no such bundle."""
        if not data.startswith(MAGIC):
            raise EzklBundleError(
                "this file is no ezkl bundle; make one with `weightproof-prover audit --backend ezkl`"
            )
        offset = len(MAGIC)

        def take(size: int) -> bytes:
            nonlocal offset
            piece = data[offset : offset + size]
            if len(piece) != size:
                raise EzklBundleError("the ezkl bundle is truncated; transfer it again")
            offset += size
            return piece

        def number(kind: str, limit: int, what: str) -> int:
            (value,) = struct.unpack(kind, take(struct.calcsize(kind)))
            if value > limit:
                raise EzklBundleError(f"the ezkl bundle announces {what} of {value}; at most {limit} are allowed")
            return int(value)

        commitment, policy, reference, settings, key = (take(32) for _ in range(5))
        nonce = take(number("<H", MAX_NONCE_BYTES, "a nonce"))
        count = number("<I", MAX_DISCLOSED, "disclosed integers: a number")
        disclosed = struct.unpack(f"<{count}q", take(8 * count))
        proof = take(number("<I", MAX_EZKL_PROOF_BYTES, "a proof"))
        link = take(number("<I", MAX_PROOF_BYTES, "a link"))
        if offset != len(data):
            raise EzklBundleError("the ezkl bundle has trailing bytes; transfer it again")
        return EzklBundle(commitment, policy, reference, settings, key, nonce, disclosed, proof, link)

    @staticmethod
    def read(path: Path) -> EzklBundle:
        """Read a bundle of at most MAX_BUNDLE_BYTES. Raises EzklBundleError or FormatError."""
        return EzklBundle.from_bytes(read_limited(path, MAX_BUNDLE_BYTES, "ezkl bundle"))

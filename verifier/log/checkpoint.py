"""Checkpoints: signed notes whose text is a log's origin, size and root.

Source: c2sp.org/tlog-checkpoint. We write no extension lines and read past those of others.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from circuits.checkpoint.base import quote
from circuits.errors import FormatError, TrustError
from verifier.log.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from verifier.log.note import NoteSigner, VerifierKey, decode_base64, open_note

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def parse_size(text: str, what: str) -> int:
    """A decimal without leading zeroes, at most MAX_SIZE. Raises FormatError."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise FormatError(f"{what}: {quote(text)} is not a decimal number from 0 to 2^62 without leading zeroes")
    return int(text)


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: `size` entries whose RFC 6962 tree has the hash `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def to_text(self) -> str:
        """The text that the log signs."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @staticmethod
    def from_text(text: str) -> Checkpoint:
        """Parse the text of a note. Raises FormatError."""
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) < 3 or not all(lines):
            raise FormatError("a checkpoint has three or more lines, none empty: origin, size, root")
        root = decode_base64(lines[2], "root of a checkpoint")
        if len(root) != HASH_BYTES:
            raise FormatError(f"the root of a checkpoint has {HASH_BYTES} bytes, not {len(root)}")
        checkpoint = Checkpoint(lines[0], parse_size(lines[1], "size of a checkpoint"), root)
        if checkpoint.size == 0 and root != EMPTY_ROOT:
            raise FormatError("a checkpoint of an empty log has the hash of nothing as its root")
        return checkpoint

    def sign(self, signer: NoteSigner) -> bytes:
        """The signed note. Soundness: the caller must never sign what does not extend all that it signed before."""
        return signer.sign(self.to_text())


def open_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note signed by the log's key; the origin must be the name of the key.

    Raises FormatError (not a checkpoint) or TrustError (not signed by the key, or of another log).
    """
    checkpoint = Checkpoint.from_text(open_note(data, [key]))
    if checkpoint.origin != key.name:
        raise TrustError(f"the checkpoint is of the log {quote(checkpoint.origin)}, the key of {quote(key.name)}")
    return checkpoint

"""Receipts: one file that shows, offline and years later, that an entry is in a log.

Source: c2sp.org/tlog-proof. Our receipts carry the entry itself as extra data; being verified makes it
trustworthy.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.log.checkpoint import Checkpoint, open_checkpoint, parse_size
from verifier.log.errors import InclusionError
from verifier.log.merkle import HASH_BYTES, MAX_PROOF_HASHES, leaf_hash, verify_inclusion
from verifier.log.note import MAX_NOTE_BYTES, VerifierKey, decode_base64
from verifier.log.tiles import MAX_ENTRY_BYTES

HEADER = "c2sp.org/tlog-proof@v1"
MAX_RECEIPT_BYTES = MAX_NOTE_BYTES + 2 * MAX_ENTRY_BYTES + 8192
_EXTRA, _INDEX = "extra ", "index "


@dataclass(frozen=True)
class Receipt:
    """An inclusion proof and the checkpoint that it leads to.

    Attributes:
        index: number of the entry in the log, from 0.
        proof: hashes from the leaf's sibling to the root's child.
        checkpoint: the signed note, verbatim.
        extra: data that nothing authenticates; ours is the entry. None if absent.
    """

    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """The file, by convention *.tlog-proof."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(_EXTRA + base64.b64encode(self.extra).decode())
        lines.append(f"{_INDEX}{self.index}")
        lines.extend(base64.b64encode(value).decode() for value in self.proof)
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    @staticmethod
    def from_bytes(data: bytes) -> Receipt:
        """Parse a receipt; what it says is checked by `verify`. Raises FormatError."""
        if len(data) > MAX_RECEIPT_BYTES:
            raise FormatError(f"a receipt has at most {MAX_RECEIPT_BYTES} bytes")
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise FormatError("the head of a receipt is ASCII") from None
        if lines.pop(0) != HEADER or not blank:
            raise FormatError(f"a receipt begins with {HEADER} and has a checkpoint after a blank line")
        extra = None
        if lines and lines[0].startswith(_EXTRA):
            extra = decode_base64(lines.pop(0).removeprefix(_EXTRA), "extra data of a receipt")
            if len(extra) > MAX_ENTRY_BYTES:
                raise FormatError(f"the extra data of a receipt has at most {MAX_ENTRY_BYTES} bytes")
        if not lines or not lines[0].startswith(_INDEX):
            raise FormatError("a receipt has a line `index NUMBER`")
        index = parse_size(lines.pop(0).removeprefix(_INDEX), "index of a receipt")
        if len(lines) > MAX_PROOF_HASHES:
            raise FormatError(f"an inclusion proof has at most {MAX_PROOF_HASHES} hashes")
        proof = tuple(decode_base64(line, "inclusion proof") for line in lines)
        if any(len(value) != HASH_BYTES for value in proof):
            raise FormatError(f"every hash of an inclusion proof has {HASH_BYTES} bytes")
        return Receipt(index, proof, checkpoint, extra)

    @staticmethod
    def read(path: Path) -> Receipt:
        """Read a receipt. Raises FormatError."""
        return Receipt.from_bytes(read_limited(path, MAX_RECEIPT_BYTES, "receipt"))

    def verify(self, entry: bytes, key: VerifierKey) -> Checkpoint:
        """Check that the log with this key has `entry`; the checkpoint at which it does.

        Soundness: shows that the log's key signed a tree with the entry, not that others see the same tree: compare the
        checkpoint with a monitor's.

        Raises FormatError (checkpoint malformed), TrustError (not signed by the key), InclusionError (not in the tree).
        """
        checkpoint = open_checkpoint(self.checkpoint, key)
        if self.index >= checkpoint.size:
            raise InclusionError(f"entry {self.index} is beyond the {checkpoint.size} entries of the checkpoint")
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.proof, checkpoint.root)
        return checkpoint

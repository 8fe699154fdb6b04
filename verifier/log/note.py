"""Signed notes with Ed25519: text, a blank line, and signature lines.

Source: c2sp.org/signed-note (v1.0.0); the text form of keys is that of golang.org/x/mod/sumdb/note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from circuits.checkpoint.base import quote
from circuits.errors import FormatError, TrustError
from circuits.files import read_limited

MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 100
ED25519 = b"\x01"
KEY_BYTES = 32
MAX_KEY_BYTES = 4096
_DASH = "— "
_PRIVATE = "PRIVATE+KEY+"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 with padding, in its one canonical form. Raises FormatError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise FormatError(f"{what}: {quote(text)} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise FormatError(f"{what}: {quote(text)} is not canonical base64")
    return data


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's key.

    Attributes:
        name: no spaces, no "+"; by convention the origin of the log, such as "example.com/log".
        public: the Ed25519 key, 32 bytes.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or c < " " for c in self.name):
            raise FormatError(f"the name of a log key has no spaces and no '+': {quote(self.name)} is none")
        if len(self.public) != KEY_BYTES:
            raise FormatError(f"an Ed25519 key has {KEY_BYTES} bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x01 || public)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @staticmethod
    def parse(text: str) -> VerifierKey:
        """Read "<name>+<8 hex digits>+<base64>". Raises FormatError."""
        name, key_id, material = _split_key(text.strip("\n"), "public key of a log")
        key = VerifierKey(name, material)
        if key.key_id != key_id:
            raise FormatError(f"the key of {quote(name)} does not have its own id: a letter is wrong; copy it again")
        return key

    @staticmethod
    def read(path: Path) -> VerifierKey:
        """Read a file that holds one public key of a log. Raises FormatError."""
        return VerifierKey.parse(_key_text(path))

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raises TrustError unless this is the key's signature of the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            raise TrustError(f"the signature by {quote(self.name)} is false; the note was changed") from None


class NoteSigner:
    """The secret half of a log's key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = VerifierKey(name, private.public_key().public_bytes_raw())

    @staticmethod
    def generate(name: str) -> NoteSigner:
        """A fresh key for the log called `name`. Raises FormatError if that is no name."""
        return NoteSigner(name, Ed25519PrivateKey.generate())

    @staticmethod
    def parse(text: str) -> NoteSigner:
        """Read "PRIVATE+KEY+<name>+<8 hex digits>+<base64>". Raises FormatError, without quoting the secret."""
        text = text.strip("\n")
        if not text.startswith(_PRIVATE):
            raise FormatError(f"the secret key of a log begins with {_PRIVATE}")
        name, key_id, seed = _split_key(text.removeprefix(_PRIVATE), "secret key of a log")
        if len(seed) != KEY_BYTES:
            raise FormatError(f"the secret key of a log has {KEY_BYTES} bytes")
        signer = NoteSigner(name, Ed25519PrivateKey.from_private_bytes(seed))
        if signer.key.key_id != key_id:
            raise FormatError("the secret key of the log does not have its own id; restore it from a backup")
        return signer

    @staticmethod
    def read(path: Path) -> NoteSigner:
        """Read a file that holds one secret key of a log. Raises FormatError."""
        return NoteSigner.parse(_key_text(path))

    def secret(self) -> str:
        """The text to store in a file of mode 0600."""
        seed = base64.b64encode(ED25519 + self._private.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.key.name}+{self.key.key_id.hex()}+{seed}"

    def sign(self, text: str) -> bytes:
        """The note: the text, which ends in a newline, and this key's signature. Raises FormatError."""
        if not text.endswith("\n") or _CONTROL.search(text):
            raise FormatError("the text of a note ends in a newline and has no other control characters")
        signature = base64.b64encode(self.key.key_id + self._private.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{self.key.name} {signature}\n".encode()


def _key_text(path: Path) -> str:
    try:
        return read_limited(path, MAX_KEY_BYTES, "key of a log").decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{path} is not the key of a log") from None


def _split_key(text: str, what: str) -> tuple[str, bytes, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        material = decode_base64(encoded, what)
    except FormatError:  # which would quote the secret
        raise FormatError(f"a {what} has the form <name>+<8 hex digits>+<base64>") from None
    if not _KEY_ID.fullmatch(key_id) or material[:1] != ED25519:
        raise FormatError(f"a {what} has the form <name>+<8 hex digits>+<base64>, of type 1, Ed25519")
    return name, bytes.fromhex(key_id), material[1:]


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who claims to have signed, and what follows the key id."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A parsed note. Its text means nothing until `open_note` has checked a signature."""

    text: str
    signatures: tuple[NoteSignature, ...]


def parse_note(data: bytes) -> Note:
    """Split a note into text and signatures, checking neither. Raises FormatError."""
    if len(data) > MAX_NOTE_BYTES:
        raise FormatError(f"a note has at most {MAX_NOTE_BYTES} bytes")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("a note is UTF-8 text") from None
    if _CONTROL.search(content):
        raise FormatError("a note has no control characters but newlines")
    text, blank, block = content.rpartition("\n\n")
    if not blank or not text or not block.endswith("\n"):
        raise FormatError("a note is a text, a blank line and signature lines, each ended by a newline")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise FormatError(f"{quote(line)} is not a signature line: em dash, space, name, space, base64")
    if not name or "+" in name or any(c.isspace() for c in name):
        raise FormatError(f"the name {quote(name)} of a signature is none")
    material = decode_base64(encoded, "signature of a note")
    if len(material) < 5:
        raise FormatError("a signature of a note is shorter than a key id and a signature")
    return NoteSignature(name, material[:4], material[4:])


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> str:
    """The text of a note that at least one of the keys signed; signatures by other keys are ignored.

    Raises:
        FormatError: this is not a note.
        TrustError: no signature is by one of the keys, or one that claims to be is false.
    """
    note = parse_note(data)
    known = {(key.name, key.key_id): key for key in keys}
    verified = 0
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            key.verify(note.text.encode(), signature.signature)
            verified += 1
    if not verified:
        names = ", ".join(sorted({quote(signature.name) for signature in note.signatures}))
        raise TrustError(f"no trusted key signed the note, only {names}; is it the right log, and the right key?")
    return note.text

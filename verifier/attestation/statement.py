"""In-toto statements: a predicate about a model that is named by the digest of its files.

Sources: in-toto attestation framework v1, spec/v1/statement.md; OpenSSF Model Signing v1.0 for the digest, as
documented at `Payload` in model_signing/_signing/signing.py of the package model-signing 1.1: SHA-256 over the SHA-256
digests of the files, 32 bytes each, in the order of their paths. Paths compare as lists of parts, as pathlib does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from circuits.checkpoint.base import quote
from circuits.checkpoint.strict_json import dumps, loads
from circuits.errors import FormatError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_SUBJECTS = 1000
MAX_NAME = 1000
_HEX = set("0123456789abcdef")


def model_digest(files: Mapping[str, str]) -> str:
    """The OpenSSF Model Signing root digest, hex, of files given as relative path -> SHA-256 (hex).

    It is the digest of exactly these files: of a folder that holds others too (a tokenizer, a README), model-signing
    computes another one unless it is told to leave them out.

    Soundness: the digests in a commitment are the owner's word until somebody with the files recomputes them.

    Raises FormatError if there is no file.
    """
    if not files:
        raise FormatError("the manifest lists no files, so the model has no digest; commit it again from its files")
    ordered = sorted(files.items(), key=lambda item: item[0].split("/"))
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()


@dataclass(frozen=True)
class Subject:
    """What a statement is about: a name for people, and the digest that counts."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise FormatError(f"the name of a subject has 1 to {MAX_NAME} printable characters")
        if len(self.sha256) != 64 or not set(self.sha256) <= _HEX:
            raise FormatError(f"subject {quote(self.name)}: a sha256 has 64 lower-case hex digits")


@dataclass(frozen=True)
class Statement:
    """Subjects, the type of the predicate, and the predicate: a JSON object without floats."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The payload to sign; the same statement gives the same bytes."""
        return dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": s.name, "digest": {"sha256": s.sha256}} for s in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    @staticmethod
    def from_bytes(payload: bytes) -> Statement:
        """Parse a payload. Unknown members are ignored, as in-toto asks. Raises FormatError."""
        document = loads(payload, "statement")
        if not isinstance(document, dict) or document.get("_type") != STATEMENT_TYPE:
            raise FormatError(f"this is not an in-toto statement of type {STATEMENT_TYPE}")
        subjects, kind, predicate = (document.get(key) for key in ("subject", "predicateType", "predicate"))
        if not isinstance(subjects, list) or not 1 <= len(subjects) <= MAX_SUBJECTS:
            raise FormatError(f"a statement has 1 to {MAX_SUBJECTS} subjects")
        if not isinstance(kind, str) or not kind.isprintable() or not isinstance(predicate, dict):
            raise FormatError("a statement has a predicateType, a string, and a predicate, an object")
        return Statement(tuple(_subject(item) for item in subjects), kind, predicate)


def _subject(item: object) -> Subject:
    name = item.get("name") if isinstance(item, dict) else None
    digests = item.get("digest") if isinstance(item, dict) else None
    sha256 = digests.get("sha256") if isinstance(digests, dict) else None
    if not isinstance(name, str) or not isinstance(sha256, str):
        raise FormatError("every subject of a statement has a name and a sha256 digest")
    return Subject(name, sha256)

"""Bundles: several envelopes in one file, one per line, `*.intoto.jsonl`.

Source: in-toto attestation framework v1, spec/v1/bundle.md. A bundle is not signed as a whole: anyone can add, drop and
reorder lines, so nothing depends on their order and lines that are no envelopes are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.attestation.envelope import Envelope

MAX_BUNDLE_BYTES = 128 << 20
MAX_LINES = 10_000


@dataclass(frozen=True)
class AttestationBundle:
    """The envelopes of a file, and why its other lines are none."""

    envelopes: tuple[Envelope, ...]
    ignored: tuple[str, ...]


def parse_bundle(data: bytes) -> AttestationBundle:
    """The envelopes of a bundle. Raises FormatError if there is none, or if it is too large."""
    if data.count(b"\n") > MAX_LINES or len(data) > MAX_BUNDLE_BYTES:
        raise FormatError(f"a bundle has at most {MAX_LINES} lines and {MAX_BUNDLE_BYTES} bytes")
    envelopes, ignored = [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                envelopes.append(Envelope.from_bytes(line))
            except FormatError as error:
                ignored.append(f"line {number}: {error}")
    if not envelopes:
        reason = ignored[0] if ignored else "it is empty"
        raise FormatError(f"the file holds no signed attestation; {reason}")
    return AttestationBundle(tuple(envelopes), tuple(ignored))


def read_bundle(path: Path) -> AttestationBundle:
    """Read a *.intoto.jsonl file. Raises FormatError."""
    return parse_bundle(read_limited(path, MAX_BUNDLE_BYTES, "attestation bundle"))


def bundle_bytes(envelopes: Iterable[Envelope]) -> bytes:
    """The content of a *.intoto.jsonl file."""
    return b"".join(envelope.to_bytes() + b"\n" for envelope in envelopes)

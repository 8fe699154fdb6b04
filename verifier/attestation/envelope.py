"""DSSE envelopes: a payload, its type and one signature over both.

Source: github.com/secure-systems-lab/dsse, protocol.md and envelope.md, v1.0. We write one signature per envelope and
refuse more: several signers send several envelopes. The signed bytes are kept as they are, never written out anew.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Protocol

from circuits.checkpoint.base import quote
from circuits.checkpoint.strict_json import loads
from circuits.errors import FormatError
from verifier.attestation.keys import PublicKey

MAX_ENVELOPE_BYTES = 32 << 20
MAX_PAYLOAD_BYTES = 23 << 20
MAX_SIGNATURE_BYTES = 1024
_URL_SAFE = str.maketrans("-_", "+/")


class Signs(Protocol):
    """What signs: see `keys.SigningKey`."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    def sign(self, data: bytes) -> bytes:
        """A signature over the data."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload, lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Envelope:
    """One signed payload.

    Attributes:
        payload: exactly the bytes that were signed.
        signature: ECDSA over P-256 and SHA-256, in DER.
        key_id: whose signature this claims to be; a hint for people, never looked at in verification.
    """

    payload: bytes
    payload_type: str
    signature: bytes
    key_id: str = ""

    @staticmethod
    def sign(payload: bytes, payload_type: str, key: Signs) -> Envelope:
        """Sign a payload. Raises TrustError (the key does not sign), FormatError (nobody would read it)."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise FormatError(f"a payload has at most {MAX_PAYLOAD_BYTES} bytes; split the policy")
        return Envelope(payload, payload_type, key.sign(pae(payload_type, payload)), key.public.key_id)

    def verify(self, key: PublicKey) -> None:
        """Raises TrustError unless the key signed this payload with this type."""
        key.verify(self.signature, pae(self.payload_type, self.payload))

    def to_bytes(self) -> bytes:
        """The envelope as one line of JSON, without the newline."""
        signature = {"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}
        return json.dumps(
            {
                "payloadType": self.payload_type,
                "payload": base64.b64encode(self.payload).decode(),
                "signatures": [signature],
            },
            separators=(",", ":"),
        ).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Envelope:
        """Parse an envelope; its signature is not checked. Raises FormatError."""
        if len(data) > MAX_ENVELOPE_BYTES:
            raise FormatError(f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes")
        document = loads(data, "envelope")
        if not isinstance(document, dict):
            raise FormatError("an envelope is a JSON object")
        signatures = document.get("signatures")
        if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
            raise FormatError("an envelope has exactly one signature; ask each signer for an envelope of its own")
        signature = _decode(signatures[0].get("sig"), "signature")
        if not 0 < len(signature) <= MAX_SIGNATURE_BYTES:
            raise FormatError(f"a signature has 1 to {MAX_SIGNATURE_BYTES} bytes")
        kind, key_id = document.get("payloadType"), signatures[0].get("keyid", "")
        if not isinstance(kind, str) or not isinstance(key_id, str) or not (kind + key_id).isprintable():
            raise FormatError("payloadType and keyid of an envelope are printable strings")
        return Envelope(_decode(document.get("payload", ""), "payload"), kind, signature, key_id)


def _decode(text: object, what: str) -> bytes:
    """Base64 of either alphabet, as DSSE asks of verifiers, in canonical form."""
    if not isinstance(text, str):
        raise FormatError(f"the {what} of an envelope is a string of base64")
    standard = text.translate(_URL_SAFE)
    try:
        data = base64.b64decode(standard.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise FormatError(f"the {what} of an envelope is not base64: {quote(text)}") from None
    if base64.b64encode(data).decode() != standard:
        raise FormatError(f"the {what} of an envelope is not canonical base64")
    return data

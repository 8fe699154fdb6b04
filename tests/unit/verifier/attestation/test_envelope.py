"""DSSE: the vectors of the specification, and envelopes that must be refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError, TrustError
from verifier.attestation.envelope import MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, Envelope, pae
from verifier.attestation.keys import PublicKey, SigningKey

# secure-systems-lab/dsse, protocol.md, "Test Vectors"
X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
D = 97358161215184420915383655311931858321456579547487070936769975997791359926199
VECTOR = {
    "payload": "aGVsbG8gd29ybGQ=",
    "payloadType": "http://example.com/HelloWorld",
    "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}],
}


def test_the_vector_of_the_specification() -> None:
    payload = pae("http://example.com/HelloWorld", b"hello world")
    assert payload == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    public = PublicKey(ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key())
    # the vector has r || s, we have DER
    raw = base64.b64decode(VECTOR["signatures"][0]["sig"])  # type: ignore[index]
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    sig = base64.b64encode(encode_dss_signature(r, s)).decode()
    envelope = Envelope.from_bytes(json.dumps({**VECTOR, "signatures": [{"sig": sig}]}).encode())
    assert (envelope.payload, envelope.key_id) == (b"hello world", "")
    envelope.verify(public)
    private = ec.derive_private_key(D, ec.SECP256R1())
    made = private.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    assert decode_dss_signature(made) == (r, s)


# the same, testvectors/vectors.json: single-signature, non-ascii-payload-type, empty-payload, empty-payload-type
STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'


@pytest.mark.parametrize(
    ("kind", "payload", "encoded"),
    [
        ("application/vnd.in-toto+json", STATEMENT, b"DSSEv1 28 application/vnd.in-toto+json 43 " + STATEMENT),
        (
            "application/vnd.exämple+json",
            STATEMENT,
            "DSSEv1 29 application/vnd.exämple+json 43 ".encode() + STATEMENT,
        ),
        ("application/vnd.in-toto+json", b"", b"DSSEv1 28 application/vnd.in-toto+json 0 "),
        ("", STATEMENT, b"DSSEv1 0  43 " + STATEMENT),
    ],
)
def test_pre_authentication_encoding(kind: str, payload: bytes, encoded: bytes) -> None:
    assert pae(kind, payload) == encoded


@given(payload=st.binary(max_size=200), kind=st.text(max_size=30).filter(str.isprintable))
def test_the_signed_bytes_survive(key: SigningKey, payload: bytes, kind: str) -> None:
    envelope = Envelope.sign(payload, kind, key)
    again = Envelope.from_bytes(envelope.to_bytes())
    assert again == envelope
    again.verify(key.public)


def changed(envelope: Envelope, **changes: Any) -> bytes:
    document = json.loads(envelope.to_bytes())
    document.update(changes)
    return json.dumps(document).encode()


def test_what_is_signed_cannot_be_changed(key: SigningKey, stranger: SigningKey) -> None:
    envelope = Envelope.sign(b"payload", "type", key)
    for other in (
        Envelope(b"payloaD", "type", envelope.signature),
        Envelope(b"payload", "other", envelope.signature),
        Envelope(b"payload", "type", envelope.signature[:-1]),
        Envelope(b"payload", "type", b"junk"),
        Envelope.sign(b"payload", "type", stranger),
    ):
        with pytest.raises(TrustError):
            other.verify(key.public)
    # the key id is only a hint
    Envelope(b"payload", "type", envelope.signature, "somebody else").verify(key.public)


def test_both_alphabets_are_read(key: SigningKey) -> None:
    envelope = Envelope.sign(b"\xfb\xff\xbf>??", "type", key)
    safe = base64.urlsafe_b64encode(envelope.payload).decode()
    assert safe == "-_-_Pj8_"
    again = Envelope.from_bytes(changed(envelope, payload=safe))
    again.verify(key.public)
    assert Envelope.from_bytes(changed(envelope, unknown=["ignored"])) == envelope


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": 7},
        {"payload": None},
        {"payload": "A"},
        {"payload": "AB=="},
        {"payload": "ab\n=="},
        {"payload": "äöü="},
        {"payloadType": None},
        {"payloadType": "\x1b[31m"},
        {"signatures": []},
        {"signatures": "x"},
        {"signatures": [7]},
        {"signatures": [{}]},
        {"signatures": [{"sig": ""}]},
        {"signatures": [{"sig": "A" * 2000}]},
        {"signatures": [{"sig": "AAAA", "keyid": 7}]},
        {"signatures": [{"sig": "AAAA"}, {"sig": "AAAA"}]},
    ],
)
def test_malformed_envelopes(key: SigningKey, changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Envelope.from_bytes(changed(Envelope.sign(b"payload", "type", key), **changes))


def test_what_nobody_would_read_is_not_signed(key: SigningKey) -> None:
    assert len(Envelope.sign(bytes(MAX_PAYLOAD_BYTES), "type", key).to_bytes()) < MAX_ENVELOPE_BYTES
    with pytest.raises(FormatError, match="split"):
        Envelope.sign(bytes(MAX_PAYLOAD_BYTES + 1), "type", key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"payload": 1.5}',
        b'{"payload": NaN}',
        b'{"payload": "", "payload": ""}',
        b"[" * 100_000,
        b"\xff",
        b" " * (MAX_ENVELOPE_BYTES + 1),
    ],
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(FormatError):
        Envelope.from_bytes(data)

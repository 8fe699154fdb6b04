"""Relying on attestations: denied unless a passing, unexpired one by the given key exists."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError, TrustError
from tests.unit.verifier.attestation.examples import (
    DURING,
    OWNER,
    SUBJECT,
    UNTIL,
    VERIFIED,
    audit,
    report,
    signed,
)
from verifier.attestation.bundle import MAX_LINES, bundle_bytes, parse_bundle
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import SVR, verification_result
from verifier.attestation.keys import SigningKey
from verifier.attestation.predicate import MODEL_AUDIT
from verifier.attestation.statement import PAYLOAD_TYPE, Statement, Subject
from verifier.attestation.verification import CLOCK_SKEW, verify


def denied(envelopes: list[Envelope], key: SigningKey, why: str, at: datetime = DURING, **about: str) -> None:
    with pytest.raises(TrustError, match=why):
        verify(envelopes, key.public, at, **about)


def test_a_passing_unexpired_attestation_is_relied_on(key: SigningKey) -> None:
    found = verify([signed(key)], key.public, DURING)
    assert found.audit == audit()
    assert found.statement.subjects == (SUBJECT,)


def test_everything_else_is_denied(key: SigningKey, stranger: SigningKey) -> None:
    envelope = signed(key)
    denied([], key, "no attestation at all")
    denied([envelope], stranger, "not signed by")
    denied([Envelope(envelope.payload + b" ", PAYLOAD_TYPE, envelope.signature)], key, "changed")
    failed = [{**claim, "passed": False} for claim in report()["claims"][:1]]
    denied([signed(key, audit(claims=failed + report()["claims"][1:]).to_json())], key, "not shown: 1/frobenius-norm")
    denied([Envelope.sign(envelope.payload, "application/json", key)], key, "payload is not")
    denied([Envelope.sign(b"{}", PAYLOAD_TYPE, key)], key, "not an in-toto statement")
    denied([signed(key, {**audit().to_json(), "exception": "clause 7"})], key, "exception")
    summary = Statement((SUBJECT,), SVR, verification_result(audit()))
    denied([Envelope.sign(summary.to_bytes(), PAYLOAD_TYPE, key)], key, f"predicate is not {MODEL_AUDIT}")


def test_validity_in_time(key: SigningKey) -> None:
    second = timedelta(seconds=1)
    for at in (VERIFIED - CLOCK_SKEW, VERIFIED, UNTIL - second):
        verify([signed(key)], key.public, at)
    denied([signed(key)], key, "future", VERIFIED - CLOCK_SKEW - second)
    denied([signed(key)], key, "expired", UNTIL)


def test_it_must_be_about_what_is_asked(key: SigningKey) -> None:
    about = {"subject": "ab" * 32, "policy": "ef" * 32, "commitment": "cd" * 32}
    verify([signed(key)], key.public, DURING, **about)
    for name in about:
        denied([signed(key)], key, "it is about", DURING, **{**about, name: "00" * 32})


@given(st.data())
def test_nothing_depends_on_the_order_of_a_bundle(key: SigningKey, stranger: SigningKey, data: st.DataObject) -> None:
    later = audit().to_json() | {"verifiedAt": "2026-04-01T00:00:00Z"}
    lines = [signed(key), signed(key, later), signed(stranger), Envelope.sign(b"junk", "x/y", key)]
    mixed = data.draw(st.permutations(lines))
    found = verify(parse_bundle(bundle_bytes(mixed)).envelopes, key.public, DURING)
    assert found.audit.verified_at == "2026-04-01T00:00:00Z"


def test_the_owners_word_is_not_the_regulators(key: SigningKey, stranger: SigningKey) -> None:
    """Who says it is decided by the key, never by the role that a statement claims."""
    owners = signed(stranger, audit(OWNER).to_json())
    pretended = signed(stranger)
    denied([owners, pretended], key, "attestation 2")
    assert verify([owners], stranger.public, DURING).audit.issuer.role == "owner"


def test_lines_that_are_no_envelopes_are_ignored(key: SigningKey) -> None:
    line = signed(key).to_bytes()
    bundle = parse_bundle(b"\n".join([b"", b"noise", b'{"payload": 5}', line, b"", b"1.5"]))
    assert len(bundle.envelopes) == 1
    assert [reason.split(":")[0] for reason in bundle.ignored] == ["line 2", "line 3", "line 6"]
    verify(bundle.envelopes, key.public, DURING)
    for data in (b"", b"\n\n", b"noise", b"\n" * (MAX_LINES + 1) + line):
        with pytest.raises(FormatError):
            parse_bundle(data)


@given(data=st.data())
def test_no_changed_byte_is_relied_on(key: SigningKey, data: st.DataObject) -> None:
    """Of the payload and the signature, that is; the key id is a hint and JSON has some freedom."""
    envelope = signed(key)
    signature: bool = data.draw(st.booleans())
    target = bytearray(envelope.signature if signature else envelope.payload)
    position = data.draw(st.integers(0, 1 << 20)) % len(target)  # signatures in DER differ in length
    target[position] ^= data.draw(st.integers(1, 255))
    payload, sig = (envelope.payload, bytes(target)) if signature else (bytes(target), envelope.signature)
    denied([Envelope(payload, PAYLOAD_TYPE, sig)], key, "not signed by")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_whatever_the_key_signed_errors_have_names(key: SigningKey, value: Any) -> None:
    for predicate in (value, {**audit().to_json(), "claims": value}, {**audit().to_json(), "policy": value}):
        statement = Statement((Subject("x", "ab" * 32),), MODEL_AUDIT, predicate)
        try:
            payload = statement.to_bytes()
        except UnicodeEncodeError:
            return
        denied([Envelope.sign(payload, PAYLOAD_TYPE, key)], key, "attestation 1")

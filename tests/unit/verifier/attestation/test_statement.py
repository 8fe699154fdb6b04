"""Statements, the digest of a model, the predicate and times: what they are, and what they must not be."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from circuits.errors import FormatError
from tests.unit.verifier.attestation.examples import SUBJECT, audit
from verifier.attestation.predicate import MODEL_AUDIT, ModelAudit
from verifier.attestation.statement import Statement, Subject, model_digest
from verifier.attestation.times import format_time, parse_time


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_digest_of_a_model() -> None:
    one, two, three = sha256(b"1"), sha256(b"2"), sha256(b"3")
    assert model_digest({"model.safetensors": one.hex()}) == sha256(one).hex()
    # paths compare by their parts: "a/z" comes before "a-b", although "-" sorts before "/"
    assert model_digest({"a-b": one.hex(), "a/z": two.hex(), "B": three.hex()}) == sha256(three + two + one).hex()
    with pytest.raises(FormatError):
        model_digest({})


def statement() -> Statement:
    return Statement((SUBJECT,), MODEL_AUDIT, audit().to_json())


def test_a_statement_is_determined_by_what_it_says() -> None:
    payload = statement().to_bytes()
    assert Statement.from_bytes(payload) == statement()
    assert Statement.from_bytes(payload).to_bytes() == payload
    assert json.loads(payload)["subject"] == [{"name": "encoder", "digest": {"sha256": "ab" * 32}}]


def test_numbers_that_matter_are_strings() -> None:
    """JSON readers round what is beyond 2^53; so there is no number at all."""

    def numbers(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [number for item in value.values() for number in numbers(item)]
        if isinstance(value, list):
            return [number for item in value for number in numbers(item)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []

    document = json.loads(statement().to_bytes())
    assert numbers(document) == []
    assert document["predicate"]["disclosed"] == ["2305843009213693951", "-5"]
    assert document["predicate"]["claims"][3]["parameters"]["base"]["sizes"] == ["2305843009213693951", "5"]


def test_the_members_of_the_predicate() -> None:
    predicate = audit().to_json()
    assert " ".join(predicate) == (
        "issuer claims commitment policy nonce notCovered disclosed proofSystem securityBits soundnessRegime"
        " provedAt verifiedAt validUntil evidence"
    )
    assert " ".join(predicate["claims"][0]) == (
        "id metric about parameters comparator threshold passed strength doesNotMean"
    )
    claims = {claim["id"]: (claim["comparator"], claim.get("threshold")) for claim in predicate["claims"]}
    assert claims == {
        "1/frobenius-norm/at_most": ("<=", "20.5"),
        "2/row-norms/at_most": ("<=", "3"),
        "2/row-norms/at_least": (">=", "0.5"),
        "3/same-except": ("holds", None),
        "4/kurtosis": ("disclosed", None),
    }
    assert ModelAudit.from_json(predicate) == audit()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("unknown", "x"),
        ("commitment", "CD" * 32),
        ("commitment", "cd" * 32 + "\n"),
        ("claims", []),
        ("securityBits", 128),
        ("securityBits", "a lot"),
        ("validUntil", "2026-03-01T12:00:00Z"),
        ("validUntil", "2027-02-30T12:00:00Z"),
        ("validUntil", "2027-03-01T12:00:00+00:00"),
        ("provedAt", "2026-13-01T12:00:00Z"),
        ("disclosed", [5]),
        ("disclosed", ["5.0"]),
        ("nonce", "maybe"),
        ("issuer", {"role": "king", "id": "x"}),
        ("policy", {"name": "x", "digest": {"sha256": "ef" * 32, "md5": "x"}}),
        ("notCovered", [""]),
    ],
)
def test_malformed_predicates(member: str, value: object) -> None:
    with pytest.raises(FormatError, match=member):
        ModelAudit.from_json({**audit().to_json(), member: value})
    without = audit().to_json()
    if without.pop(member, None) is not None and member not in ("notCovered",):
        with pytest.raises(FormatError):
            ModelAudit.from_json(without)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": None},
        {"threshold": "1e5"},
        {"threshold": 20},
        {"comparator": "<"},
        {"comparator": "holds"},
        {"passed": "true"},
        {"strength": "certain"},
        {"doesNotMean": ""},
        {"id": "\ud800"},
    ],
)
def test_malformed_claims(change: dict[str, Any]) -> None:
    predicate = audit().to_json()
    predicate["claims"][0] = {**predicate["claims"][0], **change}
    with pytest.raises(FormatError):
        ModelAudit.from_json(predicate)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": {}},
        {"subject": [{"digest": {"sha256": "ab" * 32}}]},
        {"subject": [{"name": "x"}]},
        {"subject": [{"name": "x", "digest": {"sha256": "AB" * 32}}]},
        {"subject": [{"name": "", "digest": {"sha256": "ab" * 32}}]},
        {"subject": [{"name": "\x1b[2J", "digest": {"sha256": "ab" * 32}}]},
        {"subject": ["x"]},
        {"subject": [{"name": "x", "digest": {"sha256": "ab" * 32}}] * 1001},
        {"predicateType": 5},
        {"predicateType": "\n"},
        {"predicate": []},
        {"predicate": None},
    ],
)
def test_malformed_statements(change: dict[str, Any]) -> None:
    document = {**json.loads(statement().to_bytes()), **change}
    with pytest.raises(FormatError):
        Statement.from_bytes(json.dumps(document).encode())
    for payload in (b"", b"[]", b"{}", b"{" * 10_000):
        with pytest.raises(FormatError):
            Statement.from_bytes(payload)


def test_unknown_members_of_a_statement_are_ignored() -> None:
    document = {**json.loads(statement().to_bytes()), "later": "x"}
    assert Statement.from_bytes(json.dumps(document).encode()) == statement()


@pytest.mark.parametrize("name", ["", "x" * 1001, "new\nline"])
def test_a_subject_has_a_name(name: str) -> None:
    with pytest.raises(FormatError):
        Subject(name, "ab" * 32)


def test_times() -> None:
    moment = datetime(2026, 3, 1, 13, 30, 5, 999, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(moment) == "2026-03-01T12:30:05Z"
    assert parse_time("2026-03-01T12:30:05Z") == datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        format_time(datetime(2026, 3, 1))
    for text in ("2026-03-01", "2026-03-01T12:30:05", "2026-03-01T24:30:05Z", "٢٠٢٦-03-01T12:30:05Z", "now", ""):
        with pytest.raises(FormatError):
            parse_time(text)

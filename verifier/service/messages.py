"""Records as messages of the wire, and names as parts of both."""

from __future__ import annotations

import json
import re

from google.protobuf.timestamp_pb2 import Timestamp

from circuits.checkpoint.base import quote
from circuits.errors import FormatError
from verifier.service.records import Record
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire

MAX_PAGE = 1000
DEFAULT_PAGE = 50
_HEX64, _HEX32 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
_REQUEST_ID = re.compile(r"[0-9A-Za-z._:/-]{1,64}")


def parse_name(name: str, collection: str) -> str:
    """The id in "collection/{id}". Raises FormatError."""
    prefix, _, identity = name.partition("/")
    pattern = _HEX32 if collection == "audits" else _HEX64
    if prefix != collection or not pattern.fullmatch(identity):
        raise FormatError(f"{quote(name)} is no name such as {collection}/{{hex}}")
    return identity


def parse_request_id(text: str) -> str:
    """Raises FormatError."""
    if not _REQUEST_ID.fullmatch(text):
        raise FormatError("a request_id has 1 to 64 letters, digits and ._:/- characters")
    return text


def parse_page(size: int, token: str) -> tuple[int, int]:
    """The number after which a page begins, and how many it has. Raises FormatError."""
    if size < 0 or not ((token.isascii() and token.isdecimal() and len(token) < 16) or token == ""):
        raise FormatError("page_size is not negative, and page_token is the next_page_token of the page before")
    return int(token or 0), min(size or DEFAULT_PAGE, MAX_PAGE)


def next_token(rows: list[Record], limit: int) -> str:
    """The token of the next page; empty after the last."""
    return str(rows[-1].number) if len(rows) == limit else ""


def timestamp(seconds: float) -> Timestamp:
    """Seconds since 1970 as a message, to the microsecond."""
    micros = round(seconds * 1e6)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def digest(sha256: bytes | None, size: int | None = None) -> artifacts.Digest | None:
    """A digest, or None where there is no file."""
    return None if sha256 is None else artifacts.Digest(sha256=sha256, size=size or 0)


def policy_message(row: Record) -> wire.Policy:
    """A policy."""
    return wire.Policy(
        name=f"policies/{row.digest}",
        title=row.title,
        digest=bytes.fromhex(row.digest),
        checks=row.checks,
        create_time=timestamp(row.created),
    )


def commitment_message(row: Record) -> wire.Commitment:
    """A commitment."""
    return wire.Commitment(
        name=f"commitments/{row.id}",
        owner=row.owner,
        state=f"COMMITMENT_STATE_{row.state}",
        reason=row.reason,
        create_time=timestamp(row.created),
        update_time=timestamp(row.updated),
        commitment=digest(row.commitment, row.commitment_size),
        validity_proof=digest(row.validity, row.validity_size),
        title=row.title,
    )


def audit_message(row: Record) -> wire.Audit:
    """An audit. Before its verdict nothing of the certificate shows."""
    decided = row.state == "DECIDED"
    return wire.Audit(
        name=f"audits/{row.id}",
        owner=row.owner,
        commitment=f"commitments/{row.commitment}",
        policy=f"policies/{row.policy}",
        state=f"AUDIT_STATE_{row.state}",
        nonce=row.nonce,
        create_time=timestamp(row.created),
        update_time=timestamp(row.updated),
        expire_time=timestamp(row.expires),
        bundle=digest(row.bundle, row.bundle_size),
        verdict=f"VERDICT_{row.verdict}" if decided else None,
        error=row.error or "",
        reason=row.reason or "",
        report=digest(row.report) if decided else None,
        attestation=digest(row.attestation) if decided else None,
        receipt=digest(row.receipt) if decided else None,
        log_index=row.log_index or 0,
        bases={name: f"commitments/{identity}" for name, identity in json.loads(row.bases).items()},
    )

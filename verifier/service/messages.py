"""Records as messages of the wire, and names as parts of both."""

from __future__ import annotations

import json
import re

from circuits.checkpoint.base import quote
from circuits.errors import FormatError
from verifier.service.paging import next_token as next_token
from verifier.service.paging import parse_page as parse_page
from verifier.service.paging import parse_request_id as parse_request_id
from verifier.service.paging import timestamp as timestamp
from verifier.service.records import Record
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire

_HEX64, _HEX32 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")


def parse_name(name: str, collection: str) -> str:
    """The id in "collection/{id}". Raises FormatError."""
    prefix, _, identity = name.partition("/")
    pattern = _HEX32 if collection == "audits" else _HEX64
    if prefix != collection or not pattern.fullmatch(identity):
        raise FormatError(f"{quote(name)} is no name such as {collection}/{{hex}}")
    return identity


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

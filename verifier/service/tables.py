"""The tables of the service: what is stored for uploads, policies, commitments and audits."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from verifier.service.database import METADATA

NONCE_BYTES = 32

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("owner", String(512), primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("created", Float, nullable=False),
)
POLICIES = Table(
    "policies",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("digest", String(64), unique=True, nullable=False),
    Column("title", String(200), nullable=False),
    Column("checks", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
)
COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("owner", String(512), nullable=False),
    Column("id", String(64), nullable=False),
    Column("title", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("commitment_size", Integer, nullable=False),
    Column("validity", LargeBinary(32), nullable=False),
    Column("validity_size", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    UniqueConstraint("owner", "id"),
)
AUDITS = Table(
    "audits",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), unique=True, nullable=False),
    Column("owner", String(512), nullable=False, index=True),
    Column("request_id", String(64), nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("bases", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("nonce", LargeBinary(NONCE_BYTES), unique=True, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("bundle", LargeBinary(32)),
    Column("bundle_size", Integer),
    Column("proved", Float),
    Column("verdict", String(16)),
    Column("error", String(64)),
    Column("reason", Text),
    Column("report", LargeBinary(32)),
    Column("attestation", LargeBinary(32)),
    Column("receipt", LargeBinary(32)),
    Column("log_from", Integer),
    Column("log_index", Integer),
    UniqueConstraint("owner", "request_id"),
)

"""What a regulator configures: where to listen, whom to know, what to sign with, how much to take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from verifier.service.configuration import Address, Configuration, Section

Role = Literal["owner", "regulator", "auditor"]


def _spiffe(text: str) -> str:
    trust_domain, slash, path = text.removeprefix("spiffe://").partition("/")
    if not text.startswith("spiffe://") or not trust_domain or not slash or not path or not text.isprintable():
        raise ValueError("a SPIFFE id is spiffe://TRUST-DOMAIN/PATH")
    return text


SpiffeId = Annotated[str, AfterValidator(_spiffe), Field(max_length=512)]


class Tls(Section):
    """PEM files: the server's certificate chain and key, and the CA that signs the clients' certificates."""

    certificate: Path
    key: Path
    client_authority: Path


class KnownIdentity(Section):
    """Who may call, known by the SPIFFE id in the client certificate."""

    spiffe: SpiffeId
    role: Role


class Signing(Section):
    """Who signs attestations, and with which key (a securesystemslib URI, and its public half in PEM)."""

    id: SpiffeId
    key: str
    public_key: Path
    valid_days: int = Field(default=365, ge=1, le=3650)


class LogFolder(Section):
    """The transparency log: its folder, and the file with its secret key."""

    folder: Path
    key: Path


class Limits(Section):
    """What one caller, and one proof, may cost. Bytes and seconds."""

    workers: int = Field(default=2, ge=1, le=64)
    worker_memory: int = Field(default=4 << 30, ge=1 << 30)
    worker_seconds: float = Field(default=300.0, gt=0)
    unfinished_uploads: int = Field(default=8, ge=1)
    parallel_uploads: int = Field(default=4, ge=1)
    stored_bytes: int = Field(default=20 << 30, ge=1 << 20)
    open_audits: int = Field(default=100, ge=1)
    watches: int = Field(default=32, ge=1)
    chunk_seconds: float = Field(default=30.0, gt=0)
    upload_seconds: float = Field(default=3600.0, gt=0)
    nonce_seconds: float = Field(default=7 * 86400.0, gt=0)
    calls: int = Field(default=256, ge=8)
    caller_calls: int = Field(default=64, ge=1)
    waiting_checks: int = Field(default=64, ge=1)


class VerifierSettings(Configuration):
    """verifier.toml."""

    listen: Address = "127.0.0.1:7443"
    state: Path
    database: str | None = None
    metrics: Address | None = None
    tls: Tls
    identities: tuple[KnownIdentity, ...] = Field(min_length=1)
    signing: Signing
    log: LogFolder
    limits: Limits = Limits()
    policies: tuple[Path, ...] = ()
    base_files: tuple[Path, ...] = ()

    @property
    def database_url(self) -> str:
        """The database's URL; by default a SQLite file in the state folder."""
        return self.database or f"sqlite:///{self.state / 'verifier.sqlite'}"

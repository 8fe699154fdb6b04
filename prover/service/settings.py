"""The daemon's configuration: where its state and the models are, whom it submits to, what it watches and calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ByteSize, Field, StringConstraints, ValidationError, model_validator

from circuits.errors import PolicyError
from prover.kernel_choice import DEVICES
from verifier.service.configuration import Address, Configuration, Section
from verifier.service.settings import SpiffeId, Tls

MAX_SOCKET_BYTES = 107
"""A Unix socket's path on Linux: sun_path without its final zero."""
POLICY_NAME = r"policies/[0-9a-f]{64}"
JobKind = Literal["commit", "measure", "audit", "submit"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def policy_name(text: str) -> str:
    """Raises ValueError unless it is a published policy's name."""
    if not re.fullmatch(POLICY_NAME, text):
        raise ValueError("a published policy is named policies/{digest in hex}")
    return text


def _known_device(device: str) -> str:
    if device not in DEVICES:
        raise ValueError(f"the device is one of {', '.join(DEVICES)}")
    return device


PolicyName = Annotated[str, AfterValidator(policy_name)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]


class Listen(Section):
    """A TCP address beside the socket, with mutual TLS, and the SPIFFE ids that may ask for jobs there."""

    address: Address
    tls: Tls
    clients: tuple[SpiffeId, ...] = Field(min_length=1)


class Verifier(Section):
    """Where proofs go, who we are there, and the keys by which its answers are checked.

    Attributes:
        attestation_key: the regulator's public key (PEM), from where the regulator publishes it.
        log_key: a file with the public key of its log, "<name>+<id>+<base64>".
        patience_hours: how long a job waits, all in all, for a verifier that does not answer.
    """

    address: Address
    server_name: str | None = None
    certificate: Path
    key: Path
    authority: Path
    attestation_key: Path
    log_key: Path
    patience_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0


class Watch(Section):
    """A folder whose checkpoints are submitted for these policies whenever one appears or changes."""

    folder: Path
    policies: tuple[PolicyName, ...] = Field(min_length=1, max_length=100)
    interval: Seconds = 60.0


class Hook(Section):
    """What happens when a job has ended: a command gets the job as JSON on stdin, or a URL by POST.

    Attributes:
        on: the kinds of jobs.
        attempts: how often it is tried; after a failure it waits retry_after, then twice that, and so on.
        secret: a file; its content, without white space around it, is the key of the HMAC-SHA256 over the body.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    on: tuple[JobKind, ...] = ("submit",)
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    url: str | None = None
    secret: Path | None = None
    timeout: Seconds = 30.0
    attempts: int = Field(default=3, ge=1, le=20)
    retry_after: Seconds = 10.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("a hook has a command or a url, one of them")
        if (self.url is None) != (self.secret is None):
            raise ValueError("a url has a secret, so that its receiver knows who calls; a command has none")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme != "https" and not self.loopback:
                raise ValueError("the url of a hook is https, or http on this machine (localhost)")
            if not parts.hostname or parts.username or parts.password:
                raise ValueError("the url of a hook names a host, and no user or password")
        return self

    @property
    def loopback(self) -> bool:
        """Is the url plain http on this machine?"""
        parts = urlsplit(self.url or "")
        return parts.scheme == "http" and parts.hostname in _LOOPBACK


class ProverSettings(Configuration):
    """prover.toml.

    Attributes:
        state: the daemon's own folder (mode 0700): commitments with their secrets and ledgers, jobs, certificates.
        models: folders below which checkpoints may be read.
        base_files: public base models, for policies that pin them by SHA-256.
        socket: the Unix socket (mode 0600); prover.sock in the state folder unless given.
        proofs: how many proofs a new commitment allows.
        workers: jobs at a time; two proofs at once need the memory of both.
        worker_memory: the most memory that a job may allocate; mapped checkpoints do not count.
        certificate_cache: bytes for certificates that are kept; 0 keeps none.
        lease: seconds after which a job whose process died is taken up again.
        stop_after: seconds that running jobs get to stop.
    """

    state: Path
    models: tuple[Path, ...] = Field(min_length=1)
    base_files: tuple[Path, ...] = ()
    socket: Path | None = None
    listen: Listen | None = None
    device: Annotated[str, AfterValidator(_known_device)] = "auto"
    proofs: int = Field(default=64, ge=1, le=1 << 20)
    workers: int = Field(default=1, ge=1, le=64)
    worker_memory: ByteSize | None = Field(default=None, ge=1 << 28)
    certificate_cache: ByteSize = Field(default=ByteSize(4 << 30), ge=0)
    lease: float = Field(default=30.0, ge=1, le=3600)
    stop_after: Seconds = 30.0
    verifier: Verifier | None = None
    watch: tuple[Watch, ...] = ()
    hooks: tuple[Hook, ...] = ()

    @property
    def socket_path(self) -> Path:
        """Where the daemon listens."""
        return self.socket or self.state / "prover.sock"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads in another process."""
        return self.model_dump(mode="json")

    @staticmethod
    def from_json(content: dict[str, Any]) -> ProverSettings:
        """Raises PolicyError."""
        try:
            return ProverSettings(**content)
        except ValidationError as error:
            raise PolicyError(f"these are no settings: {error.error_count()} mistakes") from None

    def _below(self, folder: Path) -> Self:
        """With whole paths, and checked as a whole. Raises PolicyError."""
        settings = super()._below(folder)
        roots = [root.resolve() for root in settings.models]
        if len(str(settings.socket_path).encode()) > MAX_SOCKET_BYTES:
            raise PolicyError(f"the path of the socket has more than {MAX_SOCKET_BYTES} bytes; set `socket`")
        if any(settings.state.resolve().is_relative_to(root) for root in roots):
            raise PolicyError("`state` lies below a folder in `models`; secrets and models need folders of their own")
        if len({hook.name for hook in settings.hooks}) < len(settings.hooks):
            raise PolicyError("two hooks have the same name")
        if settings.watch and settings.verifier is None:
            raise PolicyError("a watched folder needs a [verifier] to submit to")
        for watch in settings.watch:
            if not any(watch.folder.resolve().is_relative_to(root) for root in roots):
                raise PolicyError(f"the watched folder {watch.folder} is not below one of the folders in `models`")
        return settings

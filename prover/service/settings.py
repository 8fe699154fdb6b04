"""The daemon's configuration: one TOML file, every mistake in it an error that says where."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from circuits.errors import FormatError
from circuits.files import read_limited
from prover.kernel_choice import DEVICES

MAX_CONFIG_BYTES = 1 << 20
MAX_SOCKET_BYTES = 107
"""A Unix socket's path on Linux, sun_path without its final zero."""
POLICY_NAME = r"^policies/[0-9a-f]{64}$"
JobKind = Literal["commit", "measure", "audit", "submit"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ConfigurationError(FormatError):
    """The configuration file cannot be read, or asks for what cannot be."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{path} is relative; a daemon has no folder of its own: write the whole path")
    return path


def _address(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}", text):
        raise ValueError(f"{text!r} is not of the form HOST:PORT")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address)]
PolicyName = Annotated[str, StringConstraints(pattern=POLICY_NAME)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of all tables of the file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(Section):
    """A TCP address beside the socket, with mutual TLS only: PEM files, and the SPIFFE ids that may ask for jobs."""

    address: Address
    certificate: AbsolutePath
    key: AbsolutePath
    authority: AbsolutePath
    clients: tuple[Annotated[str, StringConstraints(pattern=r"^spiffe://\S{1,500}$")], ...] = Field(min_length=1)


class Verifier(Section):
    """Where proofs go, who we are there, and the keys by which its answers are checked.

    Attributes:
        attestation_key: the regulator's public key (PEM), fetched from where the regulator publishes it.
        log_key: a file with the public key of its log, "<name>+<id>+<base64>".
        patience_hours: how long a job waits, all in all, for a verifier that does not answer.
    """

    address: Address
    server_name: str | None = None
    certificate: AbsolutePath
    key: AbsolutePath
    authority: AbsolutePath
    attestation_key: AbsolutePath
    log_key: AbsolutePath
    patience_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0


class Watch(Section):
    """A folder whose checkpoints are submitted for these policies whenever one appears or changes."""

    folder: AbsolutePath
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
    secret: AbsolutePath | None = None
    timeout: Seconds = 30.0
    attempts: int = Field(default=3, ge=1, le=20)
    retry_after: Seconds = 10.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("a hook has a command or a url, one of them")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
                raise ValueError("the url of a hook is https, or http on this machine (localhost)")
            if not parts.hostname or parts.username or parts.password:
                raise ValueError("the url of a hook names a host, and no user or password")
            if self.secret is None:
                raise ValueError("a webhook needs a secret, so that its receiver knows who calls")
        elif self.secret is not None:
            raise ValueError("a command gets no signature, so it has no secret")
        return self


class Settings(BaseSettings):
    """The whole file.

    Attributes:
        state: the daemon's own folder (mode 0700): commitments with their secrets and ledgers, jobs, certificates.
        models: folders below which checkpoints may be read.
        socket: the Unix socket (mode 0600); state/prover.sock unless given.
        proofs: how many proofs a new commitment allows.
        workers: jobs at a time; two proofs at once need the memory of both.
        worker_memory: the most memory that a job may allocate; mapped checkpoints do not count.
        certificate_cache: bytes for certificates that are kept; 0 keeps none.
        lease: seconds after which a job whose process died is taken up again.
        stop_after: seconds that running jobs get to stop.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    state: AbsolutePath
    models: tuple[AbsolutePath, ...] = Field(min_length=1)
    socket: AbsolutePath | None = None
    listen: Listen | None = None
    device: str = "auto"
    proofs: int = Field(default=64, ge=1, le=1 << 20)
    workers: int = Field(default=1, ge=1, le=64)
    worker_memory: ByteSize | None = Field(default=None, ge=1 << 28)
    certificate_cache: ByteSize = Field(default=ByteSize(4 << 30), ge=0)
    lease: Annotated[float, Field(ge=1, le=3600)] = 30.0
    stop_after: Seconds = 30.0
    verifier: Verifier | None = None
    watch: tuple[Watch, ...] = ()
    hooks: tuple[Hook, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file alone: an environment variable must not change what may be read."""
        assert isinstance(init_settings, InitSettingsSource)
        return (init_settings,)

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device not in DEVICES:
            raise ValueError(f"the device is one of {', '.join(DEVICES)}")
        return device

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(str(self.socket_path).encode()) > MAX_SOCKET_BYTES:
            raise ValueError(f"the path of the socket has more than {MAX_SOCKET_BYTES} bytes; set `socket`")
        if len({hook.name for hook in self.hooks}) < len(self.hooks):
            raise ValueError("two hooks have the same name")
        if self.watch and self.verifier is None:
            raise ValueError("a watched folder needs a [verifier] to submit to")
        for watch in self.watch:
            if not any(watch.folder.resolve().is_relative_to(folder.resolve()) for folder in self.models):
                raise ValueError(f"the watched folder {watch.folder} is not below one of the folders in `models`")
        if any(self.state.resolve().is_relative_to(folder.resolve()) for folder in self.models):
            raise ValueError("`state` lies below a folder in `models`: secrets and models need folders of their own")
        return self

    @property
    def socket_path(self) -> Path:
        """Where the daemon listens."""
        return self.socket or self.state / "prover.sock"

    @staticmethod
    def read(path: Path) -> Settings:
        """Raises FormatError (not readable), ConfigurationError (with every mistake and its place)."""
        try:
            content = tomllib.loads(read_limited(path, MAX_CONFIG_BYTES, "configuration").decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from None
        return Settings.of(content, str(path))

    @staticmethod
    def of(content: dict[str, Any], source: str) -> Settings:
        """Raises ConfigurationError."""
        try:
            return Settings(**content)
        except ValidationError as error:
            mistakes = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'the file'}: {re.sub('^Value error, ', '', item['msg'])}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise ConfigurationError(f"{source}: {mistakes}") from None
        except TypeError as error:
            raise ConfigurationError(f"{source}: {error}") from None

"""Configuration files: TOML through pydantic-settings, nothing unknown allowed, secrets only as paths."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from circuits.checkpoint.base import quote
from circuits.errors import PolicyError
from circuits.files import read_limited

MAX_CONFIGURATION_BYTES = 1 << 20


class Section(BaseModel):
    """A table of a configuration; `extra="forbid"` is not inherited from the settings by nested models."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Configuration(BaseSettings):
    """A whole configuration file. Environment variables (WEIGHTPROOF_...) do not override it: what runs is what the
    file says."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    def __init__(self, **values: object) -> None:
        super().__init__(_env_prefix="WEIGHTPROOF_UNUSED_", _env_ignore_empty=True, **values)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file; relative paths in it are relative to its folder.

        Raises FormatError if it cannot be read, PolicyError if it is not TOML or has a wrong value.
        """
        return cls.parse(read_limited(path, MAX_CONFIGURATION_BYTES, "configuration"), path)

    @classmethod
    def parse(cls, data: bytes, path: Path) -> Self:
        """What `read` makes of the bytes at `path`, which need not be there. Raises PolicyError."""
        try:
            values = tomllib.loads(data.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PolicyError(f"{path} is not TOML: {error}") from None
        folder = path.absolute().parent
        try:
            return cls(**values)._below(folder)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise PolicyError(f"{path}, {quote(where)}: {first['msg']}") from None

    def _below(self, folder: Path) -> Self:
        return _resolve(self, folder)


Model = TypeVar("Model", bound=BaseModel)


def _resolve(model: Model, folder: Path) -> Model:
    """The model with every relative path below `folder`."""

    def one(value: object) -> object:
        if isinstance(value, Path):
            return folder / value
        if isinstance(value, BaseModel):
            return _resolve(value, folder)
        if isinstance(value, tuple):
            return tuple(one(item) for item in value)
        return value

    return model.model_copy(update={name: one(getattr(model, name)) for name in type(model).model_fields})


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("an address is HOST:PORT, such as 127.0.0.1:7443")
    return text


Address = Annotated[str, AfterValidator(_address)]

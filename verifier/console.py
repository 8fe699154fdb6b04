"""What both commands share: exit codes, error messages on stderr, results on stdout."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

import click

from circuits.errors import (
    BudgetError,
    FormatError,
    PolicyError,
    StatementError,
    TrustError,
    VerificationError,
    WeightproofError,
)

ACCEPTED, REJECTED, USAGE, MALFORMED, TRUST, UNAVAILABLE = range(6)
_CODES: dict[type[WeightproofError], int] = {
    VerificationError: REJECTED,
    StatementError: REJECTED,
    PolicyError: USAGE,
    FormatError: MALFORMED,
    TrustError: TRUST,
    BudgetError: UNAVAILABLE,
}
Parameters = ParamSpec("Parameters")


def exit_code(error: WeightproofError) -> int:
    """The exit code of an error: 1 rejected, 2 usage, 3 malformed, 4 trust, 5 unavailable."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), UNAVAILABLE)


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn errors of the tree into a message, a JSON verdict if asked, and the exit code."""
    try:
        # a terminated command unwinds, so that nothing half-written stays behind; what is ignored (nohup) stays ignored
        for stop in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(stop) is not signal.SIG_IGN:
                signal.signal(stop, lambda number, frame: sys.exit(128 + number))
        yield
    except WeightproofError as error:
        code = exit_code(error)
        verdict = {REJECTED: "rejected", MALFORMED: "malformed"}.get(code, "error")
        if as_json:
            emit({"verdict": verdict, "error": type(error).__name__, "reason": str(error)})
        click.echo(f"{verdict}: {type(error).__name__}: {error}", err=True)
        sys.exit(code)
    except (MemoryError, OSError) as error:
        # a reader that went away is no acceptance either
        if as_json and not isinstance(error, BrokenPipeError):
            emit({"verdict": "error", "error": type(error).__name__, "reason": str(error)})
        click.echo(f"error: {type(error).__name__}: {error}", err=True)
        sys.exit(UNAVAILABLE)


def command(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """A command whose errors are reported; it takes `as_json`."""

    @wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        with reported(bool(kwargs.get("as_json"))):
            function(*args, **kwargs)

    return wrapper


class NamedPath(click.ParamType):  # type: ignore[type-arg]
    """NAME=PATH: a base model under the name that the policy uses."""

    name = "NAME=PATH"
    parts = 2

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        pieces = str(value).split("=", self.parts - 1)
        if len(pieces) != self.parts or not all(pieces):
            self.fail(f"{value!r} is not of the form {self.name}", param, ctx)
        return (pieces[0], *map(Path, pieces[1:]))


class BaseModelType(NamedPath):
    """NAME=DIR=MODEL: a committed base model, its folder and its checkpoint."""

    name = "NAME=DIR=MODEL"
    parts = 3


def distinct_names(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[Any, ...], ...]
) -> tuple[tuple[Any, ...], ...]:
    """A callback for options of named paths: no name twice. Raises click.BadParameter."""
    names = [name for name, *_ in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"{twice!r} is given twice; every base model has a name of its own", ctx, param)
    return value


base_option = click.option(
    "--base", type=NamedPath(), multiple=True, callback=distinct_names, help="A base commitment: NAME=DIR."
)
base_file_option = click.option(
    "--base-file",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A public base model that the policy pins by SHA-256.",
)


def emit(data: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True))


def parse_nonce(text: str | None) -> bytes | None:
    """A nonce in hex, 16 to 256 bytes. Raises click.BadParameter."""
    if text is None:
        return None
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter("a nonce is written in hex", param_hint="--nonce") from None
    if not 16 <= len(nonce) <= 256:
        raise click.BadParameter("a nonce has 16 to 256 bytes (32 to 512 hex digits)", param_hint="--nonce")
    return nonce


def stop(code: int) -> NoReturn:
    """Exit with a code."""
    sys.exit(code)

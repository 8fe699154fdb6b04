"""Around every method: who calls, whether the role allows it, errors as rich status, one line of log, one count."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, TypeVar

from circuits.errors import WeightproofError
from verifier.service.errors import StorageError, UnavailableError
from verifier.service.identity import Identities
from verifier.service.metrics import CALLS
from verifier.service.settings import Role
from verifier.service.status import status_code, to_status

Method = TypeVar("Method", bound=Callable[..., Any])
logger = logging.getLogger(__name__)


def answered(*roles: Role) -> Callable[[Method], Any]:
    """Make `method(self, request, caller)` a gRPC method; without roles, every known caller may call it."""

    def decorate(method: Method) -> Any:
        name = method.__name__

        async def call_stream(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            with _counted(name) as outcome:
                try:
                    async for answer in method(self, request, _admit(self, context, roles)):
                        yield answer
                except Exception as error:
                    await refuse(name, context, error, outcome)

        async def call(self: Any, request: Any, context: Any) -> Any:
            with _counted(name) as outcome:
                try:
                    answer: Awaitable[Any] = method(self, request, _admit(self, context, roles))
                    return await answer
                except Exception as error:
                    await refuse(name, context, error, outcome)

        return wraps(method)(call_stream if inspect.isasyncgenfunction(method) else call)

    return decorate


def _admit(servicer: Any, context: Any, roles: tuple[Role, ...]) -> Any:
    identities: Identities = servicer.identities
    caller = identities.caller(context)
    if roles:
        identities.require(caller, *roles)
    return caller


@contextmanager
def _counted(name: str) -> Iterator[list[str]]:
    outcome = ["OK"]
    try:
        yield outcome
    except BaseException as error:
        if outcome == ["OK"]:
            outcome[0] = "CANCELLED" if not isinstance(error, Exception) else "UNKNOWN"
        raise
    finally:
        CALLS.labels(name, outcome[0]).inc()


async def refuse(name: str, context: Any, error: Exception, outcome: list[str] | None = None) -> NoReturn:
    """Abort the call with the error's status. What went wrong inside is logged, not told."""
    if isinstance(error, StorageError):
        logger.error("%s: %s", name, error)
        error = StorageError("the service's storage failed; nothing was lost, try again later")
    elif not isinstance(error, WeightproofError):
        logger.error("%s failed", name, exc_info=error)
        error = UnavailableError("the service could not answer; nothing was changed, try again later")
    if outcome is not None:
        outcome[0] = status_code(error).name
    status = to_status(error)
    logger.info("%s: %s: %s", name, status.code.name, error)
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError

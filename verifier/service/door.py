"""At the door of every method, health and reflection included: who calls, how many calls it has open, and a request
that comes in time.

gRPC itself would wait for a request without end, before any code of a method runs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from circuits.errors import FormatError
from verifier.service.answers import refuse
from verifier.service.errors import AccessError, BusyError, UnavailableError
from verifier.service.identity import Identities
from verifier.service.settings import Limits

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_CHECKS = 8
"""Open health checks of all unknown callers together."""


class Door(grpc.aio.ServerInterceptor):
    """Admits calls of known callers, so many of each at once. A call counts until its last byte is sent."""

    def __init__(self, identities: Identities, limits: Limits) -> None:
        self._identities, self._limits = identities, limits
        self._open: Counter[str] = Counter()

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        name = details.method.rpartition("/")[2]
        method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def enter(requests: AsyncIterator[Any], context: Any) -> Any:
            """The request, or all of them. Aborts the call unless it may come in."""
            try:
                self._admit(context, details.method)
                return requests if handler.request_streaming else await self._only(requests)
            except Exception as error:
                await refuse(name, context, error)

        async def answer(requests: AsyncIterator[Any], context: Any) -> Any:
            return await method(await enter(requests, context), context)

        async def answers(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for message in method(await enter(requests, context), context):
                yield message

        coding = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            behaviour = answers if inspect.isasyncgenfunction(method) else answer
            return grpc.stream_stream_rpc_method_handler(behaviour, *coding)
        return grpc.stream_unary_rpc_method_handler(answer, *coding)

    def _admit(self, context: Any, method: str) -> None:
        """Count a call. Whoever has a certificate of the clients' CA may ask for our health, known or not."""
        try:
            caller, limit = self._identities.caller(context).id, self._limits.caller_calls
        except AccessError:
            if method != HEALTH_CHECK:
                raise
            caller, limit = "", HEALTH_CHECKS
        if self._open[caller] >= limit:
            raise BusyError(f"{limit} calls of yours are open; wait for one to end")
        self._open[caller] += 1

        def leave(_: Any) -> None:
            self._open[caller] -= 1

        context.add_done_callback(leave)

    async def _only(self, requests: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self._limits.chunk_seconds):
                request = await anext(requests, None)
        except TimeoutError:
            raise UnavailableError(f"no request came for {self._limits.chunk_seconds:g} s; call again") from None
        if request is None:
            raise FormatError("the call ended without a request")
        return request

"""Errors on the wire: a gRPC status with google.rpc.ErrorInfo, and back.

Source: google.rpc.Status and ErrorInfo (AIP-193). The reason is the error's class name, the domain is "weightproof".
"""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from circuits.errors import (
    BudgetError,
    FormatError,
    PolicyError,
    StatementError,
    TrustError,
    VerificationError,
    WeightproofError,
)
from verifier.service.errors import (
    AccessError,
    BusyError,
    ConflictError,
    NotFoundError,
    StateError,
    StorageError,
    TooLargeError,
    UnavailableError,
)

DOMAIN = "weightproof"
MAX_REASON = 2000
_CODES: tuple[tuple[type[WeightproofError], grpc.StatusCode], ...] = (
    (AccessError, grpc.StatusCode.PERMISSION_DENIED),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.ALREADY_EXISTS),
    (StateError, grpc.StatusCode.FAILED_PRECONDITION),
    (TooLargeError, grpc.StatusCode.INVALID_ARGUMENT),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StorageError, grpc.StatusCode.UNAVAILABLE),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (TrustError, grpc.StatusCode.PERMISSION_DENIED),
    (FormatError, grpc.StatusCode.INVALID_ARGUMENT),
    (PolicyError, grpc.StatusCode.INVALID_ARGUMENT),
    (StatementError, grpc.StatusCode.INVALID_ARGUMENT),
    (VerificationError, grpc.StatusCode.INVALID_ARGUMENT),
    (BudgetError, grpc.StatusCode.FAILED_PRECONDITION),
)
_ERRORS = {kind.__name__: kind for kind, _ in _CODES}
_FALLBACK: dict[grpc.StatusCode, type[WeightproofError]] = {
    grpc.StatusCode.PERMISSION_DENIED: AccessError,
    grpc.StatusCode.UNAUTHENTICATED: AccessError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: FormatError,
    grpc.StatusCode.FAILED_PRECONDITION: StateError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BusyError,
}


def status_code(error: WeightproofError) -> grpc.StatusCode:
    """The gRPC code that an error is answered with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def to_status(error: WeightproofError) -> grpc.Status:
    """What a server aborts a call with."""
    number = status_code(error).value[0]
    detail = Any()
    detail.Pack(ErrorInfo(reason=type(error).__name__, domain=DOMAIN))
    message = str(error)[:MAX_REASON]
    return rpc_status.to_status(Status(code=Code.ValueType(number), message=message, details=[detail]))


def from_rpc_error(error: grpc.RpcError, address: str) -> WeightproofError:
    """The error of the tree that a failed call stands for; `address` says who did not answer."""
    code, message = error.code(), error.details() or ""
    kind = _ERRORS.get(_reason(error) or "")
    if kind is not None:
        return kind(message)
    if code in _FALLBACK:
        return _FALLBACK[code](message)
    return UnavailableError(
        f"{address} cannot be reached ({code.name}: {message}); is it running, and do both sides' certificates come"
        " from CAs that the other knows? A missing or unknown client certificate shows as this, too"
    )


def _reason(error: grpc.RpcError) -> str | None:
    """The reason of our ErrorInfo, if the status has one."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        return None
    for detail in status.details if status is not None else ():
        info = ErrorInfo()
        if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            return info.reason
    return None

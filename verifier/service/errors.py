"""Errors of the service and of its clients."""

from __future__ import annotations

from circuits.errors import FormatError, TrustError, WeightproofError


class UnavailableError(WeightproofError):
    """The other side cannot be reached, or cannot answer now; try again later."""


class BusyError(UnavailableError):
    """Too much is asked of the service at the moment."""


class StorageError(UnavailableError):
    """The database or the disk failed: full, locked, or gone."""


class NotFoundError(WeightproofError):
    """There is nothing of this name, or it is not the caller's to see."""


class StateError(WeightproofError):
    """The request comes too late or too early for the state that its subject is in."""


class ConflictError(StateError):
    """The same request_id stands for something else already."""


class TooLargeError(FormatError):
    """An upload is, or announces, more than its limit."""


class AccessError(TrustError):
    """The caller has no identity that the service knows, or not the role that this takes."""

"""Points in time as attestations write them: RFC 3339, UTC, whole seconds, such as 2026-03-01T12:00:00Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from circuits.checkpoint.base import quote
from circuits.errors import FormatError

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def format_time(moment: datetime) -> str:
    """The text of a moment that knows its time zone; fractions of a second are dropped."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment. Raises FormatError."""
    if _FORM.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise FormatError(f"{quote(text)} is not a time such as 2026-03-01T12:00:00Z")

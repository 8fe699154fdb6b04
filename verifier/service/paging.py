"""What requests of both services have in common: ids, pages, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from circuits.errors import FormatError

MAX_PAGE = 1000
DEFAULT_PAGE = 50
_REQUEST_ID = re.compile(r"[0-9A-Za-z._:/-]{1,64}")


def parse_request_id(text: str) -> str:
    """Raises FormatError."""
    if not _REQUEST_ID.fullmatch(text):
        raise FormatError("a request_id has 1 to 64 letters, digits and ._:/- characters")
    return text


def parse_page(size: int, token: str) -> tuple[int, int]:
    """The number after which a page begins, and how many it has. Raises FormatError."""
    if size < 0 or not ((token.isascii() and token.isdecimal() and len(token) < 16) or token == ""):
        raise FormatError("page_size is not negative, and page_token is the next_page_token of the page before")
    return int(token or 0), min(size or DEFAULT_PAGE, MAX_PAGE)


def next_token(rows: Sequence[Any], limit: int) -> str:
    """The token of the next page; empty after the last."""
    return str(rows[-1].number) if len(rows) == limit else ""


def timestamp(seconds: float) -> Timestamp:
    """Seconds since 1970 as a message, to the microsecond."""
    micros = round(seconds * 1e6)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)

"""JSON from hostile sources: one reading only, bounded memory, FormatError for everything else.

Duplicate keys, floats, NaN, integers of more than 18 digits and documents with more than 2^22 structural characters are
refused. The canonical form is UTF-8, keys sorted by code point, no spaces, no escapes that JSON does not require.
"""

from __future__ import annotations

import json
from typing import NoReturn

from circuits.checkpoint.base import quote
from circuits.errors import FormatError

MAX_TOKENS = 2**22
"""Commas and opening brackets of a document: bounds the objects that parsing creates to a few hundred megabytes."""


def loads(data: bytes, what: str) -> object:
    """Parse `data` into dicts, lists, strings, integers, booleans and None; `what` names the document in errors.

    Raises:
        FormatError: not UTF-8, not JSON, or outside the limits above.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_TOKENS:
        raise FormatError(f"{what}: more than {MAX_TOKENS} JSON elements; a model may have at most 2^18 tensors")

    def refuse(text: str) -> NoReturn:
        raise FormatError(f"{what}: {quote(text)} is not allowed; numbers are integers of at most 18 digits")

    def integer(text: str) -> int:
        return int(text) if len(text) <= 18 else refuse(text)

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise FormatError(
                f"{what}: the key {quote(name)} appears twice; the file was not written by a sound exporter"
            )
        return result

    try:
        document: object = json.loads(
            data.decode(), object_pairs_hook=unique, parse_int=integer, parse_float=refuse, parse_constant=refuse
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{what}: not readable as JSON ({quote(str(error))}); the file is damaged, fetch it again"
        ) from error
    return document


def dumps(value: object) -> bytes:
    """The canonical bytes of `value` (dicts with string keys, lists, strings, integers, booleans, None)."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()

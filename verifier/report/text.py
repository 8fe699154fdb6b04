"""Bounded texts and lists: an attacker may write a million names, or one of a million letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_TEXT = 2_400
"""Characters of one text: enough for the longest sentence about what a claim does not mean."""


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """The text, or its beginning and how much is missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … and {len(text) - limit:,} more characters"


def short(name: str, limit: int) -> str:
    """A name of at most `limit` characters: the middle of a longer one is left out."""
    if len(name) <= limit:
        return name
    tail = (limit - 1) // 2
    return f"{name[: limit - 1 - tail]}…{name[-tail:]}"


@dataclass(frozen=True)
class Listing:
    """The first of many texts, and how many more there are."""

    shown: tuple[str, ...]
    more: int

    @staticmethod
    def of(texts: Sequence[str], limit: int, length: int = 300) -> Listing:
        """At most `limit` of them, each of at most about `length` characters."""
        return Listing(tuple(clip(text, length) for text in texts[:limit]), max(0, len(texts) - limit))


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 tensor", "2 tensors", "1,000 tensors"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

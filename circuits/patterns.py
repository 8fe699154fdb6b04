"""Globs over tensor names: `*` and `?` stay within one dotted segment, unless the pattern is the single `*`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from circuits.errors import PolicyError

MAX_HINTS = 2000
"""Near misses are looked for among this many names."""


def matches(pattern: str, name: str) -> bool:
    """Does the whole name match? Time is at most the product of the lengths, for any pattern."""
    if pattern == "*":
        return True
    wanted, given = pattern.split("."), name.split(".")
    return len(wanted) == len(given) and all(map(segment_matches, wanted, given))


def segment_matches(pattern: str, text: str) -> bool:
    """The same for one segment: two pointers, going back to the last star only."""
    i = j = 0
    star, resume = -1, 0
    while j < len(text):
        if i < len(pattern) and pattern[i] == "*":
            star, resume = i, j
            i += 1
        elif i < len(pattern) and pattern[i] in ("?", text[j]):
            i, j = i + 1, j + 1
        elif star >= 0:
            resume += 1
            i, j = star + 1, resume
        else:
            return False
    return all(c == "*" for c in pattern[i:])


def select(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match, in their order.

    Raises:
        PolicyError: none does; lists the nearest names.
    """
    known = list(names)
    found = [name for name in known if matches(pattern, name)]
    if not found:
        near = difflib.get_close_matches(pattern[:100], [name[:100] for name in known[:MAX_HINTS]], n=5, cutoff=0.3)
        hint = f"; near misses: {', '.join(near)}" if near else ""
        raise PolicyError(f"the pattern {pattern!r} matches no committed tensor{hint}")
    return found

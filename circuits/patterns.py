"""Globs over tensor names: `*` and `?` stay within one dotted segment, unless the pattern is the single `*`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from circuits.errors import PolicyError


def matcher(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression over whole names."""
    if pattern == "*":
        return re.compile(r".*", re.DOTALL)
    parts = [r"[^.]*" if c == "*" else r"[^.]" if c == "?" else re.escape(c) for c in pattern]
    return re.compile("".join(parts), re.DOTALL)


def select(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match, in their order.

    Raises:
        PolicyError: none does; lists the nearest names.
    """
    known = list(names)
    expression = matcher(pattern)
    found = [name for name in known if expression.fullmatch(name)]
    if not found:
        near = difflib.get_close_matches(pattern, known, n=5, cutoff=0.3)
        hint = f"; near misses: {', '.join(near)}" if near else ""
        raise PolicyError(f"the pattern {pattern!r} matches no committed tensor{hint}")
    return found

"""Parameters of a commitment: fixed at commit time, carried as canonical bytes, only checked afterwards.

Source: protocol.md, sections 3, 5 and 8. Every level is a Reed-Solomon code of length n and dimension `columns +
hiding`;
e = floor((n - k) / 2) is its unique-decoding radius and a word further away survives q queries with probability at most
((n - e - 1) / n)^q. All arithmetic on errors is exact (fractions.Fraction).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from circuits.errors import FormatError
from verifier.argument.errors import SoundnessError

PROTOCOL_VERSION = "weightproof/1"
TARGET_BITS = 128
MAX_LOG_LENGTH = 28
MAX_TARGET_BITS = 192
MAX_QUERIES = 1024
MAX_LOG_LAST = 14
"""Bounds that keep the work of checking a proof small whatever parameters a commitment brings."""
MAX_PROOFS = 1 << 20


def query_error(n: int, dimension: int, queries: int) -> Fraction:
    """Probability that a word further than the unique-decoding radius from the code survives the queries."""
    radius = (n - dimension) // 2
    return Fraction(n - radius - 1, n) ** queries


def least_queries(n: int, dimension: int, error: Fraction) -> int | None:
    """The least number of queries with query_error <= error; None if the code has no room (e < 1 or rate above 0.6)."""
    radius = (n - dimension) // 2
    if radius < 1 or 10 * dimension > 6 * n:
        return None
    survive = Fraction(n - radius - 1, n)
    low, high = 1, 1
    while survive**high > error:
        low, high = high, 2 * high
        if low > MAX_QUERIES:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if survive**middle <= error else (middle + 1, high)
    return low


@dataclass(frozen=True)
class PlainLevel:
    """A level of the recursion: rows of 2^log_columns K elements, codewords of length 2^log_length."""

    log_columns: int
    log_length: int
    queries: int


@dataclass(frozen=True)
class PadCode:
    """The code of the pad oracle: `pads` + `hiding` coefficients, length 2^log_length, `hiding` = `queries`."""

    pads: int
    log_length: int
    queries: int

    @property
    def hiding(self) -> int:
        return self.queries

    @property
    def dimension(self) -> int:
        return self.pads + self.queries

    def error(self) -> Fraction:
        return query_error(1 << self.log_length, self.dimension, self.queries)


@dataclass(frozen=True)
class Parameters:
    """What a committer fixes: level 0 (rows of 2^log_columns entries and `hiding` random coefficients, codewords of
    length 2^(log_columns + 1), `queries` positions a proof), the number of proofs promised, and the plain levels."""

    target_bits: int
    proofs: int
    log_columns: int
    hiding: int
    queries: int
    levels: tuple[PlainLevel, ...]

    @property
    def columns(self) -> int:
        return 1 << self.log_columns

    @property
    def log_length(self) -> int:
        return self.log_columns + 1

    @property
    def length(self) -> int:
        return 1 << self.log_length

    @property
    def message(self) -> int:
        """Coefficients of a level-0 row, the random ones included."""
        return self.columns + self.hiding

    @property
    def term_error(self) -> Fraction:
        """What each query phase may contribute: the target divided among all terms, with a bit to spare."""
        return Fraction(1, 2**self.target_bits * 2 * (len(self.levels) + 3))

    def pad_code(self, pads: int) -> PadCode:
        """The pad oracle's code for that many pads: the smallest length 2^h >= 8 (pads + q) for which some q reaches
        the target, and the least such q."""
        log_length = max(4, (8 * (pads + 1) - 1).bit_length())
        while log_length <= MAX_LOG_LENGTH:
            n = 1 << log_length
            # the error falls with q although the dimension grows with it: e/n stays above 7/16
            low, high = 1, min(n // 8 - pads, MAX_QUERIES)
            if high >= 1 and query_error(n, pads + high, high) <= self.term_error:
                while low < high:
                    middle = (low + high) // 2
                    if query_error(n, pads + middle, middle) <= self.term_error:
                        high = middle
                    else:
                        low = middle + 1
                return PadCode(pads, log_length, low)
            log_length += 1
        raise SoundnessError(f"a statement with {pads} hidden values is too large: split the policy")

    def check(self) -> None:
        """Refuse parameters that break a MUST of protocol.md, section 8, whatever the statement.

        Raises SoundnessError. The terms that depend on a statement are checked by `soundness.account`.
        """
        problems = []
        if not 1 <= self.target_bits <= MAX_TARGET_BITS:
            raise SoundnessError(f"parameters refused: the target must lie between 1 and {MAX_TARGET_BITS} bits")
        if not 1 <= self.log_columns < MAX_LOG_LENGTH:
            raise SoundnessError("parameters refused: row length out of range")
        if not 0 < self.proofs <= MAX_PROOFS:
            problems.append("number of proofs out of range")
        if not 1 <= self.queries <= MAX_QUERIES:
            problems.append("number of level-0 queries out of range")
        if self.hiding > self.columns or self.hiding < (self.proofs + 2) * self.queries:
            problems.append("hiding must lie between (proofs + 2) * queries and the row length")
        if 10 * self.message > 6 * self.length:
            problems.append("the rate of level 0 is above 0.6")
        if len(self.levels) > 6:
            problems.append("more than six plain levels")
        length = self.message
        for i, level in enumerate(self.levels):
            if not 0 <= level.log_columns < level.log_length <= MAX_LOG_LENGTH:
                problems.append(f"level {i + 1} has no room")
                continue
            if not 1 <= level.queries <= MAX_QUERIES or level.queries >= 1 << level.log_length:
                problems.append(f"level {i + 1} has an impossible number of queries")
            if length % (1 << level.log_columns) or 1 << level.log_columns >= length:
                problems.append(f"level {i + 1} does not divide the vector above it into rows")
            if 10 << level.log_columns > 6 << level.log_length:
                problems.append(f"the rate of level {i + 1} is above 0.6")
            if (1 << level.log_length) - (1 << level.log_columns) < 2:
                problems.append(f"level {i + 1} corrects no error")
            length = 1 << level.log_columns
        if length > max(1 << MAX_LOG_LAST, 0 if self.levels else self.message):
            problems.append("the last vector is too long")
        if problems:
            raise SoundnessError("parameters refused: " + "; ".join(problems))

    def to_json(self) -> dict[str, Any]:
        return {
            "hiding": self.hiding,
            "levels": [
                {"log_columns": x.log_columns, "log_length": x.log_length, "queries": x.queries} for x in self.levels
            ],
            "log_columns": self.log_columns,
            "proofs": self.proofs,
            "queries": self.queries,
            "target_bits": self.target_bits,
        }

    def to_bytes(self) -> bytes:
        """The canonical parameter bytes: JSON with sorted keys and no spaces."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_json(data: Any) -> Parameters:
        """Strict inverse of `to_json`. Raises FormatError."""
        names = {"hiding", "levels", "log_columns", "proofs", "queries", "target_bits"}
        if not isinstance(data, dict) or set(data) != names or not isinstance(data["levels"], list):
            raise FormatError("commitment parameters do not have the expected fields; ask the owner for the file again")
        if len(data["levels"]) > 16:
            raise FormatError("commitment parameters list too many levels")

        def integer(value: Any, name: str) -> int:
            if type(value) is not int or not 0 <= value < 2**40:
                raise FormatError(f"commitment parameter {name} is not an integer in range")
            return value

        levels = []
        for item in data["levels"]:
            if not isinstance(item, dict) or set(item) != {"log_columns", "log_length", "queries"}:
                raise FormatError("a level of the commitment parameters does not have the expected fields")
            levels.append(PlainLevel(*(integer(item[key], key) for key in ("log_columns", "log_length", "queries"))))
        values = {name: integer(data[name], name) for name in names - {"levels"}}
        return Parameters(levels=tuple(levels), **values)

    def same_shape(self, other: Parameters) -> bool:
        """May oracles with these two parameter sets be opened in one proof?"""
        return (self.log_columns, self.hiding, self.queries, self.levels, self.target_bits) == (
            other.log_columns, other.hiding, other.queries, other.levels, other.target_bits,
        )  # fmt: skip

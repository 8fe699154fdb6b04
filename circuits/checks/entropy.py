"""entropy: the Shannon entropy, in bits, of the weights in bins of a public width is at least, or at most, a threshold.

Exact, up to chords: it never errs, but may refuse what holds by less than about 0.02 bit. The bins of the real weights
are [(j B - 1/2) 2^-F, (j B + B - 1/2) 2^-F) for integers j and width B 2^-F, shifted by half a unit so that rounding
moves no weight across an edge: a weight exactly on an edge is a tie, which goes to the even integer, j B. So the
entropy of the copy is that of the weights, and no margin is needed. The width is a power of two and at least 16 units.

With counts N_j of n weights, H = log2 n - (1/n) sum N_j log2 N_j. N log2 N is convex, so

    H >= T follows from   sum chord(N_j) <= n (log2 n - T),  the chord of the segment in which N_j lies,
    H <= T follows from   sum line(N_j) >= n (log2 n - T),   any lines below N log2 N.

The prover names for every bin one segment or line of a public list, by a vector of bits with sum 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

import numpy as np

from circuits.builder import Tensor
from circuits.checks.base import require, text
from circuits.checks.disclosed import Disclosure
from circuits.checks.entropy_lines import breakpoints, lines, scaled_above, scaled_below, segments
from circuits.checks.histogram_arithmetic import OFFSET, TABLE, Scalar, Work
from circuits.checks.histogram_block import NonNegativeCheck, Population, Statement
from circuits.errors import StatementError
from circuits.program import Integers
from circuits.rationals import decimal

SMALLEST_BIN = 16
"""Units: 4,096 bins at most."""
MAX_LOG = 20
MOST_BITS = Fraction(64)
"""No entropy reaches this: thresholds beyond say the same."""


class Entropy(NonNegativeCheck):
    """H(bins of width bin_width) in bits; bin_width is a power of two as a decimal, e.g. "0.0009765625"."""

    check: Literal["entropy"]
    bin_width: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "Entropy in bins of one width compares models of one scale only, and a payload in the low bits of the weights"
        " hardly changes it."
    )

    def validate_values(self) -> None:
        super().validate_values()
        require(not self.disclose, "entropy is no integer and cannot be disclosed; bracket it by at_least and at_most")
        width = decimal(self.bin_width, "bin_width")
        power = width > 0 and (width.numerator & (width.numerator - 1)) == (width.denominator & (width.denominator - 1))
        require(
            power and 1 in (width.numerator, width.denominator), 'bin_width is a power of two such as "0.0009765625"'
        )

    @property
    def metric(self) -> str:
        return f"entropy in bits, bins of width {self.bin_width}"

    def bin_cells(self, population: Population) -> int:
        """B: how many integers one bin holds. Raises StatementError if bins are finer than 16 units."""
        cells = population.units(decimal(self.bin_width, "bin_width"))
        if cells < SMALLEST_BIN:
            raise StatementError(
                f"entropy of {population.label}: bin_width {self.bin_width} is below {SMALLEST_BIN} units of 2^-"
                f"{population.scale}; choose a width of at least 2^{4 - population.scale}"
            )
        return min(int(cells), OFFSET)

    def upper(self, population: Population, limit: Fraction) -> Statement:
        cells = self.bin_cells(population)
        return Statement("entropy-upper", lambda work: _at_most(work, cells, limit), text(limit))

    def lower(self, population: Population, limit: Fraction) -> Statement:
        cells = self.bin_cells(population)
        return Statement("entropy-lower", lambda work: _at_least(work, cells, limit), text(limit))

    def disclosure(self, population: Population) -> Statement:
        raise StatementError("entropy cannot be disclosed")

    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        raise StatementError("entropy cannot be disclosed")


def _bins(work: Work, cells: int) -> tuple[Tensor, Integers | None]:
    """The counts of all bins, in order. 0 is an edge: bins of 2^15 units and more are the halves of the table."""
    shape = (TABLE // cells, cells)
    clear = None if work.clear is None else work.clear.reshape(shape).sum(axis=1)
    return work.g.reduce_sum(work.g.reshape(work.counts, shape), [1]), clear


def _choice(work: Work, bins: int, choices: int, chosen: Integers | None) -> Tensor:
    """For every bin one of the choices: bits (bins, choices) whose rows sum to 1."""

    def rows() -> Integers:
        return np.eye(choices, dtype=np.int64)[chosen]

    bits, _ = work.hints("choice", (bins, choices), 0, 1, rows)
    work.g.assert_true("choice", work.g.equal(work.g.reduce_sum(bits, [1]), 1))
    return bits


def _log(entries: int, bins: int) -> int:
    """Units 2^-log in which every sum below stays under 2^61."""
    points = breakpoints(entries)
    largest = bins * (points[-1] + 1) * (entries.bit_length() + 4) * len(points)
    return min(MAX_LOG, 60 - largest.bit_length())


def _at_least(work: Work, cells: int, limit: Fraction) -> None:
    g = work.g
    bins, clear = _bins(work, cells)
    count = bins.shape[0]
    log = _log(work.entries, count)
    chords = segments(work.entries, log)
    chosen = None if clear is None else np.searchsorted(chords.start, clear, side="right") - 1
    bits = _choice(work, count, chords.start.size, chosen)
    widest = int(chords.width.max())
    rest, rest_clear = work.hints("rest", (count,), 0, widest, lambda: _known(clear) - chords.start[_known(chosen)])
    # N_j = start + rest with rest <= width: the segment holds N_j
    g.assert_true("segment", g.equal(g.add(g.einsum("ji,i->j", bits, chords.start), rest), bins))
    g.assert_true("width", g.less_or_equal(rest, g.einsum("ji,i->j", bits, chords.width)))
    slope = g.einsum("ji,i->j", bits, chords.slope)
    total = g.add(g.reduce_sum(g.einsum("ji,i->j", bits, chords.value)), g.einsum("j,j->", rest, slope))
    value = None
    if chosen is not None and rest_clear is not None:
        value = int(np.sum(chords.value[chosen]) + np.dot(rest_clear, chords.slope[chosen]))
    allowed = scaled_below(work.entries, log) - ceil(min(limit, MOST_BITS) * work.entries * 2**log)
    work.at_most("entropy", _total(work, total, value), allowed)


def _at_most(work: Work, cells: int, limit: Fraction) -> None:
    g = work.g
    bins, clear = _bins(work, cells)
    count = bins.shape[0]
    log = _log(work.entries, count)
    below = lines(work.entries, log)
    chosen = None
    if clear is not None:
        heights = clear[:, None].astype(object) * below.slope.astype(object) - below.drop.astype(object)
        chosen = np.argmax(heights, axis=1)
    bits = _choice(work, count, below.slope.size, chosen)
    slope = g.einsum("ji,i->j", bits, below.slope)
    drop = g.reduce_sum(g.einsum("ji,i->j", bits, below.drop))
    total = g.sub(g.einsum("j,j->", bins, slope), drop)
    value = None
    if chosen is not None and clear is not None:
        value = int(np.dot(clear, below.slope[chosen]) - np.sum(below.drop[chosen]))
    needed = scaled_above(work.entries, log) - floor(min(limit, MOST_BITS) * work.entries * 2**log)
    work.at_least("entropy", _total(work, total, value), needed)


def _total(work: Work, tensor: Tensor, value: int | None) -> Scalar:
    return work.scalar(tensor, -(1 << 61) + 1, (1 << 61) - 1, value)


def _known(array: Integers | None) -> Integers:
    assert array is not None
    return array

"""Lines around N log2 N, in integers: chords above it on a segment and lines below it everywhere, rounded the safe way.

Logarithms and exponentials are those of `decimal`, correctly rounded at 60 digits, hence the same for everybody; every
bound allows for more than their errors.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np

from circuits.program import Integers

_CONTEXT = decimal.Context(prec=60)
_SLACK = decimal.Decimal(10) ** -50
"""Relative, far above the rounding of a few operations with 60 digits."""
_SMALL = 64
"""Up to here lines below go through neighbouring integers, where they are exact."""


def scaled_above(count: int, log: int) -> int:
    """An integer at least 2^log count log2(count), for count >= 0; exact for powers of two."""
    return _scaled(count, log, 1)


def scaled_below(count: int, log: int) -> int:
    """An integer at most 2^log count log2(count), for count >= 0; exact for powers of two."""
    return _scaled(count, log, -1)


def _scaled(count: int, log: int, side: int) -> int:
    if count & (count - 1) == 0:
        return (count << log) * (count.bit_length() - 1) if count else 0
    with decimal.localcontext(_CONTEXT):
        value = decimal.Decimal(count << log) * decimal.Decimal(count).ln() / decimal.Decimal(2).ln()
        value += side * value * _SLACK
        return ceil(value) if side > 0 else floor(value)


def breakpoints(entries: int) -> list[int]:
    """0 .. 8, then four in each doubling, the last one at least `entries`."""
    points = list(range(9))
    step = 2
    while points[-1] < entries:
        points.extend(points[-1] + step * i for i in range(1, 5))
        step *= 2
    while len(points) > 2 and points[-2] >= entries:
        points.pop()
    return points


@dataclass(frozen=True)
class Segments:
    """Chords of N log2 N: on [start, start + width] it is at most 2^-log (value + slope (N - start))."""

    start: Integers
    width: Integers
    value: Integers
    slope: Integers


@lru_cache(maxsize=64)
def segments(entries: int, log: int) -> Segments:
    """Segments from 0 to at least `entries`."""
    points = breakpoints(entries)
    values = [scaled_above(point, log) for point in points]
    # from the value above at the start to one above at the end; convexity does the rest
    slopes = [
        max(0, -((start_value - end_value) // (end - start)))
        for start, end, start_value, end_value in zip(points, points[1:], values, values[1:], strict=False)
    ]
    return Segments(_array(points[:-1]), _array(list(np.diff(points))), _array(values[:-1]), _array(slopes))


@dataclass(frozen=True)
class Lines:
    """Lines with 2^-log (slope N - drop) <= N log2 N for all integers N >= 0."""

    slope: Integers
    drop: Integers


@lru_cache(maxsize=64)
def lines(entries: int, log: int) -> Lines:
    """Lines that touch N log2 N near every breakpoint up to `entries`."""
    slopes, drops = [], []
    for point in breakpoints(entries)[:-1]:
        slope = scaled_above(point + 1, log) - scaled_below(point, log)
        slopes.append(slope)
        if point < _SMALL:
            # the largest slope N - 2^log N log2 N lies near `point`: concave in N
            drops.append(max(slope * n - scaled_below(n, log) for n in range(4 * point + 8)))
        else:
            drops.append(_conjugate(slope, log))
    return Lines(_array(slopes), _array(drops))


def _conjugate(slope: int, log: int) -> int:
    """At least the maximum of slope N - 2^log N log2 N over real N, which is 2^log log2(e) 2^(slope / 2^log) / e."""
    with decimal.localcontext(_CONTEXT):
        two = decimal.Decimal(2).ln()
        value = decimal.Decimal(1 << log) / two * (decimal.Decimal(slope) / decimal.Decimal(1 << log) * two - 1).exp()
        return ceil(value + value * _SLACK)


def _array(values: list[int]) -> Integers:
    return np.array(values, dtype=np.int64)

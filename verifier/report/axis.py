"""Axes of plots: exact rationals to pixels, in decimal arithmetic, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from circuits.checks.disclosed import decimal_text

_ARITHMETIC = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)
_TENTH = Decimal("0.1")
LOGARITHMIC_FROM = 100
"""A ratio of largest to smallest value from which an axis is logarithmic, if all values are positive."""
MOST_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place in pixels and its text."""

    at: str
    text: str
    anchor: str


@dataclass(frozen=True)
class Axis:
    """`low` and `high` (or their decimal logarithms) at the pixels `start` and `stop`."""

    low: Fraction
    high: Fraction
    start: int
    stop: int
    logarithmic: bool = False

    @staticmethod
    def around(values: Sequence[Fraction], start: int, stop: int) -> Axis:
        """An axis that shows all values, at least one, with some room; from 0 if none is negative and it is linear."""
        low, high = min(values), max(values)
        if low > 0 and high >= LOGARITHMIC_FROM * low:
            ends = _log10(low), _log10(high)
            room = (ends[1] - ends[0]) / 20
            return Axis(ends[0] - room, ends[1] + room, start, stop, True)
        if low == high == 0:
            high = Fraction(1)
        low = min(low, Fraction(0)) if low >= 0 or high >= 0 else low
        high = max(high, Fraction(0)) if low < 0 else high
        room = (high - low) / 20
        return Axis(low - room if low < 0 else low, high + room, start, stop)

    def at(self, value: Fraction) -> str:
        """The pixel of a value, with one decimal; values beyond an end are drawn at the end."""
        if self.logarithmic:
            place = _log10(value) if value > 0 else self.low
        else:
            place = value
        share = min(max((place - self.low) / (self.high - self.low), Fraction(0)), Fraction(1))
        return pixels(self.start + share * (self.stop - self.start))

    def ticks(self) -> tuple[Tick, ...]:
        """Up to about six round values."""
        values = self._powers() if self.logarithmic else self._multiples()
        return tuple(Tick(self.at(value), decimal_text(value), self._anchor(value)) for value in values)

    def _anchor(self, value: Fraction) -> str:
        share = Fraction(self.at(value)) - min(self.start, self.stop)
        size = abs(self.stop - self.start)
        return "start" if share * 18 < size else "end" if share * 18 > 17 * size else "middle"

    def _powers(self) -> list[Fraction]:
        first, last = -(-self.low.numerator // self.low.denominator), self.high.numerator // self.high.denominator
        if last - first + 1 > MOST_TICKS // 2:
            stride = -(-(last - first + 1) // MOST_TICKS)
            return [Fraction(10) ** power for power in range(first, last + 1, stride)]
        values = [Fraction(10) ** power * factor for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [value for value in values if self.low <= _log10(value) <= self.high]

    def _multiples(self) -> list[Fraction]:
        span = (self.high - self.low) / (MOST_TICKS - 1)
        power = Fraction(10) ** _log10(span).__floor__()
        step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= span)
        first, last = (self.low / step).__ceil__(), (self.high / step).__floor__()
        return [step * number for number in range(first, last + 1)]


def pixels(value: Fraction | int) -> str:
    """A length in pixels with one decimal."""
    return str(_divide(Fraction(value)).quantize(_TENTH, ROUND_HALF_EVEN))


def _divide(value: Fraction) -> Decimal:
    return _ARITHMETIC.divide(Decimal(value.numerator), Decimal(value.denominator))


def _log10(value: Fraction) -> Fraction:
    return Fraction(_ARITHMETIC.log10(_divide(value)))

"""What a check publishes, in real units: an exact value of the committed integers and a bracket of the real weights."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

DIGITS = 6
"""Significant digits of a disclosed value in text; the exact rational goes with it."""
_PLAIN = range(-7, 15)
"""Decimal exponents that are written without an exponent."""


@dataclass(frozen=True)
class Disclosure:
    """One statistic that a proof publishes.

    Attributes:
        metric: the name of the check that speaks of it, such as "kurtosis".
        parameters: what else it depends on, such as ("level", "0.99"), sorted.
        label: the tensors it is about.
        value: of the committed integers, exactly (a skewness, being a root, within 2^-64 relatively); None where a
            bracket is all that is published, or where the statistic is undefined.
        low, high: the real weights have a value in between; None if rounding leaves that side open.
    """

    metric: str
    parameters: tuple[tuple[str, str], ...]
    label: str
    value: Fraction | None
    low: Fraction | None
    high: Fraction | None

    @property
    def name(self) -> str:
        """The statistic with its parameters."""
        scope = ", ".join(f"{key} {value}" for key, value in self.parameters)
        return f"{self.metric} ({scope})" if scope else self.metric

    @property
    def amount(self) -> str:
        """The value in words, with the bracket, rounded outwards."""
        if self.value is not None and self.low == self.value == self.high:
            return f"= {decimal_text(self.value)}"
        if self.value is None:
            return f"is {self.bracket}"
        return f"= {decimal_text(self.value)} in fixed point, {self.bracket} for the real weights"

    @property
    def bracket(self) -> str:
        """Where the real weights lie, rounded outwards."""
        if self.low is not None and self.high is not None:
            return f"between {decimal_text(self.low, -1)} and {decimal_text(self.high, 1)}"
        if self.low is not None:
            return f"at least {decimal_text(self.low, -1)}"
        return "not bounded" if self.high is None else f"at most {decimal_text(self.high, 1)}"

    @property
    def sentence(self) -> str:
        """What is disclosed, as attestations and reports say it."""
        return f"disclosed: {self.name} of {self.label} {self.amount}"

    def to_json(self) -> dict[str, object]:
        """A JSON value; rationals are texts such as "-3/8"."""
        exact = {"value": self.value, "low": self.low, "high": self.high}
        return {
            "metric": self.metric,
            "parameters": dict(self.parameters),
            "about": self.label,
            **{key: None if number is None else str(number) for key, number in exact.items()},
            "sentence": self.sentence,
        }


def decimal_text(value: Fraction, side: int = 0) -> str:
    """A rational as a decimal of 6 significant digits: rounded down for side -1, up for 1, to the nearest for 0.

    The same on every machine: nothing here is a float.
    """
    rounding = {-1: ROUND_FLOOR, 0: ROUND_HALF_EVEN, 1: ROUND_CEILING}[side]
    context = Context(prec=DIGITS, rounding=rounding, Emin=-999_999, Emax=999_999)
    # operands of a division are taken exactly, whatever the precision
    number = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    if number.is_zero():
        return "0"
    text = format(number, "f" if number.adjusted() in _PLAIN else "e")
    mantissa, mark, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + (f"e{int(exponent)}" if mark else "")

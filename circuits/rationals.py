"""Thresholds as exact rationals, and roots rounded to the stricter side."""

from __future__ import annotations

import re
from fractions import Fraction
from math import isqrt

from circuits.errors import PolicyError

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{0,39}[1-9])?")
_ROOT_BITS = 64


def decimal(text: object, what: str) -> Fraction:
    """A decimal string such as "0.25" as an exact rational.

    Raises:
        PolicyError: not a string, or not a plain decimal in its shortest form (YAML numbers are binary floats
            and are refused; "1.50" and "01" would give two digests to one policy).
    """
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or text == "-0":
        raise PolicyError(f'{what} must be a decimal in quotes such as "0.25", not {str(text)[:60]!r}')
    return Fraction(text)


def root_above(value: Fraction) -> Fraction:
    """A rational at least sqrt(value), for value >= 0, within 2^-64 relatively."""
    if value < 0:
        raise ValueError("the root of a negative number")
    if value == 0:
        return Fraction(0)
    # scale by 4^s so that the integer root has at least 64 bits
    shift = max(0, _ROOT_BITS - (value.numerator.bit_length() - value.denominator.bit_length()) // 2)
    scaled = -(-value.numerator * 4**shift // value.denominator)
    root = isqrt(scaled)
    return Fraction(root if root * root == scaled else root + 1, 2**shift)

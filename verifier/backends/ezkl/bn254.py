"""The first group of BN254, as far as a reference string is checked with it: few points, slow, affine, exact."""

from __future__ import annotations

from verifier.backends.ezkl.circuit import FIELD

BASE_FIELD = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
"""The order of the field of the coordinates; files hold them reduced, in Montgomery form."""
POINT_BYTES = 64
COORDINATE_BYTES = 32
Point = tuple[int, int] | None
"""Affine coordinates; None is the neutral element."""
GENERATOR, TWO_ADICITY = 7, 28
"""Of the scalars: 7 generates the field, whose order is 1 mod 2^28."""
_SHIFT = (1 << 256) % BASE_FIELD
_UNSHIFT = pow(_SHIFT, -1, BASE_FIELD)
_CURVE = 3 * pow(_SHIFT, 3, BASE_FIELD) % BASE_FIELD


def add(a: Point, b: Point) -> Point:
    """The sum of two points."""
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % BASE_FIELD == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, BASE_FIELD)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, BASE_FIELD)
    x = (slope * slope - a[0] - b[0]) % BASE_FIELD
    return x, (slope * (a[0] - x) - a[1]) % BASE_FIELD


def negative(a: Point) -> Point:
    """The inverse of a point."""
    return None if a is None else (a[0], -a[1] % BASE_FIELD)


def multiple(factor: int, a: Point) -> Point:
    """factor * a, factor >= 0."""
    total: Point = None
    while factor:
        if factor & 1:
            total = add(total, a)
        a, factor = add(a, a), factor >> 1
    return total


def stored_point(data: bytes, at: int) -> Point:
    """A point as files hold it: two coordinates, little-endian, in Montgomery form; zeros are the neutral element."""
    x, y = _stored(data, at)
    return (x * _UNSHIFT % BASE_FIELD, y * _UNSHIFT % BASE_FIELD) if x or y else None


def is_stored_point(data: bytes, at: int) -> bool:
    """Is it a point of the curve y^2 = x^3 + 3, or the neutral element, in the one form that it has?"""
    x, y = _stored(data, at)
    if not (x or y):
        return True
    return max(x, y) < BASE_FIELD and (y * y * _SHIFT - x * x * x - _CURVE) % BASE_FIELD == 0


def _stored(data: bytes, at: int) -> tuple[int, int]:
    middle = at + COORDINATE_BYTES
    x, y = data[at:middle], data[middle : middle + COORDINATE_BYTES]
    return int.from_bytes(x, "little"), int.from_bytes(y, "little")


def interpolated(values: list[int]) -> list[int]:
    """The coefficients of the polynomial with these values at the powers of a root of unity; 2^k values, k <= 28."""
    size = len(values)
    bits = size.bit_length() - 1
    root = pow(pow(GENERATOR, (FIELD - 1) >> bits, FIELD), -1, FIELD)
    found = [values[int(f"{index:0{bits}b}"[::-1], 2)] if bits else values[index] for index in range(size)]
    half = 1
    while half < size:
        step = pow(root, size // (2 * half), FIELD)
        powers = [1]
        for _ in range(half - 1):
            powers.append(powers[-1] * step % FIELD)
        for start in range(0, size, 2 * half):
            for offset, power in enumerate(powers, start):
                other = found[offset + half] * power
                found[offset], found[offset + half] = (found[offset] + other) % FIELD, (found[offset] - other) % FIELD
        half *= 2
    inverse = pow(size, -1, FIELD)
    return [value * inverse % FIELD for value in found]

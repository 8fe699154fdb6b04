"""Points of BN254's first group, as far as an attack on an ezkl proof needs them: slow, affine, exact."""

from __future__ import annotations

from pathlib import Path

from verifier.backends.ezkl.reference_string import BASE_FIELD

Point = tuple[int, int] | None
"""Affine coordinates; None is the neutral element."""
POINT_BYTES = 64
_UNSHIFT = pow(1 << 256, -1, BASE_FIELD)


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
    return None if a is None else (a[0], -a[1] % BASE_FIELD)


def multiple(factor: int, a: Point) -> Point:
    """factor * a, factor >= 0."""
    total: Point = None
    while factor:
        if factor & 1:
            total = add(total, a)
        a, factor = add(a, a), factor >> 1
    return total


def lagrange_points(path: Path) -> list[Point]:
    """The second basis of a reference string: commitments to single rows. Coordinates are stored in Montgomery form."""
    data = path.read_bytes()
    size = 1 << int.from_bytes(data[:4], "little")
    found: list[Point] = []
    for index in range(size, 2 * size):
        piece = data[4 + POINT_BYTES * index :][:POINT_BYTES]
        x, y = (int.from_bytes(half, "little") * _UNSHIFT % BASE_FIELD for half in (piece[:32], piece[32:]))
        found.append((x, y) if (x, y) != (0, 0) else None)
    return found


def proof_points(proof: bytes, count: int) -> list[Point]:
    """The first `count` points of an ezkl proof."""
    pieces = (proof[POINT_BYTES * i :][:POINT_BYTES] for i in range(count))
    return [(int.from_bytes(piece[:32], "big"), int.from_bytes(piece[32:], "big")) for piece in pieces]

"""What attacks on ezkl's proofs read from files and proofs."""

from __future__ import annotations

from pathlib import Path

from verifier.backends.ezkl.bn254 import POINT_BYTES, Point, stored_point
from verifier.backends.ezkl.reference_string import HEADER_BYTES


def lagrange_points(path: Path) -> list[Point]:
    """The second basis of a reference string: commitments to single rows."""
    data = path.read_bytes()
    size = 1 << int.from_bytes(data[:HEADER_BYTES], "little")
    return [stored_point(data, HEADER_BYTES + POINT_BYTES * index) for index in range(size, 2 * size)]


def proof_points(proof: bytes, count: int) -> list[Point]:
    """The first `count` points of an ezkl proof."""
    pieces = (proof[POINT_BYTES * i :][:POINT_BYTES] for i in range(count))
    return [(int.from_bytes(piece[:32], "big"), int.from_bytes(piece[32:], "big")) for piece in pieces]

"""Random and extreme inputs for the tests of kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.interface import Runs
from verifier.argument.field import K, P, Words

EDGE_ELEMENTS = [0, 1, P - 1, 2**32 - 1, 2**32, P - 2**32, 2**63, P - 2]
EDGE_CELLS = [0, 1, -1, -(2**31), 2**31 - 1, -32768, 32767, 32768]


class Inputs:
    """A source of inputs; the same seed gives the same ones. About a quarter of all values are extreme."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """low <= integer < high."""
        return int(self._random.integers(low, high))

    def elements(self, *shape: int) -> Words:
        """Canonical elements of F."""
        values = self._random.integers(0, P, shape, dtype=np.uint64)
        edges = self._random.choice(np.array(EDGE_ELEMENTS, np.uint64), shape)
        return np.where(self._random.random(shape) < 0.25, edges, values)

    def vector(self, count: int) -> Words:
        """A K array (3, count)."""
        return self.elements(3, count)

    def scalar(self) -> K:
        return K(int(x) for x in self.elements(3))

    def scalars(self, count: int) -> list[K]:
        return [self.scalar() for _ in range(count)]

    def cells(self, rows: int, columns: int, kind: str) -> npt.NDArray[Any]:
        """Cells of the kinds "weights" (16 bits), "integers" (int32), "counts" (small uint64), "elements" (uint64)."""
        shape = (rows, columns)
        if kind == "weights":
            return self._random.integers(-32768, 32768, shape).astype(np.int32)
        if kind == "counts":
            return self._random.integers(0, 65536, shape).astype(np.uint64)
        if kind == "elements":
            return self.elements(*shape)
        values = self._random.integers(-(2**31), 2**31, shape)
        edges = self._random.choice(np.array(EDGE_CELLS), shape)
        return np.where(self._random.random(shape) < 0.25, edges, values).astype(np.int32)

    def salts(self, count: int) -> Words:
        """32-byte salts as words (count, 4)."""
        return self._random.integers(0, 2**64, (count, 4), dtype=np.uint64)


def runs(*intervals: tuple[int, int, int]) -> Runs:
    """Runs from (start, stop, group)."""
    start, stop, group = (np.array(part, np.int64) for part in zip(*intervals, strict=True))
    return Runs(start, stop, group)

"""The circuit's side of the link to the native commitment: one masked combination of the weights, see `link`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuits.program import Integers
from verifier.backends.ezkl.link import COORDINATES, QUOTIENT_LIMBS, REDUCED
from verifier.backends.ezkl.onnx_writer import EXACT_FLOAT, OnnxWriter, Wire


class Linking:
    """The link's conditions for tensors of these shapes; its public cells begin at `start`.

    Attributes:
        stop: where the public cells end.
        products: multiplications that need a row of their own, for the estimate.
    """

    def __init__(self, writer: OnnxWriter, start: int, shapes: Sequence[tuple[int, int]]) -> None:
        self._writer, self._shapes = writer, shapes
        self.stop, self.products = start, 0
        self._total = self._take(COORDINATES)
        self._rows = [writer.reshape(self._take(COORDINATES * rows), (COORDINATES, rows)) for rows, _ in shapes]
        self._longest = max(columns for _, columns in shapes)
        self._columns = self._take(COORDINATES * self._longest)

    def _take(self, size: int) -> Wire:
        """The next public cells."""
        self.stop += size
        return self._writer.gather(Wire("public", (EXACT_FLOAT,)), np.arange(self.stop - size, self.stop))

    def equation(self, tensors: Sequence[Wire], mask: Wire, quotient: Wire, order: Wire, reduction: Wire) -> Wire:
        """One cell for each coordinate that is 0 iff combination + mask = t + order quotient; `reduction` is
        `reduction_table`."""
        writer = self._writer
        products: Wire | None = None
        for (count, width), wire, row in zip(self._shapes, tensors, self._rows, strict=True):
            index = np.add.outer(self._longest * np.arange(COORDINATES), np.arange(width))
            column = writer.reshape(writer.gather(self._columns, index), (COORDINATES, width))
            inner = writer.einsum("vj,ij->vi", (column, wire), (COORDINATES, count))
            own = writer.einsum("ui,vi->uv", (row, inner), (COORDINATES, COORDINATES))
            self.products += COORDINATES * (width + COORDINATES) * count
            products = own if products is None else writer.add(products, own)
        assert products is not None
        flat = writer.reshape(products, (products.size,))
        combination = writer.einsum("cu,u->c", (reduction, flat), (COORDINATES,))
        right = writer.add(self._total, writer.mul(quotient, order))
        return writer.sub(writer.add(combination, mask), right)

    def quotient(self, limbs: Wire, powers: Sequence[Wire], offset: Wire) -> Wire:
        """One integer for each coordinate from its 16-bit limbs, lowest level first; `powers` are 2^16, 2^32 and on."""
        writer = self._writer

        def level(number: int) -> Wire:
            return writer.gather(limbs, np.arange(COORDINATES * number, COORDINATES * (number + 1)))

        total = level(0)
        for number in range(1, QUOTIENT_LIMBS):
            total = writer.add(total, writer.mul(level(number), powers[number - 1]))
        return writer.sub(total, offset)


def reduction_table() -> Integers:
    """Shape (3, 9): which products of coordinates (u, v) enter coordinate c of a product in K."""
    table = np.zeros((COORDINATES, COORDINATES, COORDINATES), np.int64)
    for u in range(COORDINATES):
        for v in range(COORDINATES):
            for coordinate in REDUCED[u + v]:
                table[coordinate, u, v] = 1
    return table.reshape(COORDINATES, COORDINATES**2)

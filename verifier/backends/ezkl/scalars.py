"""Public numbers in an ezkl circuit: field elements among the public inputs, never constants of the model.

ezkl reads constants as float32, and shows the digits of those that are used twice by lookups. Cells of an input vector
have neither trait; every distinct number takes one.
"""

from __future__ import annotations

import numpy as np

from circuits.program import Integers, Shape
from verifier.backends.ezkl.circuit import CHALLENGE_CELLS, CONTEXT_CELLS
from verifier.backends.ezkl.onnx_writer import EXACT_FLOAT, OnnxWriter, Wire

FIRST_CONSTANT = CONTEXT_CELLS + CHALLENGE_CELLS
"""Where constants begin in the public input vector."""


class Scalars:
    """What multiplies and shifts the wires of one circuit.

    Attributes:
        products: multiplications that need a row of their own, for the estimate.
    """

    def __init__(self, writer: OnnxWriter) -> None:
        self._writer = writer
        self._positions: dict[int, int] = {}
        self.products = 0

    @property
    def constants(self) -> tuple[int, ...]:
        """Public inputs, in order."""
        return tuple(self._positions)

    def public(self, value: int) -> Wire:
        """A field element of any size, shape (1,)."""
        return self.integers(np.array([value], object))

    def integers(self, array: Integers) -> Wire:
        """Integers of any size, of the same shape."""
        array = np.asarray(array)
        distinct, inverse = np.unique(array.reshape(-1), return_inverse=True)
        places = [FIRST_CONSTANT + self._positions.setdefault(int(value), len(self._positions)) for value in distinct]
        wire = self._writer.gather(Wire("public", (EXACT_FLOAT,)), np.array(places)[inverse])
        return self._writer.reshape(wire, axes_of(array.shape))

    def scaled(self, wire: Wire, factor: int) -> Wire:
        """factor * wire."""
        if factor == 1:
            return wire
        self.products += wire.size
        return self._writer.mul(wire, self.public(factor))

    def square_sum(self, wire: Wire) -> Wire:
        """The sum of the squares of a vector, shape (1,)."""
        self.products += wire.size
        return self._writer.einsum("i,i->", (wire, wire), ())


def axes_of(shape: Shape) -> Shape:
    """Every tensor of a circuit has at least one axis."""
    return shape or (1,)

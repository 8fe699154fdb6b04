"""Functionals of histograms in an ezkl circuit, as sums over the counted cells themselves; see `populations`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuits.program import Integers, Value
from verifier.backends.ezkl.circuit import FIELD, Comparison, Digits
from verifier.backends.ezkl.onnx_writer import OnnxWriter, Wire
from verifier.backends.ezkl.populations import FunctionShape, shape_of_function
from verifier.backends.ezkl.ranges import Ranges
from verifier.backends.ezkl.scalars import Scalars

COMPARISON_PRODUCTS = 6
"""What a comparison needs for every cell beside the digits."""
Counted = tuple[int, Value, Wire]
"""A factor, and cells in [-2^15, 2^15) as a value and as a vector."""


class Statistics:
    """sum_t counts_t f(t) for one circuit; equal sums are made once.

    Attributes:
        advice: takes the hidden integers of comparisons.
    """

    def __init__(self, writer: OnnxWriter, ranges: Ranges, scalars: Scalars, advice: Callable[[Digits], None]) -> None:
        self._writer, self._ranges, self._scalars, self._advice = writer, ranges, scalars, advice
        self._known: dict[tuple[object, ...], Wire] = {}

    def weighted_count(self, counted: Sequence[Counted], function: Integers) -> Wire:
        """sum over the populations of factor f(cell): f as a polynomial of degree 2, or as steps.

        Raises EzklStatementError if f is neither.
        """
        shape: FunctionShape = shape_of_function(function)
        total: Wire | None = None
        for multiple, value, wire in counted:
            parts = [(factor, self._power_sum(value, wire, power)) for power, factor in shape.powers]
            parts += [(factor, self._count_from(value, wire, start)) for start, factor in shape.steps]
            for factor, part in parts:
                scaled = self._scalars.scaled(part, factor * multiple)
                total = scaled if total is None else self._writer.add(total, scaled)
        return total if total is not None else self._scalars.public(0)

    def _power_sum(self, value: Value, wire: Wire, power: int) -> Wire:
        key = ("power", value, power)
        if key not in self._known:
            if power == 0:
                self._known[key] = self._scalars.public(wire.size)
            elif power == 1:
                self._known[key] = self._writer.total(wire, (0,))
            else:
                self._known[key] = self._scalars.square_sum(wire)
        return self._known[key]

    def _count_from(self, value: Value, wire: Wire, start: int) -> Wire:
        """How many cells are at least `start`."""
        key = ("from", value, start)
        if key not in self._known:
            scalars = self._scalars
            scalars.products += COMPARISON_PRODUCTS * wire.size
            found = self._ranges.compared(wire, start)
            self._advice(Digits(Comparison(value, start), wire.size, 2))
            self._known[key] = scalars.scaled(self._writer.total(found, (0,)), pow(1 << 16, -1, FIELD))
        return self._known[key]

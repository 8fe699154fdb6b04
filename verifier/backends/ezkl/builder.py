"""Writing the ONNX model of a circuit: one method for each kind of value of a program; `circuit` says what it means."""

from __future__ import annotations

import math

import numpy as np

from circuits.evaluate import Evaluation, sources_of
from circuits.evaluate import Witness as Atoms
from circuits.manifest import Manifest
from circuits.program import (
    Advice,
    Constant,
    Einsum,
    Expanded,
    Identity,
    Indexed,
    Integers,
    Permuted,
    Program,
    Published,
    Shape,
    Squeezed,
    Sum,
    Summed,
    Value,
    Weight,
)
from verifier.argument.field import P
from verifier.argument.program.regions import Limb, limbs_of
from verifier.backends.ezkl.circuit import CONTEXT_CELLS, FIELD, MASKS, AdviceLimb, Circuit
from verifier.backends.ezkl.errors import EzklStatementError
from verifier.backends.ezkl.link import COORDINATES, QUOTIENT, QUOTIENT_LIMBS, QUOTIENT_OFFSET, REDUCED
from verifier.backends.ezkl.onnx_writer import LARGEST_CONSTANT, OnnxWriter, Wire
from verifier.backends.ezkl.populations import Population, populations, shape_of_function

MAX_CELLS = 1 << 20
"""Range-checked cells of one circuit; more would not fit any reference string in use."""
DIGIT_BITS = 16
COMPARISON_PRODUCTS = 26
"""What a comparison counts for in the estimate: 13 rows."""
_ANY = 1 << 40
"""The size of an input vector that is still growing."""


def build_circuit(program: Program, manifest: Manifest, linked: bool) -> Circuit:
    """The circuit of a policy's program. Raises EzklStatementError, naming what ezkl cannot express exactly."""
    return _Builder(program, manifest).circuit(linked)


class _Builder:
    """One circuit under construction."""

    def __init__(self, program: Program, manifest: Manifest) -> None:
        self._program, self._manifest = program, manifest
        self._writer = OnnxWriter()
        self._wires: dict[Value, Wire] = {}
        self._weights: dict[str, tuple[Weight, Wire]] = {}
        self._weight_cells = self._advice_cells = self._products = self._public_cells = 0
        self._advice: list[AdviceLimb] = []
        self._constants: dict[int, Wire] = {}
        self._checked: list[Wire] = []
        self._sums: dict[tuple[object, ...], Wire] = {}
        self._known: dict[Value, bool] = {}
        self._tallied = {tally.counts: tally.source for tally in program.tallies}
        self._clear = Evaluation(program, Atoms(_no_atom, _no_atom))

    def circuit(self, linked: bool) -> Circuit:
        writer = self._writer
        zeros = [(name, self._zero(value)) for name, value in self._program.zeros]
        published = [(atom, self._flat(self.wire(value))) for atom, value in self._program.published]
        if not self._weights:
            # the thresholds decide it for all weights: every circuit has the same three inputs all the same
            smallest = min(self._manifest.tensors, key=lambda tensor: (tensor.entries, tensor.name))
            self._weight(smallest.name, smallest.matrix_shape, 0)
        constants = len(self._constants)
        link = self._link() if linked else []
        if not self._advice:
            # every circuit has the same three inputs
            self._limb(Advice((1,), 0, 0, "none"), limbs_of(Advice((1,), 0, 0, "none"))[0])
        cells = writer.concat(self._checked)
        in_range = writer.total(writer.sub(writer.abs(cells), cells), (0,))
        size = self._public_cells if linked else CONTEXT_CELLS + constants
        public = writer.slice(Wire("public", (_ANY,)), 0, size)
        cells_out = [in_range, *(wire for _, wire in zeros), *link, *(wire for _, wire in published)]
        output = writer.concat([public, *cells_out])
        for name, count in (
            ("weights", self._weight_cells + COORDINATES * linked + MASKS),
            ("advice", self._advice_cells + MASKS),
            ("public", size),
        ):
            writer.input(name, count)
        return Circuit(
            writer.model(output),
            tuple(weight for weight, _ in self._weights.values()),
            tuple(self._advice),
            tuple(self._constants),
            tuple(name for name, _ in zeros),
            tuple((atom, wire.size) for atom, wire in published),
            cells.size,
            self._products,
            linked,
        )

    # ------------------------------------------------------------------ outputs

    def _zero(self, value: Value) -> Wire:
        """One cell that is 0 iff the value is 0 in every cell."""
        wire = self._flat(self.wire(value))
        return wire if wire.size == 1 else self._square_sum(wire)

    def _flat(self, wire: Wire) -> Wire:
        return self._writer.reshape(wire, (wire.size,))

    def _square_sum(self, wire: Wire) -> Wire:
        self._products += wire.size
        return self._writer.einsum("i,i->", (wire, wire), ())

    # ------------------------------------------------------------------ atoms

    def _weight(self, name: str, shape: Shape, commitment: int) -> Wire:
        """A committed tensor; its range is checked."""
        if commitment:
            raise EzklStatementError(
                "the ezkl backend proves policies about one commitment; use native for base models"
            )
        if name not in self._weights:
            size = math.prod(shape)
            start = self._weight_cells
            self._weight_cells += size
            self._require_fit()
            flat = self._writer.slice(Wire("weights", (_ANY,)), start, start + size)
            atom = Weight(shape, -(1 << 15), (1 << 15) - 1, name)
            self._weights[name] = (atom, self._writer.reshape(flat, shape))
            self._checked.append(self._writer.add(flat, self._writer.constant(np.array([1 << 15]))))
        return self._weights[name][1]

    def _require_fit(self) -> None:
        """Before anything of that size is made. Raises EzklStatementError."""
        cells = self._weight_cells + self._advice_cells
        if cells > MAX_CELLS:
            raise EzklStatementError(f"the statement checks {cells} cells or more, at most {MAX_CELLS} fit; use native")

    def _limb(self, advice: Advice, limb: Limb) -> Wire:
        """One limb level; its range is checked, from both sides if it is not full."""
        start = self._advice_cells
        self._advice_cells += limb.cells
        self._require_fit()
        self._advice.append(AdviceLimb(advice, limb))
        flat = self._writer.slice(Wire("advice", (_ANY,)), start, start + limb.cells)
        self._checked.append(flat)
        if limb.bound < (1 << 16) - 1:
            self._checked.append(self._writer.sub(self._writer.constant(np.array([limb.bound])), flat))
        return flat

    def _certificate(self, advice: Advice) -> Wire:
        """low + sum_l 2^(16 l) limb_l."""
        total: Wire | None = None
        for limb in limbs_of(advice):
            part = self._scaled(self._limb(advice, limb), 1 << limb.shift)
            total = part if total is None else self._writer.add(total, part)
        assert total is not None
        if advice.low:
            total = self._writer.add(total, self._integers(np.array([advice.low])))
        return self._writer.reshape(total, _axes(advice.shape))

    def _scalar(self, value: int) -> Wire:
        """A public field element of any size."""
        if value not in self._constants:
            index = CONTEXT_CELLS + len(self._constants)
            self._constants[value] = self._writer.slice(Wire("public", (_ANY,)), index, index + 1)
        return self._constants[value]

    def _scaled(self, wire: Wire, factor: int) -> Wire:
        if factor == 1:
            return wire
        self._products += wire.size
        small = abs(factor) <= LARGEST_CONSTANT
        return self._writer.mul(wire, self._writer.constant(np.array([factor])) if small else self._scalar(factor))

    def _integers(self, array: Integers) -> Wire:
        """Public integers of any size: in digits that a constant may have."""
        array = np.asarray(array).reshape(_axes(array.shape))
        largest = max(int(array.max()), -int(array.min()))
        if largest <= LARGEST_CONSTANT:
            return self._writer.constant(array)
        if array.size == 1:
            return self._writer.reshape(self._scalar(int(array.reshape(-1)[0])), array.shape)
        sign, rest = np.sign(array), np.abs(array)
        total: Wire | None = None
        for shift in range(0, largest.bit_length(), DIGIT_BITS):
            digit = sign * ((rest >> shift) & ((1 << DIGIT_BITS) - 1))
            if digit.any():
                part = self._scaled(self._writer.constant(digit), 1 << shift) if shift else self._writer.constant(digit)
                total = part if total is None else self._writer.add(total, part)
        assert total is not None
        return total

    # ------------------------------------------------------------------ derived values

    def wire(self, value: Value) -> Wire:
        """The wire of a value, made when it is first asked for."""
        stack = [value]
        while stack:
            top = stack[-1]
            if top in self._wires:
                stack.pop()
                continue
            missing = [source for source in self._sources(top) if source not in self._wires]
            stack.extend(missing)
            if not missing:
                self._wires[top] = self._make(top)
        return self._wires[value]

    def _is_public(self, value: Value) -> bool:
        """Does it depend on nothing hidden?"""
        if value not in self._known:
            inner = sources_of(value)
            own = isinstance(value, Constant | Identity) or bool(inner)
            self._known[value] = own and all(self._is_public(source) for source in inner)
        return self._known[value]

    def _sources(self, value: Value) -> tuple[Value, ...]:
        if isinstance(value, Published):
            return tuple(source for atom, source in self._program.published if atom is value)
        if self._is_public(value):
            return (value.source,) if isinstance(value, Expanded) else ()
        if isinstance(value, Einsum) and self._functional(value) is not None:
            return ()
        return sources_of(value)

    def _make(self, value: Value) -> Wire:
        if self._is_public(value) and not isinstance(value, Expanded):
            return self._integers(self._clear[value])
        writer = self._writer
        match value:
            case Weight(name=name, commitment=commitment):
                return self._weight(name, value.shape, commitment)
            case Advice() if value not in self._tallied:
                return self._certificate(value)
            case Published():
                return self._wires[self._sources(value)[0]]
            case Sum():
                return self._sum(value)
            case Permuted(source=source, axes=axes):
                return writer.transpose(self._wires[source], axes)
            case Expanded(source=source):
                return writer.expand(self._wires[source], _axes(value.shape))
            case Squeezed(source=source):
                return writer.reshape(self._wires[source], _axes(value.shape))
            case Summed(source=source, axes=axes):
                return writer.reshape(writer.total(self._wires[source], axes), _axes(value.shape))
            case Indexed(sources=sources, index=index):
                flat = writer.concat([self._flat(self._wires[source]) for source in sources])
                return writer.reshape(self._selected(flat, index), _axes(value.shape))
            case Einsum():
                return self._einsum(value)
        raise EzklStatementError(
            "the statement reads a histogram cell by cell, which ezkl has no circuit for; use the native argument"
        )

    def _selected(self, flat: Wire, index: Integers) -> Wire:
        start = int(index[0])
        if np.array_equal(index, np.arange(start, start + index.size)):
            return self._writer.slice(flat, start, start + index.size)
        return self._writer.gather(flat, index)

    def _sum(self, value: Sum) -> Wire:
        writer = self._writer
        total: Wire | None = None
        for factor, source in value.parts:
            wire = self._wires[source]
            if factor == -1 and total is not None:
                total = writer.sub(total, wire)
                continue
            part = self._scaled(wire, factor)
            total = part if total is None else writer.add(total, part)
        assert total is not None
        # half of an even integer, in the field
        return total if value.divisor == 1 else self._scaled(total, pow(value.divisor, -1, FIELD))

    def _einsum(self, value: Einsum) -> Wire:
        found = self._functional(value)
        if found is not None:
            return self._weighted_count(*found)
        left, right = self._wires[value.left], self._wires[value.right]
        sizes = dict(
            zip((*value.left_labels, *value.right_labels), (*value.left.shape, *value.right.shape), strict=True)
        )
        self._products += int(np.prod(list(sizes.values()), dtype=np.int64))
        if value.left_labels == value.right_labels == value.output:
            return self._writer.mul(left, right)
        for labels, scalar, other, own in (
            (value.left_labels, left, right, value.right_labels),
            (value.right_labels, right, left, value.left_labels),
        ):
            if not labels:
                axes = [axis for axis, label in enumerate(own) if label not in value.output]
                kept = [label for label in own if label in value.output]
                shape = tuple(sizes[label] for label in kept)
                total = self._writer.reshape(self._writer.total(other, axes) if axes else other, _axes(shape))
                order = [kept.index(label) for label in value.output]
                return self._writer.mul(self._writer.transpose(total, order) if len(order) > 1 else total, scalar)
        one, two, out = (
            "".join(chr(ord("a") + label) for label in labels)
            for labels in (value.left_labels, value.right_labels, value.output)
        )
        return self._writer.einsum(f"{one},{two}->{out}", (left, right), value.shape)

    # ------------------------------------------------------------------ the link to the native commitment

    def _link(self) -> list[Wire]:
        """One cell for each coordinate that is 0 iff combination + mask = t + p q; see `link`."""
        writer = self._writer
        # all constants come before the link in the public vector
        powers = [self._scalar(1 << (16 * level)) for level in range(1, QUOTIENT_LIMBS)]
        offset, order = self._scalar(QUOTIENT_OFFSET), self._scalar(P)
        start = CONTEXT_CELLS + len(self._constants)

        def take(size: int) -> Wire:
            nonlocal start
            start += size
            return writer.slice(Wire("public", (_ANY,)), start - size, start)

        total = take(COORDINATES)
        tensors = list(self._weights.values())
        rows = [writer.reshape(take(COORDINATES * w.shape[0]), (COORDINATES, w.shape[0])) for w, _ in tensors]
        longest = max(weight.shape[1] for weight, _ in tensors)
        columns = take(COORDINATES * longest)
        self._public_cells = start
        products: Wire | None = None
        for (weight, wire), row in zip(tensors, rows, strict=True):
            index = np.add.outer(longest * np.arange(COORDINATES), np.arange(weight.shape[1]))
            column = writer.reshape(self._selected(columns, index.reshape(-1)), (COORDINATES, weight.shape[1]))
            inner = writer.einsum("vj,ij->vi", (column, wire), (COORDINATES, weight.shape[0]))
            own = writer.einsum("ui,vi->uv", (row, inner), (COORDINATES, COORDINATES))
            self._products += 2 * COORDINATES * (weight.shape[1] + COORDINATES) * weight.shape[0]
            products = own if products is None else writer.add(products, own)
        assert products is not None
        reduction = np.zeros((COORDINATES, COORDINATES, COORDINATES), np.int64)
        for u in range(COORDINATES):
            for v in range(COORDINATES):
                for coordinate in REDUCED[u + v]:
                    reduction[coordinate, u, v] = 1
        shape = (COORDINATES, COORDINATES**2)
        combination = writer.einsum(
            "cu,u->c", (writer.constant(reduction.reshape(shape)), self._flat(products)), (COORDINATES,)
        )
        mask = writer.slice(Wire("weights", (_ANY,)), self._weight_cells, self._weight_cells + COORDINATES)
        limbs = Advice((QUOTIENT_LIMBS * COORDINATES,), 0, (1 << 16) - 1, QUOTIENT)
        cells = self._limb(limbs, limbs_of(limbs)[0])
        quotient = writer.slice(cells, 0, COORDINATES)
        for level, power in enumerate(powers, start=1):
            part = writer.slice(cells, COORDINATES * level, COORDINATES * (level + 1))
            quotient = writer.add(quotient, writer.mul(part, power))
        right = writer.add(total, writer.mul(writer.sub(quotient, offset), order))
        return [writer.sub(writer.add(combination, mask), right)]

    # ------------------------------------------------------------------ statistics of histograms

    def _functional(self, value: Einsum) -> tuple[tuple[Population, ...], Integers] | None:
        """sum_t counts_t f(t), if that is what the value is: the populations that are counted, and f."""
        for counts, other in ((value.left, value.right), (value.right, value.left)):
            if not value.output and counts.shape == (1 << 16,) and self._is_public(other):
                found = populations(counts, self._tallied, self._manifest)
                if found is not None:
                    return found, self._clear[other]
        return None

    def _weighted_count(self, found: tuple[Population, ...], function: Integers) -> Wire:
        """The same sum over the weights themselves: f as a polynomial of degree 2, or as steps."""
        shape = shape_of_function(function)
        total: Wire | None = None
        for population in found:
            cells = [self._flat(self.wire(population.source))] if population.source is not None else []
            cells += [self._flat(self._weight(name, matrix, 0)) for name, matrix in population.tensors]
            for wire in cells:
                parts = [(factor, self._power_sum(wire, power)) for power, factor in shape.powers]
                parts += [(factor, self._count_from(wire, start)) for start, factor in shape.steps]
                for factor, part in parts:
                    scaled = self._scaled(part, factor * population.factor)
                    total = scaled if total is None else self._writer.add(total, scaled)
        return total if total is not None else self._integers(np.array([0]))

    def _power_sum(self, wire: Wire, power: int) -> Wire:
        key = ("power", wire.name, power)
        if key not in self._sums:
            if power == 0:
                self._sums[key] = self._integers(np.array([wire.size]))
            elif power == 1:
                self._sums[key] = self._writer.total(wire, (0,))
            else:
                self._sums[key] = self._square_sum(wire)
        return self._sums[key]

    def _count_from(self, wire: Wire, start: int) -> Wire:
        """How many cells are at least `start` > -2^15.

        With y = cell - start, |y + 1| - |y| is 1 if y >= 0, else -1. Only absolute values: at 0 the sign of a number
        is nothing that a circuit must fix, its absolute value is. Both have two digits in base 256.
        """
        key = ("from", wire.name, start)
        if key not in self._sums:
            writer = self._writer
            below, above = (
                writer.total(writer.abs(writer.sub(wire, self._integers(np.array([at])))), (0,))
                for at in (start, start - 1)
            )
            doubled = writer.add(writer.sub(above, below), self._integers(np.array([wire.size])))
            self._products += COMPARISON_PRODUCTS * wire.size
            self._sums[key] = self._scaled(doubled, pow(2, -1, FIELD))
        return self._sums[key]


def _axes(shape: Shape) -> Shape:
    return shape or (1,)


def _no_atom(commitment: int, what: object) -> Integers:
    raise AssertionError("a public value depends on a hidden one")

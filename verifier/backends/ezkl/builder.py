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
from verifier.backends.ezkl.circuit import (
    BASE,
    FIELD,
    HISTOGRAM,
    MASKS,
    OFFSET,
    AdviceLimb,
    Circuit,
    Complement,
    Digits,
)
from verifier.backends.ezkl.errors import EzklStatementError
from verifier.backends.ezkl.functionals import Counted, Statistics
from verifier.backends.ezkl.link import COORDINATES, QUOTIENT, QUOTIENT_LIMBS, QUOTIENT_OFFSET
from verifier.backends.ezkl.linking import Linking, reduction_table
from verifier.backends.ezkl.onnx_writer import EXACT_FLOAT, OnnxWriter, Wire
from verifier.backends.ezkl.populations import Population, populations
from verifier.backends.ezkl.ranges import Ranges
from verifier.backends.ezkl.scalars import FIRST_CONSTANT, Scalars, axes_of


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
        self._advice: list[Digits] = []
        self._scalars = Scalars(self._writer)
        self._ranges = Ranges(self._writer, self._scalars)
        self._statistics = Statistics(self._writer, self._ranges, self._scalars, self._advice.append)
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
        link, size = self._link() if linked else ([], FIRST_CONSTANT + len(self._scalars.constants))
        constants = len(self._scalars.constants)
        conditions = self._ranges.conditions()
        assert len(self._scalars.constants) == constants  # the link's cells come after them
        public = writer.gather(Wire("public", (EXACT_FLOAT,)), np.arange(size))
        cells_out = [*(wire for _, wire in (*conditions, *zeros)), *link, *(wire for _, wire in published)]
        output = writer.concat([public, *cells_out])
        for name, count in (
            ("weights", self._ranges.digits("weights") + COORDINATES * linked + MASKS),
            ("advice", self._ranges.digits("advice") + BASE + MASKS),
            ("public", size),
        ):
            writer.input(name, count)
        return Circuit(
            writer.model(output),
            tuple(weight for weight, _ in self._weights.values()),
            tuple(self._advice),
            self._scalars.constants,
            tuple(name for name, _ in conditions),
            tuple(name for name, _ in zeros),
            tuple((atom, wire.size) for atom, wire in published),
            self._scalars.products,
            linked,
        )

    def _link(self) -> tuple[list[Wire], int]:
        """The link's conditions, and where the public cells end: those of the link come after all constants."""
        scalars = self._scalars
        powers = [scalars.public(1 << (16 * level)) for level in range(1, QUOTIENT_LIMBS)]
        offset, order = scalars.public(QUOTIENT_OFFSET), scalars.public(P)
        reduction = scalars.integers(reduction_table())
        limbs = Advice((QUOTIENT_LIMBS * COORDINATES,), 0, (1 << 16) - 1, QUOTIENT)
        mask = self._ranges.hidden("weights", self._ranges.digits("weights"), COORDINATES)
        tensors = list(self._weights.values())
        shapes = [(weight.shape[0], weight.shape[1]) for weight, _ in tensors]
        linking = Linking(self._writer, FIRST_CONSTANT + len(scalars.constants), shapes)
        quotient = linking.quotient(self._limb(limbs, limbs_of(limbs)[0]), powers, offset)
        equation = linking.equation([wire for _, wire in tensors], mask, quotient, order, reduction)
        scalars.products += linking.products
        return [equation], linking.stop

    # ------------------------------------------------------------------ outputs

    def _zero(self, value: Value) -> Wire:
        """One cell that is 0 iff the value is 0 in every cell."""
        wire = self._flat(self.wire(value))
        return wire if wire.size == 1 else self._scalars.square_sum(wire)

    def _flat(self, wire: Wire) -> Wire:
        return self._writer.reshape(wire, (wire.size,))

    # ------------------------------------------------------------------ atoms

    def _weight(self, name: str, shape: Shape, commitment: int) -> Wire:
        """A committed tensor; its range is checked."""
        if commitment:
            raise EzklStatementError(
                "the ezkl backend proves policies about one commitment; use native for base models"
            )
        if name not in self._weights:
            atom = Weight(shape, -OFFSET, OFFSET - 1, name)
            flat = self._ranges.weights(math.prod(shape))
            self._weights[name] = (atom, self._writer.reshape(flat, shape))
        return self._weights[name][1]

    def _limb(self, advice: Advice, limb: Limb) -> Wire:
        """One limb level; its range is checked, from both sides if it is not full."""
        digits = 1 if limb.bound < BASE else 2
        source = AdviceLimb(advice, limb)
        flat = self._hidden(source, limb.cells, digits)
        if limb.bound < BASE**digits - 1:
            self._ranges.bounded(flat, self._hidden(Complement(source), limb.cells, digits), limb.bound)
        return flat

    def _hidden(self, source: AdviceLimb | Complement, cells: int, digits: int) -> Wire:
        found = self._ranges.integers("advice", cells, digits)
        self._advice.append(Digits(source, cells, digits))
        return found

    def _certificate(self, advice: Advice) -> Wire:
        """low + sum_l 2^(16 l) limb_l."""
        total: Wire | None = None
        for limb in limbs_of(advice):
            part = self._scalars.scaled(self._limb(advice, limb), 1 << limb.shift)
            total = part if total is None else self._writer.add(total, part)
        assert total is not None
        if advice.low:
            total = self._writer.add(total, self._scalars.integers(np.array([advice.low])))
        return self._writer.reshape(total, axes_of(advice.shape))

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
            return self._scalars.integers(self._clear[value])
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
                return writer.expand(self._wires[source], axes_of(value.shape))
            case Squeezed(source=source):
                return writer.reshape(self._wires[source], axes_of(value.shape))
            case Summed(source=source, axes=axes):
                return writer.reshape(writer.total(self._wires[source], axes), axes_of(value.shape))
            case Indexed(sources=sources, index=index):
                flat = writer.concat([self._flat(self._wires[source]) for source in sources])
                return writer.reshape(self._selected(flat, index), axes_of(value.shape))
            case Einsum():
                return self._einsum(value)
        raise EzklStatementError(
            "the statement reads a histogram cell by cell, which ezkl has no circuit for; use the native argument"
        )

    def _selected(self, flat: Wire, index: Integers) -> Wire:
        return flat if np.array_equal(index, np.arange(flat.size)) else self._writer.gather(flat, index)

    def _sum(self, value: Sum) -> Wire:
        writer = self._writer
        total: Wire | None = None
        for factor, source in value.parts:
            wire = self._wires[source]
            if factor == -1 and total is not None:
                total = writer.sub(total, wire)
                continue
            part = self._scalars.scaled(wire, factor)
            total = part if total is None else writer.add(total, part)
        assert total is not None
        # half of an even integer, in the field
        return total if value.divisor == 1 else self._scalars.scaled(total, pow(value.divisor, -1, FIELD))

    def _einsum(self, value: Einsum) -> Wire:
        found = self._functional(value)
        if found is not None:
            groups, function = found
            counted = [one for population in groups for one in self._counted(population)]
            return self._statistics.weighted_count(counted, function)
        left, right = self._wires[value.left], self._wires[value.right]
        sizes = dict(
            zip((*value.left_labels, *value.right_labels), (*value.left.shape, *value.right.shape), strict=True)
        )
        self._scalars.products += int(np.prod(list(sizes.values()), dtype=np.int64))
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
                total = self._writer.reshape(self._writer.total(other, axes) if axes else other, axes_of(shape))
                order = [kept.index(label) for label in value.output]
                return self._writer.mul(self._writer.transpose(total, order) if len(order) > 1 else total, scalar)
        one, two, out = (
            "".join(chr(ord("a") + label) for label in labels)
            for labels in (value.left_labels, value.right_labels, value.output)
        )
        return self._writer.einsum(f"{one},{two}->{out}", (left, right), value.shape)

    # ------------------------------------------------------------------ statistics of histograms

    def _functional(self, value: Einsum) -> tuple[tuple[Population, ...], Integers] | None:
        """sum_t counts_t f(t), if that is what the value is: the populations that are counted, and f."""
        for counts, other in ((value.left, value.right), (value.right, value.left)):
            if not value.output and counts.shape == (HISTOGRAM,) and self._is_public(other):
                found = populations(counts, self._tallied, self._manifest)
                if found is not None:
                    function = self._clear[other]
                    self._clear.drop(HISTOGRAM)  # one for every tensor: not all at once
                    return found, function
        return None

    def _counted(self, population: Population) -> list[Counted]:
        """Every value that is counted, with its cells as a vector."""
        factor, source = population.factor, population.source
        own = [] if source is None else [(factor, source, self._flat(self.wire(source)))]
        for name, matrix in population.tensors:
            wire = self._flat(self._weight(name, matrix, 0))
            own.append((factor, self._weights[name][0], wire))
        return own


def _no_atom(commitment: int, what: object) -> Integers:
    raise AssertionError("a public value depends on a hidden one")

"""Provers that lie about the advice of a program: bits, magnitudes, quotients, slacks, counts.

A lie replaces some advice by any integers or field elements, and everything that is computed from it follows, mod p:
what is left for the verifier to notice is one range or one zero condition. `Lie` says which, so that a test can show
that the attack succeeds where this one defence is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from circuits.program import (
    Advice,
    Einsum,
    Expanded,
    Indexed,
    Integers,
    Permuted,
    Published,
    Quotient,
    Recipe,
    Sign,
    Squeezed,
    Sum,
    Summed,
    Value,
)
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.prove import prove
from prover.argument.workers import ProverTree, piece_layer
from tests.support.cheating import Cheater, CheatingWorkers, accepts, forge, rejects
from tests.support.graphs import KERNELS, Case, claiming, fresh
from tests.support.toy import NONCE
from verifier.argument.audit import Audit
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import P
from verifier.argument.program.regions import MULTIPLICITIES, AdviceRegions, BlockLayout, limbs_of, multiplicities
from verifier.argument.workers import CellFractions, PieceFractions, TreeWorker

Numbers = npt.NDArray[Any]
"""Integers of any size, or 64-bit ones."""


def centred(numbers: Numbers) -> Integers:
    """Residues as the integers of least magnitude: all of them fit 64 bits."""
    centre = np.frompyfunc(lambda x: (int(x) + P // 2) % P - P // 2, 1, 1)
    return np.asarray(centre(np.asarray(numbers, object)), np.int64)


def quotients(numerators: Numbers, denominators: Numbers) -> Numbers:
    """Cell by cell, mod p."""
    divide = np.frompyfunc(lambda a, b: a * pow(b, -1, P) % P, 2, 1)
    return np.asarray(divide(np.asarray(numerators, object), np.asarray(denominators, object)), object)


class Residues:
    """The values of a program mod p where some advice and some published tensors are given, by name.

    Of the two parts of a sign or a quotient the one that is not given is made to fit: the magnitude m of a bit s is
    (1 - 2 s) x - s, the bit of a magnitude (x - m) / (2 x + 1), the remainder of a quotient q is x - d q.
    """

    def __init__(self, case: Case, given: Mapping[str, Numbers]) -> None:
        program = case.statement.statements.program
        self._honest, self._given = case.values, given
        self._defined: dict[Value, Value] = dict(program.published)
        self._recipes: dict[Value, Recipe] = {}
        for recipe in program.recipes:
            parts = (part for name, part in vars(recipe).items() if name != "source" and isinstance(part, Advice))
            self._recipes.update(dict.fromkeys(parts, recipe))
        self._known: dict[Value, Integers] = {}

    def __getitem__(self, value: Value) -> Integers:
        if value not in self._known:
            self._known[value] = centred(self._compute(value)).reshape(value.shape)
        return self._known[value]

    def _cells(self, value: Value) -> Numbers:
        return self[value].astype(object)

    def _compute(self, value: Value) -> Numbers:
        match value:
            case Advice() | Published() if value.name in self._given:
                return np.broadcast_to(np.asarray(self._given[value.name], object), value.shape)
            case Published():
                return self[self._defined[value]]
            case Advice() if value in self._recipes:
                return self._by_recipe(value, self._recipes[value])
            case Sum(parts=parts, divisor=divisor):
                total = sum((factor * self._cells(part) for factor, part in parts), np.zeros(value.shape, object))
                return total * pow(divisor, -1, P)
            case Permuted(source=source, axes=axes):
                return self[source].transpose(axes)
            case Expanded(source=source):
                return np.broadcast_to(self[source], value.shape)
            case Squeezed(source=source):
                return self[source].reshape(value.shape)
            case Summed(source=source, axes=axes):
                return np.asarray(self._cells(source).sum(axis=axes), object)
            case Indexed(sources=sources, index=index):
                return np.concatenate([self[source].reshape(-1) for source in sources])[index].reshape(value.shape)
            case Einsum(left=left, right=right):
                operands = (self._cells(left), list(value.left_labels), self._cells(right), list(value.right_labels))
                return np.asarray(np.einsum(*operands, list(value.output)), object)
        return self._honest[value]

    def _by_recipe(self, advice: Advice, recipe: Recipe) -> Numbers:
        x = self._cells(recipe.source)
        if isinstance(recipe, Sign):
            if advice is recipe.magnitude:
                bit = self._cells(recipe.negative)
                return (1 - 2 * bit) * x - bit
            if recipe.magnitude.name in self._given:
                return quotients(x - self._cells(recipe.magnitude), 2 * x + 1)
            return np.asarray(x < 0, object)
        if isinstance(recipe, Quotient):
            if advice is recipe.remainder:
                return np.asarray(x - recipe.divisor * self._cells(recipe.quotient), object)
            if recipe.remainder.name in self._given:
                return quotients(x - self._cells(recipe.remainder), np.full(x.shape, recipe.divisor))
            return np.asarray(x // recipe.divisor, object)
        return x


class FieldWorkers(CheatingWorkers):
    """The trees are over what is committed, in the field: the library's trees hold 32-bit keys."""

    def tree(self, spec: CellFractions | PieceFractions) -> TreeWorker:
        if isinstance(spec, CellFractions):
            return super().tree(spec)
        return ProverTree(self._engine.kernels, spec.depth, piece_layer(self._engine, spec))


class FieldCheater(Cheater):
    """Argues about field elements in the place of limbs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.workers = FieldWorkers(self)


@dataclass(frozen=True)
class Lie:
    """A prover's false advice.

    Attributes:
        given: advice ("0/1/negative") and published tensors by name, any integers; see `Residues`.
        regions: cells of single regions ("0/1/magnitude#0", the counts of a tally, "multiplicities"), after that.
    """

    case: Case
    given: Mapping[str, Numbers] = field(default_factory=dict)
    regions: Mapping[str, Numbers] = field(default_factory=dict)

    @cached_property
    def values(self) -> Residues:
        return Residues(self.case, self.given)

    @cached_property
    def claim(self) -> Audit:
        """What the prover says, disclosed values included."""
        published = self.case.statement.statements.published
        return claiming(self.case.statement, {name: self.values[atom] for name, atom in published.items()})

    @cached_property
    def committed(self) -> dict[str, Numbers]:
        """The cells of every region: limb by limb what fits, the rest on top; multiplicities of all that is in
        range."""
        compiled, cells = self.claim.compiled, dict[str, Numbers]()
        for atom in compiled.advice:
            offset = BlockLayout(atom.shape).flatten(self.values[atom]).astype(object) - atom.low
            *low, top = limbs_of(atom)
            for limb in low:
                cells[limb.name] = (offset % P >> limb.shift) & 0xFFFF
            cells[top.name] = offset % P >> top.shift
        cells.update({name: np.asarray(own, object) % P for name, own in self.regions.items()})
        if compiled.advice and MULTIPLICITIES not in cells:
            cells[MULTIPLICITIES] = multiplicities(compiled.advice, {name: centred(own) for name, own in cells.items()})
        for tally in compiled.program.tallies:
            cells.setdefault(tally.counts.name, self.values[tally.counts].astype(object) % P)
        return cells

    @property
    def outside(self) -> list[str]:
        """The limbs out of range."""
        limbs = [limb for atom in self.claim.compiled.advice for limb in limbs_of(atom)]
        return [limb.name for limb in limbs if any(int(x) > limb.bound for x in self.committed[limb.name])]

    @property
    def failing(self) -> list[str]:
        """The zero conditions that do not hold, even mod p."""
        return [name for name, value in self.claim.statements.program.zeros if self.values[value].any()]

    def prover(self, data: Sequence[OracleData] | None = None) -> Cheater:
        """Whoever forged a proof of the claim. `data` replaces the committed models: argue about others."""
        known, values = data or self.case.data, self.values.__getitem__
        return forge(self.claim, known, self.witness, FieldCheater, program=values, kernels=KERNELS)

    def library_proof(self) -> bytes:
        """The library's own prover, handed this advice. Raises FalseStatementError or ProverFaultError."""
        values = ProgramData(KERNELS, self.values.__getitem__)
        return prove(self.claim, KERNELS, self.case.data, self.witness, NONCE, program=values, minimum_bits=1)

    @property
    def witness(self) -> dict[str, Numbers]:
        """What is committed, as field elements."""
        return {name: np.asarray(cells, np.uint64) for name, cells in self.committed.items()}

    def proof(self) -> bytes:
        return self.prover().proof


@contextmanager
def forgetting(defence: str, claim: Audit) -> Iterator[None]:
    """Both parties leave something out: the ranges of all advice ("ranges"), the counting of fresh histograms
    ("tallies"), or the zero condition of that name."""
    methods = {"ranges": "look_up", "tallies": "look_up_tallies"}
    zeros = claim.statements.program.zeros
    kept = list(zeros)
    with ExitStack() as stack:
        if defence in methods:
            stack.enter_context(mock.patch.object(AdviceRegions, methods[defence], lambda *_: None))
        else:
            (forgotten,) = (zero for zero in kept if zero[0] == defence)
            zeros.remove(forgotten)
        try:
            yield
        finally:
            zeros[:] = kept


def stopped_by(defence: str, lie: Lie) -> None:
    """The lie is rejected, by this defence alone: it is a complete attack where the defence is missing."""
    assert lie.failing == ([] if defence in ("ranges", "tallies") else [defence])
    assert bool(lie.outside) == (defence == "ranges"), lie.outside
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())
    with forgetting(defence, lie.claim):
        accepts(lie.claim, lie.proof())

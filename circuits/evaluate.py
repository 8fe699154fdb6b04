"""Programs in the clear: every tensor of a program from the committed integers and the certificates, exactly.

Products run in float64 (fast matrix kernels) where no partial sum can reach 2^53, else on operands split into limbs for
which that holds; sums wrap modulo 2^64, which is exact because interval analysis bounds the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.errors import StatementError
from circuits.program import (
    Advice,
    Constant,
    Einsum,
    Expanded,
    Histogram,
    Identity,
    Indexed,
    Integers,
    Permuted,
    Program,
    Published,
    Quotient,
    Recipe,
    Sign,
    Squeezed,
    Sum,
    Summed,
    Value,
    Weight,
)

EXACT = 2**53
"""float64 holds every integer up to here."""
TABLE = 65_536
Source = npt.NDArray[np.signedinteger[Any]]


@dataclass
class Witness:
    """What a program is evaluated on.

    Attributes:
        weight: the matrix (rows, columns) of a tensor of a commitment, any signed integer type.
        histogram: the counts, shape (65536,), of a histogram group of a commitment.
        certificates: the certificates by name, e.g. "0/advice/L". Advice that has a recipe may be given too, and is
            then used as it is: this is how a cheating prover is played.
    """

    weight: Callable[[int, str], Source]
    histogram: Callable[[int, int], Source]
    certificates: Mapping[str, Source] = field(default_factory=dict)


class Evaluation:
    """The integers of a program, each computed once, when it is first asked for; int64.

    Every method raises StatementError if an atom is missing, has another shape, or lies outside its range.
    """

    def __init__(self, program: Program, witness: Witness) -> None:
        self._witness = witness
        self._known: dict[Value, Integers] = {}
        self._recipes: dict[Value, Recipe] = {}
        self._tallied = {tally.counts: tally.source for tally in program.tallies}
        self._published = dict(program.published)
        for recipe in program.recipes:
            if isinstance(recipe, Sign):
                self._recipes[recipe.negative] = self._recipes[recipe.magnitude] = recipe
            elif isinstance(recipe, Quotient):
                self._recipes[recipe.quotient] = self._recipes[recipe.remainder] = recipe
            else:
                self._recipes[recipe.advice] = recipe

    def __getitem__(self, value: Value) -> Integers:
        """The cells of a value, shape value.shape."""
        stack = [value]
        while stack:
            top = stack[-1]
            if top in self._known:
                stack.pop()
                continue
            missing = [source for source in self._sources(top) if source not in self._known]
            stack.extend(missing)
            if not missing:
                self._known[top] = self._compute(top)
        return self._known[value]

    def drop(self, cells: int) -> None:
        """Forget arrays of at least that many cells: whoever asks again has them computed again."""
        self._known = {value: array for value, array in self._known.items() if array.size < cells}

    def _sources(self, value: Value) -> tuple[Value, ...]:
        match value:
            case Advice():
                recipe = self._recipes.get(value)
                source = recipe.source if recipe is not None else self._tallied.get(value)
                return () if source is None else (source,)
            case Published():
                return (self._published[value],)
            case _:
                return sources_of(value)

    def _compute(self, value: Value) -> Integers:
        """A value whose sources are known."""
        match value:
            case Weight(name=name, commitment=commitment):
                return _atom(value, self._witness.weight(commitment, name), f"tensor {name!r}")
            case Histogram(group=group, commitment=commitment):
                return _atom(value, self._witness.histogram(commitment, group), f"histogram {group}")
            case Advice():
                return self._advice(value)
            case Constant(array=array):
                return array.astype(np.int64, copy=False)
            case Identity(shape=shape):
                return np.eye(shape[0], dtype=np.int64)
            case Published():
                return self._known[self._published[value]]
        return _derived(value, [self._known[source] for source in sources_of(value)])

    def _advice(self, advice: Advice) -> Integers:
        """Advice as it is given, else by its recipe."""
        given = self._witness.certificates.get(advice.name)
        if given is not None:
            return _atom(advice, given, f"certificate {advice.name!r}")
        if advice in self._tallied:
            return _counts(self._known[self._tallied[advice]])
        recipe = self._recipes.get(advice)
        if recipe is None:
            raise StatementError(f"certificate {advice.name!r} is needed to evaluate the program, and was not given")
        x = self._known[recipe.source]
        if isinstance(recipe, Sign):
            negative = (x < 0).astype(np.int64)
            return negative if advice is recipe.negative else (1 - 2 * negative) * x - negative
        if isinstance(recipe, Quotient):
            return np.asarray(x // recipe.divisor if advice is recipe.quotient else x % recipe.divisor, np.int64)
        return x


def sources_of(value: Value) -> tuple[Value, ...]:
    """The values that a derived value is computed from; none for atoms."""
    match value:
        case Sum(parts=parts):
            return tuple(part for _, part in parts)
        case Einsum(left=left, right=right):
            return (left, right)
        case Indexed(sources=sources):
            return sources
        case Permuted(source=source) | Expanded(source=source) | Squeezed(source=source) | Summed(source=source):
            return (source,)
    return ()


def check(program: Program, values: Evaluation) -> list[str]:
    """The names of the zero conditions that fail, and of the advice outside its range: empty if the program can be
    proved. The name of a comparison that is only asserted is that of its assertion, e.g. "0/assert/bound"."""
    failed = [name for name, value in program.zeros if np.any(values[value])]
    failed.extend(t.name for t in program.tallies if np.any(values[t.counts] != _counts(values[t.source])))
    for recipe in program.recipes:
        for advice in vars(recipe).values():
            if isinstance(advice, Advice):
                array = values[advice]
                if array.min() < advice.low or array.max() > advice.high:
                    failed.append(advice.name)
    return list(dict.fromkeys(failed))


def disclosed(program: Program, values: Evaluation) -> dict[str, Integers]:
    """The integers to publish, by name, in the order of the program."""
    return {published.name: values[published] for published, _ in program.published}


def _atom(value: Value, array: Source, what: str) -> Integers:
    """A committed or certified tensor, checked."""
    if array.shape != value.shape:
        raise StatementError(f"{what} has shape {array.shape}, and the statement needs {value.shape}")
    if array.min() < value.low or array.max() > value.high:
        raise StatementError(f"{what} has an entry outside [{value.low}, {value.high}]")
    return array.astype(np.int64, copy=False)


def _counts(cells: Integers) -> Integers:
    """How often each of -32768 .. 32767 occurs, shape (65536,)."""
    return np.bincount(cells.ravel() + TABLE // 2, minlength=TABLE).astype(np.int64)


def _derived(value: Value, sources: list[Integers]) -> Integers:
    """A linear or bilinear rule applied to its sources."""
    match value:
        case Sum(parts=parts, divisor=divisor):
            total = np.zeros(value.shape, np.int64)
            for (factor, _), source in zip(parts, sources, strict=True):
                total += source * np.int64(factor) if factor != 1 else source
            return total // divisor if divisor != 1 else total
        case Permuted(axes=axes):
            return sources[0].transpose(axes)
        case Expanded():
            return np.broadcast_to(sources[0], value.shape)
        case Squeezed():
            return sources[0].reshape(value.shape)
        case Summed(axes=axes):
            return np.asarray(sources[0].sum(axis=axes, dtype=np.int64))
        case Indexed(index=index):
            cells = sources[0].ravel() if len(sources) == 1 else np.concatenate([s.ravel() for s in sources])
            return cells[index].reshape(value.shape)
        case Einsum():
            return _einsum(value, sources[0], sources[1])
    raise StatementError(f"a {type(value).__name__} cannot be evaluated")


def _einsum(value: Einsum, left: Integers, right: Integers) -> Integers:
    """As one batched matrix product: (shared and kept, left only, contracted) x (shared and kept, contracted, right
    only)."""
    one, two, output = value.left_labels, value.right_labels, value.output
    left, one = _sum_missing(left, one, {*two, *output})
    right, two = _sum_missing(right, two, {*one, *output})
    batch = [label for label in output if label in one and label in two]
    inner = [label for label in one if label in two and label not in output]
    rows = [label for label in output if label not in two]
    columns = [label for label in output if label not in one]
    sizes = dict(zip((*one, *two), (*left.shape, *right.shape), strict=True))
    a = left.transpose([one.index(label) for label in (*batch, *rows, *inner)])
    b = right.transpose([two.index(label) for label in (*batch, *inner, *columns)])
    count = {name: math.prod(sizes[label] for label in labels) for name, labels in (("r", rows), ("i", inner))}
    first = math.prod(sizes[label] for label in batch)
    if inner:
        matrix = _exact_matmul(a.reshape(first, count["r"], count["i"]), b.reshape(first, count["i"], -1))
    else:
        matrix = a.reshape(first, -1, 1) * b.reshape(first, 1, -1)
    found = (*batch, *rows, *columns)
    result = matrix.reshape([sizes[label] for label in found])
    return result.transpose([found.index(label) for label in output])


def _sum_missing(array: Integers, labels: tuple[int, ...], wanted: set[int]) -> tuple[Integers, tuple[int, ...]]:
    """`array` summed over the labels that nothing else has."""
    axes = tuple(axis for axis, label in enumerate(labels) if label not in wanted)
    return array.sum(axis=axes, dtype=np.int64) if axes else array, tuple(label for label in labels if label in wanted)


def _exact_matmul(a: Integers, b: Integers) -> Integers:
    """a @ b modulo 2^64, exact where the result fits: in float64, splitting the larger operand until it may."""
    largest = [max(int(x.max()), -int(x.min())) for x in (a, b)]
    if largest[0] * largest[1] * a.shape[-1] < EXACT:
        return np.asarray(np.matmul(a.astype(np.float64), b.astype(np.float64)), np.int64)
    if largest[0] < largest[1]:
        return _exact_matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2)).swapaxes(-1, -2)
    shift = largest[0].bit_length() // 2
    high = a >> shift
    upper, lower = _exact_matmul(high, b), _exact_matmul(a - (high << shift), b)
    return np.asarray((upper << shift) + lower, np.int64)

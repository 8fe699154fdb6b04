"""Programs: what a statement graph is lowered to, and what the protocol proves.

A program is a list of integer tensors, each defined from earlier ones by a linear or bilinear rule, or an atom
(committed
or public). It states that certain tensors are zero in every cell. Everything that is not linear or bilinear
(comparisons,
absolute values, divisions) has been replaced by advice atoms with ranges and by zero conditions. No data here.

All shapes are tuples of positive integers; a scalar has shape (). Values are exact integers, |x| < 2^62 (the interval
analysis of the graph has shown it), so a zero modulo p is a zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Integers = npt.NDArray[np.int64]
Stored = npt.NDArray[np.signedinteger[Any]]
"""Public integers in any signed type that holds them: arithmetic on them starts with a conversion to int64."""


@dataclass(frozen=True, eq=False)
class Value:
    """Base of all tensors of a program; identity is object identity. `low` and `high` bound every cell, inclusive."""

    shape: Shape
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Weight(Value):
    """Atom: a committed tensor of commitment `commitment` (0 is the audited model), as its matrix (rows, columns)."""

    name: str
    commitment: int = 0


@dataclass(frozen=True, eq=False)
class Histogram(Value):
    """Atom, shape (65536,): the exact counts of the values -32768 .. 32767 of a histogram group, from validity."""

    group: int
    commitment: int = 0


@dataclass(frozen=True, eq=False)
class Advice(Value):
    """Atom: the prover's integers, each shown to lie in [low, high] by lookups. `name` is unique in a program."""

    name: str


@dataclass(frozen=True, eq=False)
class Constant(Value):
    """Atom: public integers."""

    array: Stored


@dataclass(frozen=True, eq=False)
class Identity(Value):
    """Atom, shape (d, d): 1 on the diagonal, 0 elsewhere. Never written out: d may be large."""


@dataclass(frozen=True, eq=False)
class Published(Value):
    """Atom: disclosed integers, published with the proof; flattened in program order into the statement's disclosed
    tuple."""

    name: str


@dataclass(frozen=True, eq=False)
class Sum(Value):
    """sum_i factor_i * value_i, all of one shape. Factors are integers, or halves written as (integer, 2)."""

    parts: tuple[tuple[int, Value], ...]
    divisor: int = 1
    """1 or 2: the whole sum is divided by it (exactly, by the rule that made it)."""


@dataclass(frozen=True, eq=False)
class Permuted(Value):
    """Transpose: axis i of the result is axis axes[i] of the source."""

    source: Value
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Expanded(Value):
    """Broadcast: `source` has the same number of axes, each of size 1 or equal to the result's."""

    source: Value


@dataclass(frozen=True, eq=False)
class Squeezed(Value):
    """The source with axes of size 1 removed or inserted; the other axes keep their order."""

    source: Value


@dataclass(frozen=True, eq=False)
class Summed(Value):
    """ReduceSum over `axes` of the source; those axes are gone."""

    source: Value
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Indexed(Value):
    """Reshape, Slice, Gather, Concat and the like: cell i (row-major) of the result is cell index[i] (row-major) of the
    concatenation of the flattened sources. index: int64, the size of the result."""

    sources: tuple[Value, ...]
    index: Integers


@dataclass(frozen=True, eq=False)
class Einsum(Value):
    """sum over the labels that are missing in `output` of left * right. Labels are small integers, one per axis, each
    at most once in left, right and output; every output label occurs in left or right. Equal labels, equal sizes."""

    left: Value
    right: Value
    left_labels: tuple[int, ...]
    right_labels: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True)
class Sign:
    """Advice recipe: `negative` (0 or 1) is [source < 0], `magnitude` is (1 - 2 negative) source - negative."""

    source: Value
    negative: Advice
    magnitude: Advice


@dataclass(frozen=True)
class Quotient:
    """Advice recipe: source = divisor * quotient + remainder, 0 <= remainder < divisor (floor division)."""

    source: Value
    divisor: int
    quotient: Advice
    remainder: Advice


@dataclass(frozen=True)
class Slack:
    """Advice recipe: `advice` equals `source`, cell by cell (a difference shown to be in a range)."""

    source: Value
    advice: Advice


Recipe = Sign | Quotient | Slack


@dataclass(frozen=True)
class Tally:
    """To be proved by a lookup of its own, no zero condition says it: cell t of `counts`, shape (65536,), is how often
    t - 32768 occurs in `source`. The lookup fixes the counts; they need no range of their own."""

    name: str
    source: Value
    counts: Advice


@dataclass
class Program:
    """All graphs of a policy, lowered together.

    zeros: tensors that must be 0 in every cell, with a name for error messages. published: in the order of disclosure.
    tallies: fresh histograms, each a statement to be proved beside the zeros.
    recipes: how the prover computes the advice that lowering introduced, in order of dependence; other Advice atoms
    are certificates and are supplied by name.
    """

    zeros: list[tuple[str, Value]] = field(default_factory=list)
    published: list[tuple[Published, Value]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)


def rounded_high(low: int, high: int) -> int:
    """The least upper bound >= high that limbs can show for an advice range from `low`.

    Ranges of up to 2^16 values are exact. Wider ones are shown limb by limb (16 bits each, the top one in [0, T]), so
    their upper bound is low + (T + 1) 2^shift - 1; interval analysis must use it.
    """
    span = high - low
    if span < 1 << 16:
        return high
    shift = 16 * ((span.bit_length() - 1) // 16)
    return low + (((span >> shift) + 1) << shift) - 1

"""Statistics of exact histograms, as sums over the weights themselves: sum_t counts_t f(t) = sum_i f(w_i).

The native argument commits to histograms; an ezkl circuit has only the weights. What is said stays the same as long
as f is written exactly: here as a polynomial of degree at most 2, or as a few steps, each a comparison per weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.manifest import Manifest
from circuits.program import Advice, Histogram, Integers, Shape, Sum, Value
from verifier.backends.ezkl.errors import EzklStatementError

LOWEST = -(1 << 15)
MAX_STEPS = 8


@dataclass(frozen=True)
class Population:
    """Cells that are counted `factor` times: committed tensors (name, matrix shape), or a value of the program."""

    factor: int
    tensors: tuple[tuple[str, Shape], ...] = ()
    source: Value | None = None


def populations(counts: Value, tallied: Mapping[Advice, Value], manifest: Manifest) -> tuple[Population, ...] | None:
    """What a value of shape (65536,) counts, or None if it is no sum of histograms.

    Raises EzklStatementError for histograms of another commitment.
    """
    if isinstance(counts, Histogram):
        if counts.commitment:
            raise EzklStatementError(
                "the ezkl backend proves policies about one commitment; use native for base models"
            )
        members = tuple((t.name, t.matrix_shape) for t in manifest.tensors if t.group == counts.group)
        return (Population(1, members),)
    if isinstance(counts, Advice) and counts in tallied:
        return (Population(1, source=tallied[counts]),)
    if isinstance(counts, Sum) and counts.divisor == 1:
        found: list[Population] = []
        for factor, part in counts.parts:
            inner = populations(part, tallied, manifest)
            if inner is None:
                return None
            found.extend(Population(factor * one.factor, one.tensors, one.source) for one in inner)
        return tuple(found)
    return None


@dataclass(frozen=True)
class FunctionShape:
    """f(t) = sum factor t^power + sum factor [t >= start]."""

    powers: tuple[tuple[int, int], ...]
    steps: tuple[tuple[int, int], ...]


def shape_of_function(function: Integers) -> FunctionShape:
    """`function` on -32768 .. 32767 as such a sum, exactly. Raises EzklStatementError if it has no such form."""
    values = [int(function[0])]
    jumps = np.nonzero(np.diff(function))[0]
    if jumps.size <= MAX_STEPS:
        steps = tuple((LOWEST + int(j) + 1, int(function[j + 1]) - int(function[j])) for j in jumps)
        return FunctionShape(tuple((0, value) for value in values if value), steps)
    second = np.diff(function, 2)
    curve = int(second[0])
    if (second == curve).all() and curve % 2 == 0:
        square = curve // 2
        slope = int(function[-LOWEST + 1]) - int(function[-LOWEST]) - square
        terms = ((0, int(function[-LOWEST])), (1, slope), (2, square))
        return FunctionShape(tuple((power, factor) for power, factor in terms if factor), ())
    raise EzklStatementError(
        "a statistic of this histogram is neither a polynomial of degree 2 nor a count between a few thresholds: ezkl"
        " has no exact circuit for it; use the native argument (--backend native)"
    )

"""Waves: all evaluations of bilinear values at one depth are proved by one batched sumcheck.

An Einsum under a functional is sum over x of E(x) L(x) R(x): x runs over the index bits of the labels that both
operands have,
L and R are the operands with their other axes contracted by the functional, and E is the functional on those
labels that are also in the output. An Indexed value is sum over x of w(x) S(x) with w public. Round polynomials have
degree three where E is bound, two elsewhere. Sources: Thaler, Proofs, Arguments and Zero-Knowledge, sections 4.4 and
4.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.program import Indexed, Value
from verifier.argument.engine import Engine
from verifier.argument.field import ONE, K, Words, k_mul, k_sum
from verifier.argument.forms import Factor, eq_factors
from verifier.argument.hidden import Hidden, Recurrence
from verifier.argument.program.functional import ALL_ONES, Factors, Request, axis_table
from verifier.argument.program.regions import axis_bits
from verifier.argument.workers import WaveWorker


@dataclass(frozen=True, eq=False)
class Side:
    """An operand under a functional whose free axes are summed over in the sumcheck: `fixed[axis]` is None for
    these."""

    value: Value
    fixed: tuple[tuple[Factor, ...] | None, ...]
    order: tuple[int, ...]
    """The free axes, lowest variables first."""

    def at(self, point: Sequence[K]) -> Factors:
        """The functional with the free axes evaluated at the point."""
        factors = list(self.fixed)
        offset = 0
        for axis in self.order:
            bits = axis_bits(self.value.shape[axis])
            factors[axis] = eq_factors(point[offset : offset + bits])
            offset += bits
        return tuple(axis if axis is not None else () for axis in factors)


@dataclass(frozen=True, eq=False)
class Item:
    """One sum of a wave: coefficient * sum_x prod_v E_v(x_v) L(x) R(x). `weights[v]` is E_v, None where there is
    none."""

    coefficient: K
    left: Side
    right: Side | None
    weights: tuple[Factor | None, ...]
    request: Request
    source: int = 0
    """For an Indexed request: which of its sources is `left`; the other factor is public."""

    @property
    def variables(self) -> int:
        return len(self.weights)

    def public_at(self, point: Sequence[K]) -> K:
        """The public factor of an Indexed item at the point: sum over its cells i of phi(i) eq(point, index[i])."""
        value = self.request.value
        assert isinstance(value, Indexed)
        start, stop = source_range(value, self.source)
        inside = (value.index >= start) & (value.index < stop)
        weights = full_table(self.request.factors, value.shape)[:, inside]
        source = value.sources[self.source]
        table = full_table(self.left.at(point), source.shape)
        return k_sum(k_mul(weights, table[:, value.index[inside] - start]))


def source_range(value: Indexed, number: int) -> tuple[int, int]:
    """Where a source lies in the concatenation."""
    sizes = [int(np.prod(source.shape, dtype=np.int64)) for source in value.sources]
    return sum(sizes[:number]), sum(sizes[: number + 1])


def full_table(factors: Factors, shape: Sequence[int]) -> Words:
    """A functional as a dense K vector over the real cells, row-major: (3, prod shape)."""
    table = np.zeros((3, 1), np.uint64)
    table[0] = 1
    for axis, size in zip(factors, shape, strict=True):
        own = axis_table(axis, size)
        table = k_mul(table[:, :, None], own[:, None, :]).reshape(3, -1)
    return table


def items_of(request: Request, coefficient: K) -> list[Item]:
    """The sums that a request consists of."""
    value = request.value
    if isinstance(value, Indexed):
        out = []
        for number, source in enumerate(value.sources):
            axes = tuple(reversed(range(len(source.shape))))
            side = Side(source, (None,) * len(source.shape), axes)
            variables = sum(map(axis_bits, source.shape))
            out.append(Item(coefficient, side, None, (None,) * variables, request, number))
        return out
    shared = [label for label in value.left_labels if label in value.right_labels]
    contracted = [label for label in shared if label not in value.output]
    batch = [label for label in shared if label in value.output]
    order = (*reversed(contracted), *reversed(batch))
    own = dict(zip(value.output, request.factors, strict=True))
    sizes = dict(zip(value.left_labels, value.left.shape, strict=True))

    def side_of(operand: Value, labels: tuple[int, ...]) -> Side:
        fixed = tuple(
            None if label in shared else own.get(label, (ALL_ONES,) * axis_bits(size))
            for label, size in zip(labels, operand.shape, strict=True)
        )
        return Side(operand, fixed, tuple(labels.index(label) for label in order))

    weights = [factor for label in order for factor in own.get(label, (None,) * axis_bits(sizes[label]))]
    left = side_of(value.left, value.left_labels)
    right = side_of(value.right, value.right_labels)
    same = value.left is value.right and left.fixed == right.fixed and left.order == right.order
    return [Item(coefficient, left, left if same else right, tuple(weights), request)]


class Wave:
    """One batched sumcheck over items."""

    def __init__(self, engine: Engine, items: Sequence[Item]) -> None:
        self._engine, self._items = engine, items

    @cached_property
    def _variables(self) -> int:
        return max(item.variables for item in self._items)

    def _cubic(self, v: int) -> bool:
        return any(v < item.variables and item.weights[v] is not None for item in self._items)

    def run(self, total: Hidden, worker: WaveWorker) -> tuple[list[K], Hidden]:
        """The rounds: the point and the claim left at it. *Soundness*: 3/|K| a round."""
        engine, point, running = self._engine, list[K](), Recurrence(total)
        for v in range(self._variables):
            cubic = self._cubic(v)
            m0, m2, m3 = worker.messages(cubic)
            c0, c2 = engine.send(m0), engine.send(m2)
            c3 = engine.send(m3) if cubic else None
            r = engine.challenge()
            # c1 = T - 2 c0 - c2 - c3; T' = c0 + c1 r + c2 r^2 + c3 r^3
            running.step(r, (1 - 2 * r, c0), (r * r - r, c2), *([(r * r * r - r, c3)] if c3 is not None else []))
            worker.bind(r)
            point.append(r)
        engine.counts.sumcheck_rounds += self._variables
        return point, running.total()

    def scales(self, point: Sequence[K]) -> list[K]:
        """What multiplies L(s) R(s) of every item in the claim: coefficient, E(s), and (1 - s_v)^2 for variables
        beyond."""
        tails = [ONE]
        for r in reversed(point):
            tails.append(tails[-1] * (1 - r) * (1 - r))
        out = []
        for item in self._items:
            scale = item.coefficient * tails[len(point) - item.variables]
            for factor, r in zip(item.weights, point, strict=False):
                if factor is not None:
                    scale = scale * (factor[0] + factor[1] * r)
            out.append(scale)
        return out

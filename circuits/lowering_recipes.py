"""What is neither linear nor bilinear, as advice with ranges and zero conditions.

Sign of x in [low, high]: a bit s and a magnitude m in [0, max(high, -low - 1)] with m = (1 - 2 s) x - s. At x >= 0 only
s = 0, m = x has m >= 0, at x < 0 only s = 1, m = -x - 1: unique, also at 0. From it |x| = m + s and
max(a, b) = (a + b + |a - b|) / 2. Lookups may show a wider range than is asked for (`rounded_high`): no argument here
needs the upper end, except that of a remainder. Source: protocol.md, section 6.
"""

from __future__ import annotations

import math

import numpy as np

from circuits.errors import StatementError
from circuits.graph_nodes import MAX_STORED
from circuits.intervals import LIMIT
from circuits.lowering_values import complement, difference, full, indexed, is_zero, product, weighted_sum
from circuits.program import Advice, Program, Quotient, Sign, Slack, Tally, Value, rounded_high

WIDEST_ZERO = 2**63
"""A zero condition v = 0 modulo p is one of integers if |v| < p; below this bound v also fits 64 signed bits."""


class Recipes:
    """Adds advice, its recipes and its zero conditions to a program, under names that start with `prefix`."""

    def __init__(self, program: Program, prefix: str) -> None:
        self._program, self._prefix, self._count = program, prefix, 0
        self._signs: dict[Value, Sign] = {}
        self._differences: dict[tuple[Value, Value], Value] = {}

    def zero(self, name: str, value: Value) -> None:
        """`value` is 0 in every cell."""
        if value.low > 0 or value.high < 0:
            raise StatementError(
                f"{name} can never be proved: it is false whatever the weights are; check the threshold"
            )
        if is_zero(value):
            return
        if value.low <= -WIDEST_ZERO or value.high >= WIDEST_ZERO:
            raise StatementError(f"{name}: the operands are too wide to compare; divide them first")
        self._program.zeros.append((name, value))

    def slack(self, name: str, value: Value) -> None:
        """`value` >= 0 in every cell."""
        if value.low >= 0:
            return
        if value.high < 0:
            raise StatementError(
                f"{name} can never be proved: it is false whatever the weights are; check the threshold"
            )
        advice = self._advice(name, value, 0, value.high)
        self._program.recipes.append(Slack(value, advice))
        self.zero(name, difference(value, advice))

    def gap(self, a: Value, b: Value) -> Value:
        """a - b, one value however often it is asked for."""
        known = self._differences.get((a, b))
        if known is None:
            known = self._differences[a, b] = difference(a, b)
        return known

    def negative(self, x: Value) -> Value:
        """The bit [x < 0]."""
        if x.low >= 0 or x.high < 0:
            return full(x.shape, int(x.high < 0))
        return self._sign(x).negative

    def absolute(self, x: Value) -> Value:
        """|x|."""
        if x.low >= 0:
            return x
        if x.high <= 0:
            return weighted_sum(x.shape, [(-1, x)], -x.high, -x.low)
        sign = self._sign(x)
        return weighted_sum(x.shape, [(1, sign.magnitude), (1, sign.negative)], 0, max(-x.low, x.high))

    def largest(self, a: Value, b: Value) -> Value:
        """max(a, b)."""
        gap = self.gap(a, b)
        if gap.low >= 0:
            return a
        if gap.high <= 0:
            return b
        parts = [(1, a), (1, b), (1, self.absolute(gap))]
        return weighted_sum(a.shape, parts, max(a.low, b.low), max(a.high, b.high), 2)

    def smallest(self, a: Value, b: Value) -> Value:
        """min(a, b)."""
        gap = self.gap(a, b)
        if gap.low >= 0:
            return b
        if gap.high <= 0:
            return a
        parts = [(1, a), (1, b), (-1, self.absolute(gap))]
        return weighted_sum(a.shape, parts, min(a.low, b.low), min(a.high, b.high), 2)

    def largest_over(self, x: Value, axes: tuple[int, ...]) -> Value:
        """The maximum over axes, which are gone: a tree of pairs, one comparison per cell less one."""
        cells = math.prod(x.shape)
        if cells > MAX_STORED:
            raise StatementError(f"ReduceMax over {cells} cells; at most {MAX_STORED} are supported")
        kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
        shape = tuple(x.shape[axis] for axis in kept)
        rest = math.prod(shape)
        index = np.arange(cells, dtype=np.int64).reshape(x.shape).transpose(axes + kept).reshape(-1, rest)
        sources: tuple[Value, ...] = (x,)
        while len(index) > 1:
            half = len(index) // 2
            first, second = (indexed(sources, part, (half * rest,)) for part in (index[:half], index[half : 2 * half]))
            best = np.arange(half * rest, dtype=np.int64).reshape(half, rest)
            # The odd one out, if there is one, waits for the next round.
            index = np.concatenate([best, index[2 * half :] + half * rest])
            sources = (self.largest(first, second), *sources)
        return indexed(sources[:1] if len(index) and index.max() < rest else sources, index, shape)

    def zero_bit(self, x: Value) -> Value:
        """The bit [x = 0] = 1 - [x < 0] - [-x < 0]."""
        below = self.negative(x)
        above = self.negative(weighted_sum(x.shape, [(-1, x)], -x.high, -x.low))
        return weighted_sum(x.shape, [(1, full(x.shape, 1)), (-1, below), (-1, above)], 0, 1)

    def equal_bits(self, a: Value, b: Value) -> Value:
        """The bit [a = b] of two bits: 1 - a - b + 2 a b."""
        parts = [(1, full(a.shape, 1)), (-1, a), (-1, b), (2, product(a, b))]
        return weighted_sum(a.shape, parts, 0, 1)

    def either(self, a: Value, b: Value) -> Value:
        """a or b = 1 - (1 - a)(1 - b)."""
        return complement(product(complement(a), complement(b)))

    def chosen(self, condition: Value, a: Value, b: Value, low: int, high: int) -> Value:
        """a where the bit is 1, else b: b + condition (a - b)."""
        gap = self.gap(a, b)
        parts = [(1, b)] if is_zero(gap) else [(1, b), (1, product(condition, gap))]
        return weighted_sum(a.shape, parts, low, high)

    def quotient(self, x: Value, divisor: int) -> Value:
        """floor(x / divisor): x = divisor * quotient + remainder, unique for 0 <= remainder < divisor."""
        low, high = x.low // divisor, x.high // divisor
        if divisor == 1 or low == high:
            return x if divisor == 1 else full(x.shape, low)
        name = self._name()
        quotient = self._advice(f"{name}/quotient", x, low, high)
        remainder = self._advice(f"{name}/remainder", x, 0, divisor - 1)
        self._program.recipes.append(Quotient(x, divisor, quotient, remainder))
        parts = [(1, x), (-divisor, quotient), (-1, remainder)]
        lowest, highest = x.low - divisor * quotient.high - remainder.high, x.high - divisor * low
        self.zero(name, weighted_sum(x.shape, parts, lowest, highest))
        if remainder.high >= divisor:
            self.slack(f"{name}/below", difference(full(x.shape, divisor - 1), remainder))
        return quotient

    def histogram(self, x: Value) -> Value:
        """A fresh histogram of x, shape (65536,)."""
        name = self._name()
        counts = Advice((65_536,), 0, rounded_high(0, math.prod(x.shape)), f"{name}/counts")
        self._program.tallies.append(Tally(name, x, counts))
        return counts

    def _sign(self, x: Value) -> Sign:
        known = self._signs.get(x)
        if known is not None:
            return known
        name = self._name()
        bound = max(x.high, -x.low - 1)
        negative = self._advice(f"{name}/negative", x, 0, 1)
        magnitude = self._advice(f"{name}/magnitude", x, 0, bound)
        sign = self._signs[x] = Sign(x, negative, magnitude)
        self._program.recipes.append(sign)
        # s = 0 leaves m - x, s = 1 leaves m + x + 1.
        low, high = min(-x.high, x.low + 1), magnitude.high + max(-x.low, x.high + 1)
        parts = [(1, magnitude), (-1, x), (2, product(negative, x)), (1, negative)]
        self.zero(name, weighted_sum(x.shape, parts, low, high))
        return sign

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}/{self._count}"

    def _advice(self, name: str, like: Value, low: int, high: int) -> Advice:
        if high - low >= LIMIT:
            raise StatementError(f"{name}: advice in [{low}, {high}] is too wide to look up; divide its operand first")
        return Advice(like.shape, low, rounded_high(low, high), name)

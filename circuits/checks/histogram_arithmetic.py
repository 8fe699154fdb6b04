"""Arithmetic on the histogram of a set of weights: one formula gives the graph and, with data, the certificate.

`Work` writes a graph. Where the owner's counts are known it carries the value of every scalar along, so that the
numbers asked from the prover (`hint`) are computed by the formula that the verifier compiles: the two cannot drift
apart. Sums of cubes and fourth powers do not fit 62 bits and are `Wide`: a list of limbs in base 2^b, b fixed by the
number of weights. A carry writes a limb x as 2^b q + r with advice q and r; any such q and r are right, so nothing
rests on their ranges. Source: statements.md, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from circuits.builder import GraphBuilder, Operand, Tensor
from circuits.program import Integers, Shape, rounded_high

TABLE = 65_536
OFFSET = 32_768
VALUES = np.arange(-OFFSET, OFFSET, dtype=np.int64)
"""The integer that each cell of a histogram counts."""

LIMB_SUM_LOG = 56
"""Sums of limbs over all weights stay below 2^56, products below 2^59, so that differences of sums stay below 2^62."""
PRODUCT_LOG = 59


def base_log(entries: int) -> int:
    """b: limbs of `Wide` integers are written in base 2^b, and the sum of `entries` of them stays below 2^56."""
    return min(30, LIMB_SUM_LOG - (entries - 1).bit_length())


@dataclass(frozen=True)
class Scalar:
    """One integer of a graph.

    Attributes:
        tensor: of shape ().
        low, high: its interval, as interval analysis finds it or wider.
        value: what it is for the owner's weights, None where only public facts are known.
    """

    work: Work
    tensor: Tensor
    low: int
    high: int
    value: int | None

    @property
    def magnitude(self) -> int:
        """The largest absolute value."""
        return max(-self.low, self.high)

    def __add__(self, other: Scalar | int) -> Scalar:
        if isinstance(other, int):
            value = None if self.value is None else self.value + other
            return Scalar(self.work, self.work.g.add(self.tensor, other), self.low + other, self.high + other, value)
        value = None if self.value is None or other.value is None else self.value + other.value
        tensor = self.work.g.add(self.tensor, other.tensor)
        return Scalar(self.work, tensor, self.low + other.low, self.high + other.high, value)

    def __sub__(self, other: Scalar | int) -> Scalar:
        return self + -other

    def __neg__(self) -> Scalar:
        value = None if self.value is None else -self.value
        return Scalar(self.work, self.work.g.neg(self.tensor), -self.high, -self.low, value)

    def __mul__(self, other: Scalar | int) -> Scalar:
        if isinstance(other, int):
            ends = (self.low * other, self.high * other)
            value = None if self.value is None else self.value * other
            return Scalar(self.work, self.work.g.mul(self.tensor, other), min(ends), max(ends), value)
        corners = [x * y for x in (self.low, self.high) for y in (other.low, other.high)]
        value = None if self.value is None or other.value is None else self.value * other.value
        return Scalar(self.work, self.work.g.mul(self.tensor, other.tensor), min(corners), max(corners), value)

    def __floordiv__(self, divisor: int) -> Scalar:
        """Rounded down, also below zero."""
        value = None if self.value is None else self.value // divisor
        tensor = self.work.g.floor_div(self.tensor, divisor)
        return Scalar(self.work, tensor, self.low // divisor, self.high // divisor, value)

    def over_rounded_up(self, divisor: int) -> Scalar:
        """ceil(self / divisor)."""
        return (self + (divisor - 1)) // divisor


@dataclass
class Work:
    """A graph under construction over the histogram `counts` of `entries` weights.

    Attributes:
        clear: the owner's counts, shape (65536,), or None.
        advice: the certificate, by the names that the graph uses.
        passed: do all assertions so far hold and all hints fit their ranges? Means nothing where `clear` is None.
        needed: the limit after tightening, as text, where it depends on the weights.
    """

    g: GraphBuilder
    counts: Tensor
    entries: int
    clear: Integers | None = None
    advice: dict[str, Integers] = field(default_factory=dict)
    passed: bool = True
    needed: str = ""
    _carries: int = 0

    @property
    def base_log(self) -> int:
        """b, of the number of weights."""
        return base_log(self.entries)

    def scalar(self, tensor: Tensor, low: int, high: int, value: int | None) -> Scalar:
        """A tensor of shape () with its interval."""
        return Scalar(self, tensor, low, high, value)

    def functional(self, weights: Integers) -> Scalar:
        """sum_t counts_t weights_t for public weights of shape (65536,)."""
        low, high = self.entries * int(weights.min()), self.entries * int(weights.max())
        value = None if self.clear is None else int(np.dot(self.clear, weights))
        return self.scalar(self.g.einsum("t,t->", self.counts, weights), low, high, value)

    def count(self, cells: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Scalar:
        """How many weights lie in the chosen cells."""
        return self.functional(cells.astype(np.int64))

    def hint(self, name: str, low: int, high: int, value: Callable[[], int]) -> Scalar:
        """An integer from the prover in [low, rounded_high(low, high)]; `value` computes it where weights are known."""
        # of any size until it has been compared with the range
        tensor, array = self.hints(name, (), low, high, lambda: np.array(value(), dtype=object))
        return self.scalar(tensor, low, rounded_high(low, high), None if array is None else int(array))

    def hints(
        self,
        name: str,
        shape: Shape,
        low: int,
        high: int,
        values: Callable[[], np.ndarray[Shape, np.dtype[np.generic]]],
    ) -> tuple[Tensor, Integers | None]:
        """A tensor from the prover. Values outside the range fail the certificate and are clamped."""
        tensor = self.g.advice(name, shape, low, high)
        if self.clear is None:
            return tensor, None
        found = np.asarray(values())
        self.passed &= bool(np.all(found >= low) and np.all(found <= high))
        self.advice[name] = np.array(np.clip(found, low, high), dtype=np.int64)
        return tensor, self.advice[name]

    def at_least(self, what: str, a: Scalar, b: Scalar | int) -> None:
        """Assert a >= b."""
        if isinstance(b, int):
            # beyond the interval of a every bound says the same
            b = max(a.low, min(b, a.high + 1))
        self._assert(what, self.g.greater_or_equal(a.tensor, _operand(b)), a, b, lambda x, y: x >= y)

    def at_most(self, what: str, a: Scalar, b: Scalar | int) -> None:
        """Assert a <= b."""
        if isinstance(b, int):
            b = max(a.low - 1, min(b, a.high))
        self._assert(what, self.g.less_or_equal(a.tensor, _operand(b)), a, b, lambda x, y: x <= y)

    def equal(self, what: str, a: Scalar, b: Scalar | int) -> None:
        """Assert a == b."""
        self._assert(what, self.g.equal(a.tensor, _operand(b)), a, b, lambda x, y: x == y)

    def _assert(self, what: str, tensor: Tensor, a: Scalar, b: Scalar | int, holds: Callable[[int, int], bool]) -> None:
        self.g.assert_true(what, tensor)
        right = b if isinstance(b, int) else b.value
        if a.value is not None and right is not None:
            self.passed &= holds(a.value, right)

    def split(self, x: Scalar, log: int) -> tuple[Scalar, Scalar]:
        """(q, r) with x = 2^log q + r and r in [0, 2^log), as advice."""
        self._carries += 1
        name = f"carry/{self._carries}"
        quotient = self.hint(f"{name}/high", x.low >> log, x.high >> log, lambda: known(x) >> log)
        remainder = self.hint(f"{name}/low", 0, (1 << log) - 1, lambda: known(x) & ((1 << log) - 1))
        self.equal(name, quotient * (1 << log) + remainder, x)
        return quotient, remainder


@dataclass(frozen=True)
class Wide:
    """sum_i 2^(b i) limbs_i, an integer of any size; limbs may be negative and may overlap."""

    work: Work
    limbs: tuple[Scalar, ...]

    @staticmethod
    def functional(work: Work, weights: Integers) -> Wide:
        """sum_t counts_t weights_t, from sums of limbs of the weights."""
        parts: list[Integers] = []
        top = weights
        while work.entries * max(-int(top.min()), int(top.max())) >= 1 << LIMB_SUM_LOG:
            parts.append(top & ((1 << work.base_log) - 1))
            top = top >> work.base_log
        return Wide(work, tuple(work.functional(part) for part in (*parts, top)))

    @property
    def value(self) -> int | None:
        """Where the weights are known."""
        if any(limb.value is None for limb in self.limbs):
            return None
        return sum(known(limb) << (self.work.base_log * i) for i, limb in enumerate(self.limbs))

    def __add__(self, other: Wide) -> Wide:
        shorter, longer = sorted((self.limbs, other.limbs), key=len)
        common = tuple(a + b for a, b in zip(longer, shorter, strict=False))
        return Wide(self.work, common + longer[len(shorter) :])

    def __sub__(self, other: Wide) -> Wide:
        return self + other * -1

    def __mul__(self, factor: Scalar | int) -> Wide:
        """Limb by limb, after carrying where a product would not fit."""
        bound = abs(factor) if isinstance(factor, int) else factor.magnitude
        limbs: list[Scalar] = []
        pending = list(self.limbs)
        while pending:
            limb = pending.pop(0)
            if limb.magnitude * bound >= 1 << PRODUCT_LOG:
                carry, limb = self.work.split(limb, self.work.base_log)
                pending[:1] = [pending[0] + carry] if pending else [carry]
            limbs.append(limb * factor)
        return Wide(self.work, tuple(limbs))

    def assert_not_negative(self, what: str) -> None:
        """Assert that it is >= 0: x_0 + 2^b X >= 0 iff floor(x_0 / 2^b) + X >= 0."""
        rest = self.limbs[0]
        for limb in self.limbs[1:]:
            rest = limb + rest // (1 << self.work.base_log)
        self.work.at_least(what, rest, 0)


def wide_constant(work: Work, value: int) -> Wide:
    """A public integer of any size."""
    limbs: list[int] = []
    while abs(value) >= 1 << LIMB_SUM_LOG:
        limbs.append(value & ((1 << work.base_log) - 1))
        value >>= work.base_log
    return Wide(work, tuple(constant(work, limb) for limb in (*limbs, value)))


def constant(work: Work, value: int) -> Scalar:
    """A public integer."""
    return work.scalar(work.g.constant(value), value, value, None if work.clear is None else value)


def _operand(x: Scalar | int) -> Operand:
    return x if isinstance(x, int) else x.tensor


def known(x: Scalar) -> int:
    """The value of a scalar while a certificate is computed."""
    assert x.value is not None
    return x.value

"""direction-write-bound: how strongly a tensor writes to a public direction r of the residual stream, |r^T W|.

Exact. At most eps: the direction is erased from the tensor; at least eps: it is present. If the group names every
tensor that writes to the residual stream, erasure from all of them bounds what the model can write for any input.

The policy gives v, the check uses r = v / |v|. With integers p close to sigma v (exactly so where v has few decimals),
e = p / sigma - v, and y = p^T W over the integers of the tensor, with k outputs and n entries:

    | |v^T W| - |y| / (sigma 2^F) | <= m = |e| 2^(15 - F) sqrt(n) + delta |v|_1 sqrt(k)
    erased      |y| <= sigma 2^F (eps |v| - m)
    present     |y| >= sigma 2^F (eps |v| + m)

The squares of y would overflow: q = round(y / 2^s) is used, and | |y| - 2^s |q| | <= 2^(s - 1) sqrt(k) joins m. Every
root and rounding goes to the stricter side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from circuits.builder import GraphBuilder
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.no_ablated_direction import Writers
from circuits.errors import PolicyError, StatementError
from circuits.manifest import TensorEntry
from circuits.program import Integers
from circuits.rationals import decimal, root_above

LIMIT = 1 << 61
WEIGHT_LOG = 15
TOTAL = 1 << 40
"""The absolute values of the integer direction sum to at most about this."""
MAX_LENGTH = 1 << 16

Component = Annotated[str, Field(max_length=100)]


class PinnedDirection(BaseModel):
    """A direction and the digest of the file that it was published in: one decimal on each line, the last one too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    values: tuple[Component, ...] = Field(min_length=1, max_length=MAX_LENGTH)


@dataclass(frozen=True)
class Direction:
    """A direction in integers.

    Attributes:
        integers: p, close to sigma v.
        sigma: the factor.
        error: at least |p / sigma - v|.
        one_norm: |v|_1.
        square: |v|^2.
    """

    integers: Integers = field(repr=False)
    sigma: Fraction
    error: Fraction
    one_norm: Fraction
    square: Fraction

    @staticmethod
    def of(values: Sequence[Fraction]) -> Direction:
        """Exact if a common denominator is small enough, else rounded to integers that sum to about TOTAL."""
        one_norm = sum(map(abs, values), Fraction(0))
        square = sum((v * v for v in values), Fraction(0))
        denominator = lcm(*(v.denominator for v in values))
        sigma = Fraction(denominator, gcd(*(int(v * denominator) for v in values)))
        if one_norm * sigma > TOTAL:
            sigma = TOTAL / one_norm
        integers = [round(v * sigma) for v in values]
        off = sum(((p / sigma - v) ** 2 for p, v in zip(integers, values, strict=True)), Fraction(0))
        return Direction(np.array(integers, np.int64), sigma, root_above(off), one_norm, square)


@dataclass(frozen=True)
class WriteSpec:
    """The sum of the squares of round(y / 2^shift) is at most (or at least) bound.

    Attributes:
        axis: of the tensor's matrix, the residual one.
        unit: |r^T W| of the copy is unit * |y|, approximately, for reports.
    """

    tensor: TensorEntry
    axis: int
    integers: Integers = field(repr=False)
    shift: int
    bound: int
    above: bool
    unit: float


class DirectionWriteBound(Check):
    """|r^T W| <= at_most and / or >= at_least for every tensor of the group."""

    check: Literal["direction-write-bound"]
    group: tuple[Writers, ...] = Field(min_length=1, max_length=64)
    direction: Annotated[tuple[Component, ...], Field(min_length=1, max_length=MAX_LENGTH)] | PinnedDirection
    at_most: str | None = None
    at_least: str | None = None

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "An erased direction does not show that the behaviour linked to it is gone, nor a present one that it is there."
    )

    def validate_values(self) -> None:
        require(
            self.at_most is not None or self.at_least is not None, "direction-write-bound needs at_most or at_least"
        )
        for name in ("at_most", "at_least"):
            value = getattr(self, name)
            require(value is None or decimal(value, name) >= 0, f"{name} of direction-write-bound must not be negative")
        if isinstance(self.direction, PinnedDirection):
            found = hashlib.sha256("".join(f"{v}\n" for v in self.direction.values).encode()).hexdigest()
            require(found == self.direction.file_sha256, f"the values of direction have SHA-256 {found} as a file")
        require(any(self._components()), "direction-write-bound: the direction is zero")

    def _components(self) -> list[Fraction]:
        values = self.direction.values if isinstance(self.direction, PinnedDirection) else self.direction
        return [decimal(value, "a component of direction") for value in values]

    def instances(self, context: Context) -> list[Instance]:
        direction = Direction.of(self._components())
        out: list[Instance] = []
        seen: set[str] = set()
        for part in self.group:
            for tensor in context.select(part.tensors):
                if tensor.name in seen:
                    raise PolicyError(f"direction-write-bound: {tensor.name} is matched twice in one group")
                seen.add(tensor.name)
                axis = matrix_axis(tensor, part.residual_axis)
                if tensor.matrix_shape[axis] != len(direction.integers):
                    raise PolicyError(
                        f"direction-write-bound: the direction has {len(direction.integers)} components, axis"
                        f" {part.residual_axis} of {tensor.name} has {tensor.matrix_shape[axis]}"
                    )
                if self.at_most is not None:
                    out.append(self._instance(tensor, axis, direction, self.at_most, above=False))
                if self.at_least is not None:
                    out.append(self._instance(tensor, axis, direction, self.at_least, above=True))
        return out

    def _instance(self, tensor: TensorEntry, axis: int, direction: Direction, limit: str, above: bool) -> Instance:
        outputs = Fraction(tensor.matrix_shape[1 - axis])
        rounding = tensor.rounding_bound * direction.one_norm * root_above(outputs)
        unknown = Fraction(2) ** (WEIGHT_LOG - tensor.scale) * root_above(Fraction(tensor.entries))
        margin = direction.error * unknown + rounding
        shift = shift_for(direction.integers, int(outputs))
        coarse = root_above(outputs) / 2 if shift else Fraction(0)  # in units of 2^shift
        unit = direction.sigma * Fraction(2) ** (tensor.scale - shift)
        length = root_above(direction.square)
        if above:
            bound = ceil((unit * (decimal(limit, "at_least") * length + margin) + coarse) ** 2)
        else:
            # |v| rounded down: |v|^2 divided by the root rounded up
            tightened = unit * (decimal(limit, "at_most") * direction.square / length - margin) - coarse
            if tightened < 0:
                raise StatementError(
                    f"direction-write-bound of {tensor.name}: at_most {limit} is below the rounding"
                    f" {float((margin + coarse / unit) / length):.3g}; raise it"
                )
            bound = floor(tightened**2)
        g = GraphBuilder("direction-write-bound", self.version)
        w = g.weight(tensor.name, tensor.matrix_shape)
        y = g.einsum("ij,i->j" if axis == 0 else "ij,j->i", w, direction.integers)
        q = g.floor_div(g.add(y, 1 << (shift - 1)), 1 << shift) if shift else y
        square = g.einsum("i,i->", q, q)
        compare = g.greater_or_equal if above else g.less_or_equal
        g.assert_true("write", compare(square, min(bound, LIMIT)))
        scale = float(1 / (direction.sigma * Fraction(2) ** tensor.scale * length))
        spec = WriteSpec(tensor, axis, direction.integers, shift, bound, above, scale)
        return Instance(tensor.name, "|r^T W|", ">=" if above else "<=", limit, g.graph(), spec)


def matrix_axis(tensor: TensorEntry, axis: int) -> int:
    """The axis of the tensor's matrix; a vector such as a bias is one row, and axis 0 is its only axis.

    Raises PolicyError if the tensor has no such axis, or more than two.
    """
    if len(tensor.shape) > 2 or axis >= max(len(tensor.shape), 1):
        raise PolicyError(f"direction-write-bound: {tensor.name} {tensor.shape} has no residual axis {axis}")
    return axis if len(tensor.shape) == 2 else 1


def shift_for(integers: Integers, outputs: int) -> int:
    """The least s for which the squares of round(y / 2^s) sum below 2^61."""
    peak = int(np.abs(integers).sum()) << WEIGHT_LOG
    shift = 0
    while outputs * ((peak >> shift) + (1 if shift else 0)) ** 2 >= LIMIT:
        shift += 1
    return shift

"""no-single-direction-edit: the changes against a base model do not share one direction of the residual stream.

lambda_max( sum_l D_l D_l^T / |D_l|_F^2 ) / L <= at_most over L changed matrices, D_l = W_l - W0_l with the residual
axis kept: a
common rank-one edit (an ablation of any strength, a reflection) gives 1. Every |D_l|_F must be at least norm_at_least.

In the graph c_l are advice integers with 127/128 2^k <= c_l S_l <= 129/128 2^k, S_l the integer sum of squares of the
difference d_l in units of 2^-M. Rounding moves d_l by at most r_l = 2^M (delta + delta0) sqrt(n), and the normalised
matrix by at
most 2 r_l / |d_l|, so the largest singular value of the stack by at most eta = 2 sqrt(sum_l (r_l / floor_l)^2), where
|d_l| >= floor_l = 2^M norm_at_least + r_l is asserted. Hence B 2^k (127/128) I - sum_l c_l d_l d_l^T >= 0 with
B = (sqrt(L at_most) - eta)^2 suffices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.bases import Base, Pair, pairs
from circuits.checks.no_ablated_direction import COARSE_LOG, Writers
from circuits.checks.positive import PsdPlan, assert_positive, factor_log, plan
from circuits.errors import PolicyError, StatementError
from circuits.program import rounded_high
from circuits.rationals import decimal, root_above

MAX_LOG = 60


@dataclass(frozen=True)
class EditSpec:
    """The changed tensors with their residual axes, and the integers of the module's last inequality."""

    pairs: tuple[tuple[Pair, int], ...]
    unit_log: int
    bound: int
    floors: tuple[int, ...]
    largest_scale: tuple[int, ...]
    sizes: PsdPlan


class NoSingleDirectionEdit(Check):
    """The normalised changes of all writers have no common direction with a share above at_most."""

    check: Literal["no-single-direction-edit"]
    base: Base
    group: tuple[Writers, ...] = Field(min_length=1, max_length=64)
    at_most: str
    norm_at_least: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "Noise of equal energy hides a common direction: this is an indicator, no proof that no direction was removed."
    )

    def validate_values(self) -> None:
        self.base.validate_values()
        require(0 < decimal(self.at_most, "at_most") < 1, "at_most of no-single-direction-edit lies between 0 and 1")
        require(decimal(self.norm_at_least, "norm_at_least") > 0, "norm_at_least must be positive")

    def instances(self, context: Context) -> list[Instance]:
        axes: dict[str, int] = {}
        for part in self.group:
            for tensor in context.select(part.tensors):
                if tensor.name in axes:
                    raise PolicyError(f"no-single-direction-edit: {tensor.name} is matched twice in one group")
                axes[tensor.name] = part.residual_axis
        chosen = pairs(self.base, context, [context.tensors[name] for name in axes])
        sizes = {pair.tensor.matrix_shape[axes[pair.tensor.name]] for pair in chosen}
        require(len(sizes) == 1, f"no-single-direction-edit: the residual axes have different sizes {sorted(sizes)}")
        return [self._instance([(pair, axes[pair.tensor.name]) for pair in chosen], sizes.pop())]

    def _instance(self, chosen: Sequence[tuple[Pair, int]], size: int) -> Instance:
        rounding = [Fraction(2) ** p.scale * p.rounding * root_above(Fraction(p.tensor.entries)) for p, _ in chosen]
        least = [
            Fraction(2) ** p.scale * decimal(self.norm_at_least, "norm_at_least") + r
            for (p, _), r in zip(chosen, rounding, strict=True)
        ]
        floors = [ceil(value**2) for value in least]
        eta = 2 * root_above(sum(((r / v) ** 2 for r, v in zip(rounding, least, strict=True)), Fraction(0)))
        # sqrt(x) >= x / root_above(x)
        limit = len(chosen) * decimal(self.at_most, "at_most")
        root = limit / root_above(limit) - eta
        if root <= 0:
            raise StatementError("no-single-direction-edit: at_most is below the rounding; raise norm_at_least")
        magnitudes = [(p.tensor.entries // size) * p.magnitude**2 for p, _ in chosen]
        unit_log = 2 * factor_log(size) - 1 - len(chosen).bit_length()
        for value, magnitude in zip(floors, magnitudes, strict=True):
            unit_log = min(
                unit_log, MAX_LOG - 2 - len(chosen).bit_length() + value.bit_length() - 1 - magnitude.bit_length()
            )
        if unit_log < 24:
            raise StatementError("no-single-direction-edit: norm_at_least is too small for 62 bits; raise it")
        bound = floor(Fraction(127, 128) * root**2 * 2**unit_log)
        g = GraphBuilder("no-single-direction-edit", self.version)
        total: Tensor | None = None
        scales, sum_magnitude = [], bound
        for number, ((pair, axis), value, magnitude) in enumerate(zip(chosen, floors, magnitudes, strict=True)):
            scales.append(rounded_high(1, max(1, (129 << (unit_log - 7)) // value)))
            scale = g.advice(f"scale/{number}", (), 1, scales[-1])
            d = pair.difference(g)
            square = g.einsum("ij,ij->", d, d)
            g.assert_true(f"changed/{number}", g.greater_or_equal(square, value))
            down = g.floor_div(square, 1 << COARSE_LOG)
            low, high = 127 << (unit_log - 7 - COARSE_LOG), 129 << (unit_log - 7 - COARSE_LOG)
            g.assert_true(f"normalised/{number}/low", g.greater_or_equal(g.mul(scale, down), low))
            g.assert_true(f"normalised/{number}/high", g.less_or_equal(g.mul(scale, g.add(down, 1)), high))
            part = g.mul(g.einsum("ik,jk->ij" if axis == 0 else "ki,kj->ij", d, d), scale)
            sum_magnitude += scales[-1] * magnitude
            total = part if total is None else g.add(total, part)
        assert total is not None
        sizes = plan(size, bound, 2 * sum_magnitude)
        identity = g.mul(g.identity(size), bound - sizes.slack)
        assert_positive(g, g.sub(identity, total), sizes, "changes")
        spec = EditSpec(tuple(chosen), unit_log, bound, tuple(floors), tuple(scales), sizes)
        label = f"changes of {len(chosen)} tensors"
        metric = "lambda_max(sum D D^T / |D|_F^2) / count"
        return Instance(label, metric, "<=", self.at_most, g.graph(), spec)

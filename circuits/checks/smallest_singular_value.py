"""smallest-singular-value: sigma_min(W) >= at_least, on the smaller side of the matrix.

W W^T - t^2 I >= 0 by a certificate (`positive`); every singular value moves by at most delta sqrt(m k) under rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.gram import gram, gram_magnitude, sides, singular_margin
from circuits.checks.positive import PsdPlan, assert_positive, plan
from circuits.manifest import TensorEntry
from circuits.rationals import decimal


@dataclass(frozen=True)
class SmallestSpec:
    """W W^T - (bound + slack) I is shown to be >= -slack I, in integers."""

    tensor: TensorEntry
    bound: int
    sizes: PsdPlan


class SmallestSingularValue(Check):
    """sigma_min(W) >= at_least for each matching tensor.

    `norm_at_most` is an upper estimate of the largest singular value: it fixes the precision of the certificate, in
    public, and is not proved. Too small an estimate makes proving fail, never the proof wrong.
    """

    check: Literal["smallest-singular-value"]
    tensors: str = Field(min_length=1, max_length=600)
    at_least: str
    norm_at_most: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "Full rank of a matrix says nothing about what the model does with the directions it keeps."
    )

    def validate_values(self) -> None:
        require(decimal(self.at_least, "at_least") > 0, "at_least of smallest-singular-value must be positive")
        require(
            decimal(self.norm_at_most, "norm_at_most") > decimal(self.at_least, "at_least"),
            "norm_at_most of smallest-singular-value must exceed at_least",
        )

    def instances(self, context: Context) -> list[Instance]:
        return [self._instance(tensor) for tensor in context.select(self.tensors)]

    def _instance(self, tensor: TensorEntry) -> Instance:
        unit = Fraction(4) ** tensor.scale
        size, inner = sides(tensor)
        bound = ceil((decimal(self.at_least, "at_least") + singular_margin(tensor)) ** 2 * unit)
        largest = min(
            max(1, floor(decimal(self.norm_at_most, "norm_at_most") ** 2 * unit)), size * gram_magnitude(inner)
        )
        sizes = plan(size, largest, gram_magnitude(inner) + 2 * bound + largest)
        g = GraphBuilder("smallest-singular-value", self.version)
        identity = g.mul(g.identity(size), bound + sizes.slack)
        assert_positive(g, g.sub(gram(g, tensor), identity), sizes, "lower")
        return Instance(tensor.name, "sigma_min(W)", ">=", self.at_least, g.graph(), SmallestSpec(tensor, bound, sizes))

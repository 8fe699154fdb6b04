"""stable-rank: |W|_F^2 / sigma_1(W)^2 >= at_least.

With a = |W_hat|_F, s = sigma_1(W_hat) in integer units and e = sqrt(n) / 2 the rounding of both, the claim (a - e)^2 >=
r (s + e)^2 follows from a^2 >= (sqrt(r) s + c)^2 with c = e (1 + sqrt(r)), and that from a^2 >= (1 + u) r s^2 + (1 +
1/u) c^2
for any u > 0 (u = 1/256 here). So (a^2 - k) q I - p W W^T >= 0 is shown, with p/q >= (1 + u) r and k >= (1 + 1/u) c^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.gram import gram, gram_magnitude, sides
from circuits.checks.positive import PsdPlan, assert_positive, plan
from circuits.manifest import TensorEntry
from circuits.rationals import decimal, root_above

SPLIT = Fraction(1, 256)
DENOMINATOR = 16
USUAL_SQUARE_LOG = 25
"""Weights are expected to have a mean square of at most 2^25; it fixes the precision of the certificate."""


@dataclass(frozen=True)
class StableRankSpec:
    """(S - offset) * 16 I - factor * W W^T - slack I is shown to be >= -slack I, S the sum of squares."""

    tensor: TensorEntry
    factor: int
    offset: int
    sizes: PsdPlan


class StableRank(Check):
    """|W|_F^2 / sigma_1(W)^2 >= at_least for each matching tensor."""

    check: Literal["stable-rank"]
    tensors: str = Field(min_length=1, max_length=600)
    at_least: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = "A high stable rank is not evidence that a matrix was not edited in few directions."

    def validate_values(self) -> None:
        require(decimal(self.at_least, "at_least") >= 1, "at_least of stable-rank is at least 1: every matrix has 1")

    def instances(self, context: Context) -> list[Instance]:
        return [self._instance(tensor) for tensor in context.select(self.tensors)]

    def _instance(self, tensor: TensorEntry) -> Instance:
        rank = decimal(self.at_least, "at_least")
        size, inner = sides(tensor)
        require(rank <= size, f"stable-rank of {tensor.name}: at_least {self.at_least} exceeds the rank {size}")
        error = root_above(Fraction(tensor.entries)) / 2 * (1 + root_above(rank))
        offset = ceil((1 + 1 / SPLIT) * error**2)
        factor = ceil(DENOMINATOR * (1 + SPLIT) * rank)
        magnitude = DENOMINATOR * (tensor.entries << 30) + factor * gram_magnitude(inner) + DENOMINATOR * offset
        sizes = plan(size, DENOMINATOR * (tensor.entries << USUAL_SQUARE_LOG), 2 * magnitude)
        g = GraphBuilder("stable-rank", self.version)
        w = g.weight(tensor.name, tensor.matrix_shape)
        diagonal = g.sub(g.mul(g.einsum("ij,ij->", w, w), DENOMINATOR), DENOMINATOR * offset + sizes.slack)
        x = g.sub(g.mul(diagonal, g.identity(size)), g.mul(gram(g, tensor), factor))
        assert_positive(g, x, sizes, "rank")
        spec = StableRankSpec(tensor, factor, offset, sizes)
        return Instance(tensor.name, "|W|_F^2 / sigma_1(W)^2", ">=", self.at_least, g.graph(), spec)

"""spectral-norm: the largest singular value lies below `at_most` and above `at_least`.

Above: t^2 I - W W^T >= 0 on the smaller side, by a certificate (`positive`). Below: a public-size witness vector v with
|W v| >= t |v|. Both for the float weights: every singular value moves by at most delta sqrt(m k). Power iteration is
not an upper bound and is not used as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.gram import gram, gram_magnitude, sides, singular_margin
from circuits.checks.positive import PsdPlan, assert_positive, plan
from circuits.errors import StatementError
from circuits.manifest import TensorEntry
from circuits.rationals import decimal

WITNESS_LOG = 9
"""The witness vector has entries in [-2^9, 2^9)."""


@dataclass(frozen=True)
class UpperSpec:
    """lambda_max(W W^T) <= bound in integers: (bound - slack) I - W W^T is shown to be >= -slack I."""

    tensor: TensorEntry
    bound: int
    sizes: PsdPlan


@dataclass(frozen=True)
class LowerSpec:
    """|floor(|W v| / 2^shift)|^2 >= ceil(ceil(bound / 2^coarse) |v|^2 / (4^shift / 2^coarse)) for a witness v: the
    right side is at least bound |v|^2 / 4^shift."""

    tensor: TensorEntry
    bound: int
    shift: int
    coarse: int


class SpectralNorm(Check):
    """sigma_1(W) <= at_most and / or sigma_1(W) >= at_least, for each matching tensor."""

    check: Literal["spectral-norm"]
    tensors: str = Field(min_length=1, max_length=600)
    at_most: str | None = None
    at_least: str | None = None

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "A bounded spectral norm of one matrix is no useful Lipschitz bound of a network that was not trained for it."
    )

    def validate_values(self) -> None:
        require(self.at_most is not None or self.at_least is not None, "spectral-norm needs at_most or at_least")
        for name in ("at_most", "at_least"):
            value = getattr(self, name)
            require(value is None or decimal(value, name) > 0, f"{name} of spectral-norm must be positive")

    def instances(self, context: Context) -> list[Instance]:
        out = []
        for tensor in context.select(self.tensors):
            if self.at_most is not None:
                out.append(self._upper(tensor, self.at_most))
            if self.at_least is not None:
                out.append(self._lower(tensor, self.at_least))
        return out

    def _upper(self, tensor: TensorEntry, limit: str) -> Instance:
        threshold = decimal(limit, "at_most") - singular_margin(tensor)
        if threshold <= 0:
            raise StatementError(f"spectral-norm of {tensor.name}: at_most {limit} is below the rounding; raise it")
        size, inner = sides(tensor)
        # beyond 2^30 m k nothing needs to be shown more sharply
        bound = min(floor(threshold**2 * Fraction(4) ** tensor.scale), size * gram_magnitude(inner))
        sizes = plan(size, bound, gram_magnitude(inner) + bound)
        if sizes.slack * 2 > bound:
            raise StatementError(f"spectral-norm of {tensor.name}: at_most {limit} is too small to certify; raise it")
        g = GraphBuilder("spectral-norm-upper", self.version)
        identity = g.mul(g.identity(size), bound - sizes.slack)
        assert_positive(g, g.sub(identity, gram(g, tensor)), sizes, "upper")
        return Instance(tensor.name, "sigma_1(W)", "<=", limit, g.graph(), UpperSpec(tensor, bound, sizes))

    def _lower(self, tensor: TensorEntry, limit: str) -> Instance:
        threshold = decimal(limit, "at_least") + singular_margin(tensor)
        rows, columns = tensor.matrix_shape
        bound = ceil(threshold**2 * Fraction(4) ** tensor.scale)
        peak = columns << (15 + WITNESS_LOG)
        shift = max(0, -(-(2 * peak.bit_length() + rows.bit_length() - 60) // 2))
        # bound |v|^2 / 4^shift from bound / 2^coarse, rounded up, so that the product stays below 2^62
        coarse = max(0, bound.bit_length() + columns.bit_length() + 2 * WITNESS_LOG - 60)
        if coarse > 2 * shift:
            raise StatementError(f"spectral-norm of {tensor.name}: at_least {limit} is out of reach; lower it")
        g = GraphBuilder("spectral-norm-lower", self.version)
        v = g.advice("witness", (columns,), -(1 << WITNESS_LOG), (1 << WITNESS_LOG) - 1)
        product = g.abs(g.einsum("ij,j->i", g.weight(tensor.name, (rows, columns)), v))
        scaled = g.floor_div(product, 1 << shift) if shift else product
        g.assert_true(
            "witness",
            g.greater_or_equal(
                g.einsum("i,i->", scaled, scaled),
                ceiled(g, g.mul(g.einsum("j,j->", v, v), -(-bound // 2**coarse)), 4**shift >> coarse),
            ),
        )
        g.assert_true("nonzero", g.greater_or_equal(g.einsum("j,j->", v, v), 1))
        return Instance(tensor.name, "sigma_1(W)", ">=", limit, g.graph(), LowerSpec(tensor, bound, shift, coarse))


def ceiled(g: GraphBuilder, value: Tensor, divisor: int) -> Tensor:
    """ceil(value / divisor)."""
    return g.floor_div(g.add(value, divisor - 1), divisor) if divisor > 1 else value

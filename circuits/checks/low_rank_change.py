"""low-rank-change: W - W0 = B A + R with factors of a public rank r and a small residual R.

Exact. B (rows x r), A (r x columns) and the residual are the certificate. With d the difference of the integers in
units of 2^-M (`bases`) and e >= 0 further bits, the graph asserts 2^e d = B A + R in integers, so W - W0 is within
rho = delta + delta0 of 2^-(M + e) (B A + R) in every entry, and

    frobenius   |R|_F <= 2^(M + e) (t - rho sqrt(n))       gives   |W - W0 - B A / 2^(M + e)|_F <= t
    max         |R| <= 2^(M + e) (t - rho) in every cell   gives the same in the max norm

The ranges of factors and residual are public: e is as large as the residual's range allows (the policy's t says how
large an entry may typically be), since rounding the factors leaves about 0.3 sqrt((rows + columns) sum_i sigma_i 2^-e)
in R, in Frobenius norm and units of d. A t close to the rounding margin may therefore hold and yet have no certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor, isqrt
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.bases import LIMIT, Base, Pair, pairs
from circuits.errors import PolicyError, StatementError
from circuits.rationals import decimal, root_above

MAX_BITS = 12
"""The largest e."""
HEADROOM = 32
"""Entries of the residual may be this many times their root mean square."""


@dataclass(frozen=True)
class LowRankSpec:
    """2^exponent d = B A + R.

    Attributes:
        log_factor: b, the entries of B and A lie in [-2^b, 2^b).
        residual: the entries of R lie in [-residual, residual].
        bound: of the sum of the squares of R (frobenius) or of every |R| (max).
    """

    pair: Pair
    rank: int
    norm: str
    exponent: int
    log_factor: int
    residual: int
    bound: int


class LowRankChange(Check):
    """Every matching tensor differs from the base by a matrix of rank at most `rank`, up to at_most."""

    check: Literal["low-rank-change"]
    tensors: str = Field(min_length=1, max_length=600)
    base: Base
    rank: int = Field(ge=1, le=4096)
    at_most: str
    norm: Literal["frobenius", "max"] = "frobenius"

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "A change of low rank can be a harmless adapter or a removed safeguard: its rank does not tell them apart."
    )

    def validate_values(self) -> None:
        self.base.validate_values()
        require(decimal(self.at_most, "at_most") > 0, "at_most of low-rank-change must be positive")

    def instances(self, context: Context) -> list[Instance]:
        return [self._instance(pair) for pair in pairs(self.base, context, context.select(self.tensors))]

    def _instance(self, pair: Pair) -> Instance:
        spec = self._spec(pair)
        rows, columns = pair.tensor.matrix_shape
        g = GraphBuilder("low-rank-change", self.version)
        half = 1 << spec.log_factor
        left = g.advice("left", (rows, spec.rank), -half, half - 1)
        right = g.advice("right", (spec.rank, columns), -half, half - 1)
        residual = g.advice("residual", (rows, columns), -spec.residual, spec.residual)
        d = pair.difference(g)
        d = g.mul(d, 1 << spec.exponent) if spec.exponent else d
        # 2^e d = B A + R
        g.assert_true("decomposition", g.equal(d, g.add(g.matmul(left, right), residual)))
        if spec.norm == "frobenius":
            g.assert_true("residual", g.less_or_equal(g.einsum("ij,ij->", residual, residual), min(spec.bound, LIMIT)))
        elif 2 * spec.residual >= 1 << 16:  # wider ranges are not exact
            g.assert_true("residual/above", g.less_or_equal(residual, spec.bound))
            g.assert_true("residual/below", g.greater_or_equal(residual, -spec.bound))
        metric = f"|W - W0 - rank {spec.rank}|" + ("_F" if spec.norm == "frobenius" else "_max")
        return Instance(pair.label, metric, "<=", self.at_most, g.graph(), spec)

    def _spec(self, pair: Pair) -> LowRankSpec:
        name, entries = pair.tensor.name, pair.tensor.entries
        if self.rank >= min(pair.tensor.matrix_shape):
            raise PolicyError(f"low-rank-change: every change of {name} has rank at most {self.rank}; lower it")
        frobenius = self.norm == "frobenius"
        margin = pair.rounding * (root_above(Fraction(entries)) if frobenius else 1)
        tightened = decimal(self.at_most, "at_most") - margin
        if tightened <= 0:
            raise StatementError(
                f"low-rank-change of {name}: at_most {self.at_most} is below the rounding {float(margin):.3g}; raise it"
            )
        allowed = tightened * Fraction(2) ** pair.scale  # in units of d
        # what an entry of R may be: all of it under the max norm, a multiple of the root mean square otherwise
        typical = HEADROOM * allowed / isqrt(entries) if frobenius else allowed
        exponent = MAX_BITS
        while exponent and typical * 2**exponent >= 1 << 15:
            exponent -= 1
        largest = pair.magnitude << exponent
        residual = min(floor(typical * 2**exponent) + 1 if frobenius else floor(allowed * 2**exponent), largest)
        if frobenius:
            # a wide range may end up to 2^16 further than asked: its squares still sum below 2^61
            residual = max(min(residual, isqrt(LIMIT // (16 * entries))), (1 << 15) - 1)
            bound = floor((allowed * 2**exponent) ** 2)
        else:
            bound = residual
        log_factor = min(factor_bits(entries, largest), (60 - self.rank.bit_length()) // 2)
        return LowRankSpec(pair, self.rank, self.norm, exponent, log_factor, residual, bound)


def factor_bits(entries: int, largest: int) -> int:
    """b with sqrt(sigma_1) < 2^b for any matrix of this many entries, each at most `largest`: sigma_1 <= |.|_F."""
    return isqrt((isqrt(entries) + 1) * largest).bit_length() + 1

"""Positive semidefiniteness from a certificate: 4^f X = L L^T + R with R small in Frobenius norm, so X >= -slack * I.

Exact: the numerics that find L need no trust. R = 2^s Q + r with r in [0, 2^s), so |R|_F <= 2^s (|Q|_F + d), and the
sum of squares of Q is bounded in the graph. With L in [-2^b, 2^b), d 4^b <= 2^61 keeps L L^T below 2^62 whatever the
prover commits to. Rounding L to integers leaves entries of R of standard deviation about sqrt(d_ii / 6) for diagonal
entries d_ii of 4^f X, which fixes the sizes below. Source: statements.md, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from circuits.builder import GraphBuilder, Tensor
from circuits.errors import StatementError
from circuits.program import rounded_high

MAX_LOG = 61
MAX_SIZE = 8192
Q_LOG = 15
"""Q lies in [-2^15, 2^15): one limb."""


@dataclass(frozen=True)
class PsdPlan:
    """Sizes of one certificate for a d x d matrix whose diagonal is at most `bound`, fixed by public numbers.

    Attributes:
        exponent: f; 4^f X is decomposed.
        log_factor: b, L in [-2^b, 2^b).
        log_remainder: s.
        square_limit: the sum of squares of Q is at most this.
        slack: X + slack * I >= 0 follows, an integer.
    """

    size: int
    bound: int
    exponent: int
    log_factor: int
    log_remainder: int
    square_limit: int
    slack: int


def require_size(size: int) -> None:
    """Refuse matrices whose certificate would not fit in memory. Raises StatementError."""
    if size > MAX_SIZE:
        raise StatementError(f"a certificate for a {size} x {size} matrix is too large; at most {MAX_SIZE} rows")


def factor_log(size: int) -> int:
    """b for a d x d matrix: d 4^b <= 2^61. Its diagonal, times 4^f, must stay below 4^b."""
    return (MAX_LOG - size.bit_length()) // 2


def plan(size: int, bound: int, magnitude: int) -> PsdPlan:
    """Sizes for a d x d matrix X whose entries the interval analysis bounds by `magnitude`. `bound` is what the
    diagonal is expected not to exceed: it fixes the precision only; certificates of larger matrices fail.

    Raises StatementError if X is too large to be decomposed within 62 bits.
    """
    require_size(size)
    log_factor = factor_log(size)
    exponent = min((2 * log_factor - bound.bit_length()) // 2, (MAX_LOG - magnitude.bit_length()) // 2)
    if exponent < 0:
        raise StatementError("the matrix is too large for a certificate within 62 bits; choose coarser scales")
    # standard deviation of an entry of R: |L row| * sqrt(1/12) twice
    row = isqrt(bound * 4**exponent) + 1
    deviation = max(1, (row * 41) // 100)
    log_remainder = max(1, (8 * deviation).bit_length() - Q_LOG)
    norm = -(-2 * size * deviation // 2**log_remainder) + size
    if (norm * norm).bit_length() > MAX_LOG or 2 * (size.bit_length() + Q_LOG) > MAX_LOG + 1:
        raise StatementError("the matrix is too large for a certificate within 62 bits; choose coarser scales")
    slack = -(-(2**log_remainder) * (norm + size) // 4**exponent)
    return PsdPlan(size, bound, exponent, log_factor, log_remainder, norm * norm, slack)


def assert_positive(g: GraphBuilder, x: Tensor, sizes: PsdPlan, name: str) -> None:
    """Assert X + slack * I >= 0 with the certificate advice `<name>/factor`, `<name>/quotient`, `<name>/remainder`."""
    d, b = sizes.size, sizes.log_factor
    factor = g.advice(f"{name}/factor", (d, d), -(1 << b), rounded_high(-(1 << b), (1 << b) - 1))
    quotient = g.advice(f"{name}/quotient", (d, d), -(1 << Q_LOG), (1 << Q_LOG) - 1)
    remainder = g.advice(f"{name}/remainder", (d, d), 0, (1 << sizes.log_remainder) - 1)
    square = g.einsum("ik,jk->ij", factor, factor)
    left = g.mul(x, 4**sizes.exponent) if sizes.exponent else x
    rest = g.add(g.mul(quotient, 1 << sizes.log_remainder), remainder)
    # 4^f X = L L^T + 2^s Q + r
    g.assert_true(f"{name}/decomposition", g.equal(left, g.add(square, rest)))
    g.assert_true(f"{name}/residual", g.less_or_equal(g.einsum("ij,ij->", quotient, quotient), sizes.square_limit))

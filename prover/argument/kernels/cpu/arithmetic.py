"""The formulas as functions for numba code: scalar uint64 arguments and results, K as three of them."""

from __future__ import annotations

from prover.argument.kernels.cpu import formulas
from prover.argument.kernels.cpu.formulas import Triple
from prover.argument.kernels.cpu.tracing import Word, traced, traced_rows

add = traced(1)(formulas.add)
subtract = traced(1)(formulas.subtract)
multiply = traced(1)(formulas.multiply)
lift = traced(1)(formulas.lift)


@traced(3)
def k_multiply(a0: Word, a1: Word, a2: Word, b0: Word, b1: Word, b2: Word) -> Triple:
    return formulas.k_multiply((a0, a1, a2), (b0, b1, b2))


@traced(3)
def k_add(a0: Word, a1: Word, a2: Word, b0: Word, b1: Word, b2: Word) -> Triple:
    return formulas.k_add((a0, a1, a2), (b0, b1, b2))


@traced(3)
def k_subtract(a0: Word, a1: Word, a2: Word, b0: Word, b1: Word, b2: Word) -> Triple:
    return formulas.k_subtract((a0, a1, a2), (b0, b1, b2))


@traced(3)
def k_scale(a0: Word, a1: Word, a2: Word, x: Word) -> Triple:
    """A scalar of K times one of F."""
    return formulas.multiply(a0, x), formulas.multiply(a1, x), formulas.multiply(a2, x)


@traced(3)
def k_two_products(
    a0: Word, a1: Word, a2: Word, b0: Word, b1: Word, b2: Word,
    c0: Word, c1: Word, c2: Word, d0: Word, d1: Word, d2: Word,
) -> Triple:  # fmt: skip
    """a b + c d."""
    return formulas.k_two_products((a0, a1, a2), (b0, b1, b2), (c0, c1, c2), (d0, d1, d2))


@traced(3)
def k_three_scaled(
    a0: Word, a1: Word, a2: Word, x: Word, b0: Word, b1: Word, b2: Word, y: Word,
    c0: Word, c1: Word, c2: Word, z: Word,
) -> Triple:  # fmt: skip
    """a x + b y + c z, with x, y, z in F."""
    terms = ((a0, b0, c0), (a1, b1, c1), (a2, b2, c2))
    first, second, third = (formulas.fold(formulas.columns((a, x), (b, y), (c, z))) for a, b, c in terms)
    return first, second, third


@traced(3)
def k_between(low0: Word, low1: Word, low2: Word, high0: Word, high1: Word, high2: Word,
              r0: Word, r1: Word, r2: Word) -> Triple:  # fmt: skip
    """low + r (high - low)."""
    low = (low0, low1, low2)
    return formulas.k_add(low, formulas.k_multiply(formulas.k_subtract((high0, high1, high2), low), (r0, r1, r2)))


@traced(1)
def from_halves(low: Word, high: Word) -> Word:
    """low + 2^32 high, for sums of low and high halves of fewer than 2^31 elements."""
    zero = low.constant(0)
    return formulas.add(formulas.reduce(zero, low), formulas.reduce(high >> 32, high << 32))


@traced(1)
def collect(low: Word, high: Word, scale: Word) -> Word:
    """(low + 2^32 high) scale; low and high are signed, above -2^62."""
    value = formulas.add(formulas.lift(low), formulas.multiply(formulas.lift(high), low.constant(1 << 32)))
    return formulas.multiply(value, scale)


@traced_rows(2)
def butterfly(u: Word, v: Word, twiddle: Word) -> tuple[Word, Word]:
    """Decimation in frequency: (u + v, (u - v) twiddle)."""
    return formulas.add(u, v), formulas.multiply(formulas.subtract(u, v), twiddle)


@traced_rows(2)
def sum_and_difference(u: Word, v: Word) -> tuple[Word, Word]:
    return formulas.add(u, v), formulas.subtract(u, v)

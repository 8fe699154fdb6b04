"""Branch-free arithmetic of F and K on traced words; operands and results are canonical unless said otherwise.

A sum of products is collected in four columns of weight 2^0, 2^32, 2^64, 2^96, with no carries between them, and is
reduced once: 2^64 = 2^32 - 1 and 2^96 = -1 (mod p), so c0 + 2^32 c1 + 2^64 c2 + 2^96 c3 = (c0 - c2 - c3) + 2^32 (c1 +
c2). Source: protocol.md, section 1.
"""

from __future__ import annotations

from prover.argument.kernels.cpu.tracing import Word
from verifier.argument.field import P

LOW = 0xFFFFFFFF
Columns = tuple[Word, Word, Word, Word]
Triple = tuple[Word, Word, Word]


def add(a: Word, b: Word) -> Word:
    """a + b = a - (p - b)."""
    c = b.constant(P) - b
    return a - c + a.below(c).choose(P, 0)


def subtract(a: Word, b: Word) -> Word:
    return a - b + a.below(b).choose(P, 0)


def lift(x: Word) -> Word:
    """A signed integer above -p (two's complement), mod p."""
    return x + (x >> 63) * P


def wide(a: Word, b: Word) -> tuple[Word, Word]:
    """The 128-bit product as (high, low)."""
    a_low, a_high, b_low, b_high = a & LOW, a >> 32, b & LOW, b >> 32
    low = a_low * b_low
    middle = a_low * b_high + (low >> 32)
    other = a_high * b_low + (middle & LOW)
    return a_high * b_high + (middle >> 32) + (other >> 32), (other << 32) | (low & LOW)


def canonical(a: Word) -> Word:
    return a - a.below(P).choose(0, P)


def reduce(high: Word, low: Word) -> Word:
    """high * 2^64 + low."""
    top, bottom = high >> 32, high & LOW
    difference = low - top
    difference = difference - low.below(top).choose(LOW, 0)
    product = (bottom << 32) - bottom
    total = difference + product
    return canonical(total + total.below(product).choose(LOW, 0))


def multiply(a: Word, b: Word) -> Word:
    return reduce(*wide(a, b))


def columns(*terms: tuple[Word, Word]) -> Columns:
    """The sum of the products of at most 2^20 pairs, in columns."""
    total: list[Word | None] = [None] * 4

    def put(index: int, part: Word) -> None:
        before = total[index]
        total[index] = part if before is None else before + part

    for a, b in terms:
        a_low, a_high, b_low, b_high = a & LOW, a >> 32, b & LOW, b >> 32
        for index, product in ((0, a_low * b_low), (1, a_low * b_high), (1, a_high * b_low), (2, a_high * b_high)):
            put(index, product & LOW)
            put(index + 1, product >> 32)
    c0, c1, c2, c3 = total
    assert c0 is not None and c1 is not None and c2 is not None and c3 is not None
    return c0, c1, c2, c3


def plus(a: Columns, b: Columns) -> Columns:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def fold(c: Columns) -> Word:
    """The value of columns, each below 2^52 (the second and third together below 2^52)."""
    upper = c[1] + c[2]
    carry = upper >> 32
    # upper * 2^32 = big + 2^64 carry, and 2^64 = 2^32 - 1
    big = upper << 32
    small = c[0] + (carry << 32) - carry
    total = big + small
    # on overflow total < small < 2^53, so that adding 2^32 - 1 for the lost 2^64 does not overflow again
    total = total + total.below(small).choose(LOW, 0)
    negative = c[2] + c[3]
    result = total - negative
    return canonical(result - total.below(negative).choose(LOW, 0))


def k_columns(a: Triple, b: Triple) -> tuple[Columns, Columns, Columns]:
    """The product in K = F[X]/(X^3 - X - 1), in columns: X^3 = X + 1, X^4 = X^2 + X."""
    d3 = columns((a[1], b[2]), (a[2], b[1]))
    d4 = columns((a[2], b[2]))
    c0 = plus(columns((a[0], b[0])), d3)
    c1 = plus(plus(columns((a[0], b[1]), (a[1], b[0])), d3), d4)
    c2 = plus(columns((a[0], b[2]), (a[1], b[1]), (a[2], b[0])), d4)
    return c0, c1, c2


def k_multiply(a: Triple, b: Triple) -> Triple:
    c0, c1, c2 = k_columns(a, b)
    return fold(c0), fold(c1), fold(c2)


def k_add(a: Triple, b: Triple) -> Triple:
    return add(a[0], b[0]), add(a[1], b[1]), add(a[2], b[2])


def k_subtract(a: Triple, b: Triple) -> Triple:
    return subtract(a[0], b[0]), subtract(a[1], b[1]), subtract(a[2], b[2])


def k_two_products(a: Triple, b: Triple, c: Triple, d: Triple) -> Triple:
    """a b + c d: eighteen products, three reductions."""
    x, y = k_columns(a, b), k_columns(c, d)
    return fold(plus(x[0], y[0])), fold(plus(x[1], y[1])), fold(plus(x[2], y[2]))

"""The data field F (Goldilocks) and the challenge field K = F[X]/(X^3 - X - 1).

F has p = 2^64 - 2^32 + 1 elements; its elements are canonical unsigned 64-bit integers in [0, p). Scalars are Python
integers (F) and `K` (three integers, coefficient 0 first). Vectors are numpy uint64 arrays: shape (..., n) for F, shape
(3, ..., n) for K, always canonical. Source: protocol.md, section 1; reduction 2^64 = 2^32 - 1, 2^96 = -1 (mod p).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

P = 2**64 - 2**32 + 1
GENERATOR = 7
TWO_ADICITY = 32
ELEMENT_BYTES = 24
POINTS_AT_ONCE = 256

Words = npt.NDArray[np.uint64]

_P = np.uint64(P)
_EPS = np.uint64(0xFFFFFFFF)
_MASK = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)


class K(tuple[int, int, int]):
    """A scalar of K. Immutable; arithmetic accepts integers (taken mod p) on either side."""

    __slots__ = ()

    @staticmethod
    def of(value: int | K) -> K:
        """Embed an integer of any sign into K."""
        return value if isinstance(value, K) else K((value % P, 0, 0))

    def __add__(self, other: object) -> K:
        if isinstance(other, K):
            return K(((self[0] + other[0]) % P, (self[1] + other[1]) % P, (self[2] + other[2]) % P))
        if isinstance(other, int):
            return K(((self[0] + other) % P, self[1], self[2]))
        return NotImplemented

    __radd__ = __add__

    def __neg__(self) -> K:
        return K((-self[0] % P, -self[1] % P, -self[2] % P))

    def __sub__(self, other: object) -> K:
        if isinstance(other, K):
            return K(((self[0] - other[0]) % P, (self[1] - other[1]) % P, (self[2] - other[2]) % P))
        if isinstance(other, int):
            return K(((self[0] - other) % P, self[1], self[2]))
        return NotImplemented

    def __rsub__(self, other: object) -> K:
        if isinstance(other, int):
            return K(((other - self[0]) % P, -self[1] % P, -self[2] % P))
        return NotImplemented

    def __mul__(self, other: object) -> K:
        if isinstance(other, K):
            a0, a1, a2 = self
            b0, b1, b2 = other
            d3 = a1 * b2 + a2 * b1
            d4 = a2 * b2
            # X^3 = X + 1, X^4 = X^2 + X
            return K(((a0 * b0 + d3) % P, (a0 * b1 + a1 * b0 + d3 + d4) % P, (a0 * b2 + a1 * b1 + a2 * b0 + d4) % P))
        if isinstance(other, int):
            return K((self[0] * other % P, self[1] * other % P, self[2] * other % P))
        return NotImplemented

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> K:
        result, base = ONE, self
        while exponent:
            if exponent & 1:
                result = result * base
            base = base * base
            exponent >>= 1
        return result

    def inverse(self) -> K:
        """1/self by the adjugate of multiplication by self. Raises ZeroDivisionError at 0."""
        a, b, c = self
        # columns of x -> self * x in the basis 1, X, X^2: (a,b,c), (c,a+c,b), (b,b+c,a+c)
        m0 = ((a + c) * (a + c) - b * (b + c)) % P
        m1 = -(b * (a + c) - c * (b + c)) % P
        m2 = (b * b - c * (a + c)) % P
        norm = (a * m0 + c * m1 + b * m2) % P
        if norm == 0:
            raise ZeroDivisionError("0 has no inverse in K")
        inv = pow(norm, -1, P)
        return K((m0 * inv % P, m1 * inv % P, m2 * inv % P))

    def is_zero(self) -> bool:
        return self[0] == 0 and self[1] == 0 and self[2] == 0

    def to_bytes(self) -> bytes:
        """24 bytes, canonical little-endian, coefficient 0 first."""
        return struct.pack("<3Q", *self)


ZERO = K((0, 0, 0))
ONE = K((1, 0, 0))
HALF = K(((P + 1) // 2, 0, 0))
X2 = K((0, 0, 1))


# ---------------------------------------------------------------- vectors over F


def lift(values: npt.NDArray[np.int64]) -> Words:
    """Signed integers in [-2^62, 2^62] to canonical field elements, x mod p."""
    signed = values.astype(np.int64)
    words = signed.astype(np.uint64)
    return np.where(signed < 0, words + _P, words)


def f_add(a: Words, b: Words) -> Words:
    total = a + b
    # a + b < 2p: one subtraction; wrapping past 2^64 shows as total < a.
    return np.where((total < a) | (total >= _P), total - _P, total)


def f_sub(a: Words, b: Words) -> Words:
    return np.where(a < b, a - b + _P, a - b)


def f_mul(a: Words, b: Words) -> Words:
    """Product mod p, broadcasting. 128-bit product from 32-bit halves, then one reduction."""
    a_low, a_high, b_low, b_high = a & _MASK, a >> _S32, b & _MASK, b >> _S32
    low = a_low * b_low
    mid = a_low * b_high + (low >> _S32)
    mid2 = a_high * b_low + (mid & _MASK)
    high = a_high * b_high + (mid >> _S32) + (mid2 >> _S32)
    return f_reduce(high, (mid2 << _S32) | (low & _MASK))


def f_reduce(high: Words, low: Words) -> Words:
    """(high * 2^64 + low) mod p, canonical."""
    top, bottom = high >> _S32, high & _MASK
    t = low - top
    t = t - np.where(low < top, _EPS, np.uint64(0))
    u = (bottom << _S32) - bottom
    r = t + u
    r = r + np.where(r < u, _EPS, np.uint64(0))
    return np.where(r >= _P, r - _P, r)


def f_sum(a: Words) -> Words:
    """Sum over the last axis (at most 2^31 entries), canonical."""
    low = (a & _MASK).sum(axis=-1, dtype=np.uint64)
    high = (a >> _S32).sum(axis=-1, dtype=np.uint64)
    # total = high * 2^32 + low, both below 2^63
    return f_add(f_reduce(high >> _S32, high << _S32), f_reduce(np.zeros_like(low), low))


# ---------------------------------------------------------------- vectors over K, planes first


def k_array(scalars: Iterable[K]) -> Words:
    """Scalars to an array of shape (3, n)."""
    rows = list(scalars)
    if not rows:
        return np.zeros((3, 0), np.uint64)
    return np.ascontiguousarray(np.array(rows, dtype=np.uint64).T)


def k_list(array: Words) -> list[K]:
    """The scalars of an array of shape (3, n)."""
    return [K((int(a), int(b), int(c))) for a, b, c in array.T.tolist()]


def k_add(a: Words, b: Words) -> Words:
    return f_add(a, b)


def k_sub(a: Words, b: Words) -> Words:
    return f_sub(a, b)


def k_mul(a: Words, b: Words) -> Words:
    """Product in K of arrays (3, ...) and (3, ...), broadcasting after the first axis."""
    a0, a1, a2 = a[0], a[1], a[2]
    b0, b1, b2 = b[0], b[1], b[2]
    d3 = f_add(f_mul(a1, b2), f_mul(a2, b1))
    d4 = f_mul(a2, b2)
    c0 = f_add(f_mul(a0, b0), d3)
    c1 = f_add(f_add(f_mul(a0, b1), f_mul(a1, b0)), f_add(d3, d4))
    c2 = f_add(f_add(f_mul(a0, b2), f_mul(a1, b1)), f_add(f_mul(a2, b0), d4))
    return np.stack([c0, c1, c2])


def k_scale(a: Words, f: Words) -> Words:
    """Product of a K array (3, ...) with an F array (...), broadcasting."""
    return np.stack([f_mul(a[0], f), f_mul(a[1], f), f_mul(a[2], f)])


def k_sum(a: Words) -> K:
    """Sum of an array (3, n)."""
    s = f_sum(a)
    return K((int(s[0]), int(s[1]), int(s[2])))


def k_dot(a: Words, b: Words) -> K:
    """Inner product of two arrays (3, n)."""
    return k_sum(k_mul(a, b))


def k_scalar(value: K, ndim: int = 1) -> Words:
    """A scalar as an array (3, 1, ...) that broadcasts over `ndim` axes."""
    return np.array(value, dtype=np.uint64).reshape((3,) + (1,) * ndim)


def eq_table(point: Sequence[K], scale: K = ONE) -> Words:
    """scale * eq(point, i) for i in [0, 2^len(point)), little-endian: bit v of i belongs to point[v]. Shape (3,
    2^n)."""
    table = k_scalar(scale)
    for r in point:
        high = k_mul(table, k_scalar(r))
        table = np.concatenate([k_sub(table, high), high], axis=1)
    return table


def powers(base: K, count: int) -> list[K]:
    """base^0 .. base^(count-1)."""
    out, value = [], ONE
    for _ in range(count):
        out.append(value)
        value = value * base
    return out


@lru_cache(maxsize=64)
def root_of_unity(n: int) -> int:
    """The primitive n-th root 7^((p-1)/n); n a power of two, at most 2^32."""
    if n < 1 or n & (n - 1) or n > 1 << TWO_ADICITY:
        raise ValueError(f"n must be a power of two up to 2^{TWO_ADICITY}, not {n}")
    return pow(GENERATOR, (P - 1) // n, P)


def domain_points(positions: Sequence[int], n: int) -> Words:
    """The n-th roots of unity at the given positions, shape (len(positions),)."""
    w = root_of_unity(n)
    return np.array([pow(w, j, P) for j in positions], dtype=np.uint64)


def evaluate(coefficients: Words, points: Words) -> Words:
    """Values of a polynomial with K coefficients (3, n) at F points (m,): shape (3, m). Splits at about sqrt(n); a few
    points at a time, so that memory stays small."""
    n, m = coefficients.shape[1], points.shape[0]
    if m > POINTS_AT_ONCE:
        pieces = range(0, m, POINTS_AT_ONCE)
        return np.concatenate([evaluate(coefficients, points[i : i + POINTS_AT_ONCE]) for i in pieces], axis=1)
    step = 1 << max(0, (n.bit_length() // 2))
    rows = -(-n // step)
    padded = np.zeros((3, rows * step), np.uint64)
    padded[:, :n] = coefficients
    blocks = padded.reshape(3, rows, step)
    out = np.zeros((3, m), np.uint64)
    ladder = np.ones((step, m), np.uint64)
    for i in range(1, step):
        ladder[i] = f_mul(ladder[i - 1], points)
    giant = f_mul(ladder[step - 1], points)
    for i in range(rows - 1, -1, -1):
        inner = f_sum(np.swapaxes(f_mul(blocks[:, i, :, None], ladder[None]), 1, 2))
        out = f_add(f_mul(out, giant), inner)
    return out


def words_from_bytes(data: bytes) -> Words:
    """Canonical little-endian u64 field elements. Raises ValueError if one is >= p."""
    words = np.frombuffer(data, dtype="<u8").astype(np.uint64)
    if words.size and bool((words >= _P).any()):
        raise ValueError("a field element is not canonical (>= p)")
    return words

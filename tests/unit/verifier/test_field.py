"""Both fields against Python integers, at the edges of 32- and 64-bit words, and the fixed points of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.argument.field import (
    ELEMENT_BYTES,
    HALF,
    ONE,
    X2,
    ZERO,
    K,
    P,
    Words,
    domain_points,
    eq_table,
    evaluate,
    f_add,
    f_mul,
    f_reduce,
    f_sub,
    f_sum,
    k_add,
    k_array,
    k_dot,
    k_list,
    k_mul,
    k_scalar,
    k_scale,
    k_sub,
    k_sum,
    lift,
    powers,
    root_of_unity,
    words_from_bytes,
)  # fmt: skip

EDGES = sorted(
    {e for base in (0, 2**31, 2**32, 2**63, P // 2, P - 2**32, P) for e in range(base - 2, base + 3) if 0 <= e < P}
)
elements = st.sampled_from(EDGES) | st.integers(0, P - 1)
scalars = st.tuples(elements, elements, elements).map(K)
words64 = st.sampled_from([0, 1, P - 1, P, P + 1, 2**64 - 1]) | st.integers(0, 2**64 - 1)


def words(values: list[int]) -> Words:
    return np.array(values, dtype=np.uint64)


def product(a: K, b: K) -> K:
    """Schoolbook: all nine products, then X^3 = X + 1 from the top coefficient down."""
    full = [0] * 5
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            full[i + j] += x * y
    for degree in (4, 3):
        full[degree - 2] += full[degree]
        full[degree - 3] += full[degree]
    return K((full[0] % P, full[1] % P, full[2] % P))


# ---------------------------------------------------------------- F


@pytest.mark.parametrize(
    ("vectorised", "scalar"),
    [(f_add, lambda a, b: a + b), (f_sub, lambda a, b: a - b), (f_mul, lambda a, b: a * b)],
)
def test_every_pair_of_edges(vectorised: Callable[[Words, Words], Words], scalar: Callable[[int, int], int]) -> None:
    a, b = np.meshgrid(words(EDGES), words(EDGES))
    expected = [[scalar(x, y) % P for x in EDGES] for y in EDGES]
    assert vectorised(a, b).tolist() == expected


@given(st.lists(st.tuples(elements, elements), min_size=1, max_size=20))
def test_vectors_of_f(pairs: list[tuple[int, int]]) -> None:
    a, b = words([x for x, _ in pairs]), words([y for _, y in pairs])
    assert f_add(a, b).tolist() == [(x + y) % P for x, y in pairs]
    assert f_sub(a, b).tolist() == [(x - y) % P for x, y in pairs]
    assert f_mul(a, b).tolist() == [x * y % P for x, y in pairs]


@given(words64, words64)
def test_reduction_of_any_128_bits(high: int, low: int) -> None:
    """Not only of products of canonical elements."""
    assert f_reduce(words([high]), words([low])).tolist() == [(high * 2**64 + low) % P]


@given(st.lists(elements, max_size=50))
def test_sums(values: list[int]) -> None:
    assert int(f_sum(words(values))) == sum(values) % P


def test_a_long_sum_of_the_largest_element() -> None:
    count = 1 << 20
    assert int(f_sum(np.full(count, P - 1, np.uint64))) == -count % P


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20))
def test_signed_integers(values: list[int]) -> None:
    assert lift(np.array(values, np.int64)).tolist() == [value % P for value in values]


def test_bytes_must_be_canonical() -> None:
    data = b"".join(value.to_bytes(8, "little") for value in EDGES)
    assert words_from_bytes(data).tolist() == EDGES
    assert words_from_bytes(b"").tolist() == []
    for value in (P, P + 1, 2**64 - 2**32 + 2, 2**64 - 1):
        with pytest.raises(ValueError, match="canonical"):
            words_from_bytes(data + value.to_bytes(8, "little"))


# ---------------------------------------------------------------- K


@given(scalars, scalars, elements)
def test_scalars_of_k(a: K, b: K, n: int) -> None:
    assert a * b == product(a, b) == b * a
    assert a + b == K(tuple((x + y) % P for x, y in zip(a, b, strict=True)))
    assert a - b == K(tuple((x - y) % P for x, y in zip(a, b, strict=True)))
    assert -a == ZERO - a
    assert a * n == n * a == product(a, K.of(n))
    assert a + n == n + a == a + K.of(n)
    assert (a - n, n - a) == (a - K.of(n), K.of(n) - a)
    assert all(0 <= x < P for value in (a * b, a + b, a - b, -a, a * n, n - a) for x in value)


@given(scalars)
def test_inverses(a: K) -> None:
    if a.is_zero():
        with pytest.raises(ZeroDivisionError):
            a.inverse()
    else:
        assert a * a.inverse() == ONE


@given(scalars, st.integers(0, 200))
def test_powers(a: K, exponent: int) -> None:
    expected = reduce(lambda x, _: product(x, a), range(exponent), ONE)
    assert a**exponent == expected
    assert powers(a, exponent + 1)[-1] == expected


@given(st.integers(-(2**70), 2**70))
def test_embedding(value: int) -> None:
    assert K.of(value) == (value % P, 0, 0)
    assert K.of(K.of(value)) == K.of(value)


def test_every_element_has_order_dividing_the_group() -> None:
    """So K is a field and not just a ring: the Frobenius map x -> x^p permutes and cubes to the identity."""
    a = K((3, 1, 4))
    assert a**P != a
    assert a ** (P**3) == a
    assert HALF * 2 == ONE
    assert K((0, 1, 0)) ** 2 == X2
    x = K((0, 1, 0))
    assert x**3 == x + 1


@given(st.lists(st.tuples(scalars, scalars, elements), min_size=1, max_size=8))
def test_vectors_of_k(rows: list[tuple[K, K, int]]) -> None:
    a, b = k_array(x for x, _, _ in rows), k_array(y for _, y, _ in rows)
    n = words([z for _, _, z in rows])
    assert k_list(a) == [x for x, _, _ in rows]
    assert k_list(k_add(a, b)) == [x + y for x, y, _ in rows]
    assert k_list(k_sub(a, b)) == [x - y for x, y, _ in rows]
    assert k_list(k_mul(a, b)) == [product(x, y) for x, y, _ in rows]
    assert k_list(k_scale(a, n)) == [x * z for x, _, z in rows]
    assert k_sum(a) == sum((x for x, _, _ in rows), ZERO)
    assert k_dot(a, b) == sum((x * y for x, y, _ in rows), ZERO)
    assert k_list(k_mul(a, k_scalar(rows[0][0]))) == [x * rows[0][0] for x, _, _ in rows]


def test_an_empty_vector() -> None:
    assert k_array([]).shape == (3, 0)
    assert k_list(k_array([])) == []


@given(scalars)
def test_the_bytes_of_a_scalar(a: K) -> None:
    data = a.to_bytes()
    assert len(data) == ELEMENT_BYTES
    assert words_from_bytes(data).tolist() == list(a)


# ---------------------------------------------------------------- tables and polynomials


@given(st.lists(scalars, max_size=5), scalars)
def test_eq_tables(point: list[K], scale: K) -> None:
    table = k_list(eq_table(point, scale))
    for index, entry in enumerate(table):
        expected = scale
        for v, z in enumerate(point):
            expected = expected * (z if index >> v & 1 else 1 - z)
        assert entry == expected
    assert len(table) == 1 << len(point)


@given(st.lists(scalars, min_size=1, max_size=40), st.lists(elements, min_size=1, max_size=4))
def test_evaluation(coefficients: list[K], points: list[int]) -> None:
    expected = [sum((c * pow(x, i, P) for i, c in enumerate(coefficients)), ZERO) for x in points]
    assert k_list(evaluate(k_array(coefficients), words(points))) == expected


# ---------------------------------------------------------------- fixed points, protocol.md section 10


def test_the_modulus_and_its_roots() -> None:
    assert P == 2**64 - 2**32 + 1
    assert root_of_unity(1 << 32) == 0x185629DCDA58878C
    assert root_of_unity(8) == 0xFFFFFFFEFF000001
    assert root_of_unity(1) == 1
    for log_n in range(1, 33):
        assert pow(root_of_unity(1 << log_n), 1 << (log_n - 1), P) == P - 1
    for n in (0, -1, 3, 6, 1 << 33):
        with pytest.raises(ValueError):
            root_of_unity(n)


def test_a_transform_of_eight() -> None:
    expected = [
        0x24, 0xFFFC03FF03FFFBFD, 0xFFFBFFFEFFFFFFFD, 0x4040003FFFBFC,
        0xFFFFFFFEFFFFFFFD, 0xFFFBFBFEFC0003FD, 0x3FFFFFFFFFFFC, 0x3FBFFFC0003FC,
    ]  # fmt: skip
    values = evaluate(k_array(map(K.of, range(1, 9))), domain_points(range(8), 8))
    assert [value[0] for value in k_list(values)] == expected


def test_a_product_in_k() -> None:
    assert K((1, 2, 3)) * K((P - 1, 5, 7)) == K((28, 53, 35))

"""Hidden values are linear: whatever is computed with handles holds for what they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifier.argument.field import ZERO, K, P
from verifier.argument.hidden import NOTHING, Hidden, Recurrence

scalars = st.tuples(*[st.integers(0, P - 1)] * 3).map(K)
PADS = [K((i + 1, i * i, 7 * i)) for i in range(4)]


def amount(hidden: Hidden) -> K:
    """known + sum of coefficients times pads."""
    return hidden.known + sum((c * PADS[i] for i, c in hidden.terms.items()), ZERO)


@st.composite
def hiddens(draw: st.DrawFn) -> Hidden:
    terms = draw(st.dictionaries(st.integers(0, 3), scalars))
    known = draw(scalars)
    value = Hidden(known, terms)
    return Hidden(known, terms, amount(value)) if draw(st.booleans()) else value


@given(hiddens(), hiddens(), scalars, st.integers(-(2**65), 2**65))
def test_linear(a: Hidden, b: Hidden, scale: K, integer: int) -> None:
    x, y = amount(a), amount(b)
    before = [(h.known, dict(h.terms), h.value) for h in (a, b)]
    results: list[tuple[object, K]] = [
        (a + b, x + y),
        (a - b, x - y),
        (-a, -x),
        (a * scale, x * scale),
        (scale * a, x * scale),
        (a * integer, x * integer),
        (integer * a, x * integer),
        (a + scale, x + scale),
        (scale + a, x + scale),
        (a - integer, x - integer),
        (integer - a, integer - x),
        (a + NOTHING, x),
    ]
    for found, expected in results:
        assert isinstance(found, Hidden)
        assert amount(found) == expected
    assert before == [(h.known, dict(h.terms), h.value) for h in (a, b)], "handles are immutable"


@given(hiddens(), hiddens(), scalars)
def test_values_are_carried_along_or_lost(a: Hidden, b: Hidden, scale: K) -> None:
    """A value is known only where all operands' values are, and then it is the true one."""
    for result, operands in ((a + b, (a, b)), (a - b, (a, b)), (a * scale, (a,)), (a + scale, (a,)), (-a, (a,))):
        if all(operand.value is not None for operand in operands):
            assert result.value == amount(result)
        else:
            assert result.value is None


@given(hiddens(), st.lists(st.tuples(scalars, st.lists(st.tuples(scalars, hiddens()), max_size=3)), max_size=4))
def test_a_recurrence_is_its_steps(start: Hidden, steps: list[tuple[K, list[tuple[K, Hidden]]]]) -> None:
    """One weighted sum at the end is what the steps make one by one, the value included."""
    running, expected = Recurrence(start), start
    for scale, parts in steps:
        running.step(scale, *parts)
        expected = expected * scale
        for weight, hidden in parts:
            expected = expected + hidden * weight
    found = running.total()
    assert amount(found) == amount(expected)
    assert found.value == expected.value


def test_public_values_have_no_pads() -> None:
    five = Hidden.public(K.of(5))
    assert (five.known, dict(five.terms), five.value) == (K.of(5), {}, K.of(5))
    assert (NOTHING.known, dict(NOTHING.terms)) == (ZERO, {})

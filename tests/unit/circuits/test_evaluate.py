"""Evaluation in the clear: exact at every size of the operands, strict about what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.builder import GraphBuilder
from circuits.errors import StatementError
from circuits.evaluate import Evaluation, Witness, check, disclosed
from circuits.lowering import lower
from circuits.program import Integers, Program


def no_histogram(commitment: int, group: int) -> Integers:
    raise AssertionError(group)


@pytest.mark.parametrize("bits", [(8, 8), (15, 36), (28, 28), (42, 14), (5, 52), (57, 0)])
@pytest.mark.parametrize(
    "equation", ["ij,jk->ik", "aij,akj->aik", "ij,ij->", "ij,j->i", "ij,kl->k", "i,j->ji", "i,i->i"]
)
def test_products_are_exact_in_64_bits(bits: tuple[int, int], equation: str) -> None:
    rng = np.random.default_rng(bits)
    sizes = dict(zip("aijkl", (2, 3, 5, 2, 1), strict=True))
    g, operands, arrays = GraphBuilder("g", 1), [], {}
    for number, term in enumerate(equation.split("->")[0].split(",")):
        shape, bound = tuple(sizes[letter] for letter in term), 2 ** bits[number]
        operands.append(g.advice(f"x{number}", shape, -bound, bound - 1))
        arrays[f"0/advice/x{number}"] = rng.choice([-bound, bound - 1, 0, rng.integers(-bound, bound)], shape)
    g.disclose("p", g.einsum(equation, *operands))
    program = lower([g.graph()])
    expected = np.einsum(equation, *(array.astype(object) for array in arrays.values()))
    found = disclosed(program, evaluate(program, arrays))["0/disclose/p"]
    assert np.array_equal(found, np.asarray(expected, np.int64))


def evaluate(program: Program, certificates: dict[str, Integers]) -> Evaluation:
    """A program without committed tensors."""
    return Evaluation(program, Witness(lambda commitment, name: np.zeros((2, 2), np.int32), no_histogram, certificates))


def statement() -> Program:
    g = GraphBuilder("g", 1)
    x = g.advice("x", (2, 3), -5, 5)
    g.assert_true("product", g.less(g.matmul(g.weight("w", (2, 2)), x), 10))
    g.assert_true("own", g.less(x, 4))
    return lower([g.graph()])


def test_certificates_must_fit() -> None:
    program = statement()
    with pytest.raises(StatementError, match="certificate '0/advice/x' is needed"):
        check(program, evaluate(program, {}))
    with pytest.raises(StatementError, match=r"has shape \(3,\), and the statement needs \(2, 3\)"):
        check(program, evaluate(program, {"0/advice/x": np.zeros(3, np.int64)}))
    with pytest.raises(StatementError, match=r"outside \[-5, 5\]"):
        check(program, evaluate(program, {"0/advice/x": np.full((2, 3), 6)}))
    assert check(program, evaluate(program, {"0/advice/x": np.full((2, 3), 3)})) == []
    assert check(program, evaluate(program, {"0/advice/x": np.full((2, 3), 4)})) == ["0/assert/own"]


def test_committed_integers_of_any_width_are_read_once() -> None:
    calls = []

    def weight(commitment: int, name: str) -> Integers:
        calls.append((commitment, name))
        return np.array([[32767, -32768], [-32768, 1]], np.int16)

    g = GraphBuilder("g", 1)
    w = g.weight("w", (2, 2))
    g.disclose("gram", g.einsum("ik,jk->ij", w, w))
    g.disclose("sum", g.reduce_sum(g.mul(w, w)))
    program = lower([g.graph()])
    found = disclosed(program, Evaluation(program, Witness(weight, no_histogram)))
    exact = weight(0, "w").astype(np.int64)
    assert calls == [(0, "w"), (0, "w")]
    assert np.array_equal(found["0/disclose/gram"], exact @ exact.T)
    assert int(found["0/disclose/sum"]) == int((exact**2).sum())


def test_committed_integers_outside_their_range_are_refused() -> None:
    g = GraphBuilder("g", 1)
    g.disclose("w", g.weight("w", (1, 1)))
    program = lower([g.graph()])
    values = Evaluation(program, Witness(lambda commitment, name: np.array([[32768]]), no_histogram))
    with pytest.raises(StatementError, match=r"tensor 'w' has an entry outside \[-32768, 32767\]"):
        disclosed(program, values)


def test_a_histogram_is_read_by_group_and_commitment() -> None:
    counts = np.zeros(65536, np.int64)
    counts[[0, 32768, 65535]] = (1, 5, 2)
    g = GraphBuilder("g", 1)
    cells = np.arange(-32768, 32768)
    g.disclose("sum", g.matmul(g.histogram(3, 8, commitment=1), cells))
    program = lower([g.graph()])

    def histogram(commitment: int, group: int) -> Integers:
        assert (commitment, group) == (1, 3)
        return counts

    values = Evaluation(program, Witness(lambda commitment, name: counts, histogram))
    assert int(disclosed(program, values)["0/disclose/sum"]) == -32768 + 2 * 32767

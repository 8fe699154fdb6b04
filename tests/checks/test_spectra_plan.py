"""Certificates of positivity on their own: whatever a prover commits to, X + slack I >= 0 follows; and sizes exist for
the matrices of real models."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.builder import GraphBuilder
from circuits.checks.gram import gram_magnitude
from circuits.checks.positive import Q_LOG, PsdPlan, assert_positive, plan
from circuits.errors import StatementError
from circuits.evaluate import Evaluation, Witness, check
from circuits.intervals import analyse
from circuits.lowering import lower
from circuits.program import Program
from prover.certificates.base import CertificateError, Integers
from prover.certificates.positive import psd_advice
from tests.checks.spectra_support import forced_advice

Rows = list[list[int]]


def definite(matrix: Rows) -> bool:
    """Is a symmetric integer matrix positive semidefinite? Exactly: symmetric elimination over the rationals."""
    a = [[Fraction(x) for x in row] for row in matrix]
    for i in range(len(a)):
        if a[i][i] < 0 or (a[i][i] == 0 and any(a[i][j] for j in range(i, len(a)))):
            return False
        for j in range(i + 1, len(a)):
            if a[i][i]:
                factor = a[j][i] / a[i][i]
                a[j] = [x - factor * y for x, y in zip(a[j], a[i], strict=True)]
    return True


def test_the_definiteness_of_small_matrices() -> None:
    """The oracle of this file against eigenvalues."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        half = rng.integers(-3, 4, (3, 3))
        matrix = half + half.T
        least = np.linalg.eigvalsh(matrix)[0]
        if abs(least) > 1e-9:
            assert definite(matrix.tolist()) == (least > 0)
    assert definite([[1, 1], [1, 1]]) and not definite([[0, 1], [1, 5]])


@st.composite
def certificates(draw: st.DrawFn) -> tuple[PsdPlan, Rows]:
    """A plan, and 4^f X = L L^T + 2^s Q + r for advice in range whose Q has the allowed norm, often exactly."""
    size = draw(st.integers(1, 4))
    bound = draw(st.integers(1, 1 << draw(st.integers(1, 50))))
    sizes = plan(size, bound, draw(st.integers(1, 4)) * bound)
    limit, top = 1 << sizes.log_factor, (1 << sizes.log_remainder) - 1
    rank = draw(st.integers(0, size - 1))
    low, high = draw(st.sampled_from([(-limit, limit - 1), (-3, 3)]))
    factor = [[draw(st.integers(low, high)) if k < rank else 0 for k in range(size)] for _ in range(size)]
    upper = {
        (i, j): (draw(st.integers(-1000, 1000)), draw(st.sampled_from([0, top, top // 2])))
        for i in range(size)
        for j in range(i, size)
    }
    q = np.array([[upper[min(i, j), max(i, j)][0] for j in range(size)] for i in range(size)], object)
    r = np.array([[upper[min(i, j), max(i, j)][1] for j in range(size)] for i in range(size)], object)
    norm = int((q * q).sum())
    if norm and draw(st.booleans()):
        # as long as it may be, pointing down
        stretch = (sizes.square_limit / norm) ** 0.5
        q = -abs(np.array([[int(x * stretch) for x in row] for row in q], object))
    if int((q * q).sum()) > sizes.square_limit or abs(q).max() >= 1 << Q_LOG:
        q = q * 0
    lower = np.array(factor, object)
    return sizes, (lower @ lower.T + q * 2**sizes.log_remainder + r).tolist()


@given(certificates())
def test_what_satisfies_the_graph_is_nearly_positive(case: tuple[PsdPlan, Rows]) -> None:
    sizes, scaled = case
    shift = 4**sizes.exponent * sizes.slack
    assert definite([[x + shift * (i == j) for j, x in enumerate(row)] for i, row in enumerate(scaled)])


def program(sizes: PsdPlan, magnitude: int) -> Program:
    """The graph of a certificate, the matrix itself an input."""
    g = GraphBuilder("positive", 1)
    assert_positive(g, g.advice("x", (sizes.size, sizes.size), -magnitude, magnitude), sizes, "p")
    return lower([g.graph()])


def satisfied(code: Program, x: Integers, advice: dict[str, Integers]) -> bool:
    named = {"0/advice/x": x, **{f"0/advice/{name}": value for name, value in advice.items()}}
    try:
        return check(code, Evaluation(code, Witness(lambda _, name: x, lambda _, group: x, named))) == []
    except StatementError:
        return False


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_certificate_beyond_the_slack(size: int) -> None:
    """Matrices with one eigenvalue around -slack: none below it has a certificate, though one is searched for with all
    means: the nearest factor, shifted to and fro. All that are positive have one."""
    rng = np.random.default_rng(size)
    bound = 1 << 20
    sizes = plan(size, bound, 2 * bound)
    code = program(sizes, 2 * bound)
    assert sizes.slack >= 1
    found = 0
    for factor in (-1000.0, -30.0, -4.0, -2.0, -1.5, -1.0, -0.5, -0.25, 0.0, 1.0):
        for _ in range(3):
            basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
            values = np.concatenate([[factor * sizes.slack], rng.uniform(0, bound / 2, size - 1)])
            half = np.rint((basis * values) @ basis.T).astype(np.int64)
            x = np.tril(half) + np.tril(half, -1).T
            nearly = definite((x + sizes.slack * np.eye(size, dtype=np.int64)).tolist())
            certified = any(
                satisfied(code, x, forced_advice(x + shift * np.eye(size, dtype=np.int64), sizes, "p", ""))
                or satisfied(code, x, moved(x, shift, sizes))
                for shift in (0, sizes.slack // 4, sizes.slack // 2, sizes.slack)
            )
            assert nearly or not certified
            found += certified
            if factor > 0:
                assert satisfied(code, x, psd_advice(x, sizes, "p", ""))
    assert found


def moved(x: Integers, shift: int, sizes: PsdPlan) -> dict[str, Integers]:
    """The factor of X + shift I, the rest that of X."""
    factor = forced_advice(x + shift * np.eye(len(x), dtype=np.int64), sizes, "p", "")["p/factor"]
    exact = factor.astype(object)
    rest = x.astype(object) * 4**sizes.exponent - exact @ exact.T
    half, step = 1 << Q_LOG, 1 << sizes.log_remainder
    quotient = np.clip(rest // step, -half, half - 1)
    return {
        "p/factor": factor,
        "p/quotient": quotient.astype(np.int64),
        "p/remainder": np.clip(rest - quotient * step, 0, step - 1).astype(np.int64),
    }


@pytest.mark.parametrize("size", [64, 100, 384, 768, 1024, 2048, 3000, 4096])
def test_sizes_exist_for_real_models(size: int) -> None:
    """Gram matrices of size x 4 size weights with singular values of some thousand units: the slack stays small against
    the bound, and the graph within 62 bits."""
    inner = 4 * size
    bound = inner << 24
    sizes = plan(size, bound, gram_magnitude(inner) + bound)
    assert sizes.slack < bound / 1000
    assert sizes.size * 4**sizes.log_factor <= 1 << 61
    assert 4**sizes.exponent * bound < 4**sizes.log_factor
    g = GraphBuilder("positive", 1)
    w = g.weight("w", (size, inner))
    # only the ranges matter here: no identity matrix, which is large
    assert_positive(g, g.sub(bound, g.einsum("ik,jk->ij", w, w)), sizes, "p")
    analyse(g.graph().nodes)


@given(st.integers(1, 5000), st.integers(1, 1 << 45), st.integers(1, 1 << 61))
def test_a_plan_is_consistent_or_refused(size: int, bound: int, magnitude: int) -> None:
    try:
        sizes = plan(size, bound, magnitude)
    except StatementError:
        return
    residual = (1 << sizes.log_remainder) * (Fraction(sizes.square_limit) ** Fraction(1, 2) + size)
    assert sizes.slack * 4**sizes.exponent >= float(residual) * (1 - 1e-12)
    assert magnitude * 4**sizes.exponent < 1 << 62
    assert sizes.square_limit < 1 << 61


def test_a_matrix_that_is_not_positive_has_no_factor() -> None:
    sizes = plan(3, 1 << 20, 1 << 21)
    with pytest.raises(CertificateError, match=r"no Cholesky factor.*; do this"):
        psd_advice(np.diag([1 << 19, 1 << 18, -(1 << 12)]), sizes, "p", "do this")
    with pytest.raises(CertificateError, match=r"a factor of more than.*; do this"):
        psd_advice(np.diag([1 << 52, 1, 1]), sizes, "p", "do this")

"""Group 25: no two batched relations share a weight, and none has weight zero.

Every relation is moved by one in the verifier, under two coin seeds. The last residual <vector, L> - T moves by the
relation's weight. If two weights have the same ratio under both seeds, a prover can trade one relation for the other.
An early draft fell to this: its mutated proofs were all rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest

from circuits.builder import GraphBuilder
from prover.argument.oracle import OracleData
from tests.support.cheating import coins, forge
from tests.support.graphs import KERNELS, Case
from tests.support.lies import Lie
from tests.support.statements import Grouped, Pair
from tests.support.toy import MICRO, NONCE, Toy, commit, squares, weights, witness
from verifier.argument import opening, quadratic
from verifier.argument.engine import Claim, VerifyingEngine
from verifier.argument.field import ONE, ZERO, K, Words
from verifier.argument.program import script
from verifier.argument.program.script import ProgramScript
from verifier.argument.program.waves import Wave
from verifier.argument.statement import Statement, verify

Relation = tuple[str, int]
ToyCase = Callable[[], tuple[Statement, list[OracleData], dict[str, Any]]]
SEEDS = (b"first coins", b"other coins")


def shifted(values: Words, j: int) -> Words:
    """A K array with one added to entry j."""
    out = values.copy()
    out[0, j] = (int(out[0, j]) + 1) % (2**64 - 2**32 + 1)
    return out


@contextmanager
def moved(relation: Relation | None, found: dict[str, int], residual: list[K]) -> Iterator[None]:
    """The verifier with one relation moved by one. Notes how many there are of each kind, and the last residual."""
    kind, number = relation or ("none", -1)
    close, batch, spots0, weighted = (
        quadratic.close_quadratics, opening.batch_constraints, opening.open_level_zero, opening.weighted_rows,
    )  # fmt: skip
    clear, state = VerifyingEngine.clear, {"clear": 0, "level": 0}
    powers, settle, run = cast(Any, script).powers, ProgramScript._settle, Wave.run
    shares: list[K] = []  # the weights of the zero conditions, then of each wave in its turn

    def close_quadratics(engine: Any) -> None:
        relations = engine.relations
        found.update(quadratic=len(relations.quadratics), claim=len(relations.claims))
        if kind == "quadratic":
            terms, linear = relations.quadratics[number]
            relations.quadratics[number] = (terms, linear + 1)
        if kind == "claim":
            claim = relations.claims[number]
            relations.claims[number] = Claim(claim.terms, claim.value + 1)
        close(engine)
        found["constraint"] = len(relations.constraints)
        if kind == "constraint":
            relations.constraints[number] = relations.constraints[number] + 1

    def batch_constraints(engine: Any, total: Any, beta: K) -> tuple[Words, K]:
        found["folded"] = 1
        return batch(engine, total + 1 if kind == "folded" else total, beta)

    def count_clear(engine: Any, value: K | None) -> K:
        state["clear"] += 1
        found["clear"] = state["clear"]
        return clear(engine, value) + int(kind == "clear" and number == state["clear"] - 1)

    def open_level_zero(engine: Any, rows: Any, eps: K, pad_star: Words) -> tuple[list[int], Words]:
        drawn, values = spots0(engine, rows, eps, pad_star)
        found["spot 0"] = len(drawn)
        return drawn, shifted(values, number) if kind == "spot 0" else values

    def weighted_rows(columns: Words, point: Words) -> Words:
        state["level"] += 1
        name, values = f"spot {state['level']}", weighted(columns, point)
        found[name] = values.shape[1]
        return shifted(values, number) if kind == name else values

    def check_last_vector(functional: Any, vector: Words, claim: K, spots: Words, points: Words) -> None:
        residual.append(functional.apply(vector, (vector.shape[1] - 1).bit_length()) - claim)

    def program_powers(base: K, count: int) -> list[K]:
        shares[:] = powers(base, count)
        return list(shares)

    def settle_zeros(self: Any, combination: Any, value: Any) -> None:
        if self._engine.checks and "zero" not in found:
            found["zero"] = len(shares)
            value = value + (shares[number] if kind == "zero" else ZERO)
        settle(self, combination, value)

    def run_wave(self: Any, total: Any, worker: Any) -> Any:
        if self._engine.checks:
            first = found.get("request", 0)
            found["request"] = first + len(shares)
            if kind == "request" and first <= number < first + len(shares):
                total = total + shares[number - first]
        return run(self, total, worker)

    with ExitStack() as stack:
        for name, function in (
            ("close_quadratics", close_quadratics),
            ("batch_constraints", batch_constraints),
            ("open_level_zero", open_level_zero),
            ("weighted_rows", weighted_rows),
            ("check_last_vector", check_last_vector),
        ):
            stack.enter_context(mock.patch.object(opening, name, function))
        stack.enter_context(mock.patch.object(VerifyingEngine, "clear", count_clear))
        stack.enter_context(mock.patch.object(script, "powers", program_powers))
        stack.enter_context(mock.patch.object(ProgramScript, "_settle", settle_zeros))
        stack.enter_context(mock.patch.object(Wave, "run", run_wave))
        yield


def weight(statement: Statement, proof: bytes, seed: bytes, relation: Relation | None) -> tuple[K, dict[str, int]]:
    residual: list[K] = []
    found: dict[str, int] = {}
    with coins(seed), moved(relation, found, residual):
        verify(statement, proof, NONCE, minimum_bits=1)
    return residual[0], found


def collisions(
    statement: Statement, data: Sequence[OracleData], advice: dict[str, Any], kinds: str = "all", **prover: Any
) -> tuple[list[Relation], list[Any]]:
    """(relations without weight, pairs of relations with proportional weights), over all pairs of those kinds. `prover`
    is for `forge`."""
    proofs = []
    for seed in SEEDS:
        with coins(seed):
            proofs.append(forge(statement, data, advice, **prover).proof)
    residual, found = weight(statement, proofs[0], SEEDS[0], None)
    assert residual == ZERO
    levels = len(statement.parameters.levels)
    assert {"folded", "constraint", "claim", "quadratic", "clear", "spot 0"} <= set(found)
    relations = [
        (kind, i)
        for kind, count in found.items()
        if kind != f"spot {levels}" and (kinds == "all" or kind in kinds)
        for i in range(count)
    ]  # the spot checks of the last level are not batched
    weights_ = {
        r: [weight(statement, proof, seed, r)[0] for proof, seed in zip(proofs, SEEDS, strict=True)] for r in relations
    }
    silent = [r for r, (a, b) in weights_.items() if a == ZERO or b == ZERO]
    ratios: dict[K, Relation] = {}
    pairs = []
    for r, (a, b) in weights_.items():
        if r in silent:
            continue
        ratio = a * b.inverse()
        if ratio in ratios:
            pairs.append((ratios[ratio], r))
        ratios.setdefault(ratio, r)
    return silent, pairs


def histogram_case() -> tuple[Statement, list[OracleData], dict[str, Any]]:
    statement, data = Grouped().commit()
    return statement, [data], {}


def pair_case() -> tuple[Statement, list[OracleData], dict[str, Any]]:
    left, right, extra = weights(192, 2), weights(192, 3), weights(16, 4)
    (a, a_data), (b, b_data) = (commit(x, parameters=MICRO, seed=bytes([i]) * 32) for i, x in enumerate((left, right)))
    statement = Pair(a, b, 7, int((left[:128] * right[:128]).sum()), int(extra.sum()))
    return statement, [a_data, b_data], {"extra": extra, **witness(extra)}


def tiny_case() -> tuple[Statement, list[OracleData], dict[str, Any]]:
    values = weights(1024)
    commitment, data = commit(values)
    return Toy(commitment, squares(values)), [data], witness(values)


@cache
def program() -> Lie:
    """The truth about products of two commitments, a gather, a fresh histogram, and bounds on what depends on them: all
    kinds of batches that a program has, in waves of two depths."""
    random = np.random.default_rng(1)
    inputs = {name: random.integers(-99, 99, (3, 5)) for name in ("w/a", "w1/a")}
    g = GraphBuilder("program", 1)
    a, base = g.weight("a", (3, 5)), g.weight("a", (3, 5), commitment=1)
    gram = g.einsum("ij,kj->ik", a, base)
    g.disclose("gram", gram)
    g.disclose("picked", g.gather(a, np.array([2, 0, 0]), 1))
    g.disclose("statistic", g.matmul(g.histogram_of(base), np.arange(1 << 16)))
    g.disclose("abs", g.reduce_sum(g.abs(gram)))
    g.assert_true("bound", g.less_or_equal(g.einsum("ij,ij->i", a, a), 1 << 20))
    return Lie(Case.of(g.graph(), inputs))


def program_collisions(kinds: str) -> tuple[list[Relation], list[Any]]:
    true = program()
    values = true.values.__getitem__
    return collisions(true.claim, true.case.data, true.witness, kinds, program=values, kernels=KERNELS)


@pytest.mark.parametrize(
    "kinds",
    ["zero, request, folded, claim", pytest.param("all", marks=pytest.mark.slow)],
)
def test_no_two_relations_of_a_program_share_a_weight(kinds: str) -> None:
    """Group 25: its zero conditions, and the evaluations that each wave of sumchecks proves together, beside the
    relations that every proof has. The sum of the zero conditions is one claim, and the first condition has weight 1 in
    it: these two are one relation, moved twice."""
    silent, pairs = program_collisions(kinds)
    assert not silent
    ((claim, first),) = pairs
    assert (claim[0], first) == ("claim", ("zero", 0))


def test_a_shared_weight_of_a_program_is_found() -> None:
    """Group 25: zero conditions and evaluations of a wave that are batched with weights 1, c, c, ..."""

    def shared(base: K, count: int) -> list[K]:
        return [ONE, *[base] * (count - 1)]

    with mock.patch.object(script, "powers", shared):
        silent, pairs = program_collisions("zero, request")
    assert not silent
    assert {kind for pair in pairs for kind, _ in pair} == {"zero", "request"}


@pytest.mark.parametrize(
    ("case", "kinds"),
    [(pair_case, "all"), (tiny_case, "folded, claim, quadratic, spot 0, spot 1")],
)
def test_no_two_relations_share_a_weight(case: ToyCase, kinds: str) -> None:
    """Group 25: pairs of constraints, quadratics, claims, the folded claim, spot claims of all levels, mu and the other
    messages in clear."""
    silent, pairs = collisions(*case(), kinds)
    assert not silent
    assert not pairs


@pytest.mark.slow
@pytest.mark.parametrize("case", [histogram_case, tiny_case])
def test_no_two_relations_of_any_kind_share_a_weight(case: ToyCase) -> None:
    """Group 25: all kinds, larger statements."""
    silent, pairs = collisions(*case())
    assert not silent
    assert not pairs


def test_a_shared_weight_is_found() -> None:
    """Group 25: the break of the early draft, constraint j with weight beta^j: the first shares weight 1 with the
    folded claim, and this test sees it. So it sees a relation that is left out."""
    honest, case = opening.batch_constraints, pair_case()

    def shared(engine: Any, total: Any, beta: K) -> tuple[Words, K]:
        return honest(engine, total + engine.relations.constraints[0] * (1 - beta) * -1, beta)

    with mock.patch.object(opening, "batch_constraints", shared):
        _, pairs = collisions(*case, kinds="folded, constraint")
    assert [set(pair) for pair in pairs] == [{("constraint", 0), ("folded", 0)}]

    def left_out(engine: Any, total: Any, beta: K) -> tuple[Words, K]:
        engine.relations.constraints[1] = engine.relations.constraints[1] * 0
        return honest(engine, total, beta)

    with mock.patch.object(opening, "batch_constraints", left_out):
        silent, _ = collisions(*case, kinds="folded, constraint")
    assert ("constraint", 1) in silent

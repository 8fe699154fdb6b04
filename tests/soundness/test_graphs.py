"""Group 23, and what all groups are for: whole proofs of random statement graphs over random integers.

A proof is accepted exactly if ONNX runtimes say that every assertion is true; what it discloses is what they compute.
When they say false, the library's prover refuses, and one that does not is rejected.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits.builder import GraphBuilder
from circuits.errors import StatementError, VerificationError
from circuits.evaluate import check
from circuits.program import Advice
from prover.argument.engine import FalseStatementError
from prover.argument.prove import ProverFaultError
from tests.support.cheating import accepts, rejects
from tests.support.graphs import Case, claiming, fresh
from tests.support.lies import Lie, Numbers
from tests.unit.circuits.graph_inputs import (
    RandomGraph,
    random_statement,
    reference_outputs,
    runtime_is_exact,
    runtime_outputs,
)
from verifier.argument.errors import FinalRelationError, MerkleError


def said(statement: RandomGraph) -> dict[str, Numbers]:
    """The outputs by onnxruntime where its integers are exact, else by the reference evaluator of onnx."""
    model, _ = statement.builder.build()
    exact = runtime_is_exact(statement.builder.graph())
    return (runtime_outputs if exact else reference_outputs)(model, statement.inputs)


def proved_exactly_if_true(random: Random) -> None:
    statement = random_statement(random)
    outputs = said(statement)
    case = Case.of(statement.builder.graph(), statement.inputs)
    holds = all(cells.all() for name, cells in outputs.items() if name.startswith("assert/"))
    try:
        program = case.statement.statements.program
    except StatementError as error:
        assert "can never be proved" in str(error) and not holds
        return
    if holds:
        claim, proof = case.prove()
        accepts(fresh(claim), proof)
        for name, cells in claim.published.items():
            assert np.array_equal(cells, outputs[name.partition("/")[2]]), name
        a_change_is_rejected(case, proof, random)
    else:
        assert check(program, case.values)
        a_false_statement_is_rejected(case)


def a_false_statement_is_rejected(case: Case) -> None:
    """By the library's prover, even if it did not evaluate the statement first, and, made by one that goes on, by the
    verifier."""
    lie = Lie(case)
    assert lie.failing or lie.outside
    with pytest.raises((FalseStatementError, ProverFaultError)):
        lie.library_proof()
    rejects(FinalRelationError, fresh(lie.claim), lie.proof())


def a_change_is_rejected(case: Case, proof: bytes, random: Random) -> None:
    """A disclosed value one off, and a wrong cell of some advice."""
    published = case.claim.statements.published
    truth: dict[str, Numbers] = {name: np.array(case.values[atom]) for name, atom in published.items()}
    wide = {name: atom for name, atom in published.items() if atom.low < atom.high}
    if wide:
        name = random.choice(sorted(wide))
        cells = truth[name].copy()
        position = random.randrange(cells.size)
        cells.flat[position] += 1 if cells.flat[position] < wide[name].high else -1
        lie = Lie(case, {**truth, name: cells})
        assert lie.failing == [name]
        rejects(MerkleError, fresh(lie.claim), proof)
        rejects(FinalRelationError, fresh(lie.claim), lie.proof())
    advice = [atom for atom in case.claim.compiled.advice if atom.low < atom.high]
    if advice:
        lie = wrong_advice(case, truth, random.choice(advice), random)
        rejects(FinalRelationError, fresh(lie.claim), lie.proof())


def wrong_advice(case: Case, truth: dict[str, Numbers], atom: Advice, random: Random) -> Lie:
    """One cell moved to another value, in range or not. All other advice stays true, or follows if that is a lie at
    all: a certificate that nothing is said about may be anything."""
    cells = np.array(case.values[atom], object)
    position = random.randrange(cells.size)
    cells.flat[position] += random.choice([1, -1, atom.high - atom.low + 1, 1 << 16, 1 << 32])
    following = Lie(case, {**truth, atom.name: cells})
    if random.random() < 0.5 and (following.failing or following.outside):
        return following
    others = {other.name: case.values[other] for other in case.claim.compiled.advice}
    lie = Lie(case, {**truth, **others, atom.name: cells})
    return lie if lie.failing or lie.outside else following


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_random_graphs(random: Random) -> None:
    proved_exactly_if_true(random)


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_many_random_graphs(random: Random) -> None:
    proved_exactly_if_true(random)


def test_constants_whose_sum_is_taken_for_zero() -> None:
    """What is sent may depend on which public tensors take part in a value, never on what they amount to: the dry run,
    which counts what is sent, does not know their numbers, and 6 - 3 may be anything to it."""
    g = GraphBuilder("constants", 1)
    product = g.mul(g.weight("a", (2, 3)), g.weight("b", (2, 3)))
    g.disclose("abs", g.abs(g.sub(g.add(product, 6), 3)))
    g.disclose("product", product)
    random = np.random.default_rng(3)
    case = Case.of(g.graph(), {f"w/{name}": random.integers(-99, 99, (2, 3)) for name in "ab"})
    claim, proof = case.prove()
    accepts(fresh(claim), proof)


def test_a_disclosed_value_that_intervals_fix() -> None:
    """Group 5: nothing is proved of it, so that only the interval itself, of one value, keeps another one out."""
    g = GraphBuilder("fixed", 1)
    a = g.weight("a", (2, 3))
    g.disclose("fixed", g.min(a, -40_000))
    g.disclose("sum", g.reduce_sum(a))
    case = Case.of(g.graph(), {"w/a": np.arange(6).reshape(2, 3)})
    claim, proof = case.prove()
    assert [name for name, _ in claim.statements.program.zeros] == ["0/disclose/sum"]
    assert claim.values == (*[-40_000] * 6, 15)
    accepts(fresh(claim), proof)
    for wrong in (-39_999, -40_001, 0):
        values = {"0/disclose/fixed": np.array([[wrong, *[-40_000] * 2]] * 2), "0/disclose/sum": np.array(15)}
        rejects(VerificationError, fresh(claiming(claim, values)), proof)

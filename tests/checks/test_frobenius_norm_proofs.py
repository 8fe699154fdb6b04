"""frobenius-norm as proofs: thresholds just inside are proved, and no prover gets one just outside accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checkpoint import open_checkpoint
from circuits.errors import VerificationError
from circuits.evaluate import Evaluation
from circuits.evaluate import Witness as Atoms
from circuits.policy import Policy
from circuits.program import Slack
from prover.argument.engine import FalseStatementError
from prover.argument.kernels.cpu import CpuKernels
from prover.argument.program import ProgramData
from prover.argument.prove import prove
from prover.audit import Opened, audit_model, program_witness
from prover.certificates.base import CertificateError
from prover.commit import CommittedModel, commit_model
from prover.ledger import LEDGER_FILE, Ledger
from prover.progress import Progress
from tests.checks.test_frobenius_norm import boundary, integer_square
from tests.end_to_end.models import norms, policy_text, write_safetensors
from verifier.argument.audit import Audit
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import P
from verifier.argument.program.regions import MULTIPLICITIES
from verifier.argument.statement import verify

NONCE = bytes(range(16))
KERNELS = CpuKernels()
WEIGHT = "layer.0.weight"

Forgery = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CommittedModel:
    """One tensor with a histogram of its own, one small one."""
    random = np.random.default_rng(5)
    tensors = {
        WEIGHT: random.standard_normal((256, 257)).astype(np.float32),
        "layer.0.bias": random.standard_normal(257).astype(np.float32),
    }
    path = write_safetensors(tmp_path_factory.mktemp("model") / "model.safetensors", tensors)
    return commit_model(open_checkpoint(path), KERNELS, proofs=1)


def threshold(model: CommittedModel, above: int) -> Policy:
    """The integer bound is the weight's sum of squares + `above`."""
    exact = integer_square(model.integers, WEIGHT)
    text = boundary(model.integers, [WEIGHT], exact + above)
    return Policy.from_bytes(policy_text(norms(text, WEIGHT)).encode())


def audit(model: CommittedModel, policy: Policy, folder: Path) -> bytes:
    ledger = Ledger.create(folder / LEDGER_FILE, model.commitment.id, 1)
    return audit_model(Opened(model, ledger), policy, NONCE, KERNELS, Progress.silent()).proof


@pytest.mark.parametrize("above", [0, 1])
def test_just_inside_is_proved(model: CommittedModel, tmp_path: Path, above: int) -> None:
    policy = threshold(model, above)
    statement = Audit(policy, model.commitment)
    verify(statement, audit(model, policy, tmp_path), NONCE)
    assert {type(recipe) for recipe in statement.statements.program.recipes} == {Slack}


def test_just_outside_is_refused(model: CommittedModel, tmp_path: Path) -> None:
    """By one unit of the copy: within the policy's own limit, but not by the margin that rounding needs."""
    with pytest.raises((FalseStatementError, CertificateError)):
        audit(model, threshold(model, -1), tmp_path)
    (tmp_path / "far").mkdir()
    with pytest.raises(FalseStatementError):
        audit(model, threshold(model, -(integer_square(model.integers, WEIGHT) // 2)), tmp_path / "far")


def forge(model: CommittedModel, statement: Audit, slack: int, change: Forgery = dict) -> bytes:
    """The proof of a prover who ignores the refusal: any slack, any advice, no checks of its own."""
    program = statement.statements.program
    compiled, integers = statement.compiled, model.integers
    certificates: Mapping[str, Any] = {atom.name: np.full(atom.shape, slack, np.int64) for atom in compiled.advice}
    atoms = Atoms(lambda _, name: integers.matrix(name), lambda _, group: integers.histogram(group), certificates)
    values = Evaluation(program, atoms)
    witness = change(dict(program_witness(compiled, values)))
    data = ProgramData(KERNELS, values.__getitem__)
    return prove(statement, KERNELS, [model.data], witness, NONCE, program=data, check=False)


@pytest.mark.parametrize("slack", [0, 1, 65_535, 1 << 32])
def test_a_false_slack(model: CommittedModel, slack: int) -> None:
    """The true slack is -1, which no limbs can show; any other makes the identity false."""
    statement = Audit(threshold(model, -1), model.commitment)
    with pytest.raises(FinalRelationError):
        verify(statement, forge(model, statement, slack), NONCE)


def test_a_true_slack_is_accepted_from_the_same_forger(model: CommittedModel) -> None:
    """So the rejections above are for what was forged."""
    for above in (0, 7):
        statement = Audit(threshold(model, above), model.commitment)
        verify(statement, forge(model, statement, above), NONCE)


def minus_one_in_the_field(witness: dict[str, Any]) -> dict[str, Any]:
    """The lowest limb of every slack is p - 1: the identity holds, the lookup cannot."""
    for name, cells in witness.items():
        if name.endswith("#0"):
            witness[name] = np.full(cells.shape, P - 1, np.uint64)
    return witness


def borrowed_from_above(witness: dict[str, Any]) -> dict[str, Any]:
    """-1 = 65,535 - 65,536: the next limb is p - 1."""
    for name, cells in witness.items():
        if name.endswith("#0"):
            witness[name] = np.full(cells.shape, 65_535, np.int64)
        elif name.endswith("#1"):
            witness[name] = np.full(cells.shape, P - 1, np.uint64)
    return witness


def negative_multiplicity(witness: dict[str, Any]) -> dict[str, Any]:
    """A table entry that is looked up p - 1 times cannot make up for a cell outside the table."""
    witness = minus_one_in_the_field(witness)
    counts = witness[MULTIPLICITIES].astype(np.uint64)
    counts[0] = P - 1
    return {**witness, MULTIPLICITIES: counts}


@pytest.mark.parametrize("change", [minus_one_in_the_field, borrowed_from_above, negative_multiplicity])
def test_a_slack_of_minus_one_modulo_p(model: CommittedModel, change: Forgery) -> None:
    statement = Audit(threshold(model, -1), model.commitment)
    with pytest.raises(VerificationError):
        verify(statement, forge(model, statement, 0, change), NONCE)


def test_a_proof_for_a_weaker_threshold(model: CommittedModel, tmp_path: Path) -> None:
    """An honest proof of what holds is no proof of what does not, one unit below."""
    proof = audit(model, threshold(model, 0), tmp_path)
    with pytest.raises(VerificationError):
        verify(Audit(threshold(model, -1), model.commitment), proof, NONCE)


def test_a_threshold_that_no_weights_could_exceed(model: CommittedModel, tmp_path: Path) -> None:
    """True whatever the weights are: there is nothing to look up and no claim. It is proved like any other."""
    policy = Policy.from_bytes(policy_text(norms("1" + "0" * 20)).encode())
    proof = audit(model, policy, tmp_path)
    verify(Audit(policy, model.commitment), proof, NONCE)

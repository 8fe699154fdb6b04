"""Auditing and recommitting in process: what costs a share of the budget, what does not, and who counts as the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from circuits.checkpoint import Checkpoint, TensorSource, open_checkpoint
from circuits.errors import BudgetError, PolicyError, StatementError
from circuits.policy import Policy
from prover.argument.engine import FalseStatementError
from prover.argument.kernels.cpu import CpuKernels
from prover.argument.kernels.interface import Array, Cells, Codeword
from prover.audit import Opened, audit_model, certify
from prover.commit import CommittedModel, commit_model, read_integers, recommit
from prover.ledger import LEDGER_FILE, PROOF, Ledger
from prover.progress import Progress
from tests.end_to_end.models import norms, policy_text, small_tensors, write_safetensors
from verifier.argument.audit import Audit
from verifier.argument.statement import verify
from verifier.bundle import Bundle

NONCE = bytes(range(16))
PROOFS = 2
SILENT = Progress.silent()


class WatchedKernels(CpuKernels):
    """The real kernels, counting encodings: no proof is made without one. `broken` makes them fail."""

    encodings = 0
    broken = False

    def encode(self, cells: Cells, tails: Array | None, log_n: int) -> Codeword:
        self.encodings += 1
        if self.broken:
            raise MemoryError("the machine is full")
        return super().encode(cells, tails, log_n)


@pytest.fixture(scope="module")
def kernels() -> WatchedKernels:
    return WatchedKernels()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return open_checkpoint(write_safetensors(path, small_tensors()))


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint, kernels: WatchedKernels) -> CommittedModel:
    return commit_model(checkpoint, kernels, proofs=PROOFS)


@pytest.fixture
def ledger(tmp_path: Path, model: CommittedModel) -> Ledger:
    return Ledger.create(tmp_path / LEDGER_FILE, model.commitment.id, PROOFS)


def policy(at_most: str = "19", tensors: str = "*", over: str = "each") -> Policy:
    return Policy.from_bytes(policy_text(norms(at_most, tensors, over)).encode())


def audit(
    model: CommittedModel, asked: Policy, ledger: Ledger, kernels: WatchedKernels, nonce: bytes = NONCE
) -> Bundle:
    return audit_model(Opened(model, ledger), asked, nonce, kernels, SILENT)


def test_the_budget(model: CommittedModel, ledger: Ledger, kernels: WatchedKernels) -> None:
    """As many audits as were promised, each accepted; the next is refused before anything is computed."""
    for _ in range(PROOFS):
        bundle = audit(model, policy(), ledger, kernels)
        verify(Audit(policy(), model.commitment), bundle.proof, NONCE)
        assert (bundle.commitment, bundle.policy, bundle.nonce) == (model.commitment.id, policy().digest, NONCE)
    before = kernels.encodings
    for _ in range(2):
        with pytest.raises(BudgetError, match=f"all {PROOFS} openings for proof"):
            audit(model, policy(), ledger, kernels)
    assert kernels.encodings == before
    assert ledger.used(PROOF) == PROOFS


@pytest.mark.parametrize(
    ("asked", "nonce", "error"),
    [
        (policy("0.0001"), NONCE, StatementError),
        (policy(tensors="nothing.*"), NONCE, PolicyError),
        (policy(), NONCE[:15], StatementError),
        (policy(), b"", StatementError),
        (policy(), bytes(257), StatementError),
    ],
)
def test_what_cannot_be_asked_costs_nothing(
    model: CommittedModel, ledger: Ledger, kernels: WatchedKernels, asked: Policy, nonce: bytes, error: type[Exception]
) -> None:
    before = kernels.encodings
    with pytest.raises(error):
        audit(model, asked, ledger, kernels, nonce)
    assert ledger.remaining() == PROOFS
    assert kernels.encodings == before


@pytest.mark.parametrize("asked", [policy("1"), policy("21.5", over="together"), policy("18.3", "layer.*.weight")])
def test_a_refusal_costs_a_share(model: CommittedModel, ledger: Ledger, kernels: WatchedKernels, asked: Policy) -> None:
    """A verifier could find a norm out by asking for one threshold after the other: refusals are charged, and once
    the budget is spent even they cannot be had."""
    before = kernels.encodings
    for left in reversed(range(PROOFS)):
        with pytest.raises(FalseStatementError):
            audit(model, asked, ledger, kernels)
        assert ledger.remaining() == left
    with pytest.raises(BudgetError):
        audit(model, asked, ledger, kernels)
    assert kernels.encodings == before


def test_a_proof_that_crashes_costs_its_share(
    model: CommittedModel, ledger: Ledger, kernels: WatchedKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "broken", True)
    with pytest.raises(MemoryError):
        audit(model, policy(), ledger, kernels)
    assert ledger.remaining() == PROOFS - 1


def test_the_error_names_what_fails(model: CommittedModel, ledger: Ledger, kernels: WatchedKernels) -> None:
    with pytest.raises(FalseStatementError, match=r"frobenius-norm of layer\.0\.weight .*\(2 of 3 statements fail\)"):
        audit(model, policy("10"), ledger, kernels)


def test_measuring_needs_no_commitment(checkpoint: Checkpoint, model: CommittedModel, kernels: WatchedKernels) -> None:
    """The same answers from the checkpoint alone, and the true ones."""
    alone = certify([read_integers(checkpoint, kernels, SILENT)], policy("18.4"), SILENT).rows
    committed = certify([model.integers], policy("18.4"), SILENT).rows
    assert [(row.label, row.value, row.passed) for row in alone] == [
        (row.label, row.value, row.passed) for row in committed
    ]
    norm = {name: np.linalg.norm(values) for name, values in small_tensors().items()}
    assert {row.label: row.passed for row in alone} == {name: bool(value <= 18.4) for name, value in norm.items()}


# ---------------------------------------------------------------- recommitting

Change = Callable[[dict[str, npt.NDArray[Any]]], None]


def in_memory(original: Checkpoint, tensors: Mapping[str, npt.NDArray[Any]]) -> Checkpoint:
    """These tensors, under the files (and so the digests) of another checkpoint."""
    sources = tuple(
        TensorSource(name, values.shape, str(values.dtype), partial(np.asarray, values))
        for name, values in tensors.items()
    )
    return Checkpoint(sources, {}, original.paths)


def again(model: CommittedModel, checkpoint: Checkpoint, kernels: CpuKernels) -> CommittedModel | None:
    return recommit(checkpoint, model.commitment, model.seed, kernels, SILENT)


def test_the_same_checkpoint(model: CommittedModel, checkpoint: Checkpoint, kernels: WatchedKernels) -> None:
    found = again(model, checkpoint, kernels)
    assert found is not None
    assert found.commitment is model.commitment
    assert np.array_equal(found.integers.flat, model.integers.flat)
    assert again(model, in_memory(checkpoint, small_tensors()), kernels) is not None


def negated(tensors: dict[str, npt.NDArray[Any]]) -> None:
    tensors["layer.0.weight"][3, 4] *= -1


def exchanged(tensors: dict[str, npt.NDArray[Any]]) -> None:
    """The histograms stay what they were."""
    row = tensors["layer.1.weight"][0]
    row[0], row[1] = row[1].copy(), row[0].copy()


def next_integer(tensors: dict[str, npt.NDArray[Any]]) -> None:
    """By one unit of the fixed-point scale, 2^-12 or finer."""
    tensors["layer.0.bias"][0] += 2.0**-12


@pytest.mark.parametrize("change", [negated, exchanged, next_integer])
def test_other_weights_under_the_same_digests(
    model: CommittedModel, checkpoint: Checkpoint, kernels: WatchedKernels, change: Change
) -> None:
    """Digests aside, the root tells them apart."""
    tensors = small_tensors()
    change(tensors)
    assert again(model, in_memory(checkpoint, tensors), kernels) is None


def test_other_tensors(model: CommittedModel, checkpoint: Checkpoint, kernels: WatchedKernels) -> None:
    """Another shape, type or name, one more, one less."""
    tensors = small_tensors()
    weight = tensors["layer.0.weight"]
    for changes in (
        {"layer.0.weight": weight.T.copy()},
        {"layer.0.weight": weight.astype(np.float64)},
        {"one.more": weight},
    ):
        assert again(model, in_memory(checkpoint, {**tensors, **changes}), kernels) is None
    assert again(model, in_memory(checkpoint, {"layer.0.weight": weight}), kernels) is None


def test_another_file(model: CommittedModel, kernels: WatchedKernels, tmp_path: Path) -> None:
    """The same name and shapes, other bytes."""
    path = write_safetensors(tmp_path / "model.safetensors", small_tensors(seed=2))
    assert again(model, open_checkpoint(path), kernels) is None


def test_another_seed(model: CommittedModel, checkpoint: Checkpoint, kernels: WatchedKernels) -> None:
    assert recommit(checkpoint, model.commitment, model.seed[::-1], kernels, SILENT) is None


def test_two_commitments_to_one_model_share_nothing(
    model: CommittedModel, checkpoint: Checkpoint, kernels: WatchedKernels
) -> None:
    other = commit_model(checkpoint, kernels, proofs=PROOFS)
    assert other.seed != model.seed
    assert other.commitment.root != model.commitment.root
    assert other.commitment.id != model.commitment.id
    assert np.array_equal(other.integers.flat, model.integers.flat)

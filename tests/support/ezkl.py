"""Small models proved with ezkl: shared by the tests that attack it and by those that use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from circuits.checkpoint import open_checkpoint
from circuits.evaluate import Evaluation
from circuits.policy import Policy
from prover.audit import Opened, atoms, certify
from prover.backends.ezkl import EzklRun, audit_with_ezkl
from prover.commit import commit_model, prove_validity
from prover.kernel_choice import choose_kernels
from prover.ledger import LEDGER_FILE, Ledger
from prover.progress import Progress
from tests.checks.models import write
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.decision import EzklDecision, Verifying, decide_ezkl
from verifier.backends.ezkl.inputs import Hidden
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import ReferenceString
from verifier.backends.ezkl.verification import EzklStatement
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE

NONCE = bytes(range(16))
LIMITS = Limits(900, 8 << 30)
KERNELS = choose_kernels("cpu")
needs_ezkl = pytest.mark.skipif(
    find_spec("ezkl") is None, reason="ezkl is not installed: pip install 'weightproof[ezkl]'"
)


def matrix(seed: int = 1, shape: tuple[int, int] = (4, 4)) -> npt.NDArray[np.float32]:
    """Normal weights."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def policy(*checks: str) -> Policy:
    """A policy of checks written as YAML flow mappings."""
    lines = "".join(f"  - {{{check}}}\n" for check in checks)
    return Policy.from_bytes(f"policy: weightproof/policy/v1\nname: small\nchecks:\n{lines}".encode())


@dataclass(frozen=True)
class Owner:
    """A committed model with its folder, and how both parties run ezkl; derived keys are kept apart."""

    folder: Path
    opened: Opened
    reference: ReferenceString
    limits: Limits = LIMITS

    @staticmethod
    def of(folder: Path, tensors: Mapping[str, npt.NDArray[Any]] | Path, reference: ReferenceString) -> Owner:
        """Commit, with a validity proof on disk."""
        folder.mkdir()
        path = tensors if isinstance(tensors, Path) else write(folder / "model.safetensors", tensors)
        model = commit_model(open_checkpoint(path), KERNELS, proofs=32, progress=Progress.silent())
        (folder / COMMITMENT_FILE).write_bytes(model.commitment.to_bytes())
        (folder / VALIDITY_FILE).write_bytes(prove_validity(model, KERNELS, Progress.silent()))
        ledger = Ledger.create(folder / LEDGER_FILE, model.commitment.id, 32)
        return Owner(folder, Opened(model, ledger), reference)

    @property
    def run(self) -> EzklRun:
        return EzklRun(self.reference, self.limits, self.folder / "owner-keys")

    @property
    def verifying(self) -> Verifying:
        return Verifying(self.reference, self.limits, self.folder / "verifier-keys", allow_unlinked=True)

    def audit(self, asked: Policy, *, linked: bool = True) -> EzklBundle:
        return audit_with_ezkl(self.opened, asked, NONCE, self.run, KERNELS, Progress.silent(), linked=linked)

    def decide(self, bundle: EzklBundle, asked: Policy, nonce: bytes | None = NONCE) -> EzklDecision:
        return decide_ezkl(self.folder, bundle, asked, nonce, self.verifying)

    def statement(self, asked: Policy, *, linked: bool = True) -> EzklStatement:
        return EzklStatement.of(asked, self.opened.model.commitment, linked)

    def hidden(self, asked: Policy, *, linked: bool = True) -> Hidden:
        """The hidden vectors of an honest attempt."""
        statement = self.statement(asked, linked=linked)
        integers = self.opened.model.integers
        certified = certify([integers], asked, Progress.silent())
        # the statement's own program: values are looked up by identity
        values = Evaluation(statement.statements.program, atoms([integers], certified.certificates))
        return Hidden.fresh(statement.circuit, values.__getitem__)


def with_byte(data: bytes, position: int) -> bytes:
    """The same bytes with one bit flipped."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


__all__ = ["KERNELS", "NONCE", "Owner", "matrix", "needs_ezkl", "policy", "replace", "with_byte"]

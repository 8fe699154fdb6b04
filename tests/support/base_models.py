"""Four small models of one shape, on disk and committed: one that is audited and three that it may be compared with.

`tuned` has the body of `first` with another head; `second` is `tuned` with a little noise everywhere; `third` is
another model. The policy says the first two of these things, about the bases that it calls "first" and "second".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from circuits.checkpoint import open_checkpoint
from circuits.policy import Policy
from prover.audit import Opened, atoms, audit_model
from prover.commit import CommittedModel, commit_model, prove_validity
from prover.ledger import LEDGER_FILE, Ledger
from prover.progress import Progress
from tests.end_to_end.models import Array, write_safetensors
from tests.support.graphs import KERNELS, Case
from tests.support.model import SMALL
from tests.support.toy import NONCE
from verifier.argument.audit import Audit, Bases
from verifier.bundle import Bundle
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE

SCALE = 12
PROOFS = 100
Names = Mapping[str, str]
"""A base of the policy -> the model that is given for it."""
HONEST: Names = {"first": "first", "second": "second"}


def tensors() -> dict[str, dict[str, Array]]:
    """The models by name."""
    random = np.random.default_rng(5)

    def matrix(*shape: int, size: float = 1.0) -> Array:
        return (size * np.clip(random.standard_normal(shape), -4, 4)).astype(np.float32)

    body, head = matrix(31, 33), matrix(3, 5)
    return {
        "tuned": {"body.weight": body, "head.weight": head},
        "first": {"body.weight": body, "head.weight": matrix(3, 5)},
        "second": {"body.weight": body + matrix(31, 33, size=0.02), "head.weight": head + matrix(3, 5, size=0.02)},
        "third": {"body.weight": matrix(31, 33), "head.weight": matrix(3, 5)},
    }


def policy(*checks: Mapping[str, Any], name: str = "bases") -> Policy:
    return Policy.from_bytes(json.dumps({"policy": "weightproof/policy/v1", "name": name, "checks": checks}).encode())


def same_body(base: Mapping[str, str]) -> dict[str, Any]:
    """Outside the head the model is the base."""
    return {"check": "same-except", "base": base, "except": ["head.weight"], "within": "0.01"}


def near(base: Mapping[str, str], at_most: str = "1") -> dict[str, Any]:
    """The model as a whole is close to the base."""
    return {
        "check": "change-budget", "base": base, "tensors": "*", "norm": "frobenius", "at_most": at_most,
        "over": "together",
    }  # fmt: skip


POLICY = policy(same_body({"commitment": "first"}), near({"commitment": "second"}))


@dataclass(frozen=True)
class World:
    """The models in a folder."""

    place: Path

    def file(self, name: str) -> Path:
        """The checkpoint of a model."""
        return self.place / f"{name}.safetensors"

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.file(name).read_bytes()).hexdigest()

    @cached_property
    def models(self) -> dict[str, CommittedModel]:
        for name, content in tensors().items():
            write_safetensors(self.file(name), content)
        return {name: self.commit(name) for name in tensors()}

    def commit(self, name: str) -> CommittedModel:
        """Under a fresh seed."""
        return commit_model(open_checkpoint(self.file(name)), KERNELS, scales=SCALE, parameters=SMALL)

    def opened(self, name: str) -> Opened:
        """A model with its ledger, as its owner opens it."""
        model = self.models[name]
        path = self.place / f"{name}.{LEDGER_FILE}"
        if path.exists():
            return Opened(model, Ledger(path, model.commitment.id))
        return Opened(model, Ledger.create(path, model.commitment.id, PROOFS))

    def bases(self, names: Names) -> Bases:
        return Bases({base: self.models[name].commitment for base, name in names.items()})

    def audit(self, names: Names = HONEST, audited: str = "tuned", asked: Policy = POLICY) -> Audit:
        """What a verifier asks with these bases."""
        return Audit(asked, self.models[audited].commitment, (), self.bases(names))

    def bundle(self, names: Names = HONEST, asked: Policy = POLICY, nonce: bytes = NONCE) -> Bundle:
        """The library's proof for `tuned`."""
        given = {base: self.opened(name) for base, name in names.items()}
        return audit_model(self.opened("tuned"), asked, nonce, KERNELS, Progress.silent(), given)

    def case(self, asked: Audit, argued: Names, audited: str = "tuned") -> Case:
        """An owner who argues with these models for the bases of a statement, whatever commitments it names."""
        models = [self.models[audited], *(self.models[argued[base]] for base in asked.bases.committed)]
        integers = [model.integers for model in models]
        return Case(asked, [model.data for model in models], atoms(integers, {}))

    @cached_property
    def folders(self) -> Path:
        """Public folders of the commitments, by the names of the models."""
        parent = self.place / "folders"
        for name, model in self.models.items():
            self.publish(parent / name, model)
        return parent

    @staticmethod
    def publish(folder: Path, model: CommittedModel) -> None:
        """commitment.json and validity.proof."""
        folder.mkdir(parents=True)
        (folder / COMMITMENT_FILE).write_bytes(model.commitment.to_bytes())
        (folder / VALIDITY_FILE).write_bytes(prove_validity(model, KERNELS, Progress.silent()))

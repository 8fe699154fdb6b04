"""The small transformer and its bases committed once, and what honest and dishonest provers do with a policy."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from circuits.checkpoint import open_checkpoint
from circuits.evaluate import Evaluation
from circuits.policy import Policy
from prover.argument.program import ProgramData
from prover.argument.prove import prove
from prover.audit import Certified, Opened, audit_model, certify, program_witness
from prover.commit import CommittedModel, commit_model, prove_validity
from prover.ledger import LEDGER_FILE, Ledger
from prover.progress import Progress
from tests.checks.models import write
from tests.checks.small_transformer import COARSE, coarsened, one_unit_off, pair
from tests.checks.spectra_support import BITS, KERNELS, NONCE, PARAMETERS, Owner
from verifier.argument.audit import Audit, Bases
from verifier.argument.engine import Engine
from verifier.argument.parameters import Parameters
from verifier.argument.program.script import ProgramScript
from verifier.bundle import Bundle
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE, public_bases

SILENT = Progress.silent()


@dataclass(frozen=True)
class Models(Owner):
    """The audited model with the bases of one policy; `names` are those of the committed ones."""

    names: tuple[str, ...] = ()

    @cached_property
    def bases(self) -> Bases:
        committed = {name: model.commitment for name, model in zip(self.names, self.models[1:], strict=True)}
        return Bases(committed, public_bases(self.files, self.models[0].commitment.manifest))

    def statement(self, policy: Policy, values: tuple[int, ...] = ()) -> Audit:
        """What the verifier compiles."""
        return Audit(policy, self.models[0].commitment, values, self.bases)

    def measured(self, policy: Policy) -> Certified:
        """What `weightproof-prover measure` says."""
        return certify([model.integers for model in self.models], policy, SILENT, self.setting.context)

    def audited(self, policy: Policy) -> Bundle:
        """What `weightproof-prover audit` gives; every audit finds a fresh ledger, whose budget is tested elsewhere."""
        with tempfile.TemporaryDirectory() as folder:
            opened = [
                Opened(model, Ledger.create(Path(folder) / f"{number}-{LEDGER_FILE}", model.commitment.id, 1))
                for number, model in enumerate(self.models)
            ]
            bases = dict(zip(self.names, opened[1:], strict=True))
            return audit_model(opened[0], policy, NONCE, KERNELS, SILENT, bases, self.bases.public)

    def publish(self, folder: Path) -> list[Path]:
        """The public files of every commitment, one folder for each."""
        made = []
        for number, model in enumerate(self.models):
            made.append(folder / str(number))
            made[-1].mkdir()
            (made[-1] / COMMITMENT_FILE).write_bytes(model.commitment.to_bytes())
            (made[-1] / VALIDITY_FILE).write_bytes(prove_validity(model, KERNELS, SILENT))
        return made

    def disguise(self, false: Audit, true: Audit, values: Evaluation) -> bytes:
        """A flawless run of the protocol of one statement, true for `values`, under the transcript of a false one."""
        statement = Disguised(false.policy, false.commitment, false.values, false.bases, true)
        witness, program = program_witness(true.compiled, values), ProgramData(KERNELS, values.__getitem__)
        data = [model.data for model in self.models]
        return prove(statement, KERNELS, data, witness, NONCE, program=program, minimum_bits=BITS, check=False)


@dataclass(frozen=True)
class Disguised(Audit):
    """The canonical bytes of one audit, the protocol of another one."""

    other: Audit | None = None

    def script(self, engine: Engine) -> None:
        assert self.other is not None
        script = ProgramScript(engine, self.other.compiled, self.commitments, self.other.published)
        engine.commit()
        script.after_commit()


@dataclass(frozen=True)
class World:
    """The audited model, base models that are committed, and base models that are public files, by name."""

    own: CommittedModel
    committed: Mapping[str, CommittedModel]
    files: Mapping[str, Path]

    @staticmethod
    def of(folder: Path, parameters: Parameters = PARAMETERS) -> World:
        """Commit to everything."""
        tensors, base = pair()
        bases = {
            "base": base,
            "one-unit-off": one_unit_off(base),
            "coarse": coarsened(tensors, 2),
            "coarse-and-off": coarsened(tensors, 3),
        }
        files = {name: write(folder / f"{name}.safetensors", model) for name, model in bases.items()}

        def commit(path: Path, scale: int | None = None) -> CommittedModel:
            return commit_model(open_checkpoint(path), KERNELS, proofs=1, scales=scale, parameters=parameters)

        own = commit(write(folder / "own.safetensors", tensors))
        committed = {name: commit(path, COARSE if "coarse" in name else None) for name, path in files.items()}
        return World(own, committed, {f"{name}-file": path for name, path in files.items()})

    def policy(self, checks: Sequence[Mapping[str, Any]]) -> Policy:
        """A policy file of these checks; a base is called by its name here."""
        content = {"policy": "weightproof/policy/v1", "name": "small", "checks": [self._named(one) for one in checks]}
        return Policy.from_bytes(json.dumps(content).encode())

    def _named(self, check: Mapping[str, Any]) -> dict[str, Any]:
        if "base" not in check:
            return dict(check)
        name = check["base"]
        if name in self.committed:
            return {**check, "base": {"commitment": name}}
        return {**check, "base": {"file_sha256": sha256(self.files[name].read_bytes()).hexdigest()}}

    def models(self, checks: Sequence[Mapping[str, Any]]) -> Models:
        """The models that these checks speak of."""
        wanted = {check["base"] for check in checks if "base" in check}
        names = tuple(name for name in self.committed if name in wanted)
        files = tuple(path for name, path in self.files.items() if name in wanted)
        return Models((self.own, *(self.committed[name] for name in names)), files, names)

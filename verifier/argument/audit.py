"""The statement of an audit: a policy over one commitment, proved as one bundle under the verifier's nonce."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from circuits.checks.base import Context
from circuits.checks.bases import Matrix
from circuits.compiled import PolicyStatements
from circuits.errors import PolicyError, VerificationError
from circuits.manifest import Manifest
from circuits.policy import Policy
from circuits.program import Integers
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.program.script import CompiledProgram, ProgramScript
from verifier.argument.statement import Statement


@dataclass(frozen=True)
class Bases:
    """Base models that a policy compares with, by the keys that it uses.

    Attributes:
        committed: commitments whose validity this verifier has accepted.
        public: files that the verifier has quantised itself: SHA-256 (hex) -> (manifest, integers by tensor).

    Commitments are numbered 1, 2, ... in the order of their names, so that owner and verifier need not name them in the
    same order.
    """

    committed: Mapping[str, Commitment] = field(default_factory=dict)
    public: Mapping[str, tuple[Manifest, Mapping[str, Matrix]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "committed", dict(sorted(self.committed.items())))

    def context(self, commitment: Commitment) -> Context:
        """The public facts of an audit of `commitment`."""
        if set(self.committed) & set(self.public):
            raise PolicyError("a base commitment has the name of a public base file; give it another name")
        manifests = {name: base.manifest for name, base in self.committed.items()}
        manifests.update({digest: manifest for digest, (manifest, _) in self.public.items()})
        return Context(commitment.manifest, manifests, {key: integers for key, (_, integers) in self.public.items()})


@dataclass(frozen=True)
class Audit(Statement):
    """Every check of the policy holds for the weights behind the commitment, and `disclosed` is what it publishes.

    Compiled by each party itself from policy and manifest. Raises PolicyError or StatementError where the policy does
    not fit the model.
    """

    policy: Policy
    commitment: Commitment
    values: tuple[int, ...] = ()
    bases: Bases = Bases()

    kind = "audit/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment, *self.bases.committed.values())

    @property
    def disclosed(self) -> tuple[int, ...]:
        return self.values

    @cached_property
    def statements(self) -> PolicyStatements:
        for base in self.policy.bases:
            given = self.bases.committed.get(base.commitment or "")
            if base.id is not None and given is not None and given.id.hex() != base.id:
                raise PolicyError(f"the base model {base.commitment!r} must be the commitment {base.id}")
        return PolicyStatements.of(self.policy, self.bases.context(self.commitment))

    @cached_property
    def compiled(self) -> CompiledProgram:
        return CompiledProgram.of(self.statements.program)

    @property
    def expected_values(self) -> int:
        """How many integers the policy discloses."""
        return sum(int(np.prod(atom.shape, dtype=np.int64)) for atom in self.statements.published.values())

    @cached_property
    def published(self) -> Mapping[str, Integers]:
        """The disclosed integers as tensors, by name. Raises VerificationError if one is outside its interval."""
        if len(self.values) != self.expected_values:
            raise VerificationError("the bundle discloses another number of values than the policy asks for")
        out, offset = {}, 0
        for name, atom in self.statements.published.items():
            size = int(np.prod(atom.shape, dtype=np.int64))
            cells = self.values[offset : offset + size]
            if any(not atom.low <= cell <= atom.high for cell in cells):
                raise VerificationError(f"the disclosed {name} is not in [{atom.low}, {atom.high}]")
            out[name] = np.array(cells, np.int64).reshape(atom.shape)
            offset += size
        return out

    def canonical(self) -> bytes:
        content = {"policy": self.policy.digest.hex(), "statements": self.statements.canonical()}
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return hashlib.sha256(encoded).digest()

    def script(self, engine: Engine) -> None:
        script = ProgramScript(engine, self.compiled, self.commitments, self.published)
        engine.commit()
        script.after_commit()

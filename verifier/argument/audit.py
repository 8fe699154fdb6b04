"""The statement of an audit: a policy over one commitment, proved as one bundle under the verifier's nonce."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from circuits.checks.frobenius_norm import FrobeniusNorm
from circuits.manifest import Manifest
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.norms import NormPlan, NormScript
from verifier.argument.statement import Statement


def norm_plan(policy: Policy, manifest: Manifest) -> NormPlan:
    """The inequalities of all frobenius-norm checks of a policy, in its order."""
    checks = [check for check in policy.checks if isinstance(check, FrobeniusNorm)]
    return NormPlan(tuple(bound for check in checks for bound in check.bounds(manifest)))


@dataclass(frozen=True)
class Audit(Statement):
    """Every check of the policy holds for the weights behind the commitment.

    Compiled by each party itself from policy and manifest. Raises PolicyError or StatementError where the policy does
    not fit the model.
    """

    policy: Policy
    commitment: Commitment

    kind = "audit/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    @cached_property
    def norms(self) -> NormPlan:
        return norm_plan(self.policy, self.commitment.manifest)

    def canonical(self) -> bytes:
        content = {
            "policy": self.policy.digest.hex(),
            "checks": [[check.check, check.version] for check in self.policy.checks],
            "norms": [bound.canonical() for bound in self.norms.bounds],
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        norms = NormScript(engine, model, self.commitment, self.norms)
        engine.commit()
        norms.after_commit()

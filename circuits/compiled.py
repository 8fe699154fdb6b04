"""From a policy and the public facts of a model to one program: what verifier and prover both build for themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from circuits.checks.base import Check, Context, Instance
from circuits.errors import PolicyError, StatementError
from circuits.lowering import lower
from circuits.policy import Policy
from circuits.program import Program, Published

MAX_INSTANCES = 20_000


@dataclass(frozen=True)
class PolicyStatements:
    """All statements of a policy about one model.

    Attributes:
        instances: (number of the check in the policy, instance), in order; their graphs have the same order.
    """

    policy: Policy
    context: Context
    instances: tuple[tuple[int, Instance], ...]

    @staticmethod
    def of(policy: Policy, context: Context) -> PolicyStatements:
        """Raises PolicyError or StatementError, naming the check, where the policy does not fit the model."""
        found: list[tuple[int, Instance]] = []
        for number, check in enumerate(policy.checks):
            try:
                found.extend((number, instance) for instance in check.instances(context))
            except PolicyError as error:
                raise PolicyError(f"check {number + 1} ({check.check}): {error}") from None
            except StatementError as error:
                raise StatementError(f"check {number + 1} ({check.check}): {error}") from None
            if len(found) > MAX_INSTANCES:
                raise PolicyError(f"the policy makes more than {MAX_INSTANCES} statements about this model; split it")
        statements = PolicyStatements(policy, context, tuple(found))
        statements.require_counts()
        return statements

    def check(self, number: int) -> Check:
        return self.policy.checks[number]

    @cached_property
    def program(self) -> Program:
        """All graphs, lowered together. Raises StatementError if a statement is false whatever the weights are."""
        return lower([instance.graph for _, instance in self.instances])

    def tensors(self, instance: Instance) -> list[str]:
        """The committed tensors of the audited model that a statement is about: inputs of its graph, by name."""
        names = {node.name for node in instance.graph.nodes if node.op == "input"}
        groups = {int(name.removeprefix("hist/")) for name in names if name.startswith("hist/")}
        manifest = self.context.manifest
        return [t.name for t in manifest.tensors if f"w/{t.name}" in names or t.group in groups]

    def require_counts(self) -> None:
        """Refuse checks that are not about as many tensors as the policy pins. Raises PolicyError."""
        for number, check in enumerate(self.policy.checks):
            if check.count is None:
                continue
            about = {name for own, one in self.instances if own == number for name in self.tensors(one)}
            if len(about) != check.count:
                raise PolicyError(
                    f"check {number + 1} ({check.check}) is about {len(about)} tensors of this model, not {check.count}"
                )

    def canonical(self) -> list[object]:
        """A JSON value that determines the statements: check ids and versions, labels, and digests of the graphs."""
        return [
            [
                number,
                self.check(number).check,
                self.check(number).version,
                instance.label,
                instance.graph.canonical().hex(),
            ]
            for number, instance in self.instances
        ]

    @property
    def published(self) -> Mapping[str, Published]:
        """The disclosed tensors by name, in the order of publication."""
        return {atom.name: atom for atom, _ in self.program.published}

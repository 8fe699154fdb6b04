"""Audits of statement graphs that no check of the catalogue makes, over real commitments of a few weights.

Everything is real but the size: the verifier compiles the graphs itself, the prover evaluates and proves them with the
compiled kernels. `lies.py` has the provers that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Instance
from circuits.compiled import PolicyStatements
from circuits.evaluate import Evaluation, disclosed
from circuits.evaluate import Witness as Atoms
from circuits.graph import Graph
from circuits.policy import Policy
from circuits.program import Integers
from prover.argument.kernels.cpu import CpuKernels
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.prove import prove
from prover.audit import program_witness, share_statements
from tests.end_to_end.models import norms, policy_text
from tests.support.model import build
from tests.support.toy import NONCE
from verifier.argument.audit import Audit, Bases

KERNELS = CpuKernels(threads=1)
POLICY = Policy.from_bytes(policy_text(norms("1"), name="graphs").encode())
Arrays = Mapping[str, Integers]


@dataclass(frozen=True)
class GraphAudit(Audit):
    """An audit whose statements are these graphs, whatever the policy says."""

    graphs: tuple[Graph, ...] = ()

    @cached_property
    def statements(self) -> PolicyStatements:
        instances = tuple((0, Instance(str(i), "", "", "", graph)) for i, graph in enumerate(self.graphs))
        return PolicyStatements(self.policy, self.bases.context(self.commitment), instances)


AnyAudit = TypeVar("AnyAudit", bound=Audit)


def claiming(statement: AnyAudit, values: Arrays) -> AnyAudit:
    """The same audit with these integers disclosed; compiled once, for the prover."""
    flat = tuple(int(x) for name in statement.statements.published for x in np.asarray(values[name]).reshape(-1))
    claim = replace(statement, values=flat)
    share_statements(statement, claim)
    return claim


def fresh(claim: AnyAudit) -> AnyAudit:
    """The same claim as a verifier makes it: compiled anew."""
    return replace(claim)


@dataclass(frozen=True)
class Case:
    """An audit, nothing disclosed yet, and what the owner has: committed models, and all that a program is evaluated
    on."""

    statement: Audit
    data: Sequence[OracleData]
    atoms: Atoms

    @staticmethod
    def of(graph: Graph, inputs: Arrays) -> Case:
        """A graph about inputs by name: "advice/...", "hist/0", and weights, "w/..." in commitment 0 and "w1/..." in a
        base model."""
        tensors: list[dict[str, Integers]] = [{}, {}]
        for name, cells in inputs.items():
            kind, _, tensor = name.partition("/")
            if kind in ("w", "w1"):
                tensors[kind == "w1"][tensor] = cells
        models = [build(tensors[0] or {"unused": np.zeros((1, 1), np.int64)}, kernels=KERNELS)]
        if tensors[1]:
            models.append(build(tensors[1], kernels=KERNELS))
        bases = Bases({"base": models[1].commitment} if tensors[1] else {})
        statement = GraphAudit(POLICY, models[0].commitment, (), bases, (graph,))
        atoms = Atoms(
            lambda commitment, name: inputs[f"w{commitment or ''}/{name}"],
            lambda commitment, group: inputs[f"hist{commitment or ''}/{group}"],
            {f"0/{name}": cells for name, cells in inputs.items() if name.startswith("advice/")},
        )
        return Case(statement, [model.data for model in models], atoms)

    @cached_property
    def values(self) -> Evaluation:
        """The true values."""
        return Evaluation(self.statement.statements.program, self.atoms)

    @cached_property
    def claim(self) -> Audit:
        """The statement with what an honest prover discloses."""
        return claiming(self.statement, disclosed(self.statement.statements.program, self.values))

    def prove(self) -> tuple[Audit, bytes]:
        """The honest prover, as `prover.audit.audit_model` runs it once the certificates are made."""
        witness = program_witness(self.claim.compiled, self.values)
        data = ProgramData(KERNELS, self.values.__getitem__)
        return self.claim, prove(self.claim, KERNELS, self.data, witness, NONCE, program=data, minimum_bits=1)


def about(cells: Sequence[int], statement: Callable[[GraphBuilder, Tensor], None]) -> Case:
    """A statement about one committed row x."""
    row = np.array([cells], np.int64)
    g = GraphBuilder("about", 1)
    statement(g, g.weight("x", (1, len(cells))))
    return Case.of(g.graph(), {"w/x": row})

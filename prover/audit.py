"""Auditing: the advice of a policy, computed in the clear, the budget, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from circuits.checks.frobenius_norm import SumBound
from circuits.policy import Policy
from prover.argument.engine import FalseStatementError, Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.prove import prove
from prover.commit import CommittedModel, ModelIntegers
from prover.ledger import PROOF, Ledger
from prover.progress import Progress
from verifier.argument.audit import Audit, norm_plan
from verifier.argument.norms import LIMBS, SQUARES, NormPlan
from verifier.argument.statement import open_transcript
from verifier.bundle import Bundle


@dataclass(frozen=True)
class Measured:
    """A norm in the clear beside what the proof needs: `value` <= `limit`, both of the fixed-point copy."""

    check: str
    label: str
    value: str
    limit: str
    passed: bool


def sums_of_squares(model: ModelIntegers, plan: NormPlan) -> dict[str, int]:
    """The exact sum of squares of every tensor of the plan."""
    names = {name for bound in plan.bounds for name, _ in bound.exact}
    names |= {name for bound in plan.bounds for part in bound.rounded for name in part.tensors}
    manifest = model.manifest
    sums = {}
    for tensor in manifest.tensors:
        if tensor.name not in names:
            continue
        if manifest.groups[tensor.group].entries == tensor.entries:
            sums[tensor.name] = int(model.histogram(tensor.group) @ SQUARES.values)
        else:
            row = model.matrix(tensor.name).reshape(-1).astype(np.int64)
            sums[tensor.name] = int(row @ row)
    return sums


def norm_text(square: Fraction) -> str:
    """A square root in decimal, six places, rounded down."""
    root = isqrt(square.numerator * 10**12 // square.denominator)
    return f"{root // 10**6}.{root % 10**6:06d}"


def measure(model: ModelIntegers, policy: Policy) -> list[Measured]:
    """Every inequality of the policy in the clear, without proving anything."""
    plan = norm_plan(policy, model.manifest)
    return measured(plan, plan.values(sums_of_squares(model, plan)))


def measured(plan: NormPlan, values: list[int]) -> list[Measured]:
    rows, number = [], 0
    for bound in plan.bounds:
        rows.append(measured_bound(bound, values[number]))
        number += 1 + 2 * len(bound.rounded)
    return rows


def measured_bound(bound: SumBound, slack: int) -> Measured:
    unit = Fraction(1, 4) ** bound.scale
    return Measured(
        "frobenius-norm",
        bound.label,
        norm_text((bound.bound - slack) * unit),
        norm_text(bound.bound * unit),
        slack >= 0,
    )


def audit_witness(model: CommittedModel, statement: Audit) -> Witness:
    """The advice of a policy. Raises FalseStatementError, naming what does not hold, before anything is reserved."""
    plan = statement.norms
    values = plan.values(sums_of_squares(model.integers, plan))
    failed = [row for row in measured(plan, values) if not row.passed]
    if failed:
        first = failed[0]
        raise FalseStatementError(
            f"{first.check} of {first.label} is {first.value}, the limit after rounding is {first.limit}"
            f" ({len(failed)} of {len(plan.bounds)} fail): nothing was proved; see `weightproof-prover measure`"
        )
    return plan.limbs.witness(values, LIMBS)


def audit_model(
    model: CommittedModel, policy: Policy, nonce: bytes, ledger: Ledger, kernels: Kernels, progress: Progress
) -> Bundle:
    """Prove a policy: measure, reserve one opening, prove.

    Raises FalseStatementError (nothing reserved), BudgetError, PolicyError, StatementError.
    """
    statement = Audit(policy, model.commitment)
    open_transcript(statement, nonce)
    with progress.stage("measure"):
        witness = audit_witness(model, statement)
    ledger.reserve(PROOF, f"policy {policy.digest.hex()} nonce {nonce.hex()}")
    with progress.stage("prove"):
        proof = prove(statement, kernels, [model.data], witness, nonce)
    return Bundle(model.commitment.id, policy.digest, nonce, statement.disclosed, proof)

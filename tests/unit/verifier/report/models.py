"""An attestation whose commitment and policy are at hand: a small manifest, and integers that could be its own."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from circuits.checks.base import Context
from circuits.disclosures import disclosing
from circuits.manifest import Manifest, TensorEntry
from circuits.policy import Policy
from tests.support.model import SMALL
from tests.unit.verifier.attestation.examples import DATES, REGULATOR
from verifier.argument.commitment import Commitment
from verifier.attestation.issue import model_audit
from verifier.attestation.predicate import Issuer, ModelAudit
from verifier.attestation.statement import Subject, model_digest

FILES = {"model.safetensors": hashlib.sha256(b"model").hexdigest()}
CHECKS = (
    {"check": "max-abs", "tensors": "*", "at_most": "2"},
    {"check": "max-abs", "tensors": "b.weight", "at_most": "2", "disclose": True},
    {"check": "quantile", "tensors": "b.weight", "level": "0.5", "disclose": True},
    {"check": "kurtosis", "tensors": "a.weight", "at_least": "1.5", "at_most": "900", "disclose": True},
    {"check": "frobenius-norm", "tensors": "*", "over": "together", "at_most": "60"},
)
MAXIMUM, MEDIAN = 1024, 256
"""Of |t| in b.weight, at scale 10: 1 and 1/4."""


def policy(*checks: dict[str, Any]) -> Policy:
    text = json.dumps({"policy": "weightproof/policy/v1", "name": "small", "checks": checks or CHECKS})
    return Policy.from_bytes(text.encode())


def commitment(tensors: int = 2) -> Commitment:
    """Matrices a.weight, b.weight, ... of 1500 weights at scale 10."""
    names = ["a.weight", "b.weight", *(f"c.{number:04}.weight" for number in range(tensors - 2))]
    group = 0
    entries = tuple(TensorEntry(name, (50, 30), "float32", 10, group) for name in names)
    return Commitment(SMALL, Manifest(entries, (), {}, FILES), bytes(32))


SUBJECT = Subject("small", model_digest(FILES))


def integers(asked: Policy, about: Commitment) -> list[str]:
    """Disclosed values: weights of +-512/1024 in equal parts have S_k = 0 or n 512^k."""
    found: list[str] = []
    for _, instance in disclosing(asked, Context(about.manifest)):
        for what, _ in instance.graph.disclosed:
            found.append(str({"max-abs": MAXIMUM, "quantile": MEDIAN}.get(what) or power_sum(what)))
    return found


def power_sum(what: str) -> int:
    """ "power-sum-4/limb-1": the second limb, in base 2^30, of the sum of fourth powers."""
    power, _, limb = what.removeprefix("power-sum-").partition("/limb-")
    whole = 0 if int(power) % 2 else 1500 * 512 ** int(power)
    if not limb:
        return whole
    return whole >> 30 if int(limb) else whole % 2**30


def audit(
    asked: Policy, about: Commitment, issuer: Issuer = REGULATOR, disclosed: list[str] | None = None
) -> ModelAudit:
    """What a regulator attests who has accepted a proof of `asked`, as far as a report reads it."""
    context = Context(about.manifest)
    claims = []
    for check in asked.checks:
        labels = list(dict.fromkeys(instance.label for instance in check.instances(context)))
        parameters = check.model_dump(mode="json", exclude={"check"})
        claims.append(
            {
                "check": check.check,
                "version": check.version,
                "parameters": parameters,
                "about": labels,
                "passed": True,
                "strength": check.strength,
                "does_not_mean": check.does_not_mean,
            }
        )
    report = {
        "commitment": about.id.hex(),
        "policy": {"name": asked.name, "digest": asked.digest.hex()},
        "nonce": "the verifier's",
        "claims": claims,
        "not_covered": ["position_ids"],
        "disclosed": integers(asked, about) if disclosed is None else disclosed,
        "security": {"target_bits": 128, "regime": "Fiat-Shamir in the classical random-oracle model"},
    }
    return model_audit(report, issuer, DATES, {"bundle": "12" * 32})

"""An attestation made up for tests, with a part of it changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import Dates, model_audit
from verifier.attestation.keys import SigningKey, create_key
from verifier.attestation.predicate import MODEL_AUDIT, Issuer, ModelAudit
from verifier.attestation.statement import PAYLOAD_TYPE, Statement, Subject

PROVED = datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
VERIFIED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UNTIL = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
DATES = Dates(PROVED, VERIFIED, UNTIL)
DURING = datetime(2026, 6, 1, tzinfo=UTC)
SUBJECT = Subject("encoder", "ab" * 32)
REGULATOR = Issuer(role="regulator", id="spiffe://regulator.example/verifier")
OWNER = Issuer(role="owner", id="spiffe://owner.example/prover")


def report(**changes: Any) -> dict[str, Any]:
    """What `Decision.report` gives, as far as attestations read it."""
    norm = {
        "check": "frobenius-norm",
        "version": 1,
        "parameters": {"tensors": "*", "at_most": "20.5", "over": "each"},
        "about": ["layer.0.weight", "layer.1.weight"],
        "passed": True,
        "strength": "exact",
        "does_not_mean": "A small norm says nothing about what the model computes or whether it is safe.",
    }
    rows = {
        **norm,
        "check": "row-norms",
        "parameters": {"tensors": "emb", "axis": 0, "at_most": "3", "at_least": "0.5", "count_below": None},
        "about": ["emb"],
    }
    same = {
        **norm,
        "check": "same-except",
        "parameters": {"base": {"commitment": "b", "sizes": [2**61 - 1, 5]}, "except": ["a.*"]},
        "strength": "theorem",
        "does_not_mean": "Nothing about the tensors that were excepted",
    }
    shown = {**norm, "check": "kurtosis", "parameters": {"disclose": True}, "strength": "indicator"}
    return {
        "commitment": "cd" * 32,
        "policy": {"name": "baseline", "digest": "ef" * 32},
        "nonce": "the verifier's",
        "claims": [norm, rows, same, shown],
        "not_covered": ["position_ids"],
        "disclosed": [str(2**61 - 1), "-5"],
        "security": {"target_bits": 128, "regime": "Fiat-Shamir in the classical random-oracle model"},
        **changes,
    }


def audit(issuer: Issuer = REGULATOR, **changes: Any) -> ModelAudit:
    return model_audit(report(**changes), issuer, DATES, {"bundle": "12" * 32})


def signed(key: SigningKey, predicate: dict[str, Any] | None = None, subject: Subject = SUBJECT) -> Envelope:
    """An envelope around a predicate, by default the example."""
    statement = Statement((subject,), MODEL_AUDIT, audit().to_json() if predicate is None else predicate)
    return Envelope.sign(statement.to_bytes(), PAYLOAD_TYPE, key)


def new_key(folder: Path, name: str = "key") -> SigningKey:
    """A key pair in <name>.pem and <name>.pub."""
    return create_key(folder / f"{name}.pem", folder / f"{name}.pub")

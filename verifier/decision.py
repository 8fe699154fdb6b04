"""Deciding on a bundle: the commitment's validity first, then the statement that the verifier compiles itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circuits.compiled import PolicyStatements
from circuits.errors import VerificationError
from circuits.files import read_limited
from circuits.policy import Policy
from verifier.argument.audit import Audit
from verifier.argument.commitment import Commitment
from verifier.argument.parameters import TARGET_BITS
from verifier.argument.soundness import bits
from verifier.argument.statement import MAX_PROOF_BYTES, Accepted, verify
from verifier.argument.validity import Validity
from verifier.bundle import Bundle

COMMITMENT_FILE = "commitment.json"
VALIDITY_FILE = "validity.proof"


@dataclass
class Decision:
    """An accepted bundle: what was shown, how strongly, how long it took to check."""

    commitment: Commitment
    statements: PolicyStatements
    policy: Policy
    nonce_from_verifier: bool
    disclosed: tuple[int, ...]
    validity: Accepted
    audit: Accepted
    validity_bytes: int
    proof_bytes: int
    seconds: dict[str, float] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """The decision as a JSON value; numbers that matter are strings."""
        claims = [
            {
                "check": check.check,
                "version": check.version,
                "parameters": check.model_dump(mode="json", exclude={"check"}),
                "about": [instance.label for own, instance in self.statements.instances if own == number],
                "passed": True,
                "strength": check.strength,
                "does_not_mean": check.does_not_mean,
            }
            for number, check in enumerate(self.policy.checks)
        ]
        return {
            "verdict": "accepted",
            "commitment": self.commitment.id.hex(),
            "policy": {"name": self.policy.name, "digest": self.policy.digest.hex()},
            "nonce": "the verifier's" if self.nonce_from_verifier else "chosen by the prover: freshness is not shown",
            "claims": claims,
            "not_covered": [entry.name for entry in self.commitment.manifest.excluded],
            "disclosed": [str(value) for value in self.disclosed],
            "security": {
                "target_bits": self.commitment.parameters.target_bits,
                "interactive_bits": f"{bits(self.audit.account.union):.2f}",
                "round_by_round_bits": f"{bits(self.audit.account.worst_round):.2f}",
                "regime": "Fiat-Shamir in the classical random-oracle model: about 2^127 work",
            },
            "bytes": {"validity": self.validity_bytes, "audit": self.proof_bytes},
            "seconds": {name: f"{value:.3f}" for name, value in self.seconds.items()},
        }


def check_validity(folder: Path, minimum_bits: int = TARGET_BITS) -> tuple[Commitment, Accepted, int]:
    """Read commitment.json and validity.proof of a folder and check the proof.

    Raises FormatError, VerificationError, SoundnessError.
    """
    commitment = Commitment.read(folder / COMMITMENT_FILE)
    proof = read_limited(folder / VALIDITY_FILE, MAX_PROOF_BYTES, "validity proof")
    return commitment, verify(Validity(commitment), proof, minimum_bits=minimum_bits), len(proof)


def decide(
    folder: Path, bundle: Bundle, policy: Policy, nonce: bytes | None, minimum_bits: int = TARGET_BITS
) -> Decision:
    """Accept or raise.

    `nonce` is the one that this verifier handed out; with None the bundle's own is used and the report says that
    freshness is not shown. Raises VerificationError (rejected), FormatError (malformed), StatementError or PolicyError
    (the policy does not fit the model), SoundnessError (parameters).
    """
    start = time.perf_counter()
    commitment, validity, validity_bytes = check_validity(folder, minimum_bits)
    middle = time.perf_counter()
    if bundle.commitment != commitment.id:
        raise VerificationError("the bundle is about another commitment than the folder")
    if bundle.policy != policy.digest:
        raise VerificationError("the bundle was made for another policy")
    if nonce is not None and bundle.nonce != nonce:
        raise VerificationError("the bundle was made for another nonce")
    statement = Audit(policy, commitment, bundle.disclosed)
    audit = verify(statement, bundle.proof, bundle.nonce, minimum_bits=minimum_bits)
    seconds = {"validity": middle - start, "audit": time.perf_counter() - middle}
    return Decision(
        commitment,
        statement.statements,
        policy,
        nonce is not None,
        bundle.disclosed,
        validity,
        audit,
        validity_bytes,
        len(bundle.proof),
        seconds,
    )

"""Deciding on an ezkl bundle, and what the decision says: which proof system, whose reference string, linked or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circuits.compiled import PolicyStatements
from circuits.errors import VerificationError
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.argument.parameters import TARGET_BITS
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.errors import LinkError
from verifier.backends.ezkl.keys import EZKL_VERSION
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import ReferenceString
from verifier.backends.ezkl.verification import EzklAccepted, EzklStatement, verify_bundle
from verifier.decision import check_validity, claims, not_covered

PROOF_SYSTEM = f"ezkl/{EZKL_VERSION} (Halo2, KZG over BN254)"
SECURITY_BITS = 100
"""What discrete logarithms on BN254 are taken to cost; a computational assumption, not a proven bound."""
REGIME = (
    "computational: pairings on BN254, the algebraic group model and Fiat-Shamir, a reference string whose secret"
    " nobody knows, and ezkl's own circuits"
)
NOT_LINKED = "not linked: shown for the weights behind the ezkl commitment of this proof, whichever they are"
LINKED = "linked: both commitments open the same random combinations of all weights that the proof reads"


@dataclass(frozen=True)
class Verifying:
    """How a verifier runs ezkl: its reference string, limits, and a folder of its own for derived keys."""

    reference: ReferenceString
    limits: Limits = field(default_factory=Limits)
    cache: Path | None = None
    minimum_bits: int = TARGET_BITS
    """For the native proofs: validity, and the link."""
    allow_unlinked: bool = False
    """Accept a proof about some weights that nothing ties to the commitment; the report then says so."""


@dataclass
class EzklDecision:
    """An accepted ezkl bundle."""

    commitment: Commitment
    statements: PolicyStatements
    policy: Policy
    nonce_from_verifier: bool
    disclosed: tuple[int, ...]
    accepted: EzklAccepted
    reference: ReferenceString
    linked: bool
    proof_bytes: int
    link_bytes: int
    ezkl_commitments: tuple[bytes, ...]
    seconds: dict[str, float]

    def report(self) -> dict[str, Any]:
        """The decision as a JSON value; numbers that matter are strings."""
        return {
            "verdict": "accepted",
            "proof_system": PROOF_SYSTEM,
            "commitment": self.commitment.id.hex(),
            "ezkl_commitments": [point.hex() for point in self.ezkl_commitments],
            "link": LINKED if self.linked else NOT_LINKED,
            "linked": self.linked,
            "reference_string": self.reference.describe(),
            "policy": {"name": self.policy.name, "digest": self.policy.digest.hex()},
            "nonce": "the verifier's" if self.nonce_from_verifier else "chosen by the prover: freshness is not shown",
            "claims": claims(self.policy, self.statements),
            "not_covered": not_covered(self.commitment.manifest),
            "disclosed": [str(value) for value in self.disclosed],
            "security": {"target_bits": SECURITY_BITS, "regime": REGIME},
            "bytes": {"ezkl": self.proof_bytes, "link": self.link_bytes},
            "seconds": {name: f"{value:.3f}" for name, value in self.seconds.items()},
        }


def decide_ezkl(
    folder: Path, bundle: EzklBundle, policy: Policy, nonce: bytes | None, verifying: Verifying
) -> EzklDecision:
    """Accept or raise; see `verifier.decision.decide` for the arguments.

    Raises VerificationError (rejected; a class for every reason), FormatError, StatementError, PolicyError,
    ReferenceStringError, EzklMissingError, EzklFailedError.
    """
    start = time.perf_counter()
    commitment, _, _ = check_validity(folder, verifying.minimum_bits)
    validity = time.perf_counter() - start
    if bundle.commitment != commitment.id:
        raise VerificationError("the bundle is about another commitment than the folder")
    if bundle.policy != policy.digest:
        raise VerificationError("the bundle was made for another policy")
    if nonce is not None and bundle.nonce != nonce:
        raise VerificationError("the bundle was made for another nonce")
    if not 16 <= len(bundle.nonce) <= 256:
        raise VerificationError("a bundle's nonce has 16 to 256 bytes")
    linked = bool(bundle.link)
    if not linked and not verifying.allow_unlinked:
        raise LinkError(
            "the bundle is not linked to the commitment: nothing shows that it is about these weights; ask for a linked"
            " one, or accept it with --allow-unlinked"
        )
    statement = EzklStatement.of(policy, commitment, linked)
    accepted = verify_bundle(
        statement, bundle, verifying.reference, verifying.limits, verifying.cache, verifying.minimum_bits
    )
    return EzklDecision(
        commitment,
        statement.statements,
        policy,
        nonce is not None,
        bundle.disclosed,
        accepted,
        verifying.reference,
        linked,
        len(bundle.proof),
        len(bundle.link),
        accepted.commitments,
        {"validity": validity, "keys": accepted.keys_seconds, "ezkl": accepted.verify_seconds},
    )

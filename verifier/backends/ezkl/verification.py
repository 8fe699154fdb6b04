"""Verifying an ezkl proof of a policy: circuit, settings, key and every instance are the verifier's own."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from circuits.checks.base import Context
from circuits.compiled import PolicyStatements
from circuits.errors import VerificationError
from circuits.policy import Policy
from verifier.argument import hashing
from verifier.argument.commitment import Commitment
from verifier.argument.field import K
from verifier.argument.parameters import TARGET_BITS
from verifier.backends.ezkl.builder import build_circuit
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.circuit import Circuit
from verifier.backends.ezkl.errors import (
    EzklFailedError,
    EzklLimitError,
    EzklProofError,
    LinkError,
    ReferenceStringError,
    SuppliedKeyError,
)
from verifier.backends.ezkl.inputs import check_circuit, element
from verifier.backends.ezkl.keys import EZKL_VERSION, KEY, SETTINGS, Keys, derived
from verifier.backends.ezkl.link import Coefficients, LinkStatement, verify_link
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.ranges import challenge_cells, challenge_of
from verifier.backends.ezkl.reference_string import ReferenceString

POINT_BYTES = 64
CHECKED = "checked"
"""Beside kept keys: their circuit was compared with exact evaluation."""
CONTEXT_DOMAIN = b"weightproof/ezkl/v2"
HIDDEN_VECTORS = 2
"""A proof begins with the commitments to these, then that to the public vector."""


@dataclass(frozen=True)
class EzklStatement:
    """A policy about one commitment, as an ezkl circuit: both parties build it from public facts."""

    statements: PolicyStatements
    commitment: Commitment
    circuit: Circuit

    @staticmethod
    def of(policy: Policy, commitment: Commitment, linked: bool) -> EzklStatement:
        """Raises PolicyError, StatementError, EzklStatementError."""
        statements = PolicyStatements.of(policy, Context(commitment.manifest))
        return EzklStatement(statements, commitment, build_circuit(statements.program, commitment.manifest, linked))

    def context(self, nonce: bytes) -> bytes:
        """32 bytes that every proof is bound to as public inputs: commitment, statements, circuit and nonce."""
        canonical = json.dumps(self.statements.canonical(), separators=(",", ":"), ensure_ascii=False).encode()
        return hashlib.sha256(
            hashing.framed(
                CONTEXT_DOMAIN,
                self.commitment.id,
                self.statements.policy.digest,
                canonical,
                bytes.fromhex(self.circuit.digest),
                nonce,
            )
        ).digest()

    def link(self, nonce: bytes, point: bytes, answer: Callable[[Coefficients], K] | None = None) -> LinkStatement:
        """The native side of the link, for a proof whose first commitment has the coordinate `point`."""
        return LinkStatement(self.commitment, self.circuit.weights, self.context(nonce), point, answer)

    def challenge(self, nonce: bytes, points: Sequence[bytes]) -> list[int]:
        """The public cells of the range check, for a proof that begins with commitments of these coordinates.

        Raises EzklProofError.
        """
        return challenge_cells(challenge_of(self.context(nonce), points[:HIDDEN_VECTORS]))

    def require_disclosed(self, disclosed: Sequence[int]) -> None:
        """Raises VerificationError unless the disclosed integers are as many as asked for, each in its interval."""
        if len(disclosed) != sum(size for _, size in self.circuit.published):
            raise VerificationError("the bundle discloses another number of values than the policy asks for")
        offset = 0
        for atom, size in self.circuit.published:
            if any(not atom.low <= cell <= atom.high for cell in disclosed[offset : offset + size]):
                raise VerificationError(f"the disclosed {atom.name} is not in [{atom.low}, {atom.high}]")
            offset += size


def ezkl_commitments(circuit: Circuit, proof: bytes) -> tuple[bytes, ...]:
    """The KZG commitments that a proof begins with, in the order of the input vectors. Raises EzklProofError."""
    if len(proof) < POINT_BYTES * circuit.commitments:
        raise EzklProofError("the ezkl proof is too short for its commitments")
    return tuple(proof[i * POINT_BYTES : (i + 1) * POINT_BYTES] for i in range(circuit.commitments))


def verify_proof(
    proof: bytes, instances: Sequence[int], keys: Keys, reference: ReferenceString, limits: Limits
) -> float:
    """Let ezkl check the proof's bytes against our own instances, settings and key; returns the seconds.

    ezkl reads what it needs and ignores the rest, so a proof must not verify without its last byte.

    Raises EzklProofError if it rejects them (or crashes on them), EzklMissingError, EzklLimitError.
    """
    seconds = _verify_prefix(proof, instances, keys, reference, limits)
    try:
        _verify_prefix(proof[:-1], instances, keys, reference, limits)
    except EzklProofError:
        return seconds
    raise EzklProofError("the ezkl proof has trailing bytes")


def _verify_prefix(
    proof: bytes, instances: Sequence[int], keys: Keys, reference: ReferenceString, limits: Limits
) -> float:
    """The same, whatever follows the proof. Raises as `verify_proof`."""
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as folder:
        file = Path(folder) / "proof.json"
        content = {
            "protocol": None,
            "instances": [[element(cell) for cell in instances]],
            "proof": list(proof),
            "hex_proof": "0x" + proof.hex(),
            "split": None,
            "pretty_public_inputs": None,
            "timestamp": None,
            "version": EZKL_VERSION,
        }
        file.write_text(json.dumps(content))
        job = Job(limits).add(
            "verify", proof=file, settings=keys.path(SETTINGS), vk=keys.path(KEY), srs=reference.path.absolute()
        )
        try:
            ran = job.run()
        except EzklLimitError:
            raise
        except EzklFailedError as error:
            raise EzklProofError(f"the ezkl proof does not verify for this statement: {error}") from None
    if ran.answers != (True,):
        raise EzklProofError("the ezkl proof does not verify for this statement")
    return ran.seconds[0]


@dataclass(frozen=True)
class EzklAccepted:
    """An accepted ezkl proof: the commitments it begins with, and what it took to derive the key and to verify."""

    commitments: tuple[bytes, ...]
    keys_seconds: float
    verify_seconds: float
    log_rows: int
    peak: int


def verify_bundle(
    statement: EzklStatement,
    bundle: EzklBundle,
    reference: ReferenceString,
    limits: Limits,
    cache: Path | None = None,
    minimum_bits: int = TARGET_BITS,
) -> EzklAccepted:
    """Accept the ezkl proof of a bundle, or raise.

    *Soundness*: of ezkl and of the reference string; it says that SOME integers, behind the commitments at the
    beginning of the proof, satisfy the statement. That they are those of the native commitment is shown by a
    linked statement only, and only if the native validity proof was accepted.

    Raises ReferenceStringError, SuppliedKeyError, EzklProofError, LinkError, VerificationError,
    CircuitMismatchError, EzklMissingError, EzklFailedError.
    """
    limits = limits.started()
    if bundle.reference.hex() != reference.sha256:
        raise ReferenceStringError("the proof was made for another reference string than the one you trust")
    statement.require_disclosed(bundle.disclosed)
    commitments = ezkl_commitments(statement.circuit, bundle.proof)
    challenge = statement.challenge(bundle.nonce, [point[:32] for point in commitments])
    link = list[int]()
    if statement.circuit.linked:
        native = statement.link(bundle.nonce, commitments[0][:32])
        link = verify_link(native, bundle.link, bundle.nonce, minimum_bits)
    elif bundle.link:
        raise LinkError("the bundle has a link, but the statement is the unlinked one")
    with derived(statement.circuit, reference, limits, proving=False, cache=cache) as keys:
        if bundle.settings.hex() != keys.settings_sha256:
            raise SuppliedKeyError("the proof was made under other settings than this verifier derives")
        if bundle.key.hex() != keys.key_sha256:
            raise SuppliedKeyError("the proof was made for another verification key than this verifier derives")
        start = time.perf_counter()
        if not keys.path(CHECKED).exists():
            manifest = statement.commitment.manifest
            check_circuit(statement.circuit, statement.statements.program, manifest, keys, limits)
            keys.path(CHECKED).touch()
        checked = time.perf_counter() - start
        instances = statement.circuit.instances(statement.context(bundle.nonce), challenge, link, bundle.disclosed)
        seconds = verify_proof(bundle.proof, instances, keys, reference, limits)
        return EzklAccepted(commitments, keys.seconds + checked, seconds, keys.log_rows, keys.peak)

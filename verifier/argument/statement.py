"""Statements, and running them: the dry run, the transcript and the verifier.

A statement is public: commitments, canonical bytes, disclosed integers, and a script. Both parties build it themselves.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from circuits.errors import StatementError
from verifier.argument import soundness
from verifier.argument.commitment import Commitment
from verifier.argument.engine import CountingEngine, Engine, Oracle, VerifyingEngine
from verifier.argument.errors import ProofFormatError
from verifier.argument.field import P
from verifier.argument.opening import finish
from verifier.argument.parameters import TARGET_BITS, Parameters
from verifier.argument.soundness import Account, Counts
from verifier.argument.transcript import Kind, Transcript

MIN_NONCE_BYTES = 16
MAX_NONCE_BYTES = 256
MAX_PROOF_BYTES = 64 << 20


class Statement(ABC):
    """What a proof shows. `reusable` statements take no nonce (and say so in their kind)."""

    kind: str
    reusable = False

    @property
    @abstractmethod
    def commitments(self) -> tuple[Commitment, ...]:
        """The commitments that it opens, in order."""

    @property
    def disclosed(self) -> tuple[int, ...]:
        """Integers that are published with the proof, signed 64-bit."""
        return ()

    @abstractmethod
    def canonical(self) -> bytes:
        """Everything that determines the statement besides commitments and disclosed integers, injectively encoded."""

    @abstractmethod
    def script(self, engine: Engine) -> None:
        """The protocol, written against an engine: commit, challenges, relations (without `finish`)."""

    @property
    def parameters(self) -> Parameters:
        """The shape shared by all commitments. Raises StatementError if they differ."""
        if not self.commitments:
            raise StatementError("a statement needs a commitment")
        first, *others = self.commitments
        if any(not first.parameters.same_shape(other.parameters) for other in others):
            raise StatementError("the commitments have different shapes; recommit one with the other's row length")
        for other in others:
            other.parameters.check()
        return first.parameters


def oracles(statement: Statement) -> list[Oracle]:
    """Fresh handles on the committed matrices of a statement."""
    return [c.oracle(f"commitment {i}" if i else "model commitment") for i, c in enumerate(statement.commitments)]


def open_transcript(statement: Statement, nonce: bytes) -> Transcript:
    """Absorb everything public, in the order of protocol.md, section 4. Raises StatementError on a bad nonce."""
    if statement.reusable != (nonce == b"") or (nonce and not MIN_NONCE_BYTES <= len(nonce) <= MAX_NONCE_BYTES):
        raise StatementError(
            "a validity proof takes no nonce, every other proof one of 16 to 256 bytes; pass the verifier's own"
            " with --nonce"
        )
    transcript = Transcript()
    for commitment in statement.commitments:
        transcript.absorb(Kind.PARAMETERS, commitment.parameters.to_bytes())
    transcript.absorb(Kind.STATEMENT, statement.kind.encode() + b"\x00" + statement.canonical())
    transcript.absorb(Kind.NONCE, nonce)
    for commitment in statement.commitments:
        transcript.absorb(Kind.COMMITMENT, commitment.id)
    transcript.absorb(Kind.DISCLOSED, packed_integers(statement.disclosed))
    return transcript


def packed_integers(values: Sequence[int]) -> bytes:
    """Signed 64-bit integers, little-endian. Raises StatementError for one that does not fit."""
    if any(not -(1 << 63) <= value < 1 << 63 for value in values):
        raise StatementError("a disclosed integer does not fit 64 bits")
    return struct.pack(f"<{len(values)}q", *values)


def dry_run(statement: Statement) -> Counts:
    """Run the script in the counting role. Raises StatementError if it is ill-formed."""
    engine = CountingEngine(statement.parameters, Transcript(), oracles(statement), None)
    statement.script(engine)
    finish(engine)
    counts = engine.counts
    counts.lookup_challenges = max(1, counts.lookup_challenges)
    if counts.lookup_entries >= min(1 << 40, P):
        raise StatementError("a statement may look up fewer than 2^40 cells; split the policy")
    return counts


@dataclass(frozen=True)
class Accepted:
    """An accepted proof: its soundness account and counts."""

    account: Account
    counts: Counts


def verify(
    statement: Statement,
    proof: bytes,
    nonce: bytes = b"",
    *,
    minimum_bits: int = TARGET_BITS,
    allow_clear_opening: bool = False,
) -> Accepted:
    """Check a proof of a statement.

    *Soundness*: a statement proof means what it says only for commitments whose validity proof this verifier has
    accepted; the caller must check that. `minimum_bits` is the level the verifier insists on; a parameter set without
    plain levels (y* in clear, for debugging) is refused unless allowed.

    Raises VerificationError (a check failed), ProofFormatError (not the bytes of such a proof), SoundnessError.
    """
    if len(proof) > MAX_PROOF_BYTES:
        raise ProofFormatError(f"a proof has at most {MAX_PROOF_BYTES} bytes")
    parameters = statement.parameters
    parameters.check()
    if not parameters.levels and not allow_clear_opening:
        raise StatementError("these are debugging parameters (no plain levels); recommit with ordinary ones")
    counts = dry_run(statement)
    report = soundness.require(parameters, counts, minimum_bits)
    engine = VerifyingEngine(parameters, open_transcript(statement, nonce), oracles(statement), counts.pads, proof)
    statement.script(engine)
    finish(engine)
    engine.require_end()
    return Accepted(report, counts)

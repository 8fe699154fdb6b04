"""Why a proof is not accepted: one class per check, so that a report can name the equation that failed."""

from __future__ import annotations

from circuits.errors import FormatError, StatementError, VerificationError


class ProofFormatError(FormatError):
    """The proof bytes do not have the form that the statement fixes (length, canonical field elements)."""


class SoundnessError(StatementError):
    """The parameters do not reach the security level for this statement. The owner must recommit with others."""


class MerkleError(VerificationError):
    """Opened columns do not hash to the committed root."""


class PadCheckError(VerificationError):
    """The revealed pad combination is not the one that was committed."""


class SpotCheckError(VerificationError):
    """The last vector does not agree with the opened columns of the level above it."""


class FinalRelationError(VerificationError):
    """The batched linear relation of all claims and constraints does not hold."""


class UnluckyChallengeError(VerificationError):
    """A challenge was zero where the protocol divides by it (probability about 2^-190). Prove again."""

"""What can go wrong with the ezkl backend, one class for each."""

from __future__ import annotations

from circuits.errors import FormatError, StatementError, TrustError, VerificationError, WeightproofError


class EzklMissingError(WeightproofError):
    """The optional library is not installed."""


class EzklFailedError(WeightproofError):
    """ezkl stopped, gave no answer, or needed more time or memory than it was given."""


class EzklLimitError(EzklFailedError):
    """ezkl was stopped because it needed more time or memory than it was given: nothing is known about the proof."""


class EzklStatementError(StatementError):
    """The statement cannot be expressed as an ezkl circuit, or would not fit; the native argument may do it."""


class EzklBundleError(FormatError):
    """The bytes are no ezkl bundle."""


class ReferenceStringError(TrustError):
    """The reference string is damaged, too short, or not the one that the proof was made for."""


class SuppliedKeyError(VerificationError):
    """A key or settings that this verifier did not derive itself were offered, or a derived one was altered."""


class EzklProofError(VerificationError):
    """ezkl rejects the proof for the instances that this verifier expects."""


class CircuitMismatchError(VerificationError):
    """The circuit that ezkl built does not compute what the statement says."""


class LinkError(VerificationError):
    """The two commitments are not shown to hold the same weights."""

"""Why a log, a proof or a receipt is not accepted."""

from __future__ import annotations

from circuits.errors import FormatError, TrustError, VerificationError, WeightproofError


class InclusionError(VerificationError):
    """The hashes do not lead from the entry to the root: the entry is not shown to be in that tree."""


class ConsistencyError(VerificationError):
    """The hashes do not lead from the older root to the newer one: the tree is not shown to have only grown."""


class ForkError(TrustError):
    """The log signed two trees of which neither extends the other. Keep both checkpoints: together they prove it."""


class RollbackError(TrustError):
    """The log shows fewer entries than it did before: an old copy, or entries were taken back."""


class LogDamagedError(FormatError):
    """The files of the log do not belong to its checkpoint, or are missing."""


class LogBusyError(WeightproofError):
    """Another process holds the log open for writing. There is one writer at a time; stop it or wait."""

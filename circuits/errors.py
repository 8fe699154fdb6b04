"""The one error tree of Weightproof. Every message says what is wrong, where, and what to do next."""

from __future__ import annotations


class WeightproofError(Exception):
    """Base of every error that Weightproof raises on purpose; catch this to catch them all."""


class FormatError(WeightproofError):
    """Bytes from outside (a checkpoint, a manifest, a proof, a key) do not have the form that they must have."""


class StatementError(WeightproofError):
    """A statement cannot be built or proved: its graph, its ranges or its parameters are outside what is supported."""


class VerificationError(WeightproofError):
    """A proof is well formed but false. Each check of the verifier raises a subclass of its own."""


class TrustError(WeightproofError):
    """A key, signature, certificate, nonce or validity period is not one that the caller trusts."""


class PolicyError(WeightproofError):
    """A policy file is malformed, contradicts itself, or does not fit the manifest that it is applied to."""


class BudgetError(WeightproofError):
    """The commitment has no proofs left, or the request would exceed what may be opened or disclosed."""

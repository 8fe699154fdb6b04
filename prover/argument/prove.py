"""Producing a proof of any statement."""

from __future__ import annotations

from collections.abc import Sequence

from prover.argument.engine import ProvingEngine, Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData
from prover.argument.randomness import Stream, fresh_seed
from verifier.argument import soundness
from verifier.argument.opening import finish
from verifier.argument.statement import Statement, dry_run, open_transcript, oracles


def attempt_stream(statement: Statement, nonce: bytes) -> Stream:
    """All randomness of one attempt: 256 fresh bits of the operating system, mixed with what is proved.

    An attempt is never resumed and a stream never used twice: two proofs from one random state give away every hidden
    value.
    """
    labels = [b"attempt", statement.kind.encode(), statement.canonical(), nonce]
    return Stream(fresh_seed(), *labels, *(commitment.id for commitment in statement.commitments))


def prove(
    statement: Statement,
    kernels: Kernels,
    model_data: Sequence[OracleData],
    witness: Witness,
    nonce: bytes = b"",
    *,
    minimum_bits: int | None = None,
    check: bool = True,
) -> bytes:
    """The proof bytes.

    `model_data` belongs to the statement's commitments, in order; `witness` is the advice by region name. The caller
    must have reserved the openings in the ledger of every commitment before (protocol.md, section 3).

    Raises FalseStatementError if a relation does not hold (unless check=False, for tests of the verifier),
    StatementError for a bad nonce, SoundnessError if the parameters do not suffice.
    """
    parameters = statement.parameters
    counts = dry_run(statement)
    soundness.require(parameters, counts, parameters.target_bits if minimum_bits is None else minimum_bits)
    engine = ProvingEngine(
        parameters,
        open_transcript(statement, nonce),
        oracles(statement),
        counts.pads,
        kernels,
        model_data,
        witness,
        attempt_stream(statement, nonce),
        check,
    )
    statement.script(engine)
    finish(engine)
    return engine.proof

"""Producing a proof of any statement."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np

from circuits.errors import StatementError, WeightproofError
from prover.argument.engine import ProvingEngine, Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.randomness import Stream, fresh_seed
from verifier.argument import soundness
from verifier.argument.opening import finish
from verifier.argument.soundness import Counts
from verifier.argument.statement import Statement, dry_run, open_transcript, oracles, packed_integers, verify


class ProverFaultError(WeightproofError):
    """A finished proof did not verify: memory or kernels are faulty. It was thrown away, for it could give away
    weights."""


def witness_digest(witness: Witness) -> bytes:
    """SHA-256 of all advice, names and shapes included."""
    state = hashlib.sha256()
    for name in sorted(witness):
        array = np.ascontiguousarray(witness[name])
        encoded = name.encode()
        state.update(struct.pack("<QQ", len(encoded), array.nbytes) + encoded + array.tobytes())
    return state.digest()


def attempt_stream(statement: Statement, nonce: bytes, witness: Witness) -> Stream:
    """All randomness of one attempt: 256 fresh bits of the operating system, mixed with everything that is proved.

    An attempt is never resumed and a stream never used twice: two proofs from one random state give away every hidden
    value. The advice is mixed in so that even a system whose random state was rolled back repeats a stream only for
    the same proof.
    """
    labels = [b"attempt", statement.kind.encode(), statement.canonical(), nonce, witness_digest(witness)]
    labels.append(packed_integers(statement.disclosed))
    return Stream(fresh_seed(), *labels, *(commitment.id for commitment in statement.commitments))


def preflight(statement: Statement, minimum_bits: int | None = None) -> Counts:
    """The dry run and the soundness account of a statement. Raises StatementError or SoundnessError."""
    counts = dry_run(statement)
    target = statement.parameters.target_bits if minimum_bits is None else minimum_bits
    soundness.require(statement.parameters, counts, target)
    return counts


def prove(
    statement: Statement,
    kernels: Kernels,
    model_data: Sequence[OracleData],
    witness: Witness,
    nonce: bytes = b"",
    *,
    program: ProgramData | None = None,
    minimum_bits: int | None = None,
    check: bool = True,
) -> bytes:
    """The proof bytes.

    `model_data` belongs to the statement's commitments, in order; `witness` is the advice by region name; `program`
    holds
    the tensors of a program statement. The caller must have reserved the openings in the ledger of every commitment
    before (protocol.md, section 3).

    The proof is verified before it is returned: a faulty one opens columns that do not fit its messages, and the
    amount by which it fails can give away a weight.

    Raises FalseStatementError if a relation does not hold (unless check=False, for tests of the verifier),
    StatementError for a bad nonce or foreign data, SoundnessError if the parameters do not suffice, ProverFaultError.
    """
    parameters = statement.parameters
    counts = preflight(statement, minimum_bits)
    for commitment, data in zip(statement.commitments, model_data, strict=True):
        if data.tree.root != commitment.root:
            raise StatementError(
                "the prover's data belong to another commitment; rebuild them from the right checkpoint"
            )
    engine = ProvingEngine(
        parameters,
        open_transcript(statement, nonce),
        oracles(statement),
        counts.pads,
        kernels,
        model_data,
        witness,
        attempt_stream(statement, nonce, witness),
        check,
    )
    engine.program = program
    statement.script(engine)
    finish(engine)
    proof = engine.proof
    if check:
        try:
            target = parameters.target_bits if minimum_bits is None else minimum_bits
            verify(statement, proof, nonce, minimum_bits=target, allow_clear_opening=True)
        except WeightproofError as error:
            raise ProverFaultError(f"the proof failed its own verification and was discarded ({error})") from error
    return proof

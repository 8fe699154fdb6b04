"""Proving policies with ezkl: the same certificates as for the native argument, another proof system.

The inputs of a proof (weights, certificates, masks) lie in a folder that only the owner can read while ezkl runs, and
are deleted with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from circuits.evaluate import Evaluation, check, disclosed
from circuits.policy import Policy
from prover.argument.kernels.interface import Kernels
from prover.argument.prove import preflight, prove
from prover.audit import Opened, atoms, certify, require_passed
from prover.backends.estimate import Estimate, estimate
from prover.certificates.base import CertificateError
from prover.ledger import PROOF
from prover.progress import Progress
from verifier.argument.field import P
from verifier.argument.statement import open_transcript
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.circuit import CHALLENGE_CELLS, Circuit
from verifier.backends.ezkl.errors import EzklFailedError, EzklProofError, EzklStatementError
from verifier.backends.ezkl.inputs import INPUT, WITNESS, Hidden, commitments, evaluate, write_inputs
from verifier.backends.ezkl.keys import COMPILED, PROVING_KEY, Keys, derived, require_reference
from verifier.backends.ezkl.link import COORDINATES, MASK, LinkStatement, quotients
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_check import require_consistent
from verifier.backends.ezkl.reference_string import ReferenceString
from verifier.backends.ezkl.verification import HIDDEN_VECTORS, EzklStatement, ezkl_commitments, verify_proof


@dataclass(frozen=True)
class EzklRun:
    """How ezkl is run.

    Attributes:
        cache: where derived keys are kept; None derives them for one proof.
    """

    reference: ReferenceString
    limits: Limits
    cache: Path | None = None


def require_fit(circuit: Circuit, limits: Limits) -> Estimate:
    """Raises EzklStatementError if the estimate exceeds the limits; the native argument would do it."""
    expected = estimate(circuit)
    if expected.memory > limits.memory or expected.prove_seconds + expected.setup_seconds > limits.seconds:
        raise EzklStatementError(
            f"with ezkl this needs about {expected.text()}, more than the limits of {limits.memory / 2**30:.1f} GiB and"
            f" {limits.seconds:.0f} s: use the native argument (--backend native), or raise the limits"
        )
    return expected


def audit_with_ezkl(
    audited: Opened, policy: Policy, nonce: bytes, run: EzklRun, kernels: Kernels, progress: Progress, *, linked: bool
) -> EzklBundle:
    """Prove a policy with ezkl, linked to the native commitment or not. Reserves one opening before it looks at the
    weights: the link needs it, and refusals tell something too. What can be checked without the weights comes before.

    Raises PolicyError, StatementError (also where it would not fit), BudgetError, FalseStatementError,
    CertificateError, ReferenceStringError, EzklMissingError, EzklFailedError.
    """
    commitment = audited.model.commitment
    statement = EzklStatement.of(policy, commitment, linked)
    blank = statement.link(nonce, bytes(32))
    open_transcript(blank, nonce)
    if linked:
        preflight(blank)
    require_fit(statement.circuit, run.limits)
    require_reference(statement.circuit, run.reference, run.limits)
    audited.ledger.reserve(PROOF, f"ezkl policy {policy.digest.hex()} nonce {nonce.hex()}")
    certified = certify([audited.model.integers], policy, progress)
    require_passed(certified)
    program = statement.statements.program
    values = Evaluation(program, atoms([audited.model.integers], certified.certificates))
    with progress.stage("evaluate"):
        failing = check(program, values)
    if failing:
        raise CertificateError(f"the certificates do not satisfy the statement {failing[0]}; report this as a bug")
    published = disclosed(program, values)
    flat = tuple(int(x) for array in published.values() for x in np.asarray(array).reshape(-1))
    run = replace(run, limits=run.limits.started())
    with (
        progress.stage("ezkl setup"),
        derived(statement.circuit, run.reference, run.limits, proving=True, cache=run.cache) as keys,
    ):
        if keys.log_rows == run.reference.log_rows:
            # a shorter basis is ezkl's own, from the powers
            require_consistent(run.reference, keys, run.limits, run.cache)
        hidden = Hidden.fresh(statement.circuit, values.__getitem__)

        def native(side: LinkStatement) -> bytes:
            # field elements as signed integers
            witness = {MASK: np.array([m if m <= P // 2 else m - P for m in hidden.mask], np.int64)}
            return prove(side, kernels, [audited.model.data], witness, nonce)

        with progress.stage("ezkl prove"):
            proof, link = prove_hidden(statement, hidden, flat, nonce, keys, run, native)
        return EzklBundle(
            commitment.id,
            policy.digest,
            bytes.fromhex(run.reference.sha256),
            bytes.fromhex(keys.settings_sha256),
            bytes.fromhex(keys.key_sha256),
            nonce,
            flat,
            proof,
            link,
        )


def prove_hidden(
    statement: EzklStatement,
    hidden: Hidden,
    published: tuple[int, ...],
    nonce: bytes,
    keys: Keys,
    run: EzklRun,
    native: Callable[[LinkStatement], bytes],
) -> tuple[bytes, bytes]:
    """One attempt, verified before it leaves: ezkl's proof, and the link's (empty if the circuit is not linked).

    The commitment to weights and mask is computed first, then, for a link, the native proof that draws its challenges
    after it; then the commitment to the advice, and from both the point of the range check.

    Raises EzklFailedError if ezkl computes another output than exact evaluation, or makes a proof that does not verify;
    LinkError.
    """
    circuit, context = statement.circuit, statement.context(nonce)
    link, quotient, native_proof = list[int](), list[int](), b""
    blank = circuit.public(context, [0] * CHALLENGE_CELLS, [0] * circuit.link_cells)
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        folder, weights = Path(name), hidden.weights()
        if circuit.linked:
            write_inputs(folder / INPUT, [weights, hidden.advice([0] * COORDINATES), blank])
            side = statement.link(nonce, commitments(folder, keys, run.reference, run.limits)[0], hidden.answer)
            native_proof = native(side)
            ((coefficients, total),) = side.opened
            link = coefficients.public(total)
            quotient = quotients(coefficients.combination(hidden.matrices()), hidden.mask, total)
        advice = hidden.advice(quotient)
        write_inputs(folder / INPUT, [weights, advice, blank])
        committed = commitments(folder, keys, run.reference, run.limits)[:HIDDEN_VECTORS]
        challenge = statement.challenge(nonce, committed)
        write_inputs(folder / INPUT, [weights, advice, circuit.public(context, challenge, link)])
        instances = circuit.instances(context, challenge, link, published)
        if evaluate(folder, keys, run.limits) != instances:
            raise EzklFailedError("ezkl computes another output than exact evaluation: nothing was proved")
        proof = prove_witness(folder, keys, run)
    try:
        if [point[:32] for point in ezkl_commitments(circuit, proof)[:HIDDEN_VECTORS]] != committed:
            raise EzklProofError("it begins with other commitments than were computed")
        verify_proof(proof, instances, keys, run.reference, run.limits)
    except EzklProofError as error:
        raise EzklFailedError(f"ezkl made a proof that does not verify, and it was discarded: {error}") from None
    return proof, native_proof


def prove_witness(folder: Path, keys: Keys, run: EzklRun) -> bytes:
    """The proof of a folder's witness, as ezkl makes it."""
    Job(run.limits).add(
        "prove",
        witness=folder / WITNESS,
        model=keys.path(COMPILED),
        pk=keys.path(PROVING_KEY),
        proof=folder / "proof.json",
        srs=run.reference.path.absolute(),
    ).run()
    return bytes(json.loads((folder / "proof.json").read_bytes())["proof"])

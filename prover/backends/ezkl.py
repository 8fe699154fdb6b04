"""Proving policies with ezkl: the same certificates as for the native argument, another proof system.

The inputs of a proof (weights, certificates, masks) lie in a folder that only the owner can read while ezkl runs, and
are deleted with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
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
from verifier.backends.ezkl.circuit import Circuit
from verifier.backends.ezkl.decision import NOT_HIDDEN
from verifier.backends.ezkl.errors import EzklFailedError, EzklHidingError, EzklProofError, EzklStatementError
from verifier.backends.ezkl.inputs import Hidden, evaluate
from verifier.backends.ezkl.keys import COMPILED, PROVING_KEY, Keys, derived, require_reference
from verifier.backends.ezkl.link import COORDINATES, MASK, LinkStatement, quotients
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import ReferenceString
from verifier.backends.ezkl.verification import EzklStatement, ezkl_commitments, verify_proof


@dataclass(frozen=True)
class EzklRun:
    """How ezkl is run.

    Attributes:
        cache: where derived keys are kept; None derives them for one proof.
        counts_may_be_told: the owner accepts what `NOT_HIDDEN` says; nothing is proved without it.
    """

    reference: ReferenceString
    limits: Limits
    cache: Path | None = None
    counts_may_be_told: bool = False


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
    CertificateError, ReferenceStringError, EzklMissingError, EzklFailedError,
    EzklHidingError (the owner has not accepted what ezkl tells).
    """
    if not run.counts_may_be_told:
        raise EzklHidingError(f"{NOT_HIDDEN}: use the native argument, or accept it with --tell-digit-counts")
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
    with (
        progress.stage("ezkl setup"),
        derived(statement.circuit, run.reference, run.limits, proving=True, cache=run.cache) as keys,
    ):
        hidden = Hidden.fresh(
            statement.circuit,
            lambda name: audited.model.integers.matrix(name).astype(np.int64),
            lambda advice: values[advice] if advice.name != "none" else np.zeros(1, np.int64),
        )

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

    For a link the commitment to weights and mask is computed first, from a run with blank public cells; the native
    proof draws its challenges after it.

    Raises EzklFailedError if ezkl computes another output than exact evaluation, or makes a proof that does not verify;
    LinkError.
    """
    circuit, context = statement.circuit, statement.context(nonce)
    link, quotient, native_proof, committed = list[int](), list[int](), b"", b""
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        folder = Path(name)
        if circuit.linked:
            hidden.write(folder / "input.json", context, [0] * circuit.link_cells, [0] * COORDINATES)
            _, committed = evaluate(folder, keys, run.reference, run.limits)
            side = statement.link(nonce, committed, hidden.answer)
            native_proof = native(side)
            ((coefficients, total),) = side.opened
            link = coefficients.public(total)
            quotient = quotients(coefficients.combination(hidden.matrices()), hidden.mask, total)
        instances = circuit.instances(context, link, published)
        hidden.write(folder / "input.json", context, link, quotient)
        outputs, _ = evaluate(folder, keys, run.reference, run.limits)
        if outputs != instances:
            raise EzklFailedError("ezkl computes another output than exact evaluation: nothing was proved")
        proof = prove_witness(folder, keys, run)
    try:
        if circuit.linked and ezkl_commitments(circuit, proof)[0][:32] != committed:
            raise EzklProofError("it begins with another commitment than was computed")
        verify_proof(proof, instances, keys, run.reference, run.limits)
    except EzklProofError as error:
        raise EzklFailedError(f"ezkl made a proof that does not verify, and it was discarded: {error}") from None
    return proof, native_proof


def prove_witness(folder: Path, keys: Keys, run: EzklRun) -> bytes:
    """The proof of `witness.json` of a folder, as ezkl makes it."""
    Job(run.limits).add(
        "prove",
        witness=folder / "witness.json",
        model=keys.path(COMPILED),
        pk=keys.path(PROVING_KEY),
        proof=folder / "proof.json",
        srs=run.reference.path.absolute(),
    ).run()
    return bytes(json.loads((folder / "proof.json").read_bytes())["proof"])

"""Auditing: certificates of a policy in the clear, the budget, and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from circuits.checks.base import Context, Instance
from circuits.checks.bases import Matrix
from circuits.compiled import PolicyStatements
from circuits.errors import StatementError
from circuits.evaluate import Evaluation, check, disclosed
from circuits.evaluate import Witness as Atoms
from circuits.manifest import Manifest
from circuits.policy import Policy
from circuits.program import Integers, Program
from prover.argument.engine import FalseStatementError, Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.program import ProgramData
from prover.argument.prove import preflight, prove
from prover.certificates.base import Access, Certificate, CertificateError
from prover.certificates.cache import CertificateCache
from prover.certificates.registry import CERTIFIERS
from prover.commit import CommittedModel, ModelIntegers
from prover.ledger import PROOF, Ledger
from prover.progress import Progress
from verifier.argument.audit import Audit, Bases
from verifier.argument.program.regions import MULTIPLICITIES, limb_values, multiplicities
from verifier.argument.program.script import CompiledProgram
from verifier.argument.statement import open_transcript
from verifier.bundle import Bundle

TOO_CLOSE = (
    "the value keeps the limit, but not by the margin that rounding and certificate need; relax the limit a little"
)


@dataclass(frozen=True)
class Measured:
    """One statement in the clear: the value, the policy's limit, the limit after tightening, and how it went.

    `passed` is None if the certificate failed for numerical reasons; `note` then says what to relax.
    """

    check: str
    label: str
    metric: str
    comparator: str
    value: str
    limit: str
    needed: str
    passed: bool | None
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Certified:
    """A policy with all its certificates for one model."""

    statements: PolicyStatements
    rows: tuple[Measured, ...]
    certificates: Mapping[str, Integers]

    @property
    def failed(self) -> list[Measured]:
        return [row for row in self.rows if not row.passed]


def certify(
    models: Sequence[ModelIntegers],
    policy: Policy,
    progress: Progress,
    context: Context | None = None,
    cache: CertificateCache | None = None,
) -> Certified:
    """Measure every statement of a policy and compute its certificates. Nothing is proved.

    `models`: the audited one, then the base models of the context that are committed, in its order. `cache`: has and
    gets the certificates of statements that hold; made for these models, since it remembers their digests.

    Raises PolicyError or StatementError if the policy does not fit the model.
    """
    statements = PolicyStatements.of(policy, context or Context(models[0].manifest))
    access = Access(tuple(models))
    rows: list[Measured] = []
    certificates: dict[str, Integers] = {}
    for index, (number, instance) in enumerate(statements.instances):
        name = statements.check(number).check
        timer = Progress.silent()
        with progress.stage(f"certify {name}"), timer.stage("own"):
            certificate, note = attempt(name, instance, access, cache)
        rows.append(
            Measured(
                name,
                instance.label,
                instance.metric,
                instance.comparator,
                certificate.value,
                instance.limit,
                certificate.needed,
                None if note else certificate.passed,
                timer.seconds["own"],
                note,
            )
        )
        if rows[-1].passed is False and within_limit(rows[-1]):
            rows[-1] = replace(rows[-1], passed=None, note=TOO_CLOSE)
        certificates.update({f"{index}/advice/{key}": value for key, value in certificate.advice.items()})
    return Certified(statements, tuple(rows), certificates)


def within_limit(row: Measured) -> bool:
    """Does the measured value satisfy the policy's own limit, as far as the printed digits tell?"""
    try:
        value, limit = float(row.value), float(row.limit)
    except ValueError:
        return False
    return value <= limit if row.comparator == "<=" else row.comparator == ">=" and value >= limit


def attempt(
    name: str, instance: Instance, access: Access, cache: CertificateCache | None = None
) -> tuple[Certificate, str]:
    """A certificate, or what to relax if it failed for numerical reasons."""
    key = None if cache is None else cache.key(name, instance, access)
    known = None if cache is None or key is None else cache.get(key)
    if known is not None:
        return known, ""
    try:
        certificate = CERTIFIERS[name](instance, access)
    except CertificateError as error:
        return Certificate("?", False, "?"), str(error)
    if cache is not None and key is not None:
        cache.put(key, certificate)
    return certificate, ""


def atoms(models: Sequence[ModelIntegers], certificates: Mapping[str, Integers]) -> Atoms:
    """What a program is evaluated on."""
    return Atoms(
        weight=lambda commitment, name: models[commitment].matrix(name),
        histogram=lambda commitment, group: models[commitment].histogram(group),
        certificates=certificates,
    )


def require_passed(certified: Certified) -> None:
    """Raises FalseStatementError if a property does not hold, CertificateError if only a certificate failed."""
    if not certified.failed:
        return
    row = next((row for row in certified.failed if row.passed is False), certified.failed[0])
    if row.passed is None:
        raise CertificateError(f"{row.check} of {row.label}: {row.note}")
    raise FalseStatementError(
        f"{row.check} of {row.label} does not hold ({len(certified.failed)} of {len(certified.rows)} statements fail):"
        " nothing was proved; see `weightproof-prover measure`"
    )


def program_witness(compiled: CompiledProgram, values: Evaluation) -> Witness:
    """The advice cells of a program by region name, the multiplicities of their table, and fresh histograms."""
    cells: dict[str, Integers] = {}
    for atom in compiled.advice:
        cells.update(limb_values(atom, values[atom]))
    if compiled.advice:
        cells[MULTIPLICITIES] = multiplicities(compiled.advice, cells)
    return {**cells, **{tally.counts.name: values[tally.counts] for tally in compiled.program.tallies}}


@dataclass(frozen=True)
class Opened:
    """A committed model that a proof opens, with its ledger.

    Attributes:
        key: names the one proof that a share may serve, see `Ledger.reserve_once`; with None every attempt takes one.
    """

    model: CommittedModel
    ledger: Ledger
    key: str | None = None

    def reserve(self, note: str) -> None:
        """Take one share, or the one that a lost attempt of the same proof took. Raises BudgetError."""
        if self.key is None:
            self.ledger.reserve(PROOF, note)
        else:
            self.ledger.reserve_once(self.key, note)


def audit_model(
    audited: Opened,
    policy: Policy,
    nonce: bytes,
    kernels: Kernels,
    progress: Progress,
    bases: Mapping[str, Opened] | None = None,
    public: Mapping[str, tuple[Manifest, Mapping[str, Matrix]]] | None = None,
    cache: CertificateCache | None = None,
) -> Bundle:
    """Prove a policy: check that it fits, reserve one opening of every commitment, certify, prove.

    The opening is reserved before anything about the weights is looked at, so that refusals cost one: otherwise a
    verifier could learn a value from refusals alone. `measure` is free, and for the owner's eyes.

    Raises PolicyError, StatementError, SoundnessError (nothing reserved), BudgetError, FalseStatementError,
    CertificateError.

    `cache`: certificates of earlier audits; a new object, for these models alone.
    """
    bases = bases or {}
    given = Bases({name: base.model.commitment for name, base in bases.items()}, public or {})
    opened = [audited, *(bases[name] for name in given.committed)]
    commitment = audited.model.commitment
    draft = Audit(policy, commitment, (), given)
    open_transcript(draft, nonce)
    blank = replace(draft, values=tuple(least_values(draft)))
    share_statements(draft, blank)
    preflight(blank)
    for one in opened:
        one.reserve(f"policy {policy.digest.hex()} nonce {nonce.hex()}")
    integers = [one.model.integers for one in opened]
    program = draft.statements.program
    values = evaluate(program, integers, policy, progress, given.context(commitment), cache)
    with progress.stage("evaluate"):
        published = disclosed(program, values)
        flat = tuple(int(x) for array in published.values() for x in np.asarray(array).reshape(-1))
        statement = replace(draft, values=flat)
        share_statements(draft, statement)
        witness = program_witness(draft.compiled, values)
    with progress.stage("prove"):
        data = ProgramData(kernels, values.__getitem__)
        proof = prove(statement, kernels, [one.model.data for one in opened], witness, nonce, program=data)
    return Bundle(commitment.id, policy.digest, nonce, statement.disclosed, proof)


def evaluate(
    program: Program,
    integers: Sequence[ModelIntegers],
    policy: Policy,
    progress: Progress,
    context: Context,
    cache: CertificateCache | None,
) -> Evaluation:
    """A policy's program on weights and certificates that satisfy it exactly.

    Kept certificates that do not are made anew, so that a bad cache never turns into a refusal.

    Raises FalseStatementError, CertificateError.
    """
    while True:
        certified = certify(integers, policy, progress, context, cache)
        require_passed(certified)
        values = Evaluation(program, atoms(integers, certified.certificates))
        with progress.stage("evaluate"):
            try:
                failing = check(program, values)
            except StatementError:
                if cache is None or not cache.read:
                    raise
                failing = ["unknown"]
        if not failing:
            return values
        if cache is None or not cache.read:
            raise CertificateError(f"the certificates do not satisfy the statement {failing[0]}; report this as a bug")
        cache.distrust()


def least_values(statement: Audit) -> list[int]:
    """Some integers that a policy could disclose."""
    atoms_ = statement.statements.published.values()
    return [atom.low for atom in atoms_ for _ in range(int(np.prod(atom.shape, dtype=np.int64)))]


def share_statements(source: Audit, target: Audit) -> None:
    """Let two audits of one policy have the same compiled program: the values of tensors are looked up by identity."""
    target.__dict__.update(statements=source.statements, compiled=source.compiled)

"""Deciding on a bundle: the commitment's validity first, then the statement that the verifier compiles itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from circuits.checkpoint import open_checkpoint
from circuits.checks.base import Context
from circuits.checks.bases import Matrix, public_base
from circuits.checks.disclosed import Disclosure
from circuits.compiled import PolicyStatements
from circuits.disclosures import read_disclosures
from circuits.errors import FormatError, PolicyError, VerificationError
from circuits.files import read_limited
from circuits.manifest import Manifest
from circuits.policy import Policy
from verifier.argument.audit import Audit, Bases
from verifier.argument.commitment import Commitment
from verifier.argument.parameters import TARGET_BITS
from verifier.argument.soundness import bits
from verifier.argument.statement import MAX_PROOF_BYTES, Accepted, verify
from verifier.argument.validity import Validity
from verifier.bundle import Bundle

COMMITMENT_FILE = "commitment.json"
VALIDITY_FILE = "validity.proof"


@dataclass
class Decision:
    """An accepted bundle: what was shown, how strongly, how long it took to check."""

    commitment: Commitment
    statements: PolicyStatements
    policy: Policy
    nonce_from_verifier: bool
    disclosed: tuple[int, ...]
    validity: Accepted
    audit: Accepted
    validity_bytes: int
    proof_bytes: int
    bases: Bases = field(default_factory=Bases)
    validity_error: Fraction = Fraction(0)
    """The soundness errors of the validity proofs of all commitments, added up."""
    seconds: dict[str, float] = field(default_factory=dict)

    def disclosures(self) -> list[Disclosure]:
        """The disclosed integers in real units."""
        return read_disclosures(self.policy, self.statements.instances, self.disclosed)

    def report(self) -> dict[str, Any]:
        """The decision as a JSON value; numbers that matter are strings."""
        return {
            "verdict": "accepted",
            "commitment": self.commitment.id.hex(),
            "policy": {"name": self.policy.name, "digest": self.policy.digest.hex()},
            "nonce": "the verifier's" if self.nonce_from_verifier else "chosen by the prover: freshness is not shown",
            "claims": claims(self.policy, self.statements),
            "not_covered": not_covered(self.commitment.manifest),
            "bases": {
                **{name: base.id.hex() for name, base in self.bases.committed.items()},
                **{digest: "public file" for digest in self.bases.public},
            },
            "weights": "the committed integers and all weights within their rounding bounds; that they belong to a"
            " given checkpoint is shown by `weightproof-prover reproduce`",
            "disclosed": [str(value) for value in self.disclosed],
            "disclosures": [one.to_json() for one in self.disclosures()],
            "security": {
                "target_bits": self.commitment.parameters.target_bits,
                "interactive_bits": f"{bits(self.audit.account.union + self.validity_error):.2f}",
                "round_by_round_bits": f"{bits(self.audit.account.worst_round):.2f}",
                "regime": "Fiat-Shamir in the classical random-oracle model: about 2^127 work",
            },
            "bytes": {"validity": self.validity_bytes, "audit": self.proof_bytes},
            "seconds": {name: f"{value:.3f}" for name, value in self.seconds.items()},
        }


def claims(policy: Policy, statements: PolicyStatements) -> list[dict[str, Any]]:
    """What an accepted policy says, check by check, as JSON values."""
    return [
        {
            "check": check.check,
            "version": check.version,
            "parameters": check.model_dump(mode="json", exclude={"check"}),
            "about": list(dict.fromkeys(one.label for own, one in statements.instances if own == number)),
            "statements": [
                {
                    "about": instance.label,
                    "tensors": statements.tensors(instance),
                    "metric": instance.metric,
                    "comparator": instance.comparator,
                    "limit": instance.limit,
                }
                for own, instance in statements.instances
                if own == number
            ],
            "passed": True,
            "strength": check.strength,
            "does_not_mean": check.does_not_mean,
        }
        for number, check in enumerate(policy.checks)
    ]


def not_covered(manifest: Manifest) -> list[str]:
    """Integer tensors and their further names: a policy cannot speak of their values."""
    excluded = {entry.name for entry in manifest.excluded}
    return [*sorted(excluded), *sorted(name for name, own in manifest.tied.items() if own in excluded)]


def check_validity(folder: Path, minimum_bits: int = TARGET_BITS) -> tuple[Commitment, Accepted, int]:
    """Read commitment.json and validity.proof of a folder and check the proof.

    Raises FormatError, VerificationError, SoundnessError.
    """
    commitment = Commitment.read(folder / COMMITMENT_FILE)
    proof = read_limited(folder / VALIDITY_FILE, MAX_PROOF_BYTES, "validity proof")
    return commitment, verify(Validity(commitment), proof, minimum_bits=minimum_bits), len(proof)


@dataclass(frozen=True)
class BaseFiles:
    """Where the base models of a policy are: folders of commitments by name, and public checkpoints."""

    folders: Mapping[str, Path] = field(default_factory=dict)
    checkpoints: tuple[Path, ...] = ()

    def load(self, commitment: Commitment, minimum_bits: int = TARGET_BITS) -> Bases:
        """Check the validity of every base commitment and quantise every public file."""
        return self.load_with_error(commitment, minimum_bits)[0]

    def load_with_error(self, commitment: Commitment, minimum_bits: int) -> tuple[Bases, Fraction]:
        """The same, and the sum of the soundness errors of the validity proofs."""
        checked = {name: check_validity(folder, minimum_bits) for name, folder in self.folders.items()}
        error = sum((accepted.account.union for _, accepted, _ in checked.values()), Fraction(0))
        committed = {name: base for name, (base, _, _) in checked.items()}
        return Bases(committed, public_bases(self.checkpoints, commitment.manifest)), error


def public_bases(checkpoints: Sequence[Path], audited: Manifest) -> dict[str, tuple[Manifest, Mapping[str, Matrix]]]:
    """Public base models, quantised, by the SHA-256 of their one file. Raises FormatError or PolicyError."""
    public = {}
    for path in checkpoints:
        manifest, integers = public_base(open_checkpoint(path), audited)
        digests = list(manifest.files.values())
        if len(digests) != 1:
            raise PolicyError(f"{path} has {len(digests)} files; a public base model is one file")
        public[digests[0]] = (manifest, integers)
    return public


def files_by_digest(files: Sequence[Path]) -> dict[str, Path]:
    """Public base models by their SHA-256 in hex. Raises FormatError."""
    found = {}
    for path in files:
        try:
            with path.open("rb") as file:
                found[hashlib.file_digest(file, "sha256").hexdigest()] = path
        except OSError as error:
            raise FormatError(f"cannot read the base model {path}: {error.strerror}") from None
    return found


def pinned_files(policy: Policy) -> frozenset[str]:
    """The SHA-256 (hex) of the public base models that a policy names."""
    return frozenset(base.file_sha256 for base in policy.bases if base.file_sha256 is not None)


def pinned_commitments(policy: Policy) -> dict[str, str]:
    """The ids (hex) of the base commitments of a policy, by name. Raises PolicyError if one has none, or two."""
    found: dict[str, str] = {}
    for base in policy.bases:
        if base.commitment is None:
            continue
        if base.id is None or found.setdefault(base.commitment, base.id) != base.id:
            raise PolicyError(f"the base model {base.commitment!r} needs one id: the owner must not choose what it is")
    return found


def measure_context(audited: Manifest, bases: Mapping[str, Manifest], checkpoints: Sequence[Path]) -> Context:
    """The public facts of an audit that has not been committed to yet."""
    public = public_bases(checkpoints, audited)
    manifests = {**bases, **{key: manifest for key, (manifest, _) in public.items()}}
    return Context(audited, manifests, {key: integers for key, (_, integers) in public.items()})


def decide(
    folder: Path,
    bundle: Bundle,
    policy: Policy,
    nonce: bytes | None,
    minimum_bits: int = TARGET_BITS,
    bases: BaseFiles | None = None,
) -> Decision:
    """Accept or raise.

    `nonce` is the one that this verifier handed out; with None the bundle's own is used and the report says that
    freshness is not shown. Raises VerificationError (rejected), FormatError (malformed), StatementError or PolicyError
    (the policy does not fit the model), SoundnessError (parameters).
    """
    start = time.perf_counter()
    commitment, validity, validity_bytes = check_validity(folder, minimum_bits)
    middle = time.perf_counter()
    if bundle.commitment != commitment.id:
        raise VerificationError("the bundle is about another commitment than the folder")
    if bundle.policy != policy.digest:
        raise VerificationError("the bundle was made for another policy")
    if nonce is not None and bundle.nonce != nonce:
        raise VerificationError("the bundle was made for another nonce")
    loaded, error = (bases or BaseFiles()).load_with_error(commitment, minimum_bits)
    statement = Audit(policy, commitment, bundle.disclosed, loaded)
    audit = verify(statement, bundle.proof, bundle.nonce, minimum_bits=minimum_bits)
    seconds = {"validity": middle - start, "audit": time.perf_counter() - middle}
    return Decision(
        commitment,
        statement.statements,
        policy,
        nonce is not None,
        bundle.disclosed,
        validity,
        audit,
        validity_bytes,
        len(bundle.proof),
        loaded,
        error + validity.account.union,
        seconds,
    )

"""What a report is made from: attestations whose signatures were checked here, and what is public about the model.

Nothing that was not checked gets in: an attestation file is not signed as a whole, and whoever appends a line to it
must not get his words into a report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from circuits.checks.disclosed import Disclosure
from circuits.errors import FormatError, TrustError, WeightproofError
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.attestation import verification
from verifier.attestation.disclosures import attested_disclosures, require_same
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import SVR
from verifier.attestation.keys import PublicKey
from verifier.attestation.statement import PAYLOAD_TYPE, Statement
from verifier.attestation.verification import Attestation
from verifier.log.commands import proved
from verifier.log.entry import attestation_entry
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt

MAX_PROPERTIES = 10_000


@dataclass(frozen=True)
class Signed:
    """An attestation and the id (hex) of the key that signed it, which was checked."""

    attestation: Attestation
    key: str

    @property
    def payload_sha256(self) -> str:
        """SHA-256 of the signed bytes, hex."""
        return hashlib.sha256(self.attestation.envelope.payload).hexdigest()


@dataclass(frozen=True)
class ShortResult:
    """A Simple Verification Result of the same model and policy, signed by one of the keys."""

    verifier: str
    created: str
    properties: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Logged:
    """Where an attestation stands in a log, as its receipt proves.

    Attributes:
        number: of the attestation among `Material.signed`, from 0.
        index, size, root: of the entry, and of the tree that the log's key signed.
    """

    number: int
    origin: str
    index: int
    size: int
    root: str


@dataclass(frozen=True)
class Material:
    """Everything a report may say.

    Attributes:
        signed: at least one; the first is the one relied on. All are about one commitment and one policy.
        results: short results that go with them.
        left_out: how many signatures of the file are by other keys, or about something else.
        commitment, policy: None if not given; they are the ones that the attestations name.
        disclosures: None if it takes the policy and the commitment to read them, and one is missing.
    """

    signed: tuple[Signed, ...]
    results: tuple[ShortResult, ...] = ()
    left_out: int = 0
    commitment: Commitment | None = None
    policy: Policy | None = None
    disclosures: tuple[Disclosure, ...] | None = None
    logged: Logged | None = None


def gather(
    envelopes: Sequence[Envelope],
    keys: Sequence[PublicKey],
    at: datetime,
    *,
    commitment: Commitment | None = None,
    policy: Policy | None = None,
    receipt: Receipt | None = None,
    log_key: VerifierKey | None = None,
) -> Material:
    """Check everything and keep what passed.

    Args:
        keys: public keys to trust, at least one. Every key must have signed a passing attestation that is valid at
            `at`; the report relies on that of the first key, and the others must agree with it on commitment and
            policy.
        receipt, log_key: both or none.

    Raises TrustError (a signature, a time, another policy or commitment), FormatError (malformed), InclusionError (the
    receipt is for something else), PolicyError and StatementError (the policy does not fit the commitment).
    """
    if not keys or (receipt is None) != (log_key is None):
        raise TrustError("a report needs a key to trust, and a receipt goes with the key of its log")
    asked = None if policy is None else policy.digest.hex()
    about = None if commitment is None else commitment.id.hex()
    signed: list[Signed] = []
    for key in keys:
        found = verification.verify(envelopes, key, at, policy=asked, commitment=about)
        asked, about = found.audit.policy.digest.sha256, found.audit.commitment
        signed.append(Signed(found, key.key_id))
    audit = signed[0].attestation.audit
    require_same(audit, policy, commitment)
    results = [result for envelope in envelopes if (result := _short_result(envelope, keys, signed[0])) is not None]
    results.sort(key=lambda one: (one.created, one.key, one.verifier, one.properties))
    readable = policy is not None and commitment is not None
    return Material(
        tuple(signed),
        tuple(results),
        len(envelopes) - len({id(one.attestation.envelope) for one in signed}) - len(results),
        commitment,
        policy,
        tuple(attested_disclosures(audit, policy, commitment)) if readable else None,  # type: ignore[arg-type]
        None if receipt is None or log_key is None else _logged(receipt, log_key, signed),
    )


def _logged(receipt: Receipt, key: VerifierKey, signed: Sequence[Signed]) -> Logged:
    entries = [attestation_entry(one.attestation.envelope) for one in signed]
    entry, head = proved(receipt, entries, key)
    return Logged(entries.index(entry), head.origin, receipt.index, head.size, head.root.hex())


def _short_result(envelope: Envelope, keys: Sequence[PublicKey], relied_on: Signed) -> ShortResult | None:
    """The short result in an envelope, if one of the keys signed it for the same model and policy."""
    for key in keys:
        try:
            envelope.verify(key)
            if envelope.payload_type != PAYLOAD_TYPE:
                return None
            statement = Statement.from_bytes(envelope.payload)
            if statement.predicate_type != SVR or statement.subjects != relied_on.attestation.statement.subjects:
                return None
            return _read_result(statement, key.key_id, relied_on.attestation.audit.policy.digest.sha256)
        except WeightproofError:
            continue
    return None


def _read_result(statement: Statement, key: str, policy: str) -> ShortResult:
    """Raises FormatError unless it is a short result about this policy."""
    match statement.predicate:
        case {
            "verifier": {"id": str(verifier), "policies": [{"digest": {"sha256": sha256}}]},
            "timeCreated": str(created),
            "properties": [*properties],
        } if sha256 == policy and len(properties) <= MAX_PROPERTIES and all(isinstance(p, str) for p in properties):
            return ShortResult(verifier, created, tuple(properties), key)
    raise FormatError("this is no short result about this policy")

"""The predicate urn:weightproof:attestation:model-audit: what was shown about a model, how strongly, until when.

Version v0.1 is about the native argument. Version v0.2 is about another proof system: it adds whose reference string
the proof rests on, and whether it is linked to the native commitment.

Numbers that matter are strings: JSON readers and protobuf's Struct round integers beyond 2^53. Unknown members are
refused: what a reader does not know could qualify what it does know, and a changed predicate gets a new type.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from circuits.checkpoint.base import quote
from circuits.errors import FormatError, PolicyError
from circuits.rationals import decimal
from verifier.attestation.times import parse_time

MODEL_AUDIT = "urn:weightproof:attestation:model-audit:v0.1"
MODEL_AUDIT_OTHER_SYSTEM = "urn:weightproof:attestation:model-audit:v0.2"
MAX_CLAIMS = 10_000
MAX_LABELS = 1 << 18
MAX_DISCLOSED = 1 << 20
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Bits = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4})?$")]
Integer = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,40}$")]
Role = Literal["owner", "regulator", "certifier"]


def _time(text: str) -> str:
    try:
        parse_time(text)
    except FormatError as error:
        raise ValueError(str(error)) from None
    return text


Time = Annotated[str, AfterValidator(_time)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
    )


class Issuer(_Model):
    """Who signs, in which role. The id is a URI, such as a SPIFFE id."""

    role: Role
    id: Text


class Claim(_Model):
    """One property: `metric` of each of `about` (tensors, by their labels) compared with `threshold`.

    The threshold is a decimal if `comparator` is <= or >=, and absent otherwise.
    """

    id: Text
    metric: Text
    about: tuple[Text, ...] = Field(default=(), max_length=MAX_LABELS)
    parameters: dict[str, Any]
    comparator: Literal["<=", ">=", "holds", "disclosed"]
    threshold: str | None = None
    passed: bool
    strength: Literal["theorem", "exact", "indicator"]
    does_not_mean: Text

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.threshold is not None) != (self.comparator in ("<=", ">=")):
            raise ValueError("a claim has a threshold if and only if it compares with one")
        if self.threshold is not None:
            try:
                decimal(self.threshold, "threshold")
            except PolicyError as error:
                raise ValueError(str(error)) from None
        return self


class Digest(_Model):
    """A SHA-256 digest."""

    sha256: Hex64


class PolicyReference(_Model):
    """The policy that was asked for: its name for people, its digest for programs."""

    name: Text
    digest: Digest


class Evidence(_Model):
    """A file that the issuer looked at, such as the proof bundle."""

    name: Text
    digest: Digest


class ReferenceStringOrigin(_Model):
    """A structured reference string: its digest, and the ceremony that it is from.

    `designated` instead of a ceremony: the issuer made it for its own use, and the proof convinces the issuer only.
    """

    digest: Digest
    origin: Text

    @property
    def designated(self) -> bool:
        return self.origin == "designated"


class ModelAudit(_Model):
    """The predicate. `provedAt` is the prover's word; `verifiedAt` and `validUntil` are the issuer's.

    Attributes:
        nonce: whether the verifier chose the nonce (the proof is fresh) or the prover did.
        not_covered: tensors of the model that no claim can speak of (integers, booleans).
        disclosed: the integers that the proof discloses, in the order of the statement.
        security_bits: proven soundness error 2^-bits per round of the interactive protocol.
        soundness_regime: what that becomes once the proof is a file.
        reference_string: of v0.2 only.
        linked: of v0.2 only; whether the proof is shown to be about the weights behind `commitment`.
    """

    issuer: Issuer
    claims: tuple[Claim, ...] = Field(min_length=1, max_length=MAX_CLAIMS)
    commitment: Hex64
    policy: PolicyReference
    nonce: Literal["verifier", "prover"]
    not_covered: tuple[Text, ...] = Field(default=(), max_length=MAX_LABELS)
    disclosed: tuple[Integer, ...] = Field(max_length=MAX_DISCLOSED)
    proof_system: Text
    security_bits: Bits
    soundness_regime: Text
    reference_string: ReferenceStringOrigin | None = None
    linked: bool | None = None
    proved_at: Time
    verified_at: Time
    valid_until: Time
    evidence: tuple[Evidence, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.begins >= self.ends:
            raise ValueError("validUntil is not after verifiedAt")
        if (self.reference_string is None) != (self.linked is None):
            raise ValueError("referenceString and linked come together")
        return self

    @property
    def predicate_type(self) -> str:
        """The version that its members belong to."""
        return MODEL_AUDIT if self.linked is None else MODEL_AUDIT_OTHER_SYSTEM

    @property
    def begins(self) -> datetime:
        """When it was verified."""
        return parse_time(self.verified_at)

    @property
    def ends(self) -> datetime:
        """The moment from which it is no longer valid."""
        return parse_time(self.valid_until)

    @property
    def passed(self) -> bool:
        """Whether every claim was shown."""
        return all(claim.passed for claim in self.claims)

    def to_json(self) -> dict[str, Any]:
        """The predicate as a JSON value."""
        return self.model_dump(mode="json", exclude_none=True)

    @staticmethod
    def from_json(value: dict[str, Any], predicate_type: str = MODEL_AUDIT) -> ModelAudit:
        """Check a JSON value of that version. Raises FormatError; the message names the member."""
        try:
            # through JSON: lists become tuples under strict validation
            audit = ModelAudit.model_validate_json(json.dumps(value))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise FormatError(f"model-audit predicate, {quote(where)}: {quote(first['msg'])}") from None
        if audit.predicate_type != predicate_type:
            raise FormatError(f"model-audit predicate: its members are those of {audit.predicate_type}")
        return audit

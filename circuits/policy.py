"""Policy files: YAML in, validated checks and a digest out. The JSON Schema is published by `schema()`."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from circuits import yaml_subset
from circuits.checks.bases import Base
from circuits.checks.change_budget import ChangeBudget
from circuits.checks.direction_write_bound import DirectionWriteBound
from circuits.checks.entropy import Entropy
from circuits.checks.frobenius_norm import FrobeniusNorm
from circuits.checks.kurtosis import Kurtosis
from circuits.checks.logit_bound import LogitBound
from circuits.checks.low_rank_change import LowRankChange
from circuits.checks.max_abs import MaxAbs
from circuits.checks.mean import Mean
from circuits.checks.no_ablated_direction import NoAblatedDirection
from circuits.checks.no_single_direction_edit import NoSingleDirectionEdit
from circuits.checks.outlier_fraction import OutlierFraction
from circuits.checks.quantile import Quantile
from circuits.checks.row_norms import RowNorms
from circuits.checks.same_except import SameExcept
from circuits.checks.skewness import Skewness
from circuits.checks.smallest_singular_value import SmallestSingularValue
from circuits.checks.sparsity import Sparsity
from circuits.checks.spectral_norm import SpectralNorm
from circuits.checks.stable_rank import StableRank
from circuits.checks.variance import Variance
from circuits.errors import FormatError, PolicyError, StatementError
from circuits.files import read_limited

MAX_POLICY_BYTES = 1 << 20


AnyCheck = Annotated[
    ChangeBudget
    | DirectionWriteBound
    | Entropy
    | FrobeniusNorm
    | Kurtosis
    | LogitBound
    | LowRankChange
    | MaxAbs
    | Mean
    | NoAblatedDirection
    | NoSingleDirectionEdit
    | OutlierFraction
    | Quantile
    | RowNorms
    | SameExcept
    | Skewness
    | SmallestSingularValue
    | Sparsity
    | SpectralNorm
    | StableRank
    | Variance,
    Field(discriminator="check"),
]


class Policy(BaseModel):
    """A named list of checks."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    policy: Literal["weightproof/policy/v1"]
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
    checks: tuple[AnyCheck, ...] = Field(min_length=1, max_length=1000)

    @cached_property
    def canonical(self) -> bytes:
        """Canonical JSON of the policy, defaults filled in; parameters that are not set are left out."""
        data = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the same for files that differ in comments and order of keys only."""
        return hashlib.sha256(self.canonical).digest()

    @property
    def bases(self) -> tuple[Base, ...]:
        """The base models that its checks compare with, one for every check that has one."""
        found = [getattr(check, "base", None) for check in self.checks]
        return tuple(base for base in found if base is not None)

    @staticmethod
    def from_bytes(data: bytes) -> Policy:
        """Parse a policy. Raises PolicyError; the message names the check and the field."""
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError(f"a policy file has at most {MAX_POLICY_BYTES} bytes")
        content = yaml_subset.loads(data)
        try:
            # through JSON: lists become tuples under strict validation
            policy = Policy.model_validate_json(json.dumps(content))
        except (TypeError, ValueError) as error:
            raise PolicyError(_explain(error)) from None
        for number, check in enumerate(policy.checks, start=1):
            try:
                check.validate_values()
            except (PolicyError, StatementError) as error:
                raise PolicyError(f"check {number}: {error}") from None
        return policy

    @staticmethod
    def read(path: Path) -> Policy:
        """Read a policy file. Raises PolicyError."""
        try:
            return Policy.from_bytes(read_limited(path, MAX_POLICY_BYTES, "policy"))
        except FormatError as error:
            raise PolicyError(str(error)) from None


def _explain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        return f"policy, {where}: {first['msg']}; see `weightproof-verifier policy schema`"
    return f"the policy cannot be read: {error}"


def schema() -> dict[str, Any]:
    """The JSON Schema of policy files."""
    return Policy.model_json_schema()

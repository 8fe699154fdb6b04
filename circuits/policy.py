"""Policy files: YAML in, validated checks and a digest out. The JSON Schema is published by `schema()`."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from circuits.checks.frobenius_norm import FrobeniusNorm
from circuits.errors import PolicyError, StatementError

MAX_POLICY_BYTES = 1 << 20
MAX_NODES = 100_000


class Policy(BaseModel):
    """A named list of checks."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    policy: Literal["weightproof/policy/v1"]
    name: str = Field(min_length=1, max_length=200)
    checks: tuple[FrobeniusNorm, ...] = Field(min_length=1, max_length=1000)

    @cached_property
    def canonical(self) -> bytes:
        """Canonical JSON of the policy, defaults filled in."""
        data = self.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the same for files that differ in comments and order of keys only."""
        return hashlib.sha256(self.canonical).digest()

    @staticmethod
    def from_bytes(data: bytes) -> Policy:
        """Parse a policy. Raises PolicyError; the message names the check and the field."""
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError(f"a policy file has at most {MAX_POLICY_BYTES} bytes")
        try:
            loader = _Loader(data)
            try:
                content = loader.get_single_data()
            finally:
                loader.dispose()
        except (yaml.YAMLError, ValueError, RecursionError, UnicodeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PolicyError(f"the policy is not valid YAML: {first}") from None
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
            with path.open("rb") as file:
                return Policy.from_bytes(file.read(MAX_POLICY_BYTES + 1))
        except OSError as error:
            raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML with bounded size: no aliases (they expand exponentially), no duplicate keys."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed in a policy; write the values out")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.YAMLError("the policy has too many entries")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) != len(keys):
            raise yaml.YAMLError("a mapping has the same key twice")
        return super().construct_mapping(node, deep)


def _explain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        return f"policy, {where}: {first['msg']}; see `weightproof-verifier policy schema`"
    return f"the policy cannot be read: {error}"


def schema() -> dict[str, Any]:
    """The JSON Schema of policy files."""
    return Policy.model_json_schema()

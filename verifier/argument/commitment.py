"""The public commitment: parameters, manifest, root, and the id that everything else refers to (protocol.md, section
3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from circuits.checkpoint import strict_json
from circuits.errors import FormatError
from circuits.files import read_limited
from circuits.layout import Layout
from circuits.manifest import Manifest
from verifier.argument import hashing
from verifier.argument.engine import LABEL_MODEL, Oracle
from verifier.argument.parameters import PROTOCOL_VERSION, Parameters

MAX_COMMITMENT_BYTES = 128 << 20


@dataclass(frozen=True)
class Commitment:
    """What a model owner publishes once per checkpoint."""

    parameters: Parameters
    manifest: Manifest
    root: bytes

    @cached_property
    def id(self) -> bytes:
        """H(20 || protocol version || parameter bytes || manifest bytes || root), every part behind its length."""
        return hashing.digest(
            hashing.COMMITMENT_ID,
            hashing.framed(PROTOCOL_VERSION.encode(), self.parameters.to_bytes(), self.manifest.to_bytes(), self.root),
        )

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.manifest)

    @property
    def rows(self) -> int:
        return -(-self.layout.entries >> self.parameters.log_columns)

    def oracle(self, name: str = "model commitment") -> Oracle:
        """A fresh handle on the committed matrix, for one proof."""
        return Oracle(name, LABEL_MODEL, self.rows, self.rows, self.parameters.log_length, True, self.root)

    def to_bytes(self) -> bytes:
        """commitment.json: readable, and byte for byte determined by its content."""
        data = {
            "id": self.id.hex(),
            "manifest": json.loads(self.manifest.to_bytes()),
            "parameters": self.parameters.to_json(),
            "protocol": PROTOCOL_VERSION,
            "root": self.root.hex(),
        }
        return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    @staticmethod
    def from_bytes(data: bytes) -> Commitment:
        """Parse and check commitment.json. Raises FormatError if it is malformed, not canonical, or its id is not its
        own."""
        if len(data) > MAX_COMMITMENT_BYTES:
            raise FormatError("commitment.json is larger than any commitment may be")
        content: Any = strict_json.loads(data, "commitment.json")
        expected = {"id", "manifest", "parameters", "protocol", "root"}
        if not isinstance(content, dict) or set(content) != expected:
            raise FormatError("commitment.json does not have the expected fields; ask the owner for the file again")
        if content["protocol"] != PROTOCOL_VERSION:
            raise FormatError(f"commitment.json is for another protocol; this program speaks {PROTOCOL_VERSION}")
        root, identity = content["root"], content["id"]
        if not isinstance(root, str) or not isinstance(identity, str) or len(root) != 64:
            raise FormatError("commitment.json: root and id must be hex strings of 32 bytes")
        try:
            root_bytes = bytes.fromhex(root)
        except ValueError:
            raise FormatError("commitment.json: the root is not hex") from None
        manifest_bytes = json.dumps(
            content["manifest"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode("utf-8", "surrogatepass")
        result = Commitment(
            Parameters.from_json(content["parameters"]), Manifest.from_bytes(manifest_bytes), root_bytes
        )
        if result.to_bytes() != data:
            raise FormatError("commitment.json is not in canonical form, or its id does not belong to its content")
        return result

    @staticmethod
    def read(path: Path) -> Commitment:
        """Read commitment.json. Raises FormatError, also if the file is missing."""
        return Commitment.from_bytes(read_limited(path, MAX_COMMITMENT_BYTES, "commitment"))

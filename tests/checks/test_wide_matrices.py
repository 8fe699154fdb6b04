"""Statements about wide matrices: what is compiled and checked of an identity matrix is its size, never its cells."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from circuits.policy import Policy
from tests.unit.verifier.publics import ROOT, manifest_of
from verifier.argument.audit import Audit, Bases
from verifier.argument.commitment import Commitment
from verifier.argument.derive import derive
from verifier.argument.errors import ProofFormatError
from verifier.argument.statement import verify

PARAMETERS = derive(1 << 24, 1)
GROUP = [{"tensors": "*", "residual_axis": 0}]
BASE = {"commitment": "base"}
CHECKS: dict[str, tuple[int, dict[str, Any]]] = {
    "spectral-norm": (4096, {"tensors": "*", "at_most": "64"}),
    "smallest-singular-value": (4096, {"tensors": "*", "at_least": "1", "norm_at_most": "64"}),
    "stable-rank": (1024, {"tensors": "*", "at_least": "2"}),
    "no-ablated-direction": (4096, {"group": GROUP, "at_least": "0.00001"}),
    "change-budget": (4096, {"tensors": "*", "base": BASE, "norm": "spectral", "at_most": "64"}),
    "no-single-direction-edit": (4096, {"base": BASE, "group": GROUP, "at_most": "0.5", "norm_at_least": "100"}),
}
"""Width and parameters; wider matrices have no stable rank within 62 bits."""


def audit(width: int, check: dict[str, Any]) -> Audit:
    """One check of one square matrix, with a committed base."""
    content = {"policy": "weightproof/policy/v1", "name": "wide", "checks": [check]}
    manifest = manifest_of({"w": (width, width)})
    own, base = (Commitment(PARAMETERS, manifest, root) for root in (ROOT, ROOT[::-1]))
    return Audit(Policy.from_bytes(json.dumps(content).encode()), own, (), Bases({"base": base}))


@pytest.mark.parametrize("name", CHECKS)
def test_no_identity_matrix_is_written_out(name: str) -> None:
    """One would take at least 8 MiB. The proof is one of zeros: all is evaluated before its openings fail."""
    width, parameters = CHECKS[name]
    tracemalloc.start()
    try:
        statement = audit(width, {"check": name, **parameters})
        assert any(node.op == "identity" for _, one in statement.statements.instances for node in one.graph.nodes)
        statement.canonical()
        with pytest.raises(ProofFormatError):
            verify(statement, bytes(1 << 16), bytes(16))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20

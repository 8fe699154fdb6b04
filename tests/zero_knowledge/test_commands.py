"""Zero knowledge of what the commands prove: validity of a commitment, and an audit of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from circuits.errors import FormatError, VerificationError
from circuits.evaluate import Evaluation, check
from circuits.layout import Layout
from circuits.manifest import Manifest
from circuits.policy import Policy
from prover.argument.engine import Witness
from prover.argument.program import ProgramData
from prover.argument.simulator import ProgrammedTranscript, foresee, simulate, simulate_commitment
from prover.audit import atoms, certify, program_witness, require_passed
from prover.checkpoints import open_checkpoint
from prover.commit import CommittedModel, commit_model
from prover.progress import Progress
from tests.support.toy import KERNELS as FAST
from tests.zero_knowledge.explanation import explain, other_commitment, visible
from tests.zero_knowledge.recording import RecordingEngine
from tests.zero_knowledge.statements import NONCE, SMALL, check_under
from verifier.argument.audit import Audit
from verifier.argument.commitment import Commitment
from verifier.argument.derive import derive
from verifier.argument.parameters import Parameters
from verifier.argument.statement import Statement, verify
from verifier.argument.validity import Validity

COINS = [ProgrammedTranscript(b"coins %d" % i) for i in range(2)]
WIDE = replace(SMALL, log_columns=10)
POLICY = """
policy: weightproof/policy/v1
name: norms
checks:
  - check: frobenius-norm
    tensors: "*"
    at_most: "30"
  - check: spectral-norm
    tensors: "*.weight"
    at_most: "30"
  - check: mean
    tensors: "*.weight"
    at_most: "0.25"
"""
"""Norms from cells; a certificate that is a matrix; the fresh histogram of a tensor without a group of its own."""


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(replace(SMALL, log_columns=10), id="small"),
        pytest.param(None, marks=pytest.mark.slow, id="at 128 bits"),
    ],
)
def test_validity_and_an_audit_are_simulated_too(parameters: Parameters | None, tmp_path: Path) -> None:
    """The statements of the commands, about a model that does not exist: two proofs from one commitment."""
    ones = {"layer.weight": np.ones((30, 40), np.float32), "layer.bias": np.ones(40, np.float32)}
    save_file(ones, tmp_path / "model.safetensors")
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = Policy.read(tmp_path / "policy.yaml")
    manifest = Manifest.from_checkpoint(open_checkpoint(tmp_path / "model.safetensors"), None)
    blank = Commitment(parameters or derive(Layout(manifest).entries, 1), manifest, b"")
    coins = [foresee(Validity(blank), COINS[0]), foresee(Audit(policy, blank), COINS[1])]
    model = simulate_commitment(blank.oracle(), coins)
    commitment = replace(blank, root=model.root)
    statements: list[Statement] = [Validity(commitment), Audit(policy, commitment)]
    for statement, transcript in zip(statements, COINS, strict=False):
        proof = simulate(statement, FAST, transcript, [model])
        check_under(statement, proof, transcript)
        with pytest.raises((VerificationError, FormatError)):
            verify(statement, proof, b"" if statement.reusable else NONCE, minimum_bits=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["validity", "audit"])
def test_the_statements_of_the_commands_have_other_explanations(kind: str, tmp_path: Path) -> None:
    """Validity and an audit of two models with one manifest: histograms, certificates, limbs; compiled kernels."""
    from prover.argument.kernels.cpu.kernels import CpuKernels

    kernels, coins = CpuKernels(), COINS[0]
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = Policy.read(tmp_path / "policy.yaml")

    def compiled(model: CommittedModel) -> tuple[Statement, Witness, ProgramData | None]:
        if kind == "validity":
            return Validity(model.commitment), {}, None
        certified = certify([model.integers], policy, Progress.silent())
        require_passed(certified)
        audit = Audit(policy, model.commitment)
        values = Evaluation(audit.statements.program, atoms([model.integers], certified.certificates))
        assert check(audit.statements.program, values) == []
        return audit, program_witness(audit.compiled, values), ProgramData(kernels, values.__getitem__)

    models = []
    for seed in (1, 2):
        weight = np.random.default_rng(seed).uniform(-1, 1, (30, 40)).astype(np.float32)
        weight[0, 0] = 1.0
        save_file({"layer.weight": weight, "layer.bias": weight[1]}, tmp_path / "model.safetensors")
        models.append(commit_model(open_checkpoint(tmp_path / "model.safetensors"), kernels, parameters=WIDE))
    first, second = models
    assert not np.array_equal(first.integers.flat, second.integers.flat)
    assert first.commitment.manifest.tensors == second.commitment.manifest.tensors
    statement, advice, program = compiled(first)
    known = RecordingEngine(statement, coins.rewound(), [first.data], advice, kernels=kernels, program=program)
    proof = known.run(statement)
    check_under(statement, proof.proof, coins)

    opened = foresee(statement, coins).positions
    cells = second.integers.flat.reshape(-1, WIDE.columns)
    matrix, data = other_commitment(cells.astype(np.int64), first.data, opened, WIDE, kernels)
    commitment = replace(second.commitment, root=matrix.root)
    statement, advice, program = compiled(replace(second, commitment=commitment, data=data))
    if kind == "audit":
        assert Audit(policy, commitment).statements.program.tallies
        assert any(not np.array_equal(known.witness[name], cells) for name, cells in advice.items())
    other = explain(proof, statement, [data], advice, coins, program=program)
    check_under(statement, other.proof, coins)
    assert visible(other) == visible(proof)

"""A small model, committed and audited once by the real commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.commands import ACCEPTED, prover
from tests.end_to_end.models import norms, small_tensors, write_policy, write_safetensors

NONCE = bytes(range(100, 132))


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """The commands find their kernels compiled: compiling takes more memory than some tests allow."""
    from prover.argument.kernels.cpu.kernels import CpuKernels, needs_compilation

    if needs_compilation():
        CpuKernels.compile()


@dataclass(frozen=True)
class Audited:
    """A committed checkpoint and a bundle about it."""

    model: Path
    folder: Path
    policy: Path
    bundle: Path
    nonce: bytes


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of ACAS Xu where the shared data is present, else a generated model."""
    network = Path(__file__).resolve().parents[3] / "shared" / "data" / "acasxu" / "ACASXU_run2a_1_1_batch_2000.onnx"
    if network.is_file():
        return network
    return write_safetensors(tmp_path_factory.mktemp("model") / "model.safetensors", small_tensors())


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Audited:
    """The small model with four proofs promised, audited for a policy of two checks."""
    place = tmp_path_factory.mktemp("small")
    folder, bundle = place / "commitment", place / "bundle"
    policy = write_policy(place / "policy.yaml", norms("1000"), norms("2000", over="together"))
    prover("commit", small_model, "--out", folder, "--proofs", "4").clean(ACCEPTED)
    arguments = ("--model", small_model, "--policy", policy, "--out", bundle, "--nonce", NONCE.hex())
    prover("audit", folder, *arguments).clean(ACCEPTED)
    return Audited(small_model, folder, policy, bundle, NONCE)

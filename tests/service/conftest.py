"""Certificates, a committed model and a running service, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.commands import ACCEPTED, prover
from tests.end_to_end.models import norms, small_tensors, write_policy, write_safetensors
from tests.service.parties import Certificates, Owner, Service, running
from verifier.service.client import VerifierClient


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Provers find their kernels compiled."""
    from prover.argument.kernels.cpu.kernels import CpuKernels, needs_compilation

    if needs_compilation():
        CpuKernels.compile()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("pki") / "certificates")


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """A small committed model with a policy of two checks that it satisfies."""
    place = tmp_path_factory.mktemp("owner")
    model = write_safetensors(place / "model.safetensors", small_tensors())
    policy = write_policy(place / "policy.yaml", norms("1000"), norms("2000", over="together"))
    prover("commit", model, "--out", place / "commitment", "--proofs", "200").clean(ACCEPTED)
    return Owner(place / "commitment", model, policy)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, owner: Owner) -> Iterator[Service]:
    """A service that tests share; they leave it running."""
    folder = tmp_path_factory.mktemp("verifier") / "service"
    limits = {"chunk_seconds": 2.0, "unfinished_uploads": 3, "parallel_uploads": 3, "stored_bytes": 60 << 20}
    with running(Service.make(folder, certificates, limits=limits, policies=[owner.policy])) as started:
        yield started


@pytest.fixture
def acme(service: Service) -> VerifierClient:
    """The owner of the model."""
    return service.client("acme")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path

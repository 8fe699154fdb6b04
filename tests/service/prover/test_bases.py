"""Policies about a change against a public base model, from the daemon to the certificate."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.end_to_end.models import small_tensors, write_policy, write_safetensors
from tests.service.parties import Certificates, Service
from tests.service.parties import running as serving
from tests.service.prover.daemon import Daemon, fresh, result, running
from tests.service.prover.test_submit import check, dialling
from verifier.service.client import VerifierClient


def test_a_change_budget_against_a_public_file(certificates: Certificates, tmp_path: Path) -> None:
    tensors = small_tensors()
    base = write_safetensors(tmp_path / "base.safetensors", tensors)
    pinned = {"file_sha256": hashlib.sha256(base.read_bytes()).hexdigest()}
    budget: dict[str, Any] = {
        "check": "change-budget",
        "tensors": "*",
        "base": pinned,
        "norm": "max",
        "at_most": "0.01",
    }
    policy = write_policy(tmp_path / "policy.yaml", budget)
    made = Service.make(tmp_path / "service", certificates, policies=[policy], base_files=[base])
    with serving(made) as service:
        name = published(service.client("acme"))
        settings = {"base_files": [str(base)], "verifier": dialling(service, certificates)}
        with running(Daemon(tmp_path / "d", **settings)) as daemon, daemon.client() as client:
            near = {key: values + 0.001 for key, values in tensors.items()}
            model = write_safetensors(daemon.models / "near.safetensors", near)
            measured = result(daemon.wait(client.measure(fresh(), str(model), policy.read_bytes()).name))
            assert measured["failed"] == measured["uncertain"] == 0
            check(result(daemon.wait(client.submit(fresh(), str(model), name).name)), service)
            far = {key: values + 0.02 for key, values in tensors.items()}
            model = write_safetensors(daemon.models / "far.safetensors", far)
            job = daemon.wait(client.submit(fresh(), str(model), name).name)
            assert job.error == "FalseStatementError" and "change-budget" in job.reason


def published(client: VerifierClient) -> str:
    """The name of the one policy."""
    (policy,) = client.policies()
    return policy.name

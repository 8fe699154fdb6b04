"""`weightproof-prover demo`: two services on loopback, and a certificate that stands without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.commands import ACCEPTED, MALFORMED, REJECTED, prover, verifier
from tests.end_to_end.models import norms, small_tensors, write_policy, write_safetensors


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demonstration with a small model."""
    place = tmp_path_factory.mktemp("demo")
    (place / "models").mkdir()
    model = write_safetensors(place / "models" / "model.safetensors", small_tensors())
    policy = write_policy(place / "policy.yaml", norms("1000"), norms("2000", over="together"))
    result = prover("demo", "--out", place / "out", "--model", model, "--policy", policy).clean(ACCEPTED)
    assert "all hold" in result.out and "prove" in result.err
    return place / "out"


def test_the_certificate_is_checked_with_the_regulators_keys_alone(demonstration: Path) -> None:
    certificate, regulator = demonstration / "certificate", demonstration / "regulator"
    attestation = certificate / "attestation.intoto.jsonl"
    verifier("attestation", "verify", attestation, "--key", regulator / "attestation.pub").clean(ACCEPTED)
    log = ("--key", regulator / "log.pub", "--attestation", attestation)
    verifier("log", "verify", certificate / "receipt.tlog-proof", *log).clean(ACCEPTED)
    bundle, policy = certificate / "bundle", certificate / "policy.yaml"
    verifier("verify", certificate, bundle, "--policy", policy).clean(ACCEPTED)


def test_the_report_is_a_page(demonstration: Path) -> None:
    page = (demonstration / "certificate" / "report.html").read_text()
    assert page.startswith("<!doctype html>") and "frobenius-norm" in page


def test_the_owners_secrets_are_not_in_the_certificate(demonstration: Path) -> None:
    names = {path.name for path in (demonstration / "certificate").iterdir()}
    assert not {name for name in names if "secret" in name or "ledger" in name or name.endswith(".key")}


def test_a_folder_with_something_in_it_is_not_touched(demonstration: Path) -> None:
    before = sorted(path.name for path in demonstration.iterdir())
    prover("demo", "--out", demonstration).clean(MALFORMED)
    assert sorted(path.name for path in demonstration.iterdir()) == before


def test_a_property_that_does_not_hold_ends_the_demonstration_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    model = write_safetensors(tmp_path / "models" / "model.safetensors", small_tensors())
    policy = write_policy(tmp_path / "policy.yaml", norms("1"))
    result = prover("demo", "--out", tmp_path / "out", "--model", model, "--policy", policy).clean(REJECTED)
    assert "frobenius-norm" in result.err and "does not hold" in result.err

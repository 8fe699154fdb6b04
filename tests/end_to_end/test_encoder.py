"""The whole way on a real sentence encoder: commit, measure, audit, verify, reproduce, and every refusal on the way."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from prover.directory import OwnerFolder
from tests.end_to_end.commands import (
    ACCEPTED,
    MALFORMED,
    REJECTED,
    USAGE,
    Result,
    prover,
    verifier,
)
from tests.end_to_end.conftest import Audited
from tests.end_to_end.models import changed, norms, write_policy
from verifier.bundle import Bundle

NONCE = bytes(range(32)).hex()
WORDS = "embeddings.word_embeddings.weight"
ATTENTION = "encoder.layer.*.attention.output.dense.weight"


@dataclass(frozen=True)
class Encoder:
    """The encoder's checkpoint, its commitment, a policy that holds, and an accepted bundle, with the commands'
    reports."""

    model: Path
    folder: Path
    policy: Path
    bundle: Path
    committed: dict[str, Any]
    audited: dict[str, Any]
    scratch: Path

    @property
    def proofs_left(self) -> int:
        return OwnerFolder.open(self.folder).ledger.remaining()

    def audit(self, *, model: Path | None = None, policy: Path | None = None, nonce: str = NONCE) -> Result:
        """`audit --json` into a fresh bundle file that is not there yet."""
        self.fresh_bundle.unlink(missing_ok=True)
        return prover(
            "audit", self.folder, "--model", model or self.model, "--policy", policy or self.policy,
            "--out", self.fresh_bundle, "--nonce", nonce, "--json",
        )  # fmt: skip

    @property
    def fresh_bundle(self) -> Path:
        return self.scratch / "fresh.bundle"

    def verify(self, *options: str, policy: Path | None = None, folder: Path | None = None) -> Result:
        return verifier("verify", folder or self.folder, self.bundle, "--policy", policy or self.policy, *options)


@pytest.fixture(scope="module")
def encoder(encoder_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    place = tmp_path_factory.mktemp("encoder")
    folder, bundle = place / "commitment", place / "bundle"
    checks = norms("350", over="together"), norms("200", WORDS), norms("25", ATTENTION)
    policy = write_policy(place / "policy.yaml", *checks)
    committed = prover("commit", encoder_file, "--out", folder, "--json").clean(ACCEPTED)
    audited = prover(
        "audit", folder, "--model", encoder_file, "--policy", policy, "--out", bundle, "--nonce", NONCE, "--json"
    ).clean(ACCEPTED)
    return Encoder(encoder_file, folder, policy, bundle, committed.json(), audited.json(), place)


@pytest.fixture(scope="module")
def changed_model(encoder: Encoder) -> Path:
    """A copy in which the sign of one weight, the last one, is flipped."""
    path = encoder.scratch / "changed" / encoder.model.name
    path.parent.mkdir()
    data = encoder.model.read_bytes()
    path.write_bytes(changed(data, len(data) - 1, 0x80))
    return path


def test_commit_reports_what_it_made(encoder: Encoder) -> None:
    report = encoder.committed
    assert int(report["weights"]) == 22_713_216
    assert report["proofs"] == 64
    assert report["bytes"]["validity"] == (encoder.folder / "validity.proof").stat().st_size
    assert json.loads((encoder.folder / "commitment.json").read_bytes())["id"] == report["commitment"]
    assert all(float(seconds) >= 0 for seconds in report["seconds"].values())


def test_the_folder_holds_four_files_and_keeps_the_secrets(encoder: Encoder) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in encoder.folder.iterdir()}
    assert modes == {
        "commitment.json": 0o644,
        "validity.proof": 0o644,
        "opening.secret": 0o600,
        "opening.ledger": 0o600,
    }
    assert [path.name for path in encoder.scratch.iterdir() if path.name.startswith(".")] == []


def test_audit_reports_what_it_proved(encoder: Encoder) -> None:
    report = encoder.audited
    digest = verifier("policy", "digest", encoder.policy, "--json").clean(ACCEPTED).json()["digest"]
    assert (report["commitment"], report["policy"]) == (encoder.committed["commitment"], digest)
    assert (report["nonce"], report["proofs_left"]) == (NONCE, 63)
    assert report["bytes"] < encoder.bundle.stat().st_size < report["bytes"] + 256


def test_verify_accepts(encoder: Encoder) -> None:
    result = encoder.verify("--nonce", NONCE, "--json").clean(ACCEPTED)
    report = result.json()
    assert report["verdict"] == "accepted"
    assert report["commitment"] == encoder.committed["commitment"]
    assert report["nonce"] == "the verifier's"
    assert [claim["parameters"]["at_most"] for claim in report["claims"]] == ["350", "200", "25"]
    assert all(claim["passed"] and claim["strength"] == "exact" for claim in report["claims"])
    assert float(report["security"]["interactive_bits"]) >= 128
    assert encoder.verify("--nonce", NONCE).clean(ACCEPTED).out.startswith("accepted: ")


def test_verify_without_a_nonce_says_that_freshness_is_not_shown(encoder: Encoder) -> None:
    report = encoder.verify("--json").clean(ACCEPTED).json()
    assert report["nonce"] == "chosen by the prover: freshness is not shown"


def test_the_account_goes_beside_the_report(encoder: Encoder) -> None:
    result = encoder.verify("--account", "--json").clean(ACCEPTED)
    assert result.json()["verdict"] == "accepted"
    assert "all rounds together" in result.err


def test_measure_shows_true_norms(encoder: Encoder) -> None:
    rows = prover("measure", encoder.model, "--policy", encoder.policy, "--json").clean(ACCEPTED).json()
    assert all(row["passed"] for row in rows)
    values = {row["label"]: float(row["value"]) for row in rows}
    assert len(values) == 1 + 1 + 6
    with safe_open(encoder.model, "np") as file:
        truth = {name: np.linalg.norm(file.get_tensor(name).astype(np.float64)) for name in file.keys()}  # noqa: SIM118
    assert values[WORDS] == pytest.approx(truth[WORDS], rel=1e-4)
    for layer in range(6):
        name = ATTENTION.replace("*", str(layer))
        assert values[name] == pytest.approx(truth[name], rel=1e-4)


def test_measure_fails_where_a_check_fails(encoder: Encoder, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "low.yaml", norms("200", WORDS), norms("18", ATTENTION))
    rows = prover("measure", encoder.model, "--policy", policy, "--json").clean(REJECTED).json()
    assert [row["passed"] for row in rows] == [True, True, False, False, False, False, False]
    assert "FAIL" in prover("measure", encoder.model, "--policy", policy).clean(REJECTED).out


def test_reproduce(encoder: Encoder, changed_model: Path) -> None:
    report = prover("reproduce", encoder.folder, encoder.model, "--json").clean(ACCEPTED).json()
    assert report == {"commitment": encoder.committed["commitment"], "reproduced": True}
    report = prover("reproduce", encoder.folder, changed_model, "--json").clean(REJECTED).json()
    assert report["reproduced"] is False
    assert prover("reproduce", encoder.folder, changed_model).clean(REJECTED).out.startswith("no: ")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--nonce", "ff" * 32], REJECTED, "another nonce"),
        (["--nonce", NONCE[:-2]], REJECTED, "another nonce"),
        (["--nonce", "00" * 15], USAGE, "16 to 256 bytes"),
        (["--nonce", ""], USAGE, "16 to 256 bytes"),
        (["--nonce", "xy" * 16], USAGE, "hex"),
        (["--nonce"], USAGE, "requires an argument"),
    ],
)
def test_a_wrong_nonce(encoder: Encoder, options: Sequence[str], code: int, message: str) -> None:
    assert message in encoder.verify(*options).clean(code).err


def test_another_policy(encoder: Encoder, tmp_path: Path) -> None:
    """A weaker, a stronger and an unrelated policy: the bundle is about none of them, and neither is it malformed."""
    for number, checks in enumerate(([norms("400")], [norms("18", ATTENTION)], [norms("1", "no.such.tensor")])):
        policy = write_policy(tmp_path / f"{number}.yaml", *checks)
        result = encoder.verify("--json", policy=policy).clean(REJECTED)
        assert result.json()["verdict"] == "rejected"
        assert "another policy" in result.err


def test_another_commitment_folder(encoder: Encoder, small: Audited, tmp_path: Path) -> None:
    result = encoder.verify("--json", folder=small.folder).clean(REJECTED)
    assert "another commitment" in result.json()["reason"]
    assert "commitment.json" in encoder.verify(folder=tmp_path).clean(MALFORMED).err
    mixed = tmp_path / "mixed"
    shutil.copytree(encoder.folder, mixed)
    shutil.copy(small.folder / "validity.proof", mixed)
    assert encoder.verify(folder=mixed).code in (REJECTED, MALFORMED)


def test_a_missing_bundle_or_policy(encoder: Encoder, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in verifier("verify", encoder.folder, missing, "--policy", encoder.policy).clean(MALFORMED).err
    assert str(missing) in encoder.verify(policy=missing).clean(USAGE).err
    assert verifier("verify", encoder.folder, encoder.bundle).clean(USAGE).out == ""


def test_an_audit_of_another_checkpoint_is_refused(encoder: Encoder, changed_model: Path) -> None:
    before = encoder.proofs_left
    result = encoder.audit(model=changed_model).clean(REJECTED)
    assert "not the checkpoint behind this commitment" in result.json()["reason"]
    assert not encoder.fresh_bundle.exists()
    assert encoder.proofs_left == before


def test_an_audit_of_what_does_not_hold_is_refused_and_costs_a_proof(encoder: Encoder, tmp_path: Path) -> None:
    """A refusal tells something about the weights, so it is charged."""
    before = encoder.proofs_left
    policy = write_policy(tmp_path / "low.yaml", norms("18", ATTENTION))
    result = encoder.audit(policy=policy).clean(REJECTED)
    assert result.json()["verdict"] == "rejected"
    assert not encoder.fresh_bundle.exists()
    assert encoder.proofs_left == before - 1


def test_an_audit_that_cannot_be_asked_for_costs_nothing(encoder: Encoder, tmp_path: Path) -> None:
    """A misspelt tensor, a short nonce: neither depends on the weights."""
    before = encoder.proofs_left
    unknown = write_policy(tmp_path / "unknown.yaml", norms("18", ATTENTION.replace("weight", "wieght")))
    assert "near misses: encoder.layer." in encoder.audit(policy=unknown).clean(USAGE).err
    encoder.audit(nonce="00" * 8).clean(USAGE)
    assert not encoder.fresh_bundle.exists()
    assert encoder.proofs_left == before


def test_two_audits_of_one_statement_share_nothing(encoder: Encoder) -> None:
    """The same policy under the same nonce: fresh randomness, another proof, one proof less."""
    before = encoder.proofs_left
    report = encoder.audit().clean(ACCEPTED).json()
    assert report["proofs_left"] == before - 1
    first, second = (Bundle.read(path).proof for path in (encoder.bundle, encoder.fresh_bundle))
    roots = 2 * 32
    assert {first[i : i + 8] for i in range(0, roots, 8)}.isdisjoint(second[i : i + 8] for i in range(0, roots, 8))
    again = ("--policy", encoder.policy, "--nonce", NONCE)
    verifier("verify", encoder.folder, encoder.fresh_bundle, *again).clean(ACCEPTED)

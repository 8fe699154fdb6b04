"""`weightproof-verifier report`: a page only for what the keys signed, exit codes, and what is left on disk."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.verifier.attestation.examples import new_key, signed
from tests.unit.verifier.log.reference import ORIGIN, new_log
from tests.unit.verifier.report import models
from tests.unit.verifier.report.pages import inert
from verifier.attestation.bundle import bundle_bytes
from verifier.attestation.keys import PublicKey
from verifier.cli import main
from verifier.console import ACCEPTED, MALFORMED, REJECTED, TRUST, USAGE
from verifier.log.entry import attestation_entry
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter

AT = ("--at", "2026-06-01T00:00:00Z")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An attestation a, one of another owner's b, keys, policy, commitment, a log and receipts."""
    folder = tmp_path_factory.mktemp("files")
    key = new_key(folder)
    new_key(folder, "stranger")
    asked, about = models.policy(), models.commitment()
    envelope = signed(key, models.audit(asked, about).to_json(), models.SUBJECT)
    (folder / "a.intoto.jsonl").write_bytes(bundle_bytes([envelope]))
    short = signed(key, models.audit(asked, about, disclosed=["1"]).to_json(), models.SUBJECT)
    (folder / "short.intoto.jsonl").write_bytes(bundle_bytes([short]))
    (folder / "policy.yaml").write_bytes(asked.canonical)
    (folder / "other.yaml").write_bytes(models.policy(models.CHECKS[0]).canonical)
    (folder / "commitment.json").write_bytes(about.to_bytes())
    (folder / "other.json").write_bytes(models.commitment(3).to_bytes())
    signer = NoteSigner.generate(ORIGIN)
    (folder / "log").mkdir()
    new_log(folder / "log", [b"first", attestation_entry(envelope)], signer)
    with LogWriter(folder / "log", signer) as writer:
        for number, name in enumerate(("wrong", "right")):
            (folder / f"{name}.tlog-proof").write_bytes(writer.receipt(number).to_bytes())
    (folder / "log.pub").write_text(f"{signer.key}\n")
    return folder


def test_a_page_from_everything_that_is_signed(files: Path, tmp_path: Path) -> None:
    given = ("--commitment", files / "commitment.json", "--policy", files / "policy.yaml")
    logged = ("--receipt", files / "right.tlog-proof", "--log-key", files / "log.pub")
    arguments = ("report", files / "a.intoto.jsonl", "--key", files / "key.pub", *given, *logged)
    result = run(*arguments, *AT, "--out", tmp_path / "report.html")
    assert (result.exit_code, result.stderr) == (ACCEPTED, "")
    page = (tmp_path / "report.html").read_text()
    assert f"is entry 1 of the 2 entries of the log {ORIGIN}" in inert(page).text
    again = run(*arguments, "--at", "2026-12-24T00:00:00Z", "--out", tmp_path / "again.html", "--json")
    assert json.loads(again.stdout)["verdict"] == "accepted"
    assert (tmp_path / "again.html").read_text() == page


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--key", "stranger.pub", *AT], TRUST, "not signed by"),
        (["--key", "key.pub", "--key", "stranger.pub", *AT], TRUST, "not signed by"),
        (["--key", "key.pub", "--at", "2028-01-01T00:00:00Z"], TRUST, "expired"),
        (["--key", "key.pub", *AT, "--policy", "other.yaml"], TRUST, "about the policy"),
        (["--key", "key.pub", *AT, "--commitment", "other.json"], TRUST, "about the commitment"),
        (["--key", "key.pub", *AT, "--receipt", "right.tlog-proof"], USAGE, "go together"),
        (["--key", "key.pub", *AT, "--receipt", "wrong.tlog-proof", "--log-key", "log.pub"], REJECTED, "not for this"),
        (["--key", "key.pub", *AT, "--commitment", "key.pub"], MALFORMED, "commitment"),
        (["--key", "log.pub", *AT], MALFORMED, "not a public key"),
        ([*AT], USAGE, "--key"),
    ],
)
def test_what_does_not_check_leaves_no_page(
    files: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    given = [files / text if (files / text).exists() else text for text in arguments]
    result = run("report", files / "a.intoto.jsonl", *given, "--out", tmp_path / "report.html")
    assert result.exit_code == code
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_page_survives_a_failure(files: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("earlier")
    run("report", files / "a.intoto.jsonl", "--key", files / "stranger.pub", *AT, "--out", page)
    assert page.read_text() == "earlier"


def test_values_that_the_policy_does_not_disclose_are_malformed(files: Path, tmp_path: Path) -> None:
    given = ("--commitment", files / "commitment.json", "--policy", files / "policy.yaml")
    attestation = files / "short.intoto.jsonl"
    result = run("report", attestation, "--key", files / "key.pub", *given, *AT, "--out", tmp_path / "x.html")
    assert result.exit_code == MALFORMED and "the policy asks for" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_verify_says_the_disclosed_values_in_real_units(files: Path) -> None:
    arguments = ("attestation", "verify", files / "a.intoto.jsonl", "--key", files / "key.pub", *AT)
    given = ("--commitment-file", files / "commitment.json", "--policy", files / "policy.yaml")
    result = run(*arguments, *given)
    assert result.exit_code == ACCEPTED
    sentence = "disclosed: kurtosis of a.weight = 1 in fixed point, between 1 and 1."
    assert sentence in result.stdout
    assert "disclosed: max-abs of b.weight = 1 in fixed point, between 0.999511 and 1.00049" in result.stdout
    found = json.loads(run(*arguments, *given, "--json").stdout)["disclosures"]
    assert [(one["metric"], one["value"]) for one in found[:3]] == [
        ("max-abs", "1"),
        ("quantile", "1/4"),
        ("kurtosis", "1"),
    ]
    assert "\ndisclosed:" not in run(*arguments).stdout
    assert "--commitment-file" in run(*arguments).stderr
    wrong = ("--commitment-file", files / "other.json", "--policy", files / "policy.yaml")
    assert run(*arguments, *wrong).exit_code == TRUST


def test_the_key_id_is_what_openssl_says(files: Path) -> None:
    """The first command of the page, as it stands there."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    line = "openssl pkey -pubin -in issuer.pub -outform DER | sha256sum".replace("issuer.pub", str(files / "key.pub"))
    printed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == PublicKey.read(files / "key.pub").key_id

"""`attestation verify` and `attestation show`: exit codes, what is printed, and files that are not attestations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from circuits.policy import Policy
from tests.unit.verifier.attestation.examples import SUBJECT, audit, new_key, report, signed
from verifier.attestation.bundle import bundle_bytes
from verifier.attestation.commands import attestation
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import SVR, verification_result
from verifier.attestation.keys import PublicKey, SigningKey
from verifier.attestation.statement import PAYLOAD_TYPE, Statement
from verifier.console import ACCEPTED, MALFORMED, TRUST, USAGE

AT = "2026-06-01T00:00:00Z"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(attestation, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a.intoto.jsonl, key.pub that signed it, and stranger.pub that did not."""
    key = new_key(tmp_path)
    new_key(tmp_path, "stranger")
    short = Statement((SUBJECT,), SVR, verification_result(audit()))
    envelopes = [Envelope.sign(short.to_bytes(), PAYLOAD_TYPE, key), signed(key)]
    (tmp_path / "a.intoto.jsonl").write_bytes(bundle_bytes(envelopes) + b"noise\n")
    failed = audit(claims=[{**report()["claims"][0], "passed": False}])
    (tmp_path / "failed.intoto.jsonl").write_bytes(bundle_bytes([signed(key, failed.to_json())]))
    return tmp_path


def test_accepted(files: Path) -> None:
    result = run("verify", files / "a.intoto.jsonl", "--key", files / "key.pub", "--at", AT)
    assert result.exit_code == ACCEPTED
    assert result.stdout.startswith("accepted: signed by the key ")
    assert "1. frobenius-norm" in result.stdout
    assert "--subject" in result.stderr
    about = ("--subject", SUBJECT.sha256, "--commitment", "cd" * 32)
    result = run("verify", files / "a.intoto.jsonl", "--key", files / "key.pub", "--at", AT, "--json", *about)
    assert result.exit_code == ACCEPTED
    verdict = json.loads(result.stdout)
    assert (verdict["verdict"], verdict["at"]) == ("accepted", AT)
    assert verdict["subject"] == [{"name": "encoder", "sha256": SUBJECT.sha256}]
    assert verdict["audit"] == audit().to_json()
    assert not result.stderr


@pytest.mark.parametrize(
    ("file", "key", "more", "code", "message"),
    [
        ("a.intoto.jsonl", "stranger.pub", ["--at", AT], TRUST, "not signed by"),
        ("a.intoto.jsonl", "key.pub", ["--at", "2028-01-01T00:00:00Z"], TRUST, "expired"),
        ("a.intoto.jsonl", "key.pub", ["--at", "2025-01-01T00:00:00Z"], TRUST, "future"),
        ("a.intoto.jsonl", "key.pub", ["--at", AT, "--subject", "00" * 32], TRUST, "another model"),
        ("failed.intoto.jsonl", "key.pub", ["--at", AT], TRUST, "not shown"),
        ("a.intoto.jsonl", "key.pub", ["--at", "yesterday"], USAGE, "is not a time"),
        ("a.intoto.jsonl", "key.pem", ["--at", AT], MALFORMED, "not a public key"),
        ("a.intoto.jsonl", "absent.pub", ["--at", AT], MALFORMED, "cannot read"),
        ("key.pub", "key.pub", ["--at", AT], MALFORMED, "no signed attestation"),
        ("absent", "key.pub", ["--at", AT], MALFORMED, "cannot read"),
    ],
)
def test_denied(files: Path, file: str, key: str, more: list[str], code: int, message: str) -> None:
    result = run("verify", files / file, "--key", files / key, *more)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    if code != USAGE:
        result = run("verify", files / file, "--key", files / key, *more, "--json")
        assert json.loads(result.stdout)["verdict"] in ("error", "malformed")


def test_a_policy_that_it_must_be_about(files: Path) -> None:
    check = {"check": "frobenius-norm", "tensors": "*", "at_most": "3"}
    text = json.dumps({"policy": "weightproof/policy/v1", "name": "p", "checks": [check]})
    (files / "policy.yaml").write_text(text)
    digest = Policy.from_bytes(text.encode()).digest.hex()
    arguments = ("--key", files / "key.pub", "--at", AT, "--policy", files / "policy.yaml")
    assert run("verify", files / "a.intoto.jsonl", *arguments).exit_code == TRUST
    key = SigningKey(f"file2:{files / 'key.pem'}", PublicKey.read(files / "key.pub"))
    about = audit(policy={"name": "p", "digest": digest})
    (files / "b.intoto.jsonl").write_bytes(bundle_bytes([signed(key, about.to_json())]))
    assert run("verify", files / "b.intoto.jsonl", *arguments).exit_code == ACCEPTED


def test_show_says_that_nothing_was_verified(files: Path) -> None:
    result = run("show", files / "a.intoto.jsonl")
    assert result.exit_code == ACCEPTED
    assert result.stdout.startswith("NOT VERIFIED")
    assert "attestation 1\nnot shown: the predicate is not" in result.stdout
    assert "attestation 2\nClaims to be signed by the key" in result.stdout
    assert "line 3" in result.stderr
    shown = json.loads(run("show", files / "a.intoto.jsonl", "--json").stdout)
    assert shown["verified"] is False
    assert shown["attestations"][1]["audit"] == audit().to_json()
    assert run("show", files / "key.pub").exit_code == MALFORMED


def test_no_byte_reaches_the_terminal_as_a_command(files: Path) -> None:
    line = json.dumps({"payload": "e30=", "payloadType": "x", "signatures": [{"sig": "AAAA", "keyid": "\u202e"}]})
    (files / "hostile").write_text(line + "\n" + line.replace("\\u202e", "k") + "\n\x1b[2J\n")
    for arguments in (("show", files / "hostile"), ("verify", files / "hostile", "--key", files / "key.pub")):
        result = run(*arguments)
        assert all(c.isprintable() or c == "\n" for c in result.stdout + result.stderr)

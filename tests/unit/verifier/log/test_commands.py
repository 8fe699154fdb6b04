"""`log root`, `log verify`, `log monitor`: exit codes and what is printed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.verifier.attestation.examples import new_key, signed
from tests.unit.verifier.log.reference import ORIGIN, numbered
from verifier.attestation.bundle import bundle_bytes
from verifier.console import ACCEPTED, MALFORMED, REJECTED, TRUST, UNAVAILABLE
from verifier.log.commands import log
from verifier.log.entry import attestation_entry
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(log, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def signer() -> NoteSigner:
    return NoteSigner.generate(ORIGIN)


@pytest.fixture
def files(tmp_path: Path, signer: NoteSigner) -> Path:
    """A folder with a log, its key, an attestation in it and its receipt, and an attestation that is not."""
    key = new_key(tmp_path)
    ours, other = signed(key), signed(key)
    with LogWriter(tmp_path / "log", signer, create=True) as writer:
        writer.append([*numbered(9), attestation_entry(ours)])
        receipt = writer.receipt(9)
    (tmp_path / "log.pub").write_text(f"{signer.key}\n")
    (tmp_path / "other.pub").write_text(f"{NoteSigner.generate(ORIGIN).key}\n")
    (tmp_path / "a.intoto.jsonl").write_bytes(bundle_bytes([other, ours]))
    (tmp_path / "other.intoto.jsonl").write_bytes(bundle_bytes([other]))
    (tmp_path / "receipt").write_bytes(receipt.to_bytes())
    (tmp_path / "bare").write_bytes(replace(receipt, extra=None).to_bytes())
    (tmp_path / "false").write_bytes(replace(receipt, index=8).to_bytes())
    return tmp_path


def test_root(files: Path) -> None:
    result = run("root", files / "log", "--key", files / "log.pub")
    assert result.exit_code == ACCEPTED
    assert result.stdout.startswith(f"{ORIGIN}: 10 entries, root ")
    described = json.loads(run("root", files / "log", "--key", files / "log.pub", "--json").stdout)
    assert (described["origin"], described["size"], len(described["root"])) == (ORIGIN, "10", 64)
    assert run("root", files / "log", "--key", files / "other.pub").exit_code == TRUST
    assert run("root", files / "absent", "--key", files / "log.pub").exit_code == MALFORMED
    assert run("root", files / "log", "--key", files / "absent").exit_code == MALFORMED
    assert run("root", "file:///etc", "--key", files / "log.pub").exit_code == MALFORMED
    assert run("root", "http://127.0.0.1:9", "--key", files / "log.pub").exit_code == UNAVAILABLE


@pytest.mark.parametrize(
    ("receipt", "key", "attestation", "code"),
    [
        ("receipt", "log.pub", None, ACCEPTED),
        ("receipt", "log.pub", "a.intoto.jsonl", ACCEPTED),
        ("bare", "log.pub", "a.intoto.jsonl", ACCEPTED),
        ("bare", "log.pub", None, MALFORMED),
        ("receipt", "log.pub", "other.intoto.jsonl", REJECTED),
        ("false", "log.pub", "a.intoto.jsonl", REJECTED),
        ("false", "log.pub", None, REJECTED),
        ("receipt", "other.pub", None, TRUST),
        ("receipt", "other.pub", "a.intoto.jsonl", TRUST),
        ("log.pub", "log.pub", None, MALFORMED),
        ("absent", "log.pub", None, MALFORMED),
    ],
)
def test_verify(files: Path, receipt: str, key: str, attestation: str | None, code: int) -> None:
    more: list[str | Path] = [] if attestation is None else ["--attestation", files / attestation]
    result = run("verify", files / receipt, "--key", files / key, *more)
    assert result.exit_code == code
    assert bool(result.stdout) == (code == ACCEPTED)
    verdict = json.loads(run("verify", files / receipt, "--key", files / key, "--json", *more).stdout)
    assert (verdict["verdict"] == "accepted") == (code == ACCEPTED)
    if code == ACCEPTED:
        assert (verdict["index"], verdict["size"]) == (9, "10")
        assert json.loads(verdict["entry"])["format"] == "weightproof/log-entry/v1"


def test_monitor(files: Path, signer: NoteSigner) -> None:
    arguments = ("--key", files / "log.pub", "--state", files / "state")
    old = files / "old"
    shutil.copytree(files / "log", old)
    assert "taken on trust" in run("monitor", files / "log", *arguments).stdout
    with LogWriter(files / "log", signer) as writer:
        writer.append(numbered(5))
    assert "10 -> 15 entries, only appended" in run("monitor", files / "log", *arguments).stdout
    seen = json.loads(run("monitor", files / "log", *arguments, "--json", "--no-entries").stdout)
    assert (seen["size"], seen["previous"]["size"], seen["entries_checked"]) == ("15", "15", 0)
    result = run("monitor", old, *arguments)
    assert result.exit_code == TRUST
    assert "RollbackError" in result.stderr
    with LogWriter(old, signer) as writer:
        writer.append(numbered(6, "other"))
    result = run("monitor", old, *arguments, "--json")
    assert result.exit_code == TRUST
    assert json.loads(result.stdout)["error"] == "ForkError"
    assert (files / "state.evidence").exists()

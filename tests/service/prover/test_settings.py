"""Mistakes in prover.toml are found before anything runs, and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuits.errors import FormatError, PolicyError
from prover.service.settings import ProverSettings
from tests.end_to_end.commands import MALFORMED, USAGE, prover

ROOT = Path(__file__).resolve().parents[3]
GOOD = 'state = "state"\nmodels = ["models"]\n'
POLICY = f"policies/{'0' * 64}"
VERIFIER = """
[verifier]
address = "verifier.example.org:7443"
certificate = "a.pem"
key = "a.key"
authority = "ca.pem"
attestation_key = "attestation.pub"
log_key = "log.pub"
"""


def read(folder: Path, text: str) -> ProverSettings:
    path = folder / "prover.toml"
    path.write_text(text)
    return ProverSettings.read(path)


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    """Paths are relative to the file; the rest has defaults that open nothing."""
    settings = read(tmp_path, GOOD)
    assert settings.state == tmp_path / "state" and settings.models == (tmp_path / "models",)
    assert settings.socket_path == tmp_path / "state" / "prover.sock"
    assert settings.listen is None and settings.verifier is None and settings.watch == () and settings.hooks == ()


def test_the_example_of_the_documentation() -> None:
    settings = ProverSettings.read(ROOT / "docs" / "examples" / "prover.toml")
    assert settings.verifier is not None and settings.watch and len(settings.hooks) == 2


def test_settings_reach_another_process_unchanged(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD + 'worker_memory = "48 GiB"\n' + VERIFIER)
    assert ProverSettings.from_json(settings.to_json()) == settings
    assert settings.worker_memory == 48 << 30


def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELS", "STATE", "PROVER_STATE", "WEIGHTPROOF_STATE"):
        monkeypatch.setenv(name, '["/elsewhere"]')
    assert read(tmp_path, GOOD).state == tmp_path / "state"


BAD = {
    "": "state",
    'state = "state"': "models",
    'state = "state"\nmodels = []': "models",
    GOOD + "surprise = 1": "surprise",
    GOOD + VERIFIER + "surprise = 1": "verifier.surprise",
    GOOD + f'{VERIFIER}\n[[watch]]\nfolder = "models/a"\npolicies = ["{POLICY}"]\nsurprise = 1': "watch.0.surprise",
    GOOD + '[[hooks]]\nname = "a"\ncommand = ["true"]\nsurprise = 1': "hooks.0.surprise",
    GOOD + "proofs = 0": "proofs",
    GOOD + "workers = 0": "workers",
    GOOD + "lease = 0": "lease",
    GOOD + 'device = "abacus"': "device",
    GOOD + 'worker_memory = "1 KiB"': "worker_memory",
    GOOD + "stop_after = inf": "stop_after",
    GOOD + "[verifier]\naddress = 'nowhere'": "verifier.address",
    GOOD + "[listen]\naddress = '127.0.0.1:1'": "listen.tls",
    GOOD + '[[hooks]]\nname = "a"': "a command or a url",
    GOOD + '[[hooks]]\nname = "a"\ncommand = []': "hooks.0.command",
    GOOD + '[[hooks]]\nname = "a"\ncommand = "true"': "hooks.0.command",
    GOOD + '[[hooks]]\nname = "a b"\ncommand = ["true"]': "hooks.0.name",
    GOOD + '[[hooks]]\nname = "a"\non = ["dance"]\ncommand = ["true"]': "hooks.0.on",
    GOOD + '[[hooks]]\nname = "a"\nurl = "https://example.org/"': "secret",
    GOOD + '[[hooks]]\nname = "a"\ncommand = ["true"]\nsecret = "s"': "secret",
    GOOD + '[[hooks]]\nname = "a"\nurl = "http://example.org/"\nsecret = "s"': "https",
    GOOD + '[[hooks]]\nname = "a"\nurl = "http://localhost.example.org/"\nsecret = "s"': "https",
    GOOD + '[[hooks]]\nname = "a"\nurl = "file:///etc/passwd"\nsecret = "s"': "https",
    GOOD + '[[hooks]]\nname = "a"\nurl = "https://u:p@example.org/"\nsecret = "s"': "password",
    GOOD + 2 * '[[hooks]]\nname = "a"\ncommand = ["true"]\n': "the same name",
    GOOD + f'[[watch]]\nfolder = "models/a"\npolicies = ["{POLICY}"]': "[verifier]",
    GOOD + f'{VERIFIER}\n[[watch]]\nfolder = "elsewhere"\npolicies = ["{POLICY}"]': "not below",
    GOOD + f'{VERIFIER}\n[[watch]]\nfolder = "models/../elsewhere"\npolicies = ["{POLICY}"]': "not below",
    GOOD + VERIFIER + '[[watch]]\nfolder = "models/a"\npolicies = ["baseline"]': "policies/{digest",
    GOOD + VERIFIER + '[[watch]]\nfolder = "models/a"\npolicies = []': "watch.0.policies",
    'state = "models/state"\nmodels = ["models"]': "lies below",
    GOOD + f'socket = "{"x" * 120}"': "the path of the socket",
    "state = ": "not TOML",
    "\x00": "not TOML",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_mistakes_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, text)
    assert BAD[text] in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        ProverSettings.read(tmp_path / "absent.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(FormatError):
        ProverSettings.read(tmp_path / "large.toml")


def test_the_command_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "prover.toml").write_text("surprise = 1")
    prover("serve", "--config", tmp_path / "prover.toml").clean(USAGE)
    prover("serve", "--config", tmp_path / "absent.toml").clean(MALFORMED)

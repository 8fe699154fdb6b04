"""The service's commands as their users run them: made, started, asked, published to, fetched from."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.end_to_end.commands import ACCEPTED, MALFORMED, TRUST, UNAVAILABLE, USAGE, Argument, Result, verifier
from tests.end_to_end.models import norms, write_policy
from tests.service.parties import Certificates, Owner, Service, free_port, running
from verifier.service.client import VerifierClient
from verifier.service.settings import VerifierSettings

TRUST_DOMAIN = "spiffe://weightproof.local"


def remote(service: Service, name: str, *arguments: Argument) -> Result:
    """`weightproof-verifier remote` with the certificate of this name."""
    return connected(service.certificates.folder, service.port, name, *arguments)


def connected(certificates: Path, port: int, name: str, *arguments: Argument) -> Result:
    identity = ("--cert", certificates / f"{name}.pem", "--key", certificates / f"{name}.key")
    address = ("--to", f"localhost:{port}", "--ca", certificates / "ca.pem", "--patience", "0")
    return verifier("remote", *address, *identity, *arguments)


def accepted_audit(owner: Owner, acme: VerifierClient, folder: Path) -> str:
    audit = owner.open_audit(acme)
    acme.submit_proof(audit.name, owner.prove(audit.nonce, folder / "bundle"))
    return acme.wait_audit(audit.name).name


def test_certificates_and_a_service_are_made_started_and_asked(tmp_path: Path) -> None:
    """What docker/README.md does, on one machine."""
    certificates, folder, port = tmp_path / "certificates", tmp_path / "service", free_port()
    made = verifier("dev", "certs", "--out", certificates, "--owner", "acme", "--json").clean(ACCEPTED)
    ids = made.json()["identities"]
    assert f"{TRUST_DOMAIN}/owner/acme" in ids and f"{TRUST_DOMAIN}/health" in ids
    for key in certificates.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    listen = ("--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{free_port()}")
    callers = ("--caller", f"owner={TRUST_DOMAIN}/owner/acme", "--caller", f"regulator={TRUST_DOMAIN}/regulator")
    identity = ("--id", f"{TRUST_DOMAIN}/regulator", "--certs", certificates, "--log-name", "example.org/log")
    verifier("init", folder, *identity, *callers, *listen, "--json").clean(ACCEPTED)
    settings = VerifierSettings.read(folder / "verifier.toml")
    assert settings.metrics == listen[3] and settings.database_url.startswith("sqlite:///")
    for secret in ("attestation.key", "log.key"):
        assert stat.S_IMODE((folder / secret).stat().st_mode) == 0o600
    with running(Service(folder, Certificates(certificates))) as service:
        assert connected(certificates, port, "health", "health").clean(ACCEPTED).out == "serving\n"
        info = connected(certificates, port, "acme", "info", "--json").clean(ACCEPTED).json()
        assert info["issuer"] == f"{TRUST_DOMAIN}/regulator"
        assert info["attestation_key"] == (folder / "attestation.pub").read_text()
        assert info["log_key"] == (folder / "log.pub").read_text().strip()
        # made, but not in the configuration: it has no role
        connected(certificates, port, "auditor", "info").clean(TRUST)
        assert service.stop() == 0
    connected(certificates, port, "health", "health").clean(UNAVAILABLE)


def test_nothing_is_ever_overwritten(service: Service, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    verifier("dev", "certs", "--out", tmp_path).clean(MALFORMED)
    options = ("--id", f"{TRUST_DOMAIN}/regulator", "--certs", service.certificates.folder)
    verifier("init", tmp_path, *options, "--caller", f"owner={TRUST_DOMAIN}/o").clean(MALFORMED)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--caller", "owner"),
        ("--caller", f"boss={TRUST_DOMAIN}/boss"),
        ("--caller", "owner=acme"),
        ("--caller", f"owner={TRUST_DOMAIN}/o", "--listen", "7443"),
    ],
)
def test_a_wrong_setting_makes_no_service(service: Service, tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "service"
    common = ("--id", f"{TRUST_DOMAIN}/regulator", "--certs", service.certificates.folder)
    verifier("init", folder, *common, *options).clean(USAGE)
    assert not folder.exists()


def test_health_needs_a_certificate_of_the_authority_but_no_role(service: Service) -> None:
    assert remote(service, "nobody", "health", "--json").clean(ACCEPTED).json() == {"serving": True}
    remote(service, "nobody", "info").clean(TRUST)
    for name in ("foreign", "expired"):
        assert "client certificate" in remote(service, name, "health").clean(UNAVAILABLE).err


def test_a_regulator_publishes_and_everybody_known_reads(service: Service, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "new.yaml", norms("123"), name="by-command")
    published = remote(service, "regulator", "publish", policy, "--json").clean(ACCEPTED).json()
    assert published["title"] == "by-command" and published["checks"] == 1
    digest = verifier("policy", "digest", policy).clean(ACCEPTED).out.strip()
    assert published["name"] == f"policies/{digest}"
    assert published in remote(service, "acme", "policies", "--json").clean(ACCEPTED).json()
    assert digest in remote(service, "auditor", "policies").clean(ACCEPTED).out


def test_only_regulators_publish_and_only_policies(service: Service, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy.yaml", norms("1"))
    for name in ("acme", "auditor"):
        assert "takes the role regulator" in remote(service, name, "publish", policy).clean(TRUST).err
    policy.write_text("checks: []")
    remote(service, "regulator", "publish", policy).clean(USAGE)
    remote(service, "regulator", "publish", tmp_path / "missing").clean(MALFORMED)


def test_audits_are_listed_and_a_certificate_is_fetched_and_holds(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    name = accepted_audit(owner, acme, tmp_path)
    listed = {row["name"]: row for row in remote(service, "auditor", "audits", "--json").clean(ACCEPTED).json()}
    assert (listed[name]["state"], listed[name]["verdict"]) == ("decided", "accepted")
    commitment = acme.audit(name).commitment
    assert name in remote(service, "acme", "audits", "--commitment", commitment).clean(ACCEPTED).out
    assert remote(service, "rival", "audits", "--json").clean(ACCEPTED).json() == []
    out = tmp_path / "certificate"
    files = remote(service, "acme", "fetch", name, "--out", out, "--json").clean(ACCEPTED).json()["files"]
    assert sorted(files) == sorted(map(str, out.iterdir()))
    key = ("--key", service.folder / "attestation.pub")
    verifier("attestation", "verify", out / "attestation.intoto.jsonl", *key).clean(ACCEPTED)
    nonce = ("--nonce", acme.audit(name).nonce.hex())
    verifier("verify", out, out / "bundle", "--policy", out / "policy.yaml", *nonce).clean(ACCEPTED)


def test_what_cannot_be_fetched_is_said(service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path) -> None:
    undecided = owner.open_audit(acme).name
    for name, audit, code, word in (
        ("acme", undecided, UNAVAILABLE, "not decided"),
        ("rival", undecided, UNAVAILABLE, "there is no audit"),
        ("acme", "audits/x", MALFORMED, "audits/"),
    ):
        result = remote(service, name, "fetch", audit, "--out", tmp_path / "certificate").clean(code)
        assert word in result.err
    assert not (tmp_path / "certificate").exists()


def test_who_listens_without_our_certificate_is_no_verifier(service: Service, tmp_path: Path) -> None:
    remote(service, "acme", "info", "--json").clean(ACCEPTED)
    connected(service.certificates.folder, free_port(), "acme", "info").clean(UNAVAILABLE)
    identity = service.certificates.folder
    missing = ("--to", f"localhost:{service.port}", "--cert", tmp_path / "no.pem", "--key", identity / "acme.key")
    verifier("remote", *missing, "--ca", identity / "ca.pem", "info").clean(MALFORMED)

"""From a checkpoint to a checked certificate, with a real verifier, and with trouble on the way."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prover.ledger import PROOF
from tests.end_to_end.commands import ACCEPTED, MALFORMED, REJECTED, TRUST, prover, verifier
from tests.end_to_end.models import norms, write_policy
from tests.service.parties import Certificates, Owner, Service
from tests.service.parties import running as serving
from tests.service.prover.daemon import Daemon, fresh, result, running, wait_for
from verifier.attestation.keys import create_key
from verifier.log.note import NoteSigner
from verifier.service.client import VerifierClient
from verifier.service.setup import ATTESTATION_PUBLIC, LOG_PUBLIC
from weightproof.v1 import prover_service_pb2 as wire
from weightproof.v1 import verifier_service_pb2 as theirs

SEED = 20_251_121


def dialling(service: Service, certificates: Certificates, **settings: Any) -> dict[str, Any]:
    """The daemon's [verifier]."""
    return {
        "address": f"localhost:{service.port}",
        "certificate": certificates.folder / "acme.pem",
        "key": certificates.folder / "acme.key",
        "authority": certificates.folder / "ca.pem",
        "attestation_key": service.folder / ATTESTATION_PUBLIC,
        "log_key": service.folder / LOG_PUBLIC,
        **settings,
    }


@pytest.fixture(scope="module")
def submitting(
    tmp_path_factory: pytest.TempPathFactory, service: Service, certificates: Certificates
) -> Iterator[Daemon]:
    """A daemon that dials the shared service."""
    place = tmp_path_factory.mktemp("submitting") / "d"
    with running(Daemon(place, verifier=dialling(service, certificates))) as started:
        yield started


def check(content: dict[str, Any], service: Service) -> None:
    """What a relying party would do with the certificate, by the commands."""
    folder, keys = Path(content["certificate"]), service.folder
    attestation, receipt = folder / "attestation.intoto.jsonl", folder / "receipt.tlog-proof"
    about = ("--subject", content["model"]) if content.get("model") else ()
    verifier("attestation", "verify", attestation, "--key", keys / ATTESTATION_PUBLIC, *about).clean(ACCEPTED)
    verifier("log", "verify", receipt, "--key", keys / LOG_PUBLIC, "--attestation", attestation).clean(ACCEPTED)


def test_a_checkpoint_becomes_a_certificate(submitting: Daemon, service: Service, owner: Owner) -> None:
    model = submitting.model()
    with submitting.client() as client:
        job = client.submit("first", str(model), owner.policy_name)
        content = result(submitting.wait(job.name))
        assert client.submit("first", str(model), owner.policy_name).name == job.name
    assert content["verdict"] == "accepted"
    check(content, service)
    again = [one for one in service.client("acme").audits() if one.commitment.endswith(content["commitment"])]
    assert [one.name for one in again] == [content["audit"]]
    assert submitting.shares_used() == 1 and len(submitting.bundles()) == 1


def test_a_second_policy_uses_the_same_commitment(submitting: Daemon, service: Service, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "other.yaml", norms("500"), name="other")
    published = service.client("regulator").publish_policy(policy.read_bytes()).name
    with submitting.client() as client:
        committed = result(submitting.wait(client.commit(fresh(), str(submitting.model("again.safetensors"))).name))
        content = result(submitting.wait(client.submit(fresh(), str(submitting.model()), published).name))
    assert content["commitment"] == committed["commitment"]
    check(content, service)


def test_what_does_not_hold_is_never_sent(submitting: Daemon, service: Service, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "false.yaml", norms("1"), name="false")
    published = service.client("regulator").publish_policy(policy.read_bytes()).name
    bundles = submitting.bundles()
    with submitting.client() as client:
        job = submitting.wait(client.submit(fresh(), str(submitting.model()), published).name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "FalseStatementError")
    assert submitting.bundles() == bundles
    (audit,) = [one for one in service.client("acme").audits() if one.policy == published]
    assert audit.state == theirs.AUDIT_STATE_OPEN


def test_a_policy_that_nobody_published(submitting: Daemon) -> None:
    with submitting.client() as client:
        job = submitting.wait(client.submit(fresh(), str(submitting.model()), f"policies/{'0' * 64}").name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "NotFoundError")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["attestation_key", "log_key"])
def test_a_certificate_by_another_key_is_not_taken(
    folder: Path, service: Service, certificates: Certificates, owner: Owner, which: str, tmp_path: Path
) -> None:
    """The job fails, and nothing that looks like a certificate is left."""
    create_key(tmp_path / "other.key", tmp_path / "attestation_key")
    (tmp_path / "log_key").write_text(f"{NoteSigner.generate('test/log').key}\n")
    configured = dialling(service, certificates, **{which: tmp_path / which})
    daemon = Daemon(folder, verifier=configured)
    with running(daemon), daemon.client() as client:
        job = daemon.wait(client.submit(fresh(), str(daemon.model()), owner.policy_name).name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "TrustError")
    assert not list(daemon.state.rglob("*.intoto.jsonl"))


@pytest.mark.slow
def test_a_verifier_that_is_away_is_waited_for(
    folder: Path, tmp_path: Path, certificates: Certificates, owner: Owner
) -> None:
    """It goes away while the job runs, and comes back on the same port with its records."""
    with serving(Service.make(tmp_path / "service", certificates, policies=[owner.policy])) as service:
        configuration = service.folder / "verifier.toml"
        configuration.write_text(configuration.read_text().replace("127.0.0.1:0", f"127.0.0.1:{service.port}"))
        daemon = Daemon(folder, verifier=dialling(service, certificates))
        with running(daemon), daemon.client() as client:
            result(daemon.wait(client.commit(fresh(), str(daemon.model())).name))
            service.kill()
            job = client.submit("a", str(daemon.model()), owner.policy_name)
            wait_for(lambda: client.job(job.name).stage == "ask for the policy")
            service.start()
            check(result(daemon.wait(job.name)), service)
    assert daemon.shares_used() == 1 and len(daemon.bundles()) == 1


@pytest.mark.slow
def test_killed_at_random_on_the_way_to_a_certificate(
    folder: Path, service: Service, certificates: Certificates, owner: Owner
) -> None:
    """Daemon and workers, by turns: every job has one audit, one share and one bundle in the end."""
    chance = random.Random(SEED)
    daemon = Daemon(folder, verifier=dialling(service, certificates))
    jobs = []
    with running(daemon):
        for number in range(4):
            with daemon.client() as client:
                job = client.submit(f"{number}", str(daemon.model(seed=11)), owner.policy_name)
            jobs.append(job)
            for turn in range(3):
                time.sleep(chance.uniform(0, 5))
                if turn % 2:
                    daemon.kill()
                    daemon.start()
                else:
                    daemon.kill_worker()
            content = result(daemon.wait(job.name))
            check(content, service)
    (one,) = daemon.owners()
    assert one.ledger.used(PROOF) == len(jobs) == len(daemon.bundles())
    audits = [audit for audit in service.client("acme").audits() if audit.commitment.endswith(one.commitment.id.hex())]
    assert len(audits) == len(jobs) and all(audit.verdict == theirs.VERDICT_ACCEPTED for audit in audits)
    submitted = {audit.bundle.sha256.hex() for audit in audits}
    assert submitted == {path.name.removesuffix(".bundle") for path in daemon.bundles()}


@pytest.mark.slow
def test_watched_folders_are_submitted(
    folder: Path, service: Service, certificates: Certificates, owner: Owner
) -> None:
    """A model appears and then changes: a certificate for each."""
    watch = {"folder": "models", "policies": [owner.policy_name], "interval": 0.2}
    daemon = Daemon(folder, verifier=dialling(service, certificates), watch=[watch])
    with running(daemon), daemon.client() as client:
        known: set[str] = set()
        for seed in (21, 22):
            daemon.model(seed=seed)
            (name,) = wait_for(lambda: {job.name for job in client.jobs()} - known)
            known.add(name)
            check(result(daemon.wait(name)), service)
    assert len(daemon.owners()) == 2 and daemon.shares_used() == 2


@pytest.fixture
def sent(owner: Owner, acme: VerifierClient, tmp_path: Path) -> tuple[str, Path]:
    """An open audit and a bundle for it."""
    audit = owner.open_audit(acme)
    return audit.name, owner.prove(audit.nonce, tmp_path / "bundle")


def options(service: Service, certificates: Certificates) -> list[str | Path]:
    place = certificates.folder
    return [
        *("--to", f"localhost:{service.port}", "--cert", place / "acme.pem", "--key", place / "acme.key"),
        *("--ca", place / "ca.pem", "--attestation-key", service.folder / ATTESTATION_PUBLIC),
        *("--log-key", service.folder / LOG_PUBLIC),
    ]


def test_a_bundle_is_sent_by_hand(
    sent: tuple[str, Path], service: Service, certificates: Certificates, tmp_path: Path
) -> None:
    name, bundle = sent
    arguments = [bundle, "--audit", name, *options(service, certificates), "--out"]
    content = prover("submit", *arguments, tmp_path / "certificate", "--json").clean(ACCEPTED).json()
    check(content, service)
    prover("submit", *arguments, tmp_path / "again").clean(ACCEPTED)
    prover("submit", *arguments, tmp_path / "certificate").clean(MALFORMED)
    create_key(tmp_path / "other.key", tmp_path / "other.pub")
    foreign = [
        tmp_path / "other.pub" if "attestation" in str(item) and "pub" in str(item) else item for item in arguments
    ]
    prover("submit", *foreign, tmp_path / "foreign").clean(TRUST)
    assert not (tmp_path / "foreign").exists()


def test_a_bundle_that_is_rejected(
    owner: Owner, acme: VerifierClient, service: Service, certificates: Certificates, tmp_path: Path
) -> None:
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path / "bundle")
    data = bytearray(bundle.read_bytes())
    data[-5] ^= 1
    bundle.write_bytes(data)
    out = tmp_path / "certificate"
    arguments = ["submit", bundle, "--audit", audit.name, *options(service, certificates), "--out", out]
    refused = prover(*arguments).clean(REJECTED)
    assert "RejectedError" in refused.err and not out.exists()

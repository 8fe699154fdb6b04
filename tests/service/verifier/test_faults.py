"""Crashes, full disks, locked databases, wrong clocks, bad links: nothing lost, nothing counted twice."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from circuits.errors import FormatError, WeightproofError
from tests.service.parties import Owner, Service, free_port, running
from tests.service.proxy import BadLink
from verifier.attestation.bundle import parse_bundle
from verifier.log.entry import attestation_entry
from verifier.log.monitor import read_checkpoint
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt
from verifier.log.source import FolderSource
from verifier.service.client import VerifierClient
from verifier.service.errors import StorageError
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire


def log_size(service: Service) -> int:
    key = VerifierKey.read(service.folder / "log.pub")
    return read_checkpoint(FolderSource(service.folder / "log"), key)[1].size


def finish(client: VerifierClient, owner: Owner, folder: Path) -> wire.Audit:
    """An audit from its opening to its verdict, every call tried until it is answered."""

    def insist(call: Callable[[], wire.Audit]) -> wire.Audit:
        while True:
            try:
                return call()
            except WeightproofError as error:
                assert isinstance(error, StorageError) or "reached" in str(error), error

    request_id = os.urandom(8).hex()
    audit = insist(lambda: owner.open_audit(client, request_id))
    bundle = owner.prove(audit.nonce, folder / request_id)
    insist(lambda: client.submit_proof(audit.name, bundle))
    return insist(lambda: client.wait_audit(audit.name, 120))


def require_certificate(service: Service, client: VerifierClient, audit: wire.Audit) -> None:
    """The attestation is in the log exactly once, and the receipt is its."""
    attestation = client.download(audit.name, artifacts.ARTIFACT_KIND_ATTESTATION)
    entry = attestation_entry(parse_bundle(attestation).envelopes[0])
    receipt = Receipt.from_bytes(client.download(audit.name, artifacts.ARTIFACT_KIND_RECEIPT))
    receipt.verify(entry, VerifierKey.read(service.folder / "log.pub"))
    assert receipt.index == audit.log_index


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_any_time_loses_nothing_and_logs_nothing_twice(
    service: Service, owner: Owner, tmp_path: Path, kills: int
) -> None:
    made = Service.make(tmp_path / "service", service.certificates, policies=[owner.policy], port=free_port())
    moments, done = random.Random(kills), threading.Event()

    def keep_killing() -> None:
        for _ in range(kills):
            time.sleep(moments.uniform(0.05, 1.5))
            made.kill()
            made.start()
        done.set()

    with running(made) as started:
        killer = threading.Thread(target=keep_killing)
        client = started.client("acme", patience=60.0)
        audits: list[wire.Audit] = []
        killer.start()
        while not done.is_set() or not audits:
            audits.append(finish(client, owner, tmp_path))
        killer.join()
        assert {audit.verdict for audit in audits} == {wire.VERDICT_ACCEPTED}
        assert len({audit.name for audit in audits}) == len(audits)
        assert log_size(started) == 2 * len(audits)  # the attestation and its summary
        for audit in audits:
            require_certificate(started, client, audit)


def test_a_full_disk_is_an_answer_and_the_upload_goes_on_later(service: Service, owner: Owner, tmp_path: Path) -> None:
    made = Service.make(tmp_path / "service", service.certificates, policies=[owner.policy], port=free_port())
    limit = 400_000
    data = tmp_path / "data"
    data.write_bytes(os.urandom(1 << 20))

    def no_large_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        made.start(no_large_file)
        client = made.client("acme", patience=1.0)
        with pytest.raises(StorageError, match="storage failed"):
            client.upload(artifacts.ARTIFACT_KIND_PROOF_BUNDLE, data)
        assert client.service_info().issuer  # it goes on serving
        made.stop()
        made.start()
        client.upload(artifacts.ARTIFACT_KIND_PROOF_BUNDLE, data)
    finally:
        made.close()


@pytest.mark.slow
def test_a_locked_database_is_waited_for_and_then_an_answer(service: Service, owner: Owner, tmp_path: Path) -> None:
    with running(Service.make(tmp_path / "service", service.certificates, policies=[owner.policy])) as started:
        client = started.client("acme", patience=0.0)
        name = owner.register(client)
        connection = sqlite3.connect(started.folder / "state" / "verifier.sqlite", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="storage failed"):
            client.create_audit("1", name, owner.policy_name)
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        answers: list[wire.Audit] = []
        asking = threading.Thread(target=lambda: answers.append(client.create_audit("1", name, owner.policy_name)))
        asking.start()
        time.sleep(2.0)
        connection.execute("ROLLBACK")
        asking.join()
        assert answers[0].state == wire.AUDIT_STATE_OPEN
        connection.close()


def test_a_proof_from_the_future_is_refused(acme: VerifierClient, owner: Owner, tmp_path: Path) -> None:
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path / "bundle")
    with pytest.raises(FormatError, match="compare your clock"):
        acme.submit_proof(audit.name, bundle, datetime.now(UTC) + timedelta(hours=1))
    acme.submit_proof(audit.name, bundle, datetime.now(UTC) - timedelta(days=1))
    assert acme.wait_audit(audit.name).verdict == wire.VERDICT_ACCEPTED


def test_an_audit_that_expired_takes_no_proof(service: Service, owner: Owner, tmp_path: Path) -> None:
    limits = {"nonce_seconds": 0.5}
    with running(Service.make(tmp_path / "s", service.certificates, limits=limits, policies=[owner.policy])) as short:
        client = short.client("acme")
        audit = owner.open_audit(client)
        time.sleep(0.6)
        assert client.wait_audit(audit.name).state == wire.AUDIT_STATE_EXPIRED


def test_a_check_that_takes_too_much_is_rejected_by_name(service: Service, owner: Owner, tmp_path: Path) -> None:
    limits = {"worker_seconds": 0.05}
    with running(Service.make(tmp_path / "s", service.certificates, limits=limits, policies=[owner.policy])) as short:
        client = short.client("acme")
        with pytest.raises(FormatError, match="more time than this service gives"):
            client.register_commitment(owner.folder, "model")
        assert client.service_info().issuer


def test_the_verdict_over_a_slow_link_that_is_cut_is_the_same(service: Service, owner: Owner, tmp_path: Path) -> None:
    link = BadLink(service.port, delay=0.02, rate=2e6, between=(60_000, 400_000))
    client = service.client("acme", port=link.port, patience=120.0)
    try:
        audit = client.create_audit("over-a-bad-link", owner.register(client), owner.policy_name)
        bundle = owner.prove(audit.nonce, tmp_path / "bundle")
        client.submit_proof(audit.name, bundle)
        assert client.wait_audit(audit.name, 120).verdict == wire.VERDICT_ACCEPTED
        assert link.cuts > 0
        require_certificate(service, client, client.audit(audit.name))
    finally:
        link.close()


def test_what_was_logged_before_a_crash_is_found_again_and_not_logged_twice(
    service: Service, owner: Owner, tmp_path: Path
) -> None:
    """The crash that random kills hardly meet: after the log's append, before the verdict."""
    with running(Service.make(tmp_path / "service", service.certificates, policies=[owner.policy])) as made:
        audits = [finish(made.client("acme"), owner, tmp_path) for _ in range(2)]
        size = log_size(made)
        assert made.stop() == 0
        with sqlite3.connect(made.folder / "state" / "verifier.sqlite") as connection:
            connection.execute("UPDATE audits SET state='VERIFYING', verdict=NULL, receipt=NULL, log_index=NULL")
            connection.execute("UPDATE jobs SET state='QUEUED' WHERE kind='decide'")
        connection.close()
        made.start()
        client = made.client("acme")
        for audit in audits:
            again = client.wait_audit(audit.name, 60)
            assert (again.verdict, again.log_index) == (wire.VERDICT_ACCEPTED, audit.log_index)
            assert again.attestation == audit.attestation
            require_certificate(made, client, again)
        assert log_size(made) == size

"""An owner with a good certificate who attacks: the others are served, and nothing false is signed, kept or told."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from circuits.errors import FormatError
from tests.service.parties import Certificates, Owner, Service, running, wait_until
from verifier.attestation.bundle import parse_bundle
from verifier.service.blobs import BlobStore
from verifier.service.certificate import fetch_certificate
from verifier.service.client import VerifierClient
from verifier.service.database import Database
from verifier.service.errors import BusyError, StateError, StorageError, UnavailableError
from verifier.service.jobs import JobQueue
from verifier.service.records import File, Records
from verifier.service.status import from_rpc_error
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire

ACME, RIVAL = "spiffe://test.weightproof.org/owner/acme", "spiffe://test.weightproof.org/owner/rival"
SERVICE = "/weightproof.v1.VerifierService"
MIB = 1 << 20


@pytest.fixture
def records(database_url: str) -> Iterator[Records]:
    database = Database(database_url)
    yield Records(database)
    database.close()


def channel_of(service: Service, name: str) -> grpc.Channel:
    """A connection of its own with the certificate of this name."""
    certificate, key, authority = service.certificates.identity(name).read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.secure_channel(f"localhost:{service.port}", credentials, [("grpc.use_local_subchannel_pool", 1)])


@pytest.mark.parametrize("name", ["rival", "nobody"])
@pytest.mark.parametrize(
    "method", [f"{SERVICE}/GetAudit", "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/X"]
)
def test_calls_that_never_send_their_request_leave_room_for_others(
    service: Service, tmp_path: Path, name: str, method: str
) -> None:
    method = method.replace("/X", "/ServerReflectionInfo")
    limits = {"calls": 24, "caller_calls": 8, "chunk_seconds": 60.0}
    stop = threading.Event()

    def never() -> Iterator[bytes]:
        stop.wait(60)
        yield b""

    with (
        running(Service.make(tmp_path / "service", service.certificates, limits=limits)) as small,
        ExitStack() as stack,
    ):
        acme = small.client("acme", patience=0.0)
        acme.service_info()
        calls: list[Any] = []
        for _ in range(3):
            channel = stack.enter_context(channel_of(small, name))
            call: Any = channel.stream_stream(method)
            calls += [call(never()) for _ in range(16)]
        wait_until(lambda: sum(call.done() for call in calls) >= len(calls) - 8)
        assert acme.service_info().issuer
        stop.set()


def test_a_request_that_does_not_come_is_not_waited_for(service: Service) -> None:
    stop = threading.Event()

    def never() -> Iterator[bytes]:
        stop.wait(60)
        yield b""

    with channel_of(service, "rival") as channel:
        call: Any = channel.stream_unary(f"{SERVICE}/GetAudit")
        with pytest.raises(grpc.RpcError) as caught:
            call(never(), timeout=30)  # the service waits chunk_seconds: 2
        stop.set()
    assert isinstance(from_rpc_error(caught.value, ""), UnavailableError)
    assert "no request came" in str(caught.value)


def test_an_upload_that_is_cancelled_at_its_end_is_counted_or_gone(service: Service, tmp_path: Path) -> None:
    kind, size = artifacts.ARTIFACT_KIND_PROOF_BUNDLE, 24 * MIB

    def upload_and_cancel(started: Service) -> None:
        data = os.urandom(size)
        digest = artifacts.Digest(sha256=hashlib.sha256(data).digest(), size=size)
        part = started.folder / "state" / "uploads" / hashlib.sha256(RIVAL.encode()).hexdigest()
        part = part / f"{kind}-{size}-{digest.sha256.hex()}"

        def messages() -> Iterator[artifacts.UploadRequest]:
            yield artifacts.UploadRequest(header=artifacts.UploadHeader(kind=kind, digest=digest))
            for offset in range(0, size, MIB):
                yield artifacts.UploadRequest(chunk=data[offset : offset + MIB])

        call = started.client("rival")._stub.Upload.future(messages())
        blob = BlobStore(started.folder / "state").path(digest.sha256)
        while not call.done() and not blob.exists() and not (part.exists() and part.stat().st_size == size):
            time.sleep(0.001)
        call.cancel()

    with running(Service.make(tmp_path / "service", service.certificates)) as started:
        for _ in range(4):
            upload_and_cancel(started)
        started.stop()  # what was begun is finished
        database = Database(f"sqlite:///{started.folder / 'state' / 'verifier.sqlite'}")
        counted = Records(database).stored_bytes(RIVAL)
        database.close()
        blobs = (started.folder / "state" / "blobs").glob("*/*")
        assert sum(path.stat().st_size for path in blobs) == counted


def test_the_owner_who_waited_longest_is_served_next(database_url: str) -> None:
    database = Database(database_url)
    queue = JobQueue(database)
    for number in range(20):
        queue.submit(RIVAL, f"{number}", "decide", {"number": number})
    first = queue.claim("worker", ["decide"])
    assert first is not None and first.owner == RIVAL
    queue.finish(first, "worker", "SUCCEEDED")
    queue.submit(ACME, "only", "decide", {})
    following = queue.claim("worker", ["decide"])
    assert following is not None and following.owner == ACME
    after = queue.claim("other worker", ["decide"])
    assert after is not None and after.owner == RIVAL and after.payload == {"number": 1}
    database.close()


def file(content: bytes) -> File:
    return File(hashlib.sha256(content).digest(), len(content))


def test_the_checks_that_one_owner_may_have_waiting_are_limited(records: Records) -> None:
    for number in range(5):
        records.register(RIVAL, f"{number:064x}", "flood", file(b"c"), file(b"v"), 5)
    with pytest.raises(BusyError, match="5 checks of yours"):
        records.register(RIVAL, f"{5:064x}", "flood", file(b"c"), file(b"v"), 5)
    assert records.register(RIVAL, f"{4:064x}", "flood", file(b"c"), file(b"v"), 5).title == "flood"  # changes nothing
    assert records.register(ACME, f"{5:064x}", "model", file(b"c"), file(b"v"), 5).state == "PENDING"


def test_the_outcome_of_a_check_counts_for_the_proof_that_was_checked(records: Records) -> None:
    row = records.register(RIVAL, "0" * 64, "model", file(b"c"), file(b"bad"), 5)
    records.settle_commitment(row.number, row.validity, "INVALID", "wrong")
    again = records.register(RIVAL, "0" * 64, "model", file(b"c"), file(b"other"), 5)
    records.settle_commitment(row.number, row.validity, "VALID", "")  # a late answer about the first proof
    assert records.commitment("0" * 64, RIVAL).state == "PENDING"
    records.settle_commitment(row.number, again.validity, "VALID", "")
    records.settle_commitment(row.number, again.validity, "INVALID", "a second worker had less time")
    assert records.commitment("0" * 64, RIVAL).state == "VALID"


def test_a_proof_of_validity_that_failed_before_is_checked_when_it_comes_again(
    records: Records, database_url: str
) -> None:
    database = Database(database_url)
    queue = JobQueue(database)
    for content in (b"one", b"two", b"one"):
        row = records.register(RIVAL, "0" * 64, "model", file(b"c"), file(content), 5)
        job = queue.claim("worker", ["validity"])
        assert row.state == "PENDING" and job is not None
        records.settle_commitment(row.number, row.validity, "INVALID", "wrong")
        queue.finish(job, "worker", "SUCCEEDED")
    database.close()


def submitted(records: Records) -> str:
    """The id of an audit that is being verified."""
    audit = records.create_audit(ACME, "1", "0" * 64, "1" * 64, {}, 100.0, 5)
    return str(records.submit(audit.id, ACME, file(b"bundle"), 0.0, 5).id)


def test_what_was_signed_is_not_rejected_afterwards(records: Records) -> None:
    audit = submitted(records)
    records.sign_audit(audit, b"r" * 32, b"a" * 32, 0)
    records.reject(audit, "LimitError", "a worker whose lease had lapsed")
    records.accept(audit, b"p" * 32, 0)
    row = records.audit(audit, ACME)
    assert (row.state, row.verdict) == ("DECIDED", "ACCEPTED")


def test_what_was_rejected_is_not_signed_afterwards(records: Records) -> None:
    audit = submitted(records)
    records.reject(audit, "MerkleError", "no")
    assert records.sign_audit(audit, b"r" * 32, b"a" * 32, 0).attestation is None
    records.accept(audit, b"p" * 32, 0)
    assert records.audit(audit, ACME).verdict == "REJECTED"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\u202eesrever", "two\nlines", "é" * 5000])
def test_reasons_made_of_hostile_input_can_be_kept_and_told(records: Records, text: str) -> None:
    audit = submitted(records)
    records.reject(audit, text, text)
    row = records.audit(audit, ACME)
    assert row.verdict == "REJECTED" and row.reason.isprintable() and row.error.isprintable()
    wire.Audit(reason=row.reason, error=row.error).SerializeToString()
    commitment = records.register(ACME, "0" * 64, "model", file(b"c"), file(b"v"), 5)
    records.settle_commitment(commitment.number, commitment.validity, "INVALID", text)
    assert records.commitment("0" * 64, ACME).reason.isprintable()


def hostile_commitments() -> dict[str, bytes]:
    return {
        "surrogate": b'{"\\ud800": 1, "\\ud800": 2}',
        "surrogate protocol": b'{"id": "", "manifest": {"\\ud800": "\\u0000"}, "parameters": {}, "protocol": "p",'
        b' "root": "' + b"\\ud800" * 64 + b'"}',
        "deep": b"[" * 1_000_000,
        "wide": b"[" + b"0," * 5_000_000 + b"0]",
        "number": b'{"id": ' + b"9" * 10_000_000 + b"}",
        "nul": b'"\\u0000"',
    }


@pytest.mark.parametrize("name", sorted(hostile_commitments()))
def test_json_that_attacks_is_refused_by_name_and_the_service_goes_on(
    service: Service, tmp_path: Path, name: str
) -> None:
    (tmp_path / "commitment.json").write_bytes(hostile_commitments()[name])
    (tmp_path / "validity.proof").write_bytes(b"0")
    with pytest.raises(FormatError) as caught:
        service.client("rival").register_commitment(tmp_path, "model")
    assert str(service.folder) not in str(caught.value)
    assert service.client("acme").service_info().issuer


def test_an_owner_who_registers_slowly_does_not_keep_others_from_registering(
    service: Service, owner: Owner, tmp_path: Path
) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "commitment.json").write_bytes(b"[" + b'"",' * 4_000_000 + b'""]')
    (folder / "validity.proof").write_bytes(b"0")
    limits = {"workers": 2, "worker_seconds": 600.0}
    made = Service.make(tmp_path / "service", service.certificates, limits=limits, policies=[owner.policy])
    with running(made) as started, ExitStack() as stack:
        rival = started.client("rival")
        kinds = {
            "commitment.json": artifacts.ARTIFACT_KIND_COMMITMENT,
            "validity.proof": artifacts.ARTIFACT_KIND_VALIDITY_PROOF,
        }
        digests = [rival.upload(kind, folder / file) for file, kind in kinds.items()]
        request = wire.RegisterCommitmentRequest(commitment=digests[0], validity_proof=digests[1], title="slow")
        calls = [rival._stub.RegisterCommitment.future(request) for _ in range(40)]
        stack.callback(lambda: [call.cancel() for call in calls])
        owner.register(started.client("acme"))
        assert not all(call.done() for call in calls)


def test_the_files_of_a_certificate_are_those_of_the_audited_owner(
    service: Service, owner: Owner, tmp_path: Path
) -> None:
    made = Service.make(tmp_path / "service", service.certificates, policies=[owner.policy])
    with running(made) as started:
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "commitment.json").write_bytes((owner.folder / "commitment.json").read_bytes())
        (copy / "validity.proof").write_bytes(b"garbage")
        started.client("rival").register_commitment(copy, "first come")
        acme = started.client("acme")
        audit = owner.open_audit(acme)
        acme.submit_proof(audit.name, owner.prove(audit.nonce, tmp_path / "bundle"))
        assert acme.wait_audit(audit.name).verdict == wire.VERDICT_ACCEPTED
        fetch_certificate(started.client("regulator"), audit.name, tmp_path / "certificate")
        for name in ("commitment.json", "validity.proof"):
            assert (tmp_path / "certificate" / name).read_bytes() == (owner.folder / name).read_bytes()


def test_a_proof_is_not_attested_as_older_than_its_nonce(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path / "bundle")
    acme.submit_proof(audit.name, bundle, datetime.now(UTC) - timedelta(days=365))
    acme.wait_audit(audit.name)
    attestation = parse_bundle(acme.download(audit.name, artifacts.ARTIFACT_KIND_ATTESTATION))
    predicate = json.loads(attestation.envelopes[0].payload)["predicate"]
    assert datetime.fromisoformat(predicate["provedAt"]).timestamp() >= audit.create_time.seconds


def test_failures_of_the_database_do_not_tell_where_it_is(tmp_path: Path, service: Service) -> None:
    with running(Service.make(tmp_path / "service", service.certificates)) as started:
        for path in (started.folder / "state").glob("verifier.sqlite*"):
            path.write_bytes(os.urandom(200_000))
        with pytest.raises(StorageError) as caught:
            started.client("rival", patience=2.0).audit("audits/" + "0" * 32)
        assert "sqlite" not in str(caught.value).lower() and "database" not in str(caught.value)


@pytest.mark.slow
def test_connections_that_say_nothing_are_closed(certificates: Certificates, tmp_path: Path) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    made = Service.make(tmp_path / "service", certificates)
    try:
        made.start(few_files)
        with ExitStack() as stack:
            for _ in range(400):
                stack.enter_context(socket.create_connection(("127.0.0.1", made.port)))
            client = made.client("acme", patience=40.0)
            assert client.service_info().issuer
            path = tmp_path / "file"
            path.write_bytes(b"data")
            client.upload(artifacts.ARTIFACT_KIND_PROOF_BUNDLE, path)
    finally:
        made.close()


def test_a_nonce_is_used_once_however_many_ask_at_once(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    audit = owner.open_audit(acme)
    good = owner.prove(audit.nonce, tmp_path / "bundle")
    forged = tmp_path / "forged"
    forged.write_bytes(good.read_bytes()[:-1] + b"\0\0")
    answers: list[str] = []

    def submit(path: Path) -> None:
        try:
            answers.append(acme.submit_proof(audit.name, path).bundle.sha256.hex())
        except StateError:
            answers.append("refused")

    threads = [threading.Thread(target=submit, args=(path,)) for path in (good, forged) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers) - {"refused"}) == 1 and len(answers) == 8

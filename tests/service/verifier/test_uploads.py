"""Uploads from clients that lie, stall, flood or break off: an answer, in bounded time and memory."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from circuits.errors import FormatError
from tests.service.parties import Owner, Service, wait_until
from verifier.service.client import VerifierClient
from verifier.service.errors import BusyError, StateError, TooLargeError, UnavailableError
from verifier.service.status import from_rpc_error
from weightproof.v1 import artifacts_pb2 as wire
from weightproof.v1 import verifier_service_pb2 as service_wire

BUNDLE = wire.ARTIFACT_KIND_PROOF_BUNDLE
MIB = 1 << 20


def header(data: bytes, size: int | None = None, offset: int = 0, kind: Any = BUNDLE) -> wire.UploadRequest:
    digest = wire.Digest(sha256=hashlib.sha256(data).digest(), size=len(data) if size is None else size)
    return wire.UploadRequest(header=wire.UploadHeader(kind=kind, digest=digest, offset=offset))


def chunk(data: bytes) -> wire.UploadRequest:
    return wire.UploadRequest(chunk=data)


def send(client: VerifierClient, messages: Iterable[wire.UploadRequest], timeout: float = 30.0) -> wire.UploadResponse:
    """The answer to these messages; errors as the client names them."""
    try:
        return client._stub.Upload(iter(messages), timeout=timeout)
    except grpc.RpcError as error:
        raise from_rpc_error(error, client.address) from None


def received(client: VerifierClient, data: bytes) -> tuple[int, bool]:
    digest = wire.Digest(sha256=hashlib.sha256(data).digest(), size=len(data))
    answer = client._stub.QueryUpload(wire.QueryUploadRequest(kind=BUNDLE, digest=digest), timeout=10)
    return answer.received, answer.complete


def test_an_upload_that_broke_goes_on_where_it_stopped(acme: VerifierClient, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB)
    with pytest.raises(FormatError, match="go on from there"):
        send(acme, [header(data), chunk(data[:MIB])])
    assert received(acme, data) == (MIB, False)
    (tmp_path / "file").write_bytes(data)
    acme.upload(BUNDLE, tmp_path / "file")
    assert received(acme, data) == (len(data), True)


def test_an_offset_elsewhere_is_refused(acme: VerifierClient) -> None:
    data = os.urandom(MIB)
    with pytest.raises(StateError, match="0 bytes of this upload are held"):
        send(acme, [header(data, offset=5), chunk(data[5:])])


def test_a_header_that_lies_about_the_digest(acme: VerifierClient) -> None:
    data = os.urandom(100_000)
    with pytest.raises(FormatError, match="does not have the SHA-256"):
        send(acme, [header(data), chunk(data[:-1] + b"x")])
    assert received(acme, data) == (0, False)  # what was wrong is gone


def test_a_header_that_lies_about_the_size(acme: VerifierClient) -> None:
    data = os.urandom(100_000)
    with pytest.raises(TooLargeError, match="more than the 50000 bytes"):
        send(acme, [header(data, size=50_000), chunk(data)])


@pytest.mark.parametrize("size", [10 << 30, 0, (1 << 64) - 1])
def test_an_announced_size_beyond_the_limit_is_refused_before_a_byte_is_sent(acme: VerifierClient, size: int) -> None:
    started = threading.Event()

    def messages() -> Iterator[wire.UploadRequest]:
        yield header(b"x", size=size)
        started.wait(20)  # the server answers without waiting for more
        yield chunk(b"x")

    with pytest.raises(TooLargeError):
        send(acme, messages())
    started.set()


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [chunk(b"data")],
        [wire.UploadRequest()],
        [header(b"data"), header(b"data")],
        [header(b"data"), chunk(b"")],
        [header(b"data", kind=wire.ARTIFACT_KIND_ATTESTATION), chunk(b"data")],
        [header(b"data", kind=99), chunk(b"data")],
        [wire.UploadRequest(header=wire.UploadHeader(kind=BUNDLE, digest=wire.Digest(sha256=b"short", size=4)))],
    ],
    ids=["nothing", "no header", "empty", "two headers", "empty chunk", "not uploaded", "no kind", "short digest"],
)
def test_streams_that_make_no_sense(acme: VerifierClient, messages: list[wire.UploadRequest]) -> None:
    with pytest.raises(FormatError):
        send(acme, messages)


def test_a_message_above_the_limit_is_refused(acme: VerifierClient) -> None:
    data = os.urandom(5 * MIB)
    with pytest.raises(BusyError):  # gRPC's own refusal: RESOURCE_EXHAUSTED
        send(acme, [header(data), chunk(data)])
    with pytest.raises(FormatError, match="1 to 1048576"):
        send(acme, [header(data), chunk(data[: MIB + 1])])


def test_a_sender_that_stalls_is_let_go(acme: VerifierClient) -> None:
    data, stop = os.urandom(MIB), threading.Event()

    def messages() -> Iterator[wire.UploadRequest]:
        yield header(data)
        yield chunk(data[:1000])
        stop.wait(30)

    with pytest.raises(UnavailableError, match="no data came for 2 s"):
        send(acme, messages())
    stop.set()
    assert received(acme, data) == (1000, False)


def test_the_number_of_unfinished_uploads_is_limited(service: Service) -> None:
    rival = service.client("rival")
    for _ in range(3):
        data = os.urandom(2000)
        with pytest.raises(FormatError):
            send(rival, [header(data), chunk(data[:1000])])
    with pytest.raises(BusyError, match="3 uploads are unfinished"):
        send(rival, [header(b"one more"), chunk(b"one more")])


def test_the_number_of_streams_at_once_is_limited(service: Service) -> None:
    regulator, stop = service.client("regulator"), threading.Event()

    def stall(data: bytes) -> None:
        def messages() -> Iterator[wire.UploadRequest]:
            yield header(data)
            stop.wait(30)

        with pytest.raises((UnavailableError, FormatError)):
            send(regulator, messages())

    threads = [threading.Thread(target=stall, args=(os.urandom(50),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    with pytest.raises(BusyError, match="are running"):
        send(regulator, [header(b"fourth"), chunk(b"fourth")])
    stop.set()
    for thread in threads:
        thread.join()


def test_stored_bytes_are_limited(acme: VerifierClient) -> None:
    data = os.urandom(2 * MIB)
    send(acme, [header(data), chunk(data[:MIB]), chunk(data[MIB:])])
    with pytest.raises(BusyError, match="has stored"):
        send(acme, [header(b"much", size=59 * MIB)])


def test_random_bytes_are_no_bundle(acme: VerifierClient, owner: Owner, tmp_path: Path) -> None:
    audit = owner.open_audit(acme)
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(200_000))
    with pytest.raises(FormatError, match="not a proof bundle"):
        acme.submit_proof(audit.name, noise)
    assert acme.audit(audit.name).state == service_wire.AUDIT_STATE_OPEN


def test_random_bytes_are_no_commitment(acme: VerifierClient, tmp_path: Path) -> None:
    (tmp_path / "commitment.json").write_bytes(os.urandom(100_000))
    (tmp_path / "validity.proof").write_bytes(os.urandom(100_000))
    with pytest.raises(FormatError):
        acme.register_commitment(tmp_path, "noise")


def test_random_messages_are_refused_and_the_service_lives(service: Service, acme: VerifierClient) -> None:
    certificate, key, authority = service.certificates.identity("acme").read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(f"localhost:{service.port}", credentials) as channel:
        for method in ("CreateAudit", "SubmitProof", "GetAudit", "RegisterCommitment", "NoSuchMethod"):
            call: Any = channel.unary_unary(f"/weightproof.v1.VerifierService/{method}")
            for length in (1, 100, 10_000):
                with pytest.raises(grpc.RpcError):
                    call(os.urandom(length), timeout=10)
    assert acme.service_info().issuer


def test_eight_clients_are_served_while_others_attack(service: Service, owner: Owner, tmp_path: Path) -> None:
    stop, failures, served = threading.Event(), list[Exception](), list[int]()

    def attack() -> None:
        rival = service.client("rival")
        while not stop.is_set():
            for messages in ([header(os.urandom(9), size=10 << 30)], [chunk(os.urandom(100_000))]):
                with suppress(FormatError, BusyError):
                    send(rival, messages)

    def work(number: int) -> None:
        try:
            client = service.client("acme")
            path = tmp_path / f"{number}"
            path.write_bytes(os.urandom(MIB))
            while True:
                try:
                    client.upload(BUNDLE, path)
                    break
                except BusyError:
                    time.sleep(0.1)
            assert client.audit(owner.open_audit(client).name).state == service_wire.AUDIT_STATE_OPEN
            served.append(number)
        except Exception as error:
            failures.append(error)

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in [*attackers, *workers]:
        thread.start()
    for thread in workers:
        thread.join(120)
    stop.set()
    for thread in attackers:
        thread.join(60)
    assert not failures and sorted(served) == list(range(8))
    wait_until(lambda: service.process is not None and service.process.poll() is None)

"""The TCP address: mutual TLS, and only the identities of the configuration."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest

from tests.service.parties import DOMAIN, Certificates
from tests.service.prover.daemon import Daemon, fresh, running
from weightproof.v1 import prover_service_pb2 as wire
from weightproof.v1 import prover_service_pb2_grpc as stubs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(port: int, certificates: Certificates, name: str | None, authority: str = "ca") -> wire.ListJobsResponse:
    """ListJobs over TCP, with the certificate of this name, or none."""
    root = (certificates.folder / f"{authority}.pem").read_bytes()
    if name is None:
        credentials = grpc.ssl_channel_credentials(root)
    else:
        key, chain = ((certificates.folder / f"{name}.{ending}").read_bytes() for ending in ("key", "pem"))
        credentials = grpc.ssl_channel_credentials(root, key, chain)
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        return stubs.ProverServiceStub(channel).ListJobs(wire.ListJobsRequest(), timeout=5)


def test_over_tcp_only_who_is_listed(folder: Path, certificates: Certificates) -> None:
    tls = {
        "certificate": certificates.folder / "verifier.pem",
        "key": certificates.folder / "verifier.key",
        "client_authority": certificates.folder / "ca.pem",
    }
    port = free_port()
    listen = {"address": f"127.0.0.1:{port}", "tls": tls, "clients": [f"{DOMAIN}/owner/acme"]}
    daemon = Daemon(folder, listen=listen)
    with running(daemon):
        with daemon.client() as client:
            job = client.commit(fresh(), str(daemon.model()))
        assert [one.name for one in call(port, certificates, "acme").jobs] == [job.name]
        for name in ("rival", "regulator", "nobody"):
            with pytest.raises(grpc.RpcError) as refused:
                call(port, certificates, name)
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        for stranger in (None, "foreign", "expired"):
            with pytest.raises(grpc.RpcError) as refused:
                call(port, certificates, stranger)
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.RpcError), grpc.insecure_channel(f"localhost:{port}") as channel:
            stubs.ProverServiceStub(channel).ListJobs(wire.ListJobsRequest(), timeout=5)


def test_without_an_address_nothing_listens_on_tcp(folder: Path) -> None:
    daemon = Daemon(folder)
    with running(daemon):
        assert daemon.process is not None
        inodes = {
            line.split()[9]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{daemon.process.pid}/net/{table}").read_text().splitlines()[1:]
        }
        held = {str(link.readlink()) for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir()}
        assert not held & {f"socket:[{inode}]" for inode in inodes}

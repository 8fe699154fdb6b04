"""What a server negotiates: gRPC's Python API sets no version, so TLS 1.2 remains, with forward secrecy."""

from __future__ import annotations

import socket
import ssl
import warnings

import pytest

from tests.service.parties import Service


def negotiate(service: Service, version: ssl.TLSVersion, ciphers: str | None = None) -> tuple[str, str]:
    """Version and cipher suite of a connection with the certificate of acme. Raises ssl.SSLError, OSError."""
    folder = service.certificates.folder
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    context.load_cert_chain(folder / "acme.pem", folder / "acme.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        cipher, negotiated = secured.cipher(), secured.version()
        assert cipher is not None and negotiated is not None
        assert secured.selected_alpn_protocol() == "h2"
        return negotiated, cipher[0]


def test_tls_1_3_is_negotiated_with_whoever_has_it(service: Service) -> None:
    version, suite = negotiate(service, ssl.TLSVersion.TLSv1_3)
    assert version == "TLSv1.3" and suite in ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption(service: Service) -> None:
    version, suite = negotiate(service, ssl.TLSVersion.TLSv1_2)
    assert version == "TLSv1.2" and suite.startswith("ECDHE-ECDSA-") and "GCM" in suite


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "kRSA"])
def test_older_suites_are_refused(service: Service, ciphers: str) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        negotiate(service, ssl.TLSVersion.TLSv1_2, f"{ciphers}:@SECLEVEL=0")


def test_tls_1_1_is_refused(service: Service) -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        negotiate(service, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0")

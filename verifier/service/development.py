"""A certificate authority of one's own, for development, tests and demonstrations: its keys lie in plain files.

Sources: RFC 5280; SPIFFE X509-SVID (one URI SAN, no CA bit in leaves).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from circuits.errors import FormatError


class DevelopmentAuthority:
    """A CA that signs server and client certificates on P-256."""

    def __init__(self, name: str = "weightproof development CA", days: float = 30) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._days = days
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._builder(self._name, self._key.public_key(), datetime.now(UTC), days)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._signed = (
            self.certificate.add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, days: float
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - timedelta(minutes=5))
            .not_valid_after(start + timedelta(days=days))
        )

    def pem(self) -> bytes:
        """The CA's certificate."""
        return self._signed.public_bytes(Encoding.PEM)

    def issue(
        self,
        spiffe: str,
        hosts: Sequence[str] = (),
        start: datetime | None = None,
        days: float | None = None,
    ) -> tuple[bytes, bytes]:
        """A certificate and its private key, in PEM; a server's if `hosts` (names and addresses) are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe)]
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spiffe.rpartition("/")[2][:64])])
        certificate = (
            self._builder(subject, key.public_key(), start or datetime.now(UTC), self._days if days is None else days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private


def write_certificates(folder: Path, trust_domain: str, hosts: Sequence[str], owners: Sequence[str]) -> list[str]:
    """Make a CA and certificates for a verifier, a regulator, an auditor, owners and a health check.

    Writes ca.pem, and for each NAME of verifier, regulator, auditor, health and owners NAME.pem and NAME.key (mode
    0600). The CA's own key is not kept: make a new folder for new certificates. Returns the SPIFFE ids of the clients;
    that of the health check is to have no role.

    Raises FormatError if the folder is not empty or cannot be written.
    """
    authority = DevelopmentAuthority()
    clients = {
        "regulator": "regulator",
        "auditor": "auditor",
        "health": "health",
        **{owner: f"owner/{owner}" for owner in owners},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FormatError(f"{folder} is not empty; certificates are not overwritten, choose another folder")
        (folder / "ca.pem").write_bytes(authority.pem())
        _write(folder, "verifier", authority.issue(f"spiffe://{trust_domain}/verifier", hosts))
        for name, path in clients.items():
            _write(folder, name, authority.issue(f"spiffe://{trust_domain}/{path}"))
    except OSError as error:
        raise FormatError(f"cannot write {folder}: {error.strerror}") from None
    return [f"spiffe://{trust_domain}/{path}" for path in clients.values()]


def _write(folder: Path, name: str, pair: tuple[bytes, bytes]) -> None:
    (folder / f"{name}.pem").write_bytes(pair[0])
    with open(os.open(folder / f"{name}.key", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(pair[1])

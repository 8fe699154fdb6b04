"""Keys of attestations: ECDSA over P-256 with SHA-256.

Checking needs the cryptography package alone. Signing goes through securesystemslib's Signer, so that a URI names the
key wherever it lives: file2:PATH, hsm:, awskms:, azurekms:, gcpkms:, hv: (the cloud and HSM ones need its extras). Its
DSSE class is not used: it rejects envelopes whose signature has no key id.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import Signer, SSlibKey  # type: ignore[attr-defined] # public, but not listed in __all__

from circuits.errors import FormatError, TrustError
from circuits.files import read_limited

MAX_KEY_BYTES = 16_384
Secrets = Callable[[str], str]
"""Asked by name ("PIN", "passphrase") when a key needs one."""


class PublicKey:
    """A public key that signatures are checked with."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        if not isinstance(key.curve, ec.SECP256R1):
            raise FormatError(f"attestations are signed with keys on P-256, not on {key.curve.name}")
        self.key = key

    @staticmethod
    def from_pem(data: bytes) -> PublicKey:
        """Read a SubjectPublicKeyInfo in PEM. Raises FormatError if it is anything but a P-256 key."""
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise FormatError("this is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise FormatError("attestations are signed with ECDSA keys on P-256; this is another kind of key")
        return PublicKey(key)

    @staticmethod
    def read(path: Path) -> PublicKey:
        """Read a PEM file. Raises FormatError."""
        return PublicKey.from_pem(read_limited(path, MAX_KEY_BYTES, "public key"))

    def to_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo in DER, hex."""
        return hashlib.sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises TrustError unless the DER signature over the data is by this key."""
        try:
            self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise TrustError(f"not signed by the key {self.key_id[:16]}, or changed afterwards") from None


class SigningKey:
    """A secret key, wherever it is kept."""

    def __init__(self, uri: str, public: PublicKey, secrets: Secrets | None = None) -> None:
        """Find the secret half of `public`.

        Args:
            uri: such as "file2:/etc/weightproof/key.pem"; see securesystemslib.signer.Signer.from_priv_key_uri.

        Raises TrustError if the key cannot be opened, or is not the other half.
        """
        self.public = public
        try:
            self._signer = Signer.from_priv_key_uri(uri, SSlibKey.from_crypto(public.key), secrets)
        except Exception as error:  # of any kind, says securesystemslib: files, networks, hardware
            scheme = uri.partition(":")[0]
            raise TrustError(f"cannot open the signing key at {scheme}: {type(error).__name__}: {error}") from error

    def sign(self, data: bytes) -> bytes:
        """The signature in DER, checked before it is returned. Raises TrustError."""
        try:
            signature = bytes.fromhex(self._signer.sign(data).signature)
        except Exception as error:
            raise TrustError(f"the signing key cannot sign: {type(error).__name__}: {error}") from error
        self.public.verify(signature, data)
        return signature


def create_key(private: Path, public: Path) -> SigningKey:
    """Make a key pair in two PEM files: `private` (PKCS#8, mode 0600, never overwritten) and `public`.

    Raises FileExistsError, OSError.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public_key = PublicKey(key.public_key())
    public.write_bytes(public_key.to_pem())
    return SigningKey(f"file2:{private}", public_key)

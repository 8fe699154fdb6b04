"""Keys: files, URIs, and keys of the wrong kind."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from circuits.errors import FormatError, TrustError
from tests.unit.verifier.attestation.examples import new_key
from verifier.attestation.keys import PublicKey, SigningKey, create_key


def test_a_key_pair_in_files(tmp_path: Path) -> None:
    made = new_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    public = PublicKey.read(tmp_path / "key.pub")
    assert public.key_id == made.public.key_id
    assert PublicKey.from_pem(public.to_pem()).key_id == public.key_id
    again = SigningKey(f"file2:{tmp_path / 'key.pem'}", public)
    public.verify(again.sign(b"data"), b"data")
    with pytest.raises(TrustError):
        public.verify(again.sign(b"data"), b"other")
    with pytest.raises(FileExistsError):
        create_key(tmp_path / "key.pem", tmp_path / "other.pub")


def test_a_key_that_cannot_be_opened(tmp_path: Path, stranger: SigningKey) -> None:
    new_key(tmp_path)
    secret = (tmp_path / "key.pem").read_text()
    for uri in (
        f"file2:{tmp_path / 'key.pem'}",  # not the half of this public key
        f"file2:{tmp_path / 'absent.pem'}",
        f"file2:{tmp_path / 'key.pub'}",
        "nonsense:",
        "",
    ):
        with pytest.raises(TrustError) as caught:
            SigningKey(uri, stranger.public)
        assert secret.split("\n")[1] not in str(caught.value)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    others: list[bytes] = [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for key in (
            ec.generate_private_key(ec.SECP384R1()).public_key(),
            ed25519.Ed25519PrivateKey.generate().public_key(),
        )
    ]
    new_key(tmp_path)
    others += [b"", b"\xff" * 100, (tmp_path / "key.pem").read_bytes(), b"x" * 20_000]
    for data in others:
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(FormatError):
            PublicKey.read(tmp_path / "other")

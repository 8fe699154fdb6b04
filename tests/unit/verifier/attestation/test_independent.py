"""Our envelopes, statements, digests and logs, read by programs that others wrote.

sigstore and model-signing bring some twenty packages and are therefore not installed by default: those tests then skip.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib import dsse
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]

from circuits.checkpoint.files import digest_files
from tests.unit.verifier.attestation.examples import SUBJECT, audit, new_key, signed
from tests.unit.verifier.log.reference import ORIGIN
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import SVR, verification_result
from verifier.attestation.keys import SigningKey
from verifier.attestation.statement import PAYLOAD_TYPE, Statement, model_digest
from verifier.log.entry import attestation_entry
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter


def envelopes(key: SigningKey) -> list[Envelope]:
    """An audit and its summary."""
    result = Statement((SUBJECT,), SVR, verification_result(audit()))
    return [signed(key), Envelope.sign(result.to_bytes(), PAYLOAD_TYPE, key)]


def test_securesystemslib_verifies_the_signature(key: SigningKey, stranger: SigningKey) -> None:
    for envelope in envelopes(key):
        theirs = dsse.Envelope.from_dict(json.loads(envelope.to_bytes()))
        assert theirs.payload == envelope.payload
        for signer, good in ((key, True), (stranger, False)):
            public = SSlibKey.from_crypto(signer.public.key)
            signature = Signature(public.keyid, envelope.signature.hex())
            if good:
                public.verify_signature(signature, theirs.pae())
            else:
                with pytest.raises(UnverifiedSignatureError):
                    public.verify_signature(signature, theirs.pae())


def test_sigstore_parses_the_statement_and_verifies_the_envelope(key: SigningKey) -> None:
    sigstore = pytest.importorskip("sigstore.dsse")
    hashes = pytest.importorskip("sigstore.hashes")
    models = pytest.importorskip("sigstore_models.common.v1")
    subject = hashes.Hashed(algorithm=models.HashAlgorithm.SHA2_256, digest=bytes.fromhex(SUBJECT.sha256))
    for envelope in envelopes(key):
        theirs = sigstore.Envelope._from_json(envelope.to_bytes())
        assert sigstore._verify(key.public.key, theirs) == envelope.payload
        statement = sigstore.Statement(envelope.payload)
        assert statement._matches_digest(subject)
        ours = Statement.from_bytes(envelope.payload)
        assert statement._inner.predicate_type == ours.predicate_type
        assert statement._inner.predicate == ours.predicate


def test_we_read_an_envelope_that_sigstore_signed(tmp_path: Path) -> None:
    sigstore = pytest.importorskip("sigstore.dsse")
    key = new_key(tmp_path)
    payload = signed(key).payload
    private = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    made = sigstore._sign(private, sigstore.Statement(payload))
    envelope = Envelope.from_bytes(made.to_json().encode())
    envelope.verify(key.public)
    assert envelope.payload == payload


@pytest.mark.parametrize(
    "names",
    [
        ["model.safetensors"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ["a-b", "a/z", "a/b/c", "B", "Ä", "a.b", "a b"],
    ],
)
def test_model_signing_computes_the_same_digest(tmp_path: Path, names: list[str]) -> None:
    hashing = pytest.importorskip("model_signing.hashing")
    signing = pytest.importorskip("model_signing._signing.signing")
    folder = tmp_path / "model"
    paths = {name: folder / name for name in names}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    ours = model_digest(digest_files(paths))
    (theirs,) = signing.Payload(hashing.hash(folder)).statement.pb.subject
    assert theirs.digest["sha256"] == ours
    assert theirs.name == "model"
    # with other files beside the checkpoint, model-signing has to be told which ones are meant
    (folder / "README.md").write_text("not a weight")
    (everything,) = signing.Payload(hashing.hash(folder)).statement.pb.subject
    assert everything.digest["sha256"] != ours
    chosen = hashing.Config().hash(folder, files_to_hash=list(paths.values()))
    (these,) = signing.Payload(chosen).statement.pb.subject
    assert these.digest["sha256"] == ours


def test_model_signing_hashes_a_single_file_alike(tmp_path: Path) -> None:
    hashing = pytest.importorskip("model_signing.hashing")
    signing = pytest.importorskip("model_signing._signing.signing")
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    (theirs,) = signing.Payload(hashing.hash(path)).statement.pb.subject
    assert theirs.digest["sha256"] == model_digest({path.name: hashlib.sha256(b"weights").hexdigest()})


def test_sigstore_verifies_an_inclusion_in_our_log(key: SigningKey, tmp_path: Path) -> None:
    merkle = pytest.importorskip("sigstore._internal.merkle")
    signer = NoteSigner.generate(ORIGIN)
    entries = [attestation_entry(signed(key)) for _ in range(300)]
    with LogWriter(tmp_path, signer, create=True) as writer:
        writer.append(entries)
        receipts = [writer.receipt(number) for number in (0, 255, 256, 299)]
    for receipt in receipts:
        head = receipt.verify(entries[receipt.index], signer.key)

        proof = SimpleNamespace(
            log_index=receipt.index, tree_size=head.size, root_hash=head.root, hashes=list(receipt.proof)
        )
        inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=entries[receipt.index])
        merkle.verify_merkle_inclusion(SimpleNamespace(_inner=inner))
        inner.canonicalized_body = b"another entry"
        with pytest.raises(Exception, match="invalid root hash"):
            merkle.verify_merkle_inclusion(SimpleNamespace(_inner=inner))

"""Receipts: the text format, verification offline, and receipts that must not pass."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError, TrustError, VerificationError, WeightproofError
from tests.unit.verifier.log.reference import ORIGIN, new_log, numbered
from verifier.log.errors import InclusionError
from verifier.log.note import NoteSigner
from verifier.log.receipt import Receipt
from verifier.log.writer import LogWriter

HASHES = tuple(hashlib.sha256(text).digest() for text in (b"hash1", b"hash2"))
# The cases of transparency-dev/formats, proof/tlog_proof_test.go.
WRITTEN = [
    (
        Receipt(5, HASHES, b"test checkpoint\n"),
        "c2sp.org/tlog-proof@v1\nindex 5\n{0}\n{1}\n\ntest checkpoint\n",
    ),
    (
        Receipt(10, HASHES[:1], b"checkpoint data\n", b"extra information"),
        "c2sp.org/tlog-proof@v1\nextra ZXh0cmEgaW5mb3JtYXRpb24=\nindex 10\n{0}\n\ncheckpoint data\n",
    ),
    (Receipt(0, (), b"checkpoint\n"), "c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint\n"),
]


@pytest.mark.parametrize(("receipt", "text"), WRITTEN)
def test_the_text_of_a_receipt(receipt: Receipt, text: str) -> None:
    written = text.format(*(base64.b64encode(value).decode() for value in HASHES)).encode()
    assert receipt.to_bytes() == written
    assert Receipt.from_bytes(written) == receipt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wrong-header\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\n\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex notanumber\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex -5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 05\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 5 \n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + base64.b64encode(bytes(64)).decode() + "\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "a" * 65 * 1024 + "\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 65 + "\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n\n" + "x" * (2 << 20),
    ],
)
def test_malformed_receipts(text: str) -> None:
    with pytest.raises(FormatError):
        Receipt.from_bytes(text.encode())


@pytest.fixture(scope="module")
def signer() -> NoteSigner:
    return NoteSigner.generate(ORIGIN)


@pytest.fixture(scope="module")
def receipt(tmp_path_factory: pytest.TempPathFactory, signer: NoteSigner) -> Receipt:
    folder = tmp_path_factory.mktemp("log")
    new_log(folder, numbered(300), signer)
    with LogWriter(folder, signer) as writer:
        for number in (0, 255, 256, 299):
            other = writer.receipt(number)
            assert other.verify(f"entry {number}".encode(), signer.key).size == 300
        return writer.receipt(123)


def test_a_receipt_survives_a_file(receipt: Receipt, signer: NoteSigner, tmp_path: Path) -> None:
    path = tmp_path / "entry.tlog-proof"
    path.write_bytes(receipt.to_bytes())
    assert Receipt.read(path) == receipt
    assert receipt.extra == b"entry 123"
    assert Receipt.read(path).verify(b"entry 123", signer.key).origin == ORIGIN


def test_a_receipt_is_for_one_entry_at_one_place_by_one_log(receipt: Receipt, signer: NoteSigner) -> None:
    with pytest.raises(InclusionError):
        receipt.verify(b"entry 124", signer.key)
    for index in (122, 124, 299, 300, 1 << 61):
        with pytest.raises(InclusionError):
            replace(receipt, index=index).verify(b"entry 123", signer.key)
    with pytest.raises(TrustError):
        receipt.verify(b"entry 123", NoteSigner.generate(ORIGIN).key)
    with pytest.raises(TrustError):
        receipt.verify(b"entry 123", NoteSigner.generate("elsewhere").key)


@given(st.data())
def test_no_changed_byte_passes(receipt: Receipt, signer: NoteSigner, data: st.DataObject) -> None:
    written = bytearray(replace(receipt, extra=None).to_bytes())
    position = data.draw(st.integers(0, len(written) - 1))
    written[position] = data.draw(st.integers(0, 255).filter(lambda byte: byte != written[position]))
    with pytest.raises((FormatError, TrustError, VerificationError)):
        Receipt.from_bytes(bytes(written)).verify(b"entry 123", signer.key)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_named_errors_only(signer: NoteSigner, data: bytes) -> None:
    for text in (data, b"c2sp.org/tlog-proof@v1\nindex 0\n" + data):
        with pytest.raises(WeightproofError):
            Receipt.from_bytes(text).verify(b"", signer.key)

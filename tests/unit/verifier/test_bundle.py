"""The bundle file: its layout byte by byte, and limits on what it may announce."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError
from circuits.files import read_limited
from verifier.bundle import MAGIC, MAX_DISCLOSED, Bundle

digests = st.binary(min_size=32, max_size=32)
bundles = st.builds(
    Bundle,
    digests,
    digests,
    st.binary(max_size=256),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(tuple),
    st.binary(max_size=100),
)


@given(bundles)
def test_bytes_and_back(bundle: Bundle) -> None:
    assert Bundle.from_bytes(bundle.to_bytes()) == bundle


def test_the_layout() -> None:
    bundle = Bundle(b"c" * 32, b"p" * 32, b"n" * 16, (1, -2), b"proof")
    expected = b"weightproof/bundle/v1\n" + b"c" * 32 + b"p" * 32 + b"\x10\x00" + b"n" * 16
    expected += b"\x02\0\0\0" + b"\x01" + bytes(7) + b"\xfe" + b"\xff" * 7 + b"proof"
    assert bundle.to_bytes() == expected


@given(bundles, st.data())
def test_a_cut_is_malformed_or_leaves_a_shorter_proof(bundle: Bundle, data: st.DataObject) -> None:
    whole = bundle.to_bytes()
    size = data.draw(st.integers(0, len(whole)))
    header = len(whole) - len(bundle.proof)
    if size < header:
        with pytest.raises(FormatError):
            Bundle.from_bytes(whole[:size])
    else:
        assert Bundle.from_bytes(whole[:size]).proof == bundle.proof[: size - header]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for candidate in (data, MAGIC + data, MAGIC + bytes(64) + data):
        try:
            bundle = Bundle.from_bytes(candidate)
        except FormatError:
            continue
        assert bundle.to_bytes() == candidate


def test_what_is_announced_is_limited() -> None:
    start = MAGIC + bytes(64)
    with pytest.raises(FormatError, match="nonce is too long"):
        Bundle.from_bytes(start + struct.pack("<H", 257) + bytes(400))
    with pytest.raises(FormatError, match="too many disclosed"):
        Bundle.from_bytes(start + struct.pack("<HI", 0, MAX_DISCLOSED + 1) + bytes(400))
    with pytest.raises(FormatError, match="truncated"):
        Bundle.from_bytes(start + struct.pack("<HI", 0, MAX_DISCLOSED) + bytes(400))


def test_other_files() -> None:
    for data in (b"", b"weightproof/bundle/v2\n" + bytes(100), MAGIC[:-1] + b"\r\n" + bytes(100)):
        with pytest.raises(FormatError, match="not a proof bundle"):
            Bundle.from_bytes(data)


def test_reading_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5, "thing") == b"12345"
    with pytest.raises(FormatError, match="more than 4 bytes: not a thing"):
        read_limited(path, 4, "thing")
    os.mkfifo(tmp_path / "pipe")
    for special in (Path("/dev/zero"), tmp_path, tmp_path / "pipe"):
        with pytest.raises(FormatError, match=r"not a regular file|cannot read"):
            read_limited(special, 4, "thing")
    for missing in (tmp_path / "missing", path / "below"):
        with pytest.raises(FormatError, match="cannot read the thing"):
            read_limited(missing, 5, "thing")

"""Tiles: the layout of the specification, and proofs from tiles against RFC 6962 written down."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import FormatError
from tests.unit.verifier.log.reference import MemorySource, mth, numbered, path, subproof, tile_files
from verifier.log.errors import LogDamagedError
from verifier.log.tiles import (
    TileTree,
    bundle_path,
    decode_bundle,
    encode_bundle,
    tile_path,
    tile_width,
)

LARGE = 70_000


@functools.cache
def large() -> MemorySource:
    return MemorySource(tile_files(numbered(LARGE)))


def test_paths_of_the_specification() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path(1, 0, 17) == "tile/1/000.p/17"
    assert tile_path(5, 999) == "tile/5/999"
    assert tile_path(5, 1000) == "tile/5/x001/000"
    assert bundle_path(273, 112) == "tile/entries/273.p/112"


def test_the_example_of_the_specification() -> None:
    """A tree of 70,000: 273 full tiles and one of 112; one full tile and one of 17; one of 1."""
    assert [tile_width(0, n, LARGE) for n in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, n, LARGE) for n in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, n, LARGE) for n in (0, 1)] == [1, 0]
    assert (tile_width(0, 0, 256), tile_width(1, 0, 256)) == (256, 1)
    assert set(large().files) == {
        *(tile_path(0, n) for n in range(273)),
        *(bundle_path(n) for n in range(273)),
        *("tile/0/273.p/112", "tile/entries/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"),
    }


@given(st.data(), st.integers(1, 600))
@settings(max_examples=40)
def test_proofs_from_tiles_are_those_of_the_rfc(data: st.DataObject, size: int) -> None:
    entries = numbered(size)
    tree = TileTree(MemorySource(tile_files(entries)), size)
    assert tree.root() == mth(entries)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert tree.inclusion_proof(index) == path(index, entries)
    assert tree.consistency_proof(old) == subproof(old, entries)
    assert tree.root(old) == mth(entries[:old])
    assert list(tree.entries(old - 1)) == entries[old - 1 :]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 65_535, 65_536, 65_537, LARGE])
def test_three_levels(size: int) -> None:
    """Tiles of a larger log serve smaller trees too, as clients of an older checkpoint need."""
    entries = numbered(size)
    tree = TileTree(large(), size) if size != LARGE else TileTree(MemorySource(tile_files(entries)), size)
    assert tree.root() == mth(entries)
    for index in {0, size // 2, size - 1}:
        assert tree.inclusion_proof(index) == path(index, entries)
    for old in {1, size // 2 or 1, max(1, size - 1), size}:
        assert tree.consistency_proof(old) == subproof(old, entries)


def test_missing_and_damaged_tiles_are_named() -> None:
    files = tile_files(numbered(300))
    for damaged in files:
        for content in (None, files[damaged][:-1], files[damaged] + b"x", b""):
            changed = {name: data for name, data in files.items() if name != damaged}
            if content is not None:
                changed[damaged] = content
            tree = TileTree(MemorySource(changed), 300)
            with pytest.raises(FormatError):
                list(tree.entries(0))
                tree.root()
    changed = {**files, "tile/entries/001.p/44": files["tile/entries/001.p/44"].replace(b"entry 280", b"entry 281")}
    with pytest.raises(LogDamagedError, match="280"):
        list(TileTree(MemorySource(changed), 300).entries(256))


def test_bundles() -> None:
    entries = [b"", b"a", b"x" * 65_535]
    assert encode_bundle(entries[:2]) == b"\x00\x00\x00\x01a"
    assert decode_bundle(encode_bundle(entries)) == entries
    with pytest.raises(FormatError, match="digest"):
        encode_bundle([b"x" * 65_536])
    for data in (b"\x00", b"\x00\x02a", b"\x00\x00" * 257):
        with pytest.raises(LogDamagedError):
            decode_bundle(data)


@given(st.lists(st.binary(max_size=40), max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries

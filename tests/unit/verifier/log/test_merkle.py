"""Hashes and proofs: known answers, the vectors of transparency-dev/merkle, and proofs that must not pass."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import VerificationError
from tests.unit.verifier.log import reference
from verifier.log.errors import ConsistencyError, InclusionError
from verifier.log.merkle import (
    EMPTY_ROOT,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
    verify_subtree_inclusion,
)

# The eight leaves and roots that every CT implementation is tested with, google/certificate-transparency,
# merkletree/merkle_tree_test.cc.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
FLIP = st.integers(0, 255)


def test_known_answers() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == ROOTS[0]
    for size, root in enumerate(ROOTS, start=1):
        assert reference.mth(LEAVES[:size]).hex() == root
        for index in range(size):
            proof = reference.path(index, LEAVES[:size])
            verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(root))
        for old in range(1, size + 1):
            proof = reference.subproof(old, LEAVES[:size])
            verify_consistency(old, size, proof, bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(root))


def vectors(shared_data: Path, kind: str) -> list[dict[str, Any]]:
    path = shared_data / "merkle-vectors" / "vectors.json"
    if not path.is_file():
        pytest.skip(f"no vectors at {path}")
    found: list[dict[str, Any]] = json.loads(path.read_bytes())[kind]
    return found


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_every_inclusion_vector(shared_data: Path) -> None:
    wrong = []
    cases = vectors(shared_data, "inclusion")
    for case in cases:
        start, end = case.get("start", 0), case["end"] if "end" in case else case["treeSize"]
        proof = [decoded(text) for text in case["proof"] or []]
        try:
            verify_subtree_inclusion(
                decoded(case["leafHash"]), case["leafIdx"], start, end, proof, decoded(case["root"])
            )
            refused = False
        except InclusionError:
            refused = True
        if refused != case["wantErr"]:
            wrong.append(case["_name"])
    assert wrong == []
    assert len(cases) == 302


def test_every_consistency_vector(shared_data: Path) -> None:
    wrong = []
    cases = vectors(shared_data, "consistency")
    for case in cases:
        roots = decoded(case["root1"]), decoded(case["root2"])
        proof = [decoded(text) for text in case["proof"] or []]
        try:
            if "start" in case:
                verify_subtree_consistency(case["start"], case["end"], case["size"], proof, *roots)
            else:
                verify_consistency(case["size1"], case["size2"], proof, *roots)
            refused = False
        except ConsistencyError:
            refused = True
        if refused != case["wantErr"]:
            wrong.append(case["_name"])
    assert wrong == []
    assert len(cases) == 216


@given(st.data(), st.integers(1, 70))
def test_inclusion_proofs_pass_and_changed_ones_do_not(data: st.DataObject, size: int) -> None:
    entries = reference.numbered(size)
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = leaf_hash(entries[index]), reference.mth(entries), reference.path(index, entries)
    verify_inclusion(leaf, index, size, proof, root)
    position, bit = data.draw(st.integers(0, len(proof) + 1)), data.draw(FLIP)
    hashes = [leaf, root, *proof]
    hashes[position] = (int.from_bytes(hashes[position], "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(InclusionError):
        verify_inclusion(hashes[0], index, size, hashes[2:], hashes[1])
    for changed in (proof[:-1], [*proof, root], [root, *proof]):
        if changed != proof:
            with pytest.raises(InclusionError):
                verify_inclusion(leaf, index, size, changed, root)
    for other in {index ^ 1, index + 1, index - 1, size} - {index}:
        with pytest.raises(InclusionError):
            verify_inclusion(leaf, other, size, proof, root)


@given(st.data(), st.integers(1, 70))
def test_consistency_proofs_pass_and_changed_ones_do_not(data: st.DataObject, size: int) -> None:
    entries = reference.numbered(size)
    old = data.draw(st.integers(1, size))
    before, after, proof = reference.mth(entries[:old]), reference.mth(entries), reference.subproof(old, entries)
    verify_consistency(old, size, proof, before, after)
    other = reference.mth([*entries[: old - 1], b"changed"])
    for roots in ((other, after), (before, reference.mth([*entries, b"more"])), (before, other)):
        with pytest.raises(ConsistencyError):
            verify_consistency(old, size, proof, *roots)
    for changed in (proof[:-1], [*proof, after], [before, *proof]):
        if changed != proof:
            with pytest.raises(ConsistencyError):
                verify_consistency(old, size, changed, before, after)


def test_hostile_proofs_are_bounded() -> None:
    root = bytes(32)
    for size in (0, -1, 1 << 200):
        with pytest.raises(InclusionError):
            verify_inclusion(root, 0, size, [], root)
    with pytest.raises(VerificationError):
        verify_inclusion(root, 0, 1 << 61, [root] * 10_000, root)
    with pytest.raises(VerificationError):
        verify_consistency(1, 1 << 61, [root] * 10_000, root, root)
    with pytest.raises(VerificationError):
        verify_inclusion(root, 0, 2, [b"short"], root)
    with pytest.raises(InclusionError, match="longer"):
        verify_inclusion(root, 0, 1, [root], root)
    with pytest.raises(ConsistencyError, match="longer"):
        verify_consistency(1, 1, [root], root, root)
    with pytest.raises(ConsistencyError, match="size 0"):
        verify_consistency(0, 5, [], EMPTY_ROOT, root)

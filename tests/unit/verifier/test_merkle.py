"""Multiproofs against a tree that is written out in full, and every way to tamper with one."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.argument.errors import MerkleError
from verifier.argument.merkle import check_multiproof, leaf_digest, node_digest, sibling_nodes


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def full_tree(leaves: list[bytes]) -> list[bytes]:
    """All nodes by heap number; entry 0 is unused."""
    nodes = [b""] * len(leaves) + leaves
    for node in range(len(leaves) - 1, 0, -1):
        nodes[node] = sha(b"\x01", nodes[2 * node], nodes[2 * node + 1])
    return nodes


def needed(positions: list[int], n: int) -> list[int]:
    """By definition: the siblings of known nodes that are not known themselves, level by level from the leaves."""
    known = {n + position for position in positions}
    result: list[int] = []
    while known and known != {1}:
        result += sorted({node ^ 1 for node in known} - known)
        known = {node // 2 for node in known}
    return result


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[int]]:
    n = 1 << draw(st.integers(0, 6))
    return n, sorted(draw(st.sets(st.integers(0, n - 1), min_size=1)))


def example(n: int, positions: list[int]) -> tuple[bytes, dict[int, bytes], list[bytes]]:
    """Root, leaves and multiproof of a tree of random digests."""
    random_source = random.Random(n)
    nodes = full_tree([random_source.randbytes(32) for _ in range(n)])
    return nodes[1], {p: nodes[n + p] for p in positions}, [nodes[i] for i in needed(positions, n)]


def test_node_hashing_is_that_of_rfc_6962() -> None:
    left, right = b"l" * 32, b"r" * 32
    assert node_digest(left, right) == sha(b"\x01", left, right)
    assert node_digest(left, right) != node_digest(right, left)


def test_leaf_hashing() -> None:
    expected = sha(b"\x00", (7).to_bytes(4, "little"), (2**40).to_bytes(8, "little"), b"s" * 32, b"v" * 24)
    assert leaf_digest(7, 2**40, b"s" * 32, b"v" * 24) == expected


def test_published_trees(shared_data: Path) -> None:
    """Inclusion proofs of transparency-dev/merkle in trees of 2^k leaves: a multiproof of one leaf is an audit path."""
    vectors = json.loads((shared_data / "merkle-vectors" / "vectors.json").read_bytes())["inclusion"]
    checked = 0
    for vector in vectors:
        n, position = vector.get("treeSize", 0), vector.get("leafIdx", 0)
        path = [base64.b64decode(digest) for digest in vector.get("proof") or []]
        root, leaf = base64.b64decode(vector.get("root") or ""), base64.b64decode(vector.get("leafHash") or "")
        # other trees, positions and lengths of digests do not exist here: the engine takes none from outside
        if n < 1 or n & (n - 1) or not 0 <= position < n or len(root) != 32 or len(leaf) != 32:
            continue
        if vector["wantErr"]:
            with pytest.raises(MerkleError):
                check_multiproof(root, n, {position: leaf}, path, vector["desc"])
        else:
            check_multiproof(root, n, {position: leaf}, path, vector["desc"])
        checked += not vector["wantErr"]
    assert checked >= 2


@given(cases())
def test_honest_multiproofs(case: tuple[int, list[int]]) -> None:
    n, positions = case
    assert sibling_nodes(positions, n) == needed(positions, n)
    root, leaves, path = example(n, positions)
    check_multiproof(root, n, leaves, path, "tree")


@given(cases(), st.randoms())
def test_a_changed_leaf_digest_or_root(case: tuple[int, list[int]], source: random.Random) -> None:
    n, positions = case
    root, leaves, path = example(n, positions)

    def flipped(digest: bytes) -> bytes:
        at = source.randrange(32)
        return digest[:at] + bytes([digest[at] ^ 1 << source.randrange(8)]) + digest[at + 1 :]

    chosen = source.choice(positions)
    with pytest.raises(MerkleError, match="tree"):
        check_multiproof(root, n, {**leaves, chosen: flipped(leaves[chosen])}, path, "tree")
    with pytest.raises(MerkleError, match="committed root"):
        check_multiproof(flipped(root), n, leaves, path, "tree")
    for i in range(len(path)):
        with pytest.raises(MerkleError):
            check_multiproof(root, n, leaves, [*path[:i], flipped(path[i]), *path[i + 1 :]], "tree")


@given(cases())
def test_missing_extra_and_exchanged_digests(case: tuple[int, list[int]]) -> None:
    n, positions = case
    root, leaves, path = example(n, positions)
    with pytest.raises(MerkleError, match="too long"):
        check_multiproof(root, n, leaves, [*path, bytes(32)], "tree")
    for i in range(len(path)):
        with pytest.raises(MerkleError):
            check_multiproof(root, n, leaves, path[:i] + path[i + 1 :], "tree")
        with pytest.raises(MerkleError):
            check_multiproof(root, n, leaves, [*path[:i], path[i], *path[i:]], "tree")
    for i in range(len(path) - 1):
        with pytest.raises(MerkleError):
            check_multiproof(root, n, leaves, [*path[:i], path[i + 1], path[i], *path[i + 2 :]], "tree")


def test_leaves_at_other_positions() -> None:
    root, leaves, path = example(16, [3, 9])
    for moved in ({3: leaves[9], 9: leaves[3]}, {2: leaves[3], 9: leaves[9]}, {3: leaves[3], 8: leaves[9]}):
        with pytest.raises(MerkleError):
            check_multiproof(root, 16, moved, path, "tree")


def test_a_node_is_no_leaf() -> None:
    """The children of a leaf's parent, hashed as a leaf, give another digest: the domains differ."""
    nodes = full_tree([bytes([i]) * 32 for i in range(4)])
    with pytest.raises(MerkleError):
        check_multiproof(nodes[1], 2, {0: leaf_digest(0, 0, b"", nodes[4] + nodes[5])}, [nodes[3]], "tree")
    # what the caller must rule out, and does by fixing n: a tree of two leaves with the digests of nodes
    check_multiproof(nodes[1], 2, {0: nodes[2]}, [nodes[3]], "tree")


def test_a_tree_of_one_leaf() -> None:
    check_multiproof(b"x" * 32, 1, {0: b"x" * 32}, [], "tree")
    assert sibling_nodes([0], 1) == []
    with pytest.raises(MerkleError):
        check_multiproof(b"x" * 32, 1, {0: b"y" * 32}, [], "tree")

"""Merkle multiproofs over SHA-256 trees with RFC 6962 node hashing (protocol.md, sections 3 and 7).

Nodes are numbered as in a heap: 1 is the root, leaf j of n is node n + j. A multiproof for a set of leaves lists the
missing siblings bottom-up, by index within a level; its length is a function of the positions alone.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from verifier.argument import hashing
from verifier.argument.errors import MerkleError


def leaf_digest(label: int, position: int, salt: bytes, values: bytes) -> bytes:
    """H(00 || oracle label u32 || j u64 || salt || values); `values` are canonical u64, little-endian."""
    return hashing.digest(hashing.LEAF, struct.pack("<IQ", label, position), salt, values)


def node_digest(left: bytes, right: bytes) -> bytes:
    return hashing.digest(hashing.NODE, left, right)


def sibling_nodes(positions: Sequence[int], n: int) -> list[int]:
    """The nodes whose digests a multiproof for the distinct, ascending `positions` contains, in order."""
    known = [n + p for p in positions]
    missing: list[int] = []
    while known and known[0] > 1:
        members = set(known)
        missing.extend(node ^ 1 for node in known if node ^ 1 not in members)
        known = sorted({node >> 1 for node in known})
    return missing


def check_multiproof(root: bytes, n: int, leaves: Mapping[int, bytes], path: Sequence[bytes], name: str) -> None:
    """Check that the leaf digests (by position) and the siblings hash to `root`.

    Raises MerkleError otherwise. *Soundness*: binding of SHA-256; the caller must have drawn the positions itself and
    computed the leaf digests from the values it goes on to use.
    """
    siblings = iter(path)
    level = {n + position: digest for position, digest in sorted(leaves.items())}
    while set(level) != {1}:
        above: dict[int, bytes] = {}
        # the level's own missing siblings come in ascending order of their known neighbour
        for node in sorted(level):
            if node >> 1 in above:
                continue
            other = level.get(node ^ 1)
            if other is None:
                other = next(siblings, None)
                if other is None:
                    raise MerkleError(f"{name}: the multiproof is too short")
            above[node >> 1] = node_digest(level[node], other) if node % 2 == 0 else node_digest(other, level[node])
        level = above
    if next(siblings, None) is not None:
        raise MerkleError(f"{name}: the multiproof is too long")
    if level[1] != root:
        raise MerkleError(f"{name}: the opened columns do not hash to the committed root")

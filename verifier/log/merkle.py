"""Merkle trees of RFC 6962: hashes, and verification of proofs. Nothing here knows where a tree is stored.

Sources: RFC 6962, section 2.1; RFC 9162, sections 2.1.3.2 and 2.1.4.2 (verification); subtrees as in
draft-ietf-plants-merkle-tree-certs, section 4, of which ordinary proofs are the case start = 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from verifier.log.errors import ConsistencyError, InclusionError

HASH_BYTES = 32
MAX_SIZE = 1 << 62
"""More entries than any log has; bounds the length of every proof."""
MAX_PROOF_HASHES = 64
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split_point(size: int) -> int:
    """The largest power of two below `size`, for size >= 2: where RFC 6962 divides a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is number `index` of the `size` leaves under `root`.

    Soundness: the caller must know from a signature that `root` and `size` belong together.
    Raises InclusionError.
    """
    verify_subtree_inclusion(leaf, index, 0, size, proof, root)


def verify_subtree_inclusion(
    leaf: bytes, index: int, start: int, end: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that `leaf` is leaf number `index` of a log, under the hash `root` of its leaves [start, end).

    Raises InclusionError, also if [start, end) is empty or not a subtree.
    """
    _check_hashes((leaf, *proof), InclusionError)
    if not 0 <= start <= index < end <= MAX_SIZE or not _is_subtree(start, end):
        raise InclusionError(f"there is no leaf {index} in a tree of the leaves {start} to {end}")
    position, last, result = index - start, end - start - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InclusionError("the inclusion proof is longer than the path from the leaf to the root")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise InclusionError("the inclusion proof is shorter than the path from the leaf to the root")
    if result != root:
        raise InclusionError(f"computed root {result.hex()} != root {root.hex()}")


def verify_consistency(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the first `old_size` leaves under `new_root` are exactly those under `old_root`.

    An empty old tree is refused, as in transparency-dev/merkle: every tree extends it and nothing would be shown.
    Raises ConsistencyError.
    """
    if old_size == 0:
        raise ConsistencyError("every log extends an empty one: a consistency proof from size 0 shows nothing")
    verify_subtree_consistency(0, old_size, new_size, proof, old_root, new_root)


def verify_subtree_consistency(
    start: int, end: int, size: int, proof: Sequence[bytes], subtree_root: bytes, root: bytes
) -> None:
    """Check that `subtree_root` is the hash of the leaves [start, end) of the tree of `size` leaves under `root`.

    An empty subtree has the hash of nothing and an empty proof. The lengths of the two roots are the caller's to check.
    Raises ConsistencyError.
    """
    _check_hashes(proof, ConsistencyError)
    if not 0 <= start <= end <= size <= MAX_SIZE or not (start == end or _is_subtree(start, end)):
        raise ConsistencyError(f"the leaves {start} to {end} are no subtree of a tree of {size} leaves")
    if start == end:
        if proof or subtree_root != EMPTY_ROOT:
            raise ConsistencyError("an empty subtree has an empty proof and the hash of nothing")
        return
    first, last, top = start, end - 1, size - 1
    # go up to the largest complete subtree that ends where [start, end) does
    while first != last and (last == top or last & 1):
        first, last, top = first >> 1, last >> 1, top >> 1
    rest = list(proof)
    if first == last:
        seed = subtree_root
    elif rest:
        seed = rest.pop(0)
    else:
        raise ConsistencyError("the consistency proof is empty")
    inner, outer = seed, seed
    for sibling in rest:
        if top == 0:
            raise ConsistencyError("the consistency proof is longer than the path to the root")
        if last & 1 or last == top:
            if first < last:
                inner = node_hash(sibling, inner)
            outer = node_hash(sibling, outer)
            while not last & 1:
                first, last, top = first >> 1, last >> 1, top >> 1
        else:
            outer = node_hash(outer, sibling)
        first, last, top = first >> 1, last >> 1, top >> 1
    if top != 0:
        raise ConsistencyError("the consistency proof is shorter than the path to the root")
    if inner != subtree_root:
        raise ConsistencyError(f"computed older root {inner.hex()} != older root {subtree_root.hex()}")
    if outer != root:
        raise ConsistencyError(f"computed newer root {outer.hex()} != newer root {root.hex()}")


def _is_subtree(start: int, end: int) -> bool:
    """Whether start is a multiple of the least power of two that is at least end - start > 0."""
    return end > start and start % (1 << (end - start - 1).bit_length()) == 0


def _check_hashes(hashes: Sequence[bytes], error: type[InclusionError | ConsistencyError]) -> None:
    if len(hashes) > MAX_PROOF_HASHES + 1:
        raise error(f"a proof has at most {MAX_PROOF_HASHES} hashes")
    if any(len(value) != HASH_BYTES for value in hashes):
        raise error(f"every hash of a proof has {HASH_BYTES} bytes")

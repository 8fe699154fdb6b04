"""SHA-256 over lanes: one message in each of LANES lanes, so that every step of the compression is one vector
operation.

A block is an array (16, LANES) of big-endian message words; a state is (8, LANES). Source: FIPS 180-4, section 6.2; the
messages are those of protocol.md, section 3 (columns), and RFC 6962, section 2.1 (nodes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint32

from prover.argument.kernels.cpu.compilation import kernel
from prover.argument.kernels.cpu.tracing import Word, traced_columns

U = np.uint64
LANES = 64
VECTOR = 16  # lanes compressed together: one vector register of 512 bits

_CONSTANTS = (
    "428a2f98 71374491 b5c0fbcf e9b5dba5 3956c25b 59f111f1 923f82a4 ab1c5ed5 d807aa98 12835b01 243185be 550c7dc3 "
    "72be5d74 80deb1fe 9bdc06a7 c19bf174 e49b69c1 efbe4786 0fc19dc6 240ca1cc 2de92c6f 4a7484aa 5cb0a9dc 76f988da "
    "983e5152 a831c66d b00327c8 bf597fc7 c6e00bf3 d5a79147 06ca6351 14292967 27b70a85 2e1b2138 4d2c6dfc 53380d13 "
    "650a7354 766a0abb 81c2c92e 92722c85 a2bfe8a1 a81a664b c24b8b70 c76c51a3 d192e819 d6990624 f40e3585 106aa070 "
    "19a4c116 1e376c08 2748774c 34b0bcb5 391c0cb3 4ed8aa4a 5b9cca4f 682e6ff3 748f82ee 78a5636f 84c87814 8cc70208 "
    "90befffa a4506ceb bef9a3f7 c67178f2"
)
ROUND = [int(word, 16) for word in _CONSTANTS.split()]
INITIAL = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)


def rotate(x: Word, bits: int) -> Word:
    """Right rotation."""
    return (x >> bits) | (x << (32 - bits))


@traced_columns(VECTOR, 8, 16)
def compress_vector(state: list[Word], block: list[Word]) -> list[Word]:
    """One block into the states: sixteen words of schedule and eight of state stay in registers throughout."""
    schedule = list(block)
    a, b, c, d, e, f, g, h = state
    for t in range(64):
        if t >= 16:
            x, y = schedule[(t - 15) % 16], schedule[(t - 2) % 16]
            small0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >> 3)
            small1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >> 10)
            schedule[t % 16] = schedule[t % 16] + small0 + schedule[(t - 7) % 16] + small1
        big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
        big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
        first = h + (schedule[t % 16] + ROUND[t]) + (g ^ (e & (f ^ g))) + big1
        second = big0 + ((a & b) | (c & (a | b)))
        a, b, c, d, e, f, g, h = first + second, a, b, c, d + first, e, f, g
    return [before + after for before, after in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


@kernel
def compress(state: Any, block: Any) -> None:
    """One block into every lane's state."""
    for i in range(0, LANES, VECTOR):
        compress_vector(state, block, i)


@kernel
def absorb_lanes(words: Any, count: Any, states: Any, blocks: Any, previous: Any, tile: int) -> None:
    """Append one u64 per lane, words (LANES,), to messages of 5 bytes and `count` u64s, all little-endian.

    A u64 at byte 5 + 8m fills message words 2m + 1 (with the last byte before it) and 2m + 2.
    """
    block = blocks[tile]
    before = previous[tile]
    odd = (2 * count + 1) & 15
    for i in range(LANES):
        x = uint32((before[i] >> U(56)) | (words[i] << U(8)))
        block[odd, i] = (
            (x >> uint32(24))
            | ((x >> uint32(8)) & uint32(0xFF00))
            | ((x << uint32(8)) & uint32(0xFF0000))
            | (x << uint32(24))
        )
    if odd == 15:
        compress(states[tile], block)
    even = (odd + 1) & 15
    for i in range(LANES):
        x = uint32(words[i] >> U(24))
        block[even, i] = (
            (x >> uint32(24))
            | ((x >> uint32(8)) & uint32(0xFF00))
            | ((x << uint32(8)) & uint32(0xFF0000))
            | (x << uint32(24))
        )
        before[i] = words[i]


@kernel
def begin_kernel(leaves: Any, salts: Any, label: Any, states: Any, blocks: Any, previous: Any) -> None:
    """Start the messages of tiles of leaves: 00 || label u32 || j u64 || salt. leaves: int64 (tiles, LANES) leaf
    numbers; salts: uint64 (n, 4), or no rows for none."""
    words = np.empty(LANES, np.uint64)
    low = uint32(label)
    for tile in range(leaves.shape[0]):
        for k in range(8):
            for i in range(LANES):
                states[tile, k, i] = INITIAL[k]
        for i in range(LANES):
            # bytes 00, label 0..2, big-endian; label byte 3 stands in for the last byte of a u64 before the first
            blocks[tile, 0, i] = (
                ((low & uint32(0xFF)) << uint32(16)) | (low & uint32(0xFF00)) | ((low >> uint32(16)) & uint32(0xFF))
            )
            previous[tile, i] = U(label) << U(32)
            words[i] = U(leaves[tile, i])
        absorb_lanes(words, 0, states, blocks, previous, tile)
        if salts.shape[0] > 0:
            for k in range(4):
                for i in range(LANES):
                    words[i] = salts[leaves[tile, i], k]
                absorb_lanes(words, 1 + k, states, blocks, previous, tile)


@kernel
def absorb_kernel(rows: Any, first: int, lanes: int, count: int, states: Any, blocks: Any, previous: Any) -> None:
    """Append the first `lanes` values of each of the rows first, first + 1, ... of an array (n, width) to the
    messages of the tiles, one row for each lane; `count` u64s came before."""
    words, flat = np.empty(LANES, np.uint64), rows.reshape(-1)
    for tile in range(states.shape[0]):
        base = first + tile * LANES
        whole = base + LANES <= rows.shape[0]
        for c in range(lanes):
            if whole and rows.shape[1] == 8:
                values = flat[8 * base + c :]
                for i in range(LANES):
                    words[i] = values[8 * i]
            else:
                for i in range(LANES):
                    words[i] = rows[min(base + i, rows.shape[0] - 1), c]
            absorb_lanes(words, count + c, states, blocks, previous, tile)


@kernel
def finish_kernel(leaves: Any, count: int, states: Any, blocks: Any, previous: Any, nodes: Any, used: int) -> None:
    """Pad the messages of `count` u64s and store the digests of the first `used` as leaves of a tree: uint32 (2n,
    8)."""
    words = np.full(LANES, U(0x80), np.uint64)
    n = nodes.shape[0] // 2
    bits = 8 * (5 + 8 * count)
    for tile in range(leaves.shape[0]):
        absorb_lanes(words, count, states, blocks, previous, tile)
        block = blocks[tile]
        # The marker 80 is in word 2 count + 1, of odd index: at 15 its block is compressed already, else the length
        # still fits.
        position = (2 * count + 2) & 15
        block[position:14, :] = uint32(0)
        block[14, :] = uint32(bits >> 32)
        block[15, :] = uint32(bits & 0xFFFFFFFF)
        compress(states[tile], block)
        for i in range(min(LANES, used - tile * LANES)):
            node = n + leaves[tile, i]
            for k in range(8):
                nodes[node, k] = states[tile, k, i]


@kernel
def parents_kernel(nodes: Any, start: int, stop: int) -> None:
    """Nodes start <= k < stop of a tree from their children: SHA-256(01 || left || right), 65 bytes, two blocks."""
    state, block = np.empty((8, LANES), np.uint32), np.empty((16, LANES), np.uint32)
    last = np.empty(LANES, np.uint32)
    for base in range(start, stop, LANES):
        for k in range(8):
            for i in range(LANES):
                state[k, i] = INITIAL[k]
        for i in range(LANES):
            children = 2 * min(base + i, stop - 1)
            carried = uint32(1)
            for k in range(16):
                word = nodes[children + (k >> 3), k & 7]
                block[k, i] = (carried << uint32(24)) | (word >> uint32(8))
                carried = word & uint32(0xFF)
            last[i] = carried
        compress(state, block)
        for i in range(LANES):
            block[0, i] = (last[i] << uint32(24)) | uint32(0x800000)
        block[1:15, :] = uint32(0)
        block[15, :] = uint32(520)
        compress(state, block)
        for i in range(min(LANES, stop - base)):
            for k in range(8):
                nodes[base + i, k] = state[k, i]

"""Groups 1, 2, 3: every element of a proof changed, proofs cut or extended, field elements that are not canonical."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from circuits.errors import VerificationError
from tests.soundness.conftest import Honest
from tests.support.cheating import Cheater, accepts, coins, forge, rejects
from tests.support.statements import Bits
from tests.support.toy import MICRO, NONCE, commit, weights
from verifier.argument.errors import (
    FinalRelationError,
    MerkleError,
    PadCheckError,
    ProofFormatError,
    SpotCheckError,
    UnluckyChallengeError,
)
from verifier.argument.field import P
from verifier.argument.statement import verify
from verifier.argument.transcript import Kind

FAILED = (FinalRelationError, MerkleError, PadCheckError, SpotCheckError, UnluckyChallengeError, ProofFormatError)


def elements(prover: Cheater) -> Iterator[tuple[str, int, int]]:
    """(what, offset, size) of every field element, salt and digest of a proof, from the order of the wire."""
    openings = opened_oracles(prover)
    for message in prover.messages:
        end = message.offset + message.size
        if message.kind is Kind.ROOT:
            yield "root", message.offset, 32
        elif message.kind is not Kind.OPENED:
            for offset in range(message.offset, end, 24):
                yield message.kind.name.lower(), offset, 24
        else:
            words, salted, count = next(openings)
            offset = message.offset
            for _ in range(count * words):
                yield "opened value", offset, 8
                offset += 8
            for _ in range(count * salted):
                yield "salt", offset, 32
                offset += 32
            for sibling in range(offset, end, 32):
                yield "sibling", sibling, 32


def opened_oracles(prover: Cheater) -> Iterator[tuple[int, bool, int]]:
    """(words in a column, salted, columns) in the order of the openings: level 0, pads, plain levels."""
    parameters = prover.parameters
    for oracle in (*prover.level0, prover.pad_oracle):
        yield oracle.words, True, len(prover.seen[oracle.name])
    above = parameters.message
    for i, level in enumerate(parameters.levels, start=1):
        yield 3 * -(-above >> level.log_columns), False, len(prover.seen[f"plain level {i}"])
        above = 1 << level.log_columns


def sampled(prover: Cheater, count: int) -> list[tuple[str, int, int]]:
    """At most `count` elements of every kind, spread over the proof, the first and the last of them included."""
    kinds: dict[str, list[tuple[str, int, int]]] = {}
    for element in elements(prover):
        kinds.setdefault(element[0], []).append(element)
    out: list[tuple[str, int, int]] = []
    for items in kinds.values():
        step = max(1.0, (len(items) - 1) / max(1, count - 1))
        out.extend(items[i] for i in sorted({round(k * step) for k in range(count)}) if i < len(items))
    return out


def flipped(proof: bytes, offset: int, bit: int) -> bytes:
    changed = bytearray(proof)
    changed[offset + bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_map_of_elements_covers_the_proof(micro: Honest, tiny: Honest) -> None:
    """Group 1: no byte of a proof is outside the elements that the other tests change."""
    for case in (micro, tiny):
        position = 0
        for _, offset, size in elements(case.prover):
            assert offset == position
            position += size
        assert position == len(case.proof)


@pytest.mark.slow
def test_every_word_of_a_proof_counts(tiny: Honest) -> None:
    """Group 1: a random bit of every 8 bytes of a proof with two plain levels."""
    choose = random.Random(2)
    for offset in range(0, len(tiny.proof), 8):
        with pytest.raises(FAILED):
            verify(tiny.statement, flipped(tiny.proof, offset, choose.randrange(64)), NONCE, minimum_bits=1)


def test_sampled_bits(micro: Honest, tiny: Honest, solid: Honest) -> None:
    """Group 1: random bits in every kind of element, under Fiat-Shamir."""
    choose = random.Random(3)
    for case, count in ((micro, 12), (tiny, 4), (solid, 4)):
        for _, offset, size in sampled(case.prover, count):
            changed = flipped(case.proof, offset, choose.randrange(8 * size))
            with pytest.raises(FAILED):
                verify(case.statement, changed, NONCE, minimum_bits=1)


def test_every_element_of_a_proof_counts() -> None:
    """Group 1: every element, salt and digest changed, one at a time. Fiat-Shamir answers every change with other
    positions, which hides what the relations are worth. With programmed coins (the interactive protocol) each element
    is caught by the check that it enters."""
    expected: dict[str, set[type[Exception]]] = {
        "root": {MerkleError},
        "masked": {FinalRelationError},
        "clear": {FinalRelationError},
        "vector": {PadCheckError, SpotCheckError},
        "opened value": {MerkleError},
        "salt": {MerkleError},
        "sibling": {MerkleError},
    }
    choose = random.Random(4)
    bits = np.arange(16) % 2
    commitment, data = commit(weights(128), parameters=MICRO)
    statement = Bits(commitment, 8)
    with coins(b"fixed"):
        prover = forge(statement, [data], {"bits": bits, "multiplicities": np.bincount(bits)})
        accepts(statement, prover.proof)
        for what, offset, size in elements(prover):
            changed = bytearray(prover.proof)
            if size % 8 == 0 and what not in ("root", "salt", "sibling"):
                place = offset + 8 * choose.randrange(size // 8)
                word = int.from_bytes(changed[place : place + 8], "little")
                changed[place : place + 8] = ((word + choose.randrange(1, P)) % P).to_bytes(8, "little")
            else:
                changed[offset + choose.randrange(size)] ^= 1 << choose.randrange(8)
            with pytest.raises(VerificationError) as caught:
                verify(statement, bytes(changed), NONCE, minimum_bits=1)
            assert caught.type in expected[what], what


def test_a_cut_proof_is_malformed(micro: Honest) -> None:
    """Group 2: cut at every message, one byte before it and one after it; an empty proof."""
    cuts = {m.offset + d for m in micro.prover.messages[::5] + micro.prover.messages[-9:] for d in (-1, 0, 1)}
    cuts.add(len(micro.proof) - 1)
    for cut in sorted(c for c in cuts if 0 <= c < len(micro.proof)):
        rejects(ProofFormatError, micro.statement, micro.proof[:cut])


@pytest.mark.parametrize("tail", [b"\x00", bytes(24), bytes(32), b"\xff" * 1000])
def test_trailing_bytes_are_malformed(micro: Honest, tail: bytes) -> None:
    """Group 2: nothing may remain; a proof twice is no proof."""
    rejects(ProofFormatError, micro.statement, micro.proof + tail)
    rejects(ProofFormatError, micro.statement, micro.proof + micro.proof)


def test_a_message_dropped_or_doubled(micro: Honest) -> None:
    """Group 2: all later messages move; the proof is then too short, too long, or not the one that was hashed."""
    for m in micro.prover.messages[::7]:
        piece = micro.proof[m.offset : m.offset + m.size]
        rest = micro.proof[m.offset + m.size :]
        for changed in (micro.proof[: m.offset] + rest, micro.proof[: m.offset] + piece + piece + rest):
            with pytest.raises(FAILED):
                verify(micro.statement, changed, NONCE, minimum_bits=1)


def test_field_elements_are_canonical(micro: Honest) -> None:
    """Group 3: x + p for the same residue where it fits 64 bits, p itself, and 2^64 - 1, in every field element."""
    for what, offset, size in sampled(micro.prover, 12):
        if what in ("root", "salt", "sibling"):
            continue
        for place in range(offset, offset + size, 8):
            word = int.from_bytes(micro.proof[place : place + 8], "little")
            for value in (word + P if word + P < 1 << 64 else P, (1 << 64) - 1):
                changed = micro.proof[:place] + value.to_bytes(8, "little") + micro.proof[place + 8 :]
                rejects(ProofFormatError, micro.statement, changed)


def test_the_honest_proofs_are_accepted(micro: Honest, tiny: Honest, solid: Honest) -> None:
    """What all the rejections are measured against."""
    for case in (micro, tiny, solid):
        accepts(case.statement, case.proof)

"""The transcript against a chain of hashlib calls written out here, and what it must and must not yield."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest

from verifier.argument.field import K, P
from verifier.argument.transcript import Kind, Transcript


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def words(domain: int, state: bytes) -> Iterator[int]:
    """The words of H(domain || state || 0), H(domain || state || 1), ..."""
    counter = 0
    while True:
        yield from struct.unpack("<4Q", sha(bytes([domain]), state, counter.to_bytes(8, "little")))
        counter += 1


START = sha(b"\x10weightproof/1")


def absorbed(state: bytes, kind: int, data: bytes) -> bytes:
    return sha(b"\x11", state, bytes([kind]), len(data).to_bytes(8, "little"), data)


def test_known_answers() -> None:
    transcript, state = Transcript(), START
    for kind, data in ((Kind.PARAMETERS, b"{}"), (Kind.NONCE, b""), (Kind.OPENED, bytes(1000))):
        transcript.absorb(kind, data)
        state = absorbed(state, int(kind), data)
        assert transcript.challenge() == tuple(islice((w for w in words(0x12, state) if w < P), 3))
        state = sha(b"\x14", state)
        drawn = transcript.positions(1 << 20, 11)
        assert drawn == [w % (1 << 20) for w in islice(words(0x13, state), 11)]
        state = sha(b"\x14", state)


def test_the_kinds_are_fixed() -> None:
    """Their numbers are hashed, so they can never change."""
    names = "PARAMETERS STATEMENT NONCE COMMITMENT DISCLOSED ROOT MASKED CLEAR VECTOR OPENED"
    assert [(kind.name, kind.value) for kind in Kind] == [(name, i) for i, name in enumerate(names.split(), start=1)]


def test_challenges_ratchet() -> None:
    """Two in a row differ although nothing was absorbed in between; so do two draws of positions."""
    transcript = Transcript()
    drawn = [transcript.challenge() for _ in range(50)]
    assert len(set(drawn)) == 50
    positions = [tuple(transcript.positions(1 << 30, 2)) for _ in range(50)]
    assert len(set(positions)) == 50


class Scripted(Transcript):
    """A transcript whose hash outputs are given."""

    def __init__(self, outputs: list[int]) -> None:
        super().__init__()
        self._outputs = iter(outputs)

    def _words(self, domain: bytes) -> Iterator[int]:
        return self._outputs


def test_words_from_p_on_are_rejected_not_reduced() -> None:
    assert Scripted([P, 5, P + 1, 2**64 - 1, P - 1, P, 0]).challenge() == K((5, P - 1, 0))


def test_positions_take_low_bits_of_every_word() -> None:
    """No rejection: n is a power of two."""
    assert Scripted([P, 2**64 - 1, 8, 15, 7]).positions(8, 5) == [1, 7, 0, 7, 7]
    assert Scripted([3, 4]).positions(1, 2) == [0, 0]


def test_positions_repeat() -> None:
    drawn = Transcript().positions(4, 100)
    assert set(drawn) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([(Kind.ROOT, b"ab")], [(Kind.ROOT, b"a"), (Kind.ROOT, b"b")]),
        ([(Kind.ROOT, b"ab")], [(Kind.ROOT, b"ab"), (Kind.ROOT, b"")]),
        ([(Kind.ROOT, b"ab")], [(Kind.CLEAR, b"ab")]),
        ([(Kind.ROOT, b"a"), (Kind.CLEAR, b"b")], [(Kind.CLEAR, b"b"), (Kind.ROOT, b"a")]),
        ([(Kind.NONCE, b"")], []),
        ([(Kind.ROOT, b"a\0")], [(Kind.ROOT, b"a")]),
    ],
)
def test_what_is_absorbed_is_told_apart(left: list[tuple[Kind, bytes]], right: list[tuple[Kind, bytes]]) -> None:
    """Boundaries, kinds and order all count."""
    drawn = []
    for messages in (left, right):
        transcript = Transcript()
        for kind, data in messages:
            transcript.absorb(kind, data)
        drawn.append(transcript.challenge())
    assert drawn[0] != drawn[1]


def test_a_challenge_separates_what_comes_before_from_what_comes_after() -> None:
    """absorb, challenge, absorb is not absorb, absorb."""
    first, second = Transcript(), Transcript()
    for transcript, draws in ((first, True), (second, False)):
        transcript.absorb(Kind.ROOT, b"a")
        if draws:
            transcript.challenge()
        transcript.absorb(Kind.ROOT, b"b")
    assert first.challenge() != second.challenge()


def test_the_words_are_balanced() -> None:
    """Chi-square on the low byte of 3,000 coefficients: 255 degrees of freedom, mean 255, deviation 22.6."""
    transcript, counts = Transcript(), [0] * 256
    for _ in range(1000):
        for coefficient in transcript.challenge():
            counts[coefficient & 255] += 1
    expected = 3000 / 256
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    assert 150 < statistic < 380
    assert all(a != b for a, b in pairwise([transcript.challenge() for _ in range(10)]))

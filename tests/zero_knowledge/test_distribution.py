"""What a proof shows looks the same whatever the weights, and looks like noise; broken provers are caught.

All proofs here are made under the same coins, so that every word of them is one random variable, sampled again and
again (protocol.md, section 9, group 33). test_exact.py shows the same exactly; this tests what that assumes, that the
randomness is uniform, and the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from prover.argument.randomness import Stream, fresh_seed
from prover.argument.simulator import ProgrammedTranscript
from tests.zero_knowledge.recording import RecordingEngine, ReplayedStream, TamperedStream
from tests.zero_knowledge.statements import (
    SMALL,
    Integers,
    Matrix,
    Ranged,
    Squares,
    commit,
    same_squares,
    simulated_proof,
    square_sum,
    weights,
    witness,
)
from tests.zero_knowledge.statistics import SIGNIFICANCE, likeness, sample, sections, uniformity
from verifier.argument.field import Words

COINS = ProgrammedTranscript(b"distribution")
FIRST = [weights(11, 2)]
SECOND = same_squares(FIRST, 12)
SAMPLES = {Squares: 60, Ranged: 12}


@dataclass
class Samples:
    """Proofs by one prover, cut into sections."""

    words: Mapping[str, Words]


def cut(template: RecordingEngine, proofs: list[bytes]) -> Samples:
    return Samples({name: sample(proofs, where) for name, where in sections(template).items()})


def proved(kind: type[Squares], cells: list[Integers], count: int) -> tuple[RecordingEngine, list[bytes]]:
    """Proofs under fresh commitments."""
    engines = []
    for _ in range(count):
        matrix, data = commit(cells[0])
        statement = kind((matrix,), square_sum(cells))
        engines.append(RecordingEngine(statement, COINS.rewound(), [data], witness(cells)).run(statement))
    return engines[0], [engine.proof for engine in engines]


def simulated(kind: type[Squares], count: int) -> list[bytes]:
    """Simulated proofs of a false statement."""
    return [simulated_proof(kind((Matrix(2),), 3), COINS)[1] for _ in range(count)]


@pytest.fixture(scope="module", params=[Squares, Ranged], ids=["squares", "ranged"])
def samples(request: pytest.FixtureRequest) -> dict[str, Samples]:
    kind, count = request.param, SAMPLES[request.param]
    template, proofs = proved(kind, FIRST, count)
    return {
        "first": cut(template, proofs),
        "second": cut(template, proved(kind, SECOND, count)[1]),
        "simulator": cut(template, simulated(kind, count)),
    }


SECTIONS = {
    "root", "masked", "A_a", "mu", "pad*", "plain rounds", "last vector", "opened weights", "opened advice and mask",
    "opened pads", "opened y*", "salts", "digests",
}  # fmt: skip


@pytest.mark.parametrize("source", ["first", "second", "simulator"])
def test_every_message_is_noise(samples: dict[str, Samples], source: str) -> None:
    assert set(samples[source].words) == SECTIONS
    results = {name: uniformity(words) for name, words in samples[source].words.items()}
    assert min(results.values()) > SIGNIFICANCE, results


@pytest.mark.parametrize("pair", [("first", "second"), ("first", "simulator")], ids="-".join)
def test_proofs_by_two_models_and_by_the_simulator_look_alike(
    samples: dict[str, Samples], pair: tuple[str, str]
) -> None:
    left, right = (samples[name].words for name in pair)
    results = {name: likeness(left[name], right[name]) for name in left}
    assert min(results.values()) > SIGNIFICANCE, results


# ---------------------------------------------------------------- the power of these tests

Change = Callable[[Words], Words]


def none(draw: Words) -> Words:
    return np.zeros_like(draw)


def from_f(draw: Words) -> Words:
    return draw * np.array([[1], [0], [0]], np.uint64)


def sixteen_bits(draw: Words) -> Words:
    return draw & np.uint64(0xFFFF)


# What the prover does to which part of its randomness, and where it shows.
BROKEN: dict[str, tuple[dict[str, Change], str]] = {
    "no pads": ({"pads": none}, "masked"),
    "pads from F": ({"pads": from_f}, "masked"),
    "short pads": ({"pads": sixteen_bits}, "masked"),
    "no masks of operands": ({"pads": none}, "A_a"),
    "no mask row": ({"mask": none}, "opened advice and mask"),
    "no masks": ({"mask": none, "pad_mask": none}, "mu"),
    "one salt": ({"salts": none}, "salts"),
}
BROKEN_SAMPLES = 30


def broken(section: str, cells: list[Integers], changes: Mapping[str, Change], tails: bool = True) -> Words:
    """One section of proofs by a prover that tampers with its randomness."""
    engines = []
    for _ in range(BROKEN_SAMPLES):
        stream: Stream | None = None
        if not tails:
            salts = Stream(fresh_seed()).words(4 << SMALL.log_length)
            stream = ReplayedStream([np.zeros((len(cells[0]), SMALL.hiding), np.uint64), salts])
        matrix, data = commit(cells[0], stream)
        statement = Squares((matrix,), square_sum(cells))
        engine = RecordingEngine(statement, COINS.rewound(), [data], {}, TamperedStream(changes))
        engines.append(engine.run(statement))
    return cut(engines[0], [engine.proof for engine in engines]).words[section]


@pytest.mark.parametrize("name", BROKEN)
def test_a_prover_that_saves_randomness_is_caught(name: str) -> None:
    changes, section = BROKEN[name]
    assert uniformity(broken(section, FIRST, changes)) < SIGNIFICANCE


def test_a_commitment_without_hiding_coefficients_is_caught() -> None:
    """By both tests: its columns are no noise, and they tell two models apart."""
    first, second = (broken("opened weights", cells, {}, tails=False) for cells in (FIRST, SECOND))
    assert uniformity(first) < SIGNIFICANCE
    assert likeness(first, second) < SIGNIFICANCE


def test_a_prover_without_pads_tells_two_models_apart() -> None:
    first, second = (broken("masked", cells, {"pads": none}) for cells in (FIRST, SECOND))
    assert likeness(first, second) < SIGNIFICANCE

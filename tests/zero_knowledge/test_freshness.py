"""Everything random in a proof is fresh, and comes from the operating system (protocol.md, section 3).

Two proofs from one random state give away every hidden value: shown at the end.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prover.argument import prove as proving
from prover.argument import randomness
from prover.argument.engine import Witness
from prover.argument.prove import attempt_stream, prove
from tests.zero_knowledge.recording import RecordedStream, RecordingEngine, k_vector
from tests.zero_knowledge.statements import (
    EXTRA_CELLS,
    KERNELS,
    NONCE,
    Ranged,
    Squares,
    commit,
    square_sum,
    weights,
    witness,
)
from verifier.argument.field import k_list, k_mul, k_scalar, k_sub, words_from_bytes
from verifier.argument.statement import open_transcript
from verifier.argument.transcript import Kind

CELLS = [weights(21, 2)]
MATRIX, DATA = commit(CELLS[0])
STATEMENT = Ranged((MATRIX,), square_sum(CELLS))


def recorded(nonce: bytes = NONCE, stream: RecordedStream | None = None) -> RecordingEngine:
    transcript = open_transcript(STATEMENT, nonce)
    return RecordingEngine(STATEMENT, transcript, [DATA], witness(CELLS), stream).run(STATEMENT)


def test_two_proofs_of_one_statement_share_nothing() -> None:
    """No word of a message, no root, no salt, no column but those of the commitment itself, at repeated positions."""
    first, second = (set(pieces(recorded())) for _ in range(2))
    assert len(first) > 1000
    assert first & second == set()


def pieces(engine: RecordingEngine) -> list[bytes]:
    """Every word of every message, and every salt and digest, except for openings of the commitment."""
    found: list[bytes] = []
    for message in engine.messages:
        if message.kind is Kind.ROOT:
            found.append(message.data)
        elif message.oracle is None:
            found.extend(message.data[i : i + 8] for i in range(0, len(message.data), 8))
        elif message.oracle not in engine.models:
            found.extend(word.tobytes() for word in message.columns.reshape(-1))
            found.extend(message.salts + message.digests)
    return found


def test_nothing_random_is_used_twice_within_a_proof() -> None:
    """Pads, masks, hiding coefficients and salts are all different: no part of the stream is read twice."""
    draws = recorded().source.draws
    words = np.concatenate([draw.reshape(-1) for draw in draws])
    assert len(np.unique(words)) == len(words)


# ---------------------------------------------------------------- where randomness comes from


@pytest.fixture
def constant_system(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Replaces the operating system's randomness."""

    def use(seed: bytes) -> None:
        monkeypatch.setattr(os, "urandom", lambda count: (seed * count)[:count])

    return use


ADVICE = witness(CELLS)


def first_words(statement: Squares = STATEMENT, nonce: bytes = NONCE, advice: Witness = ADVICE) -> bytes:
    return attempt_stream(statement, nonce, advice).words(8).tobytes()


def made() -> bytes:
    """A proof by the public function, which verifies it too."""
    return prove(STATEMENT, KERNELS, [DATA], ADVICE, NONCE, minimum_bits=0)


def test_an_attempt_depends_on_the_system_and_on_what_is_proved(constant_system: Callable[[bytes], None]) -> None:
    """A system that repeats itself (a restored snapshot) does no harm while nonce, statement, disclosed values,
    commitment or advice differ."""
    constant_system(b"a")
    base = first_words()
    assert first_words() == base
    others = {
        "nonce": first_words(nonce=bytes(16)),
        "longer nonce": first_words(nonce=NONCE + b"\x00"),
        "kind": first_words(Squares((MATRIX,), STATEMENT.total)),
        "disclosed": first_words(replace(STATEMENT, total=STATEMENT.total + 1)),
        "commitment": first_words(replace(STATEMENT, matrices=(replace(MATRIX, root=bytes(32)),))),
        "commitments": first_words(replace(STATEMENT, matrices=(MATRIX, MATRIX))),
        "advice": first_words(advice=witness(CELLS, 1)),
        "one cell of advice": first_words(advice={**ADVICE, "extra": ADVICE["extra"] + (np.arange(EXTRA_CELLS) == 69)}),
        "names of advice": first_words(
            advice={**ADVICE, "cell counts": ADVICE["extra counts"], "extra counts": ADVICE["cell counts"]}
        ),
        "no advice": first_words(advice={}),
    }
    constant_system(b"b")
    others["system"] = first_words()
    assert len({base, *others.values()}) == 1 + len(others)


def test_all_randomness_of_a_proof_comes_from_one_call(constant_system: Callable[[bytes], None]) -> None:
    """With the operating system's 256 bits fixed, a proof is a function of its inputs: there is no other source."""
    constant_system(b"c")
    first, second = made(), made()
    assert first == second
    constant_system(b"d")
    assert made() != first


def test_every_attempt_asks_the_operating_system_for_256_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = os.urandom

    def record(count: int) -> bytes:
        asked.append(count)
        return real(count)

    monkeypatch.setattr(os, "urandom", record)
    for _ in range(2):
        made()
    assert asked == [32, 32]


def test_no_module_of_the_prover_has_randomness_of_its_own() -> None:
    """`random`, `secrets`, `numpy.random` and `torch.rand*` do not hide anything; os.urandom has one place."""
    folder = Path(proving.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            assert not {"random", "secrets", "uuid", "rand", "randn", "randint", "default_rng"} & set(names), path
            assert path.name == "randomness.py" or not {"urandom", "getrandom"} & set(names), path


# ---------------------------------------------------------------- why


class OneState(RecordedStream):
    """A random state that is restored for every proof."""

    def __init__(self) -> None:
        super().__init__()
        self._inner = randomness.Stream(bytes(32), b"restored")


def test_two_proofs_from_one_random_state_give_away_every_hidden_value() -> None:
    """The attack that freshness prevents (group 29). From the two proofs alone: pad* - pad*' = (eps - eps') pad, and a
    message minus its pad is the hidden value, among them evaluations of the weights."""
    victims = [recorded(nonce, OneState()) for nonce in (NONCE, bytes(16))]
    eps = [victim.challenge_before(victim.of_kind(Kind.VECTOR)[0]) for victim in victims]
    shown = [words_from_bytes(victim.of_kind(Kind.VECTOR)[0].data).reshape(-1, 3).T for victim in victims]
    pads = k_mul(k_scalar((eps[0] - eps[1]).inverse()), k_sub(*shown))[:, : victims[0].pads_used]
    sent = [i for i in range(victims[0].pads_used) if i not in victims[0].masks]
    stolen = k_list(k_sub(k_vector(victims[0].of_kind(Kind.MASKED)), pads[:, sent]))
    assert stolen == [victims[0].values[i] for i in sent]

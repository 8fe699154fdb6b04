"""Groups 28, 29: what leaks when a commitment is opened too often, or randomness is used twice. Shown, then refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.errors import BudgetError
from prover.argument import prove as prove_module
from prover.argument.prove import attempt_stream, prove
from prover.argument.randomness import Stream
from prover.ledger import MIGRATION, PROOF, VALIDITY, Ledger
from tests.soundness.conftest import Honest
from tests.support.algebra import kernel, solve
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.statements import Sums
from tests.support.toy import KERNELS, MICRO, NONCE, SOLID, Toy, commit, replace, squares, weights
from verifier.argument.errors import SoundnessError
from verifier.argument.field import ZERO, K, P, k_list, root_of_unity, words_from_bytes
from verifier.argument.parameters import Parameters
from verifier.argument.transcript import Kind

# ---------------------------------------------------------------- group 28


def nonce(i: int) -> bytes:
    return i.to_bytes(16, "little")


def opened(prover: Cheater, values: dict[int, int]) -> None:
    """Collect (position, value of the only row) from the public bytes of a proof."""
    message = next(m for m in prover.messages if m.kind is Kind.OPENED)
    positions = prover.seen["model commitment"]
    words = np.frombuffer(prover.proof[message.offset : message.offset + 8 * len(positions)], "<u8")
    values.update(zip(positions, (int(x) for x in words), strict=True))


def tail_powers(positions: list[int], p: Parameters) -> list[list[int]]:
    """x_j^(columns + t): how the random coefficients enter, one row per coefficient."""
    w = root_of_unity(p.length)
    return [[pow(w, j * (p.columns + t), P) for j in positions] for t in range(p.hiding)]


def equations(values: dict[int, int], p: Parameters) -> list[tuple[list[int], int]]:
    """All (coefficients of the cells, right side) that follow from opened values of one row."""
    positions = sorted(values)
    w = root_of_unity(p.length)
    found = []
    for combination in kernel(tail_powers(positions, p)):
        left = [
            sum(c * pow(w, j * i, P) for c, j in zip(combination, positions, strict=True)) % P for i in range(p.columns)
        ]
        found.append((left, sum(c * values[j] for c, j in zip(combination, positions, strict=True)) % P))
    return found


def test_more_openings_than_the_budget() -> None:
    """Group 28: up to t0 distinct positions say nothing about the weights; every further one is an exact linear
    equation, and after as many proofs as it takes to open columns + t0 positions the weights are known."""
    p = MICRO
    cells = weights(64)
    commitment, data = commit(cells, parameters=p)
    statement = Sums(commitment, 6, (int(cells.sum()),))
    values: dict[int, int] = {}
    for i in range(p.proofs + 2):
        opened(forge(statement, [data], {}, nonce=nonce(i)), values)
    assert len(values) <= p.hiding
    assert equations(values, p) == [], "within the budget: the random coefficients explain any weights"

    i = p.proofs + 2
    while len(values) <= p.hiding:
        opened(forge(statement, [data], {}, nonce=nonce(i)), values)
        i += 1
    leaked = equations(values, p)
    assert len(leaked) == len(values) - p.hiding > 0
    true = [int(x) for x in cells]
    for left, right in leaked:
        assert sum(a * x for a, x in zip(left, true, strict=True)) % P == right
        other = [true[0] + 1, *true[1:]]
        assert sum(a * x for a, x in zip(left, other, strict=True)) % P != right, "a guess at the weights is refuted"

    while len(values) < p.message:
        opened(forge(statement, [data], {}, nonce=nonce(i)), values)
        i += 1
    system = equations(values, p)
    found = solve([left for left, _ in system], [right for _, right in system])
    assert found is not None
    assert [x if x < P // 2 else x - P for x in found] == true


def test_migration_from_an_exhausted_commitment() -> None:
    """Group 28: recommitting and proving both equal opens q0 positions of the old commitment once more. If its budget
    is spent, that proof leaks as any other; the share that is kept for it is what makes it safe."""
    p = MICRO
    cells = weights(64)
    commitment, data = commit(cells, parameters=p)
    statement = Sums(commitment, 6, (int(cells.sum()),))
    spent: dict[int, int] = {}
    i = 0
    while len(spent) < p.hiding:
        opened(forge(statement, [data], {}, nonce=nonce(i)), spent)
        i += 1
    before = len(equations(spent, p))
    again, moved = commit(cells, parameters=p, seed=b"\x09" * 32)
    migration = forge(Sums(again, 6, (int(cells.sum()),)), [moved], {})
    opened(migration, {})
    while len(spent) - p.hiding <= before:
        opened(forge(statement, [data], {}, nonce=nonce(i)), spent)
        i += 1
    assert len(equations(spent, p)) > before


def test_the_ledger_refuses(tmp_path: Path) -> None:
    """Group 28: proofs promised, one validity proof, one migration, and nothing else; a lost ledger refuses
    everything."""
    path = tmp_path / "opening.ledger"
    ledger = Ledger.create(path, bytes(32), MICRO.proofs)
    ledger.reserve(VALIDITY, "validity")
    for i in range(MICRO.proofs):
        ledger.reserve(PROOF, f"proof {i}")
    for purpose in (PROOF, VALIDITY):
        with pytest.raises(BudgetError):
            ledger.reserve(purpose, "one more")
    ledger.reserve(MIGRATION, "migration")
    with pytest.raises(BudgetError):
        ledger.reserve(MIGRATION, "from an exhausted commitment")
    with pytest.raises(BudgetError):
        Ledger(path, b"\x01" * 32)
    with pytest.raises(BudgetError):
        Ledger.create(path, bytes(32), 100)
    path.unlink()
    with pytest.raises(BudgetError):
        Ledger(path, bytes(32))


@pytest.mark.parametrize("p", [MICRO, SOLID])
def test_parameters_with_too_few_random_coefficients(p: Parameters) -> None:
    """Group 28: t0 < (proofs + 2) q0 is refused, by the verifier too."""
    small = replace(p, hiding=(p.proofs + 2) * p.queries - (1 << p.levels[0].log_columns))
    commitment, _ = commit(np.zeros(2 * p.columns), parameters=p)
    rejects(SoundnessError, Toy(replace(commitment, parameters=small), 0), b"")
    rejects(SoundnessError, Toy(replace(commitment, parameters=replace(p, proofs=p.proofs + 1000)), 0), b"")


# ---------------------------------------------------------------- group 29


def clear_vectors(prover: Cheater) -> tuple[list[K], K]:
    """(pad*, eps) as anybody reads them from a proof; eps is the challenge before pad*."""
    message = next(m for m in prover.messages if m.kind is Kind.VECTOR)
    words = words_from_bytes(prover.proof[message.offset : message.offset + message.size])
    return k_list(words.reshape(-1, 3).T), prover.challenges[prover.drawn_before_vector]  # type: ignore[attr-defined]


class Noting(Cheater):
    """Notes which challenge was the last one before pad*, and the honest hidden values."""

    drawn_before_vector = -1

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hidden: list[K] = []
        self.masked: list[int] = []

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        if kind is Kind.VECTOR and self.drawn_before_vector < 0:
            self.drawn_before_vector = len(self.challenges) - 1
        return super()._exchange(kind, size, data)

    def _mask(self, value: K | None, index: int) -> K | None:
        assert value is not None
        self.hidden.append(value)
        self.masked.append(index)
        return super()._mask(value, index)


def test_two_proofs_from_one_random_state(micro: Honest) -> None:
    """Group 29: with one random state and two nonces, pad*_i = g_P + eps_i pad are two equations in two unknowns:
    every pad and with it every hidden value of both proofs falls out, among them evaluations of the weights."""
    first, second = (
        forge(micro.statement, [micro.data], micro.advice, Noting, nonce=nonce(i), stream=Stream(bytes(32), b"stuck"))
        for i in (1, 2)
    )
    accepts(micro.statement, first.proof, nonce(1))
    accepts(micro.statement, second.proof, nonce(2))
    (star1, eps1), (star2, eps2) = clear_vectors(first), clear_vectors(second)
    scale = (eps1 - eps2).inverse()
    pads = [(a - b) * scale for a, b in zip(star1, star2, strict=True)]
    assert isinstance(first, Noting)
    wires = [m for m in first.messages if m.kind is Kind.MASKED]
    recovered = [
        k_list(words_from_bytes(first.proof[m.offset : m.offset + 24]).reshape(1, 3).T)[0] - pads[index]
        for m, index in zip(wires, first.masked, strict=True)
    ]
    assert recovered == first.hidden
    # the first two are the root of the cells' tree: sum_i 1/(alpha - w_i)
    alpha = first.challenges[0]
    total = sum(((alpha - int(x)).inverse() for x in micro.weights), ZERO)
    assert recovered[0] == total * recovered[1]


def test_the_api_cannot_use_randomness_twice(micro: Honest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Group 29: prove() takes no seed and no stream; every attempt asks the operating system, and even if that were
    stuck, another nonce or another statement has another stream."""
    assert not {"seed", "stream", "rng", "randomness"} & set(inspect.signature(prove).parameters)
    proofs = {prove(micro.statement, KERNELS, [micro.data], micro.advice, NONCE, minimum_bits=1)[:64] for _ in range(3)}
    assert len(proofs) == 3, "the roots of pads and advice differ in every attempt"
    monkeypatch.setattr(prove_module, "fresh_seed", lambda: bytes(32))
    other = replace(micro.statement, text=b"other")
    commitment, _ = commit(micro.weights, parameters=MICRO, seed=b"\x05" * 32)
    labels = [
        (micro.statement, nonce(1)),
        (micro.statement, nonce(2)),
        (other, nonce(1)),
        (replace(micro.statement, commitment=commitment), nonce(1)),
    ]
    bent = {"multiplicities": micro.advice["multiplicities"] + 1}
    streams = [attempt_stream(statement, n, micro.advice).words(8).tobytes() for statement, n in labels]
    assert len(set(streams)) == len(streams)
    assert attempt_stream(micro.statement, nonce(1), bent).words(8).tobytes() not in streams
    assert attempt_stream(micro.statement, nonce(1), micro.advice).words(8).tobytes() == streams[0]


def test_commitments_do_not_share_randomness() -> None:
    """Group 29: two commitments under different seeds have nothing in common; under one seed they would."""
    cells = weights(128)
    a, b = (commit(cells, parameters=MICRO, seed=bytes([i]) * 32)[1] for i in (1, 2))
    assert not np.array_equal(np.asarray(a.tails), np.asarray(b.tails))
    assert not np.array_equal(np.asarray(a.salts), np.asarray(b.salts))
    statement = Toy(commit(cells, parameters=MICRO)[0], squares(cells))
    assert statement.commitments[0].id != commit(cells, parameters=MICRO, seed=b"\x01" * 32)[0].id

"""Provers that cheat, and coins that are known in advance.

`forge` runs a prover that does not check itself; attacks subclass `Cheater`. `rejects` asserts the class of the error
that the public `verify` raises. `coins` replaces Fiat-Shamir by programmed coins, for both parties.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from unittest import mock

import pytest

from circuits.program import Integers, Value
from prover.argument.engine import ProvingEngine
from prover.argument.kernels.interface import Kernels
from prover.argument.opening import ProverOpening
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.randomness import Stream, fresh_seed
from prover.argument.workers import ProverWorkers
from tests.support.toy import KERNELS, NONCE
from verifier.argument import statement as statement_module
from verifier.argument.engine import Engine
from verifier.argument.field import ONE, ZERO, K, P
from verifier.argument.forms import Term
from verifier.argument.opening import finish
from verifier.argument.statement import Accepted, Statement, dry_run, open_transcript, oracles, verify
from verifier.argument.transcript import Kind, Transcript
from verifier.argument.workers import CellFractions, Maybe, PieceFractions, TreeWorker


class Message(NamedTuple):
    """Where a message lies in the proof."""

    kind: Kind
    offset: int
    size: int


class Cheater(ProvingEngine):
    """A proving engine to subclass: it remembers its messages and challenges."""

    opening_worker = ProverOpening

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.messages: list[Message] = []
        self.challenges: list[K] = []
        self.seen: dict[str, list[int]] = {}
        self.trees = 0
        self.workers = CheatingWorkers(self)

    def tree(self, worker: TreeWorker, number: int) -> TreeWorker:
        """The worker of the fraction tree with that number, in script order: an attack may wrap it."""
        return worker

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        self.messages.append(Message(kind, sum(map(len, self._parts)), size))
        return super()._exchange(kind, size, data)

    def _opening(self, oracle: Any, positions: Sequence[int]) -> bytes | None:
        self.seen[oracle.name] = list(positions)
        return super()._opening(oracle, positions)

    def challenge(self) -> K:
        self.challenges.append(super().challenge())
        return self.challenges[-1]


class CheatingWorkers(ProverWorkers):
    """The prover's workers, with every fraction tree passed through `Cheater.tree`."""

    def tree(self, spec: CellFractions | PieceFractions) -> TreeWorker:
        engine = cast(Cheater, self._engine)
        engine.trees += 1
        return engine.tree(super().tree(spec), engine.trees - 1)

    def opening(self, engine: Engine, terms: Sequence[Term]) -> ProverOpening:
        return cast(Cheater, self._engine).opening_worker(cast(Cheater, self._engine), terms)


class CarryingTree(TreeWorker):
    """Lies at the root and carries the error down: every round message is that of the true tree, and the four values at
    the end of a layer are bent just enough for its gate to hold. What is left is one wrong value at the leaves."""

    def __init__(self, inner: TreeWorker, root: tuple[K, K], bend: str) -> None:
        self.inner, self.claimed, self.bend = inner, root, bend
        self.true = cast(tuple[K, K], inner.root())
        self.wrong = [ZERO] * 4
        self.off = (root[0] - self.true[0], root[1] - self.true[1])

    def root(self) -> tuple[Maybe, Maybe]:
        return self.claimed

    def start(self, lam: K, point: Sequence[K]) -> None:
        if point:
            p0, p1, q0, q1 = self.wrong
            self.off = (p0 + (p1 - p0) * point[0], q0 + (q1 - q0) * point[0])
        self.error, self.scale, self.lam = self.off[0] + lam * self.off[1], ONE, lam
        self.point = list(point)
        self.inner.start(lam, point)

    def messages(self) -> tuple[Maybe, Maybe]:
        return self.inner.messages()

    def bind(self, challenge: K) -> None:
        z = self.point.pop(0)
        eq = (1 - z) * (1 - challenge) + z * challenge
        self.error, self.scale = self.error * challenge * z.inverse() * eq, self.scale * eq
        self.inner.bind(challenge)

    def finals(self) -> tuple[Maybe, Maybe, Maybe, Maybe]:
        true = [ZERO + cast(K, value) for value in self.inner.finals()]
        p0, p1, q0, q1 = true
        goal = self.error * self.scale.inverse() + p0 * q1 + p1 * q0 + self.lam * q0 * q1
        if self.bend == "numerator":
            p1 = (goal - p0 * q1 - self.lam * q0 * q1) * q0.inverse()
        elif self.bend == "denominator":
            q1 = (goal - p1 * q0) * (p0 + self.lam * q0).inverse()
        else:  # the left child is 0/0 as far as the numerator goes, all the rest is in the other one
            p0, q0 = ZERO, goal * (p1 + self.lam * q1).inverse()
        self.wrong = [claimed - value for claimed, value in zip((p0, p1, q0, q1), true, strict=True)]
        return p0, p1, q0, q1


def forge(
    statement: Statement,
    data: Sequence[OracleData],
    advice: Mapping[str, Any],
    engine: Callable[..., Cheater] = Cheater,
    *,
    nonce: bytes = NONCE,
    script: Callable[[Any], None] | None = None,
    stream: Stream | None = None,
    transcript: Transcript | None = None,
    program: Callable[[Value], Integers] | None = None,
    kernels: Kernels | None = None,
) -> Cheater:
    """Run a prover that stops at nothing. `script` replaces the statement's own: the prover argues something else.
    `program` gives the cells of the values of a program, true or not. The data must come from the same kernels."""
    kernels = kernels or KERNELS
    prover = engine(
        statement.parameters,
        transcript or open_transcript(statement, nonce),
        oracles(statement),
        dry_run(statement).pads,
        kernels,
        data,
        advice,
        stream or Stream(fresh_seed(), b"cheating"),
        check=False,
    )
    if program is not None:
        prover.program = ProgramData(kernels, program)
    (script or statement.script)(prover)
    finish(prover)
    return prover


def accepts(statement: Statement, proof: bytes, nonce: bytes = NONCE) -> Accepted:
    """The verifier accepts; raises otherwise."""
    return verify(statement, proof, nonce, minimum_bits=1)


def rejects(error: type[Exception], statement: Statement, proof: bytes, nonce: bytes = NONCE) -> None:
    """The verifier rejects with exactly this class of error."""
    with pytest.raises(error) as caught:
        verify(statement, proof, nonce, minimum_bits=1)
    assert caught.type is error, f"{caught.type.__name__}: {caught.value}"


class ProgrammedTranscript(Transcript):
    """Coins from a seed, whatever is absorbed. `chosen` fixes single challenges by their number."""

    def __init__(self, seed: bytes, chosen: Mapping[int, K] | None = None) -> None:
        super().__init__()
        self._seed = seed
        self._chosen = chosen or {}
        self._count = 0
        self._challenges = 0

    def absorb(self, kind: Kind, data: bytes) -> None:
        pass

    def _coin(self) -> int:
        self._count += 1
        return int.from_bytes(hashlib.sha512(self._seed + struct.pack("<Q", self._count)).digest(), "little")

    def challenge(self) -> K:
        drawn = K((self._coin() % P, self._coin() % P, self._coin() % P))
        self._challenges += 1
        return self._chosen.get(self._challenges - 1, drawn)

    def positions(self, n: int, count: int) -> list[int]:
        return [self._coin() % n for _ in range(count)]


@contextmanager
def coins(seed: bytes, chosen: Mapping[int, K] | None = None) -> Iterator[None]:
    """Everybody knows the coins: transcripts made inside are programmed."""

    def programmed() -> Transcript:
        return ProgrammedTranscript(seed, chosen)

    with mock.patch.object(statement_module, "Transcript", programmed):
        yield


@contextmanager
def transcripts(kind: type[Transcript]) -> Iterator[None]:
    """Transcripts made inside, by anybody, are of another class: a defence is gone."""
    with mock.patch.object(statement_module, "Transcript", kind):
        yield

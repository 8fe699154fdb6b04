"""A prover that writes down everything: its messages, its randomness, the hidden values and the pads that hide them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prover.argument.engine import ProvingEngine, Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.oracle import OracleData
from prover.argument.program import ProgramData
from prover.argument.randomness import Stream, fresh_seed
from tests.zero_knowledge.statements import KERNELS
from verifier.argument.engine import LABEL_LEVEL, SALT_BYTES, Oracle
from verifier.argument.field import K, Words, words_from_bytes
from verifier.argument.opening import finish
from verifier.argument.statement import Statement, dry_run, oracles
from verifier.argument.transcript import Kind, Transcript


class RecordedStream(Stream):
    """Fresh randomness that remembers what it gave, in order."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self._inner = Stream(fresh_seed(), b"recorded")
        self.draws: list[Words] = []

    def words(self, count: int) -> Words:
        self.draws.append(self._inner.words(count))
        return self.draws[-1]

    def field(self, *shape: int) -> Words:
        self.draws.append(self._inner.field(*shape))
        return self.draws[-1]


class ReplayedStream(RecordedStream):
    """Gives what it is told to give, and nothing else."""

    def __init__(self, draws: Iterable[Words]) -> None:
        super().__init__()
        self._queue = deque(draws)

    def words(self, count: int) -> Words:
        return self.field(count)

    def field(self, *shape: int) -> Words:
        self.draws.append(self._queue.popleft())
        assert self.draws[-1].shape == shape
        return self.draws[-1]


@dataclass(frozen=True)
class Randomness:
    """Everything random in one proof, in the order in which the prover draws it."""

    pads: Words
    pad_tail: Words
    pad_mask: Words
    pad_mask_tail: Words
    pad_salts: Words
    mask: Words
    tails: Words
    salts: Words

    def stream(self) -> ReplayedStream:
        return ReplayedStream(vars(self).values())


class TamperedStream(RecordedStream):
    """Fresh randomness of which some parts, by name, are spoiled."""

    def __init__(self, changes: Mapping[str, Callable[[Words], Words]]) -> None:
        super().__init__()
        self._names = iter(Randomness.__dataclass_fields__)
        self._changes = changes

    def _spoil(self, draw: Words) -> Words:
        name = next(self._names)
        if name in self._changes:
            self.draws[-1] = self._changes[name](draw)
        return self.draws[-1]

    def words(self, count: int) -> Words:
        return self._spoil(super().words(count))

    def field(self, *shape: int) -> Words:
        return self._spoil(super().field(*shape))


@dataclass(frozen=True)
class Message:
    """One message: its kind, its bytes and, if it opens an oracle, which and where."""

    kind: Kind
    data: bytes
    oracle: Oracle | None = None
    positions: tuple[int, ...] = ()

    @property
    def columns(self) -> Words:
        """Opened columns (positions, words)."""
        assert self.oracle is not None
        body = self.data[: 8 * self.oracle.words * len(self.positions)]
        return words_from_bytes(body).reshape(len(self.positions), -1)

    @property
    def salts(self) -> list[bytes]:
        """The salts of the opened columns."""
        if self.oracle is None or not self.oracle.salted:
            return []
        start = 8 * self.oracle.words * len(self.positions)
        return [self.data[start + SALT_BYTES * i :][:SALT_BYTES] for i in range(len(self.positions))]

    @property
    def digests(self) -> list[bytes]:
        """The sibling digests of an opening."""
        assert self.oracle is not None
        start = (8 * self.oracle.words + (SALT_BYTES if self.oracle.salted else 0)) * len(self.positions)
        return [self.data[i : i + 32] for i in range(start, len(self.data), 32)]

    @property
    def hidden_tree(self) -> bool:
        """Whether it belongs to an oracle whose unopened columns are secret (level 0 and the pads)."""
        return self.oracle is not None and self.oracle.label < LABEL_LEVEL


class RecordingEngine(ProvingEngine):
    """The prover, on record. `values` are the hidden values by pad index, `masks` the pads that mask
    operands, after `clear_before` other messages in clear."""

    def __init__(
        self,
        statement: Statement,
        transcript: Transcript,
        data: Sequence[OracleData],
        advice: Witness,
        stream: RecordedStream | None = None,
        check: bool = True,
        kernels: Kernels = KERNELS,
        program: ProgramData | None = None,
    ) -> None:
        pads = dry_run(statement).pads
        self.source = stream or RecordedStream()
        models = oracles(statement)
        super().__init__(statement.parameters, transcript, models, pads, kernels, data, advice, self.source, check)
        self.program = program
        self.messages: list[Message] = []
        self.values: dict[int, K] = {}
        self.masks = range(0)
        self.clear_before = 0
        self._challenges: list[tuple[int, K]] = []
        self._opening_now: tuple[Oracle | None, tuple[int, ...]] = (None, ())

    def run(self, statement: Statement) -> RecordingEngine:
        """Make the proof."""
        statement.script(self)
        finish(self)
        return self

    @property
    def sent(self) -> list[int]:
        """The pads of the masked messages, in order."""
        return list(self.values)

    @property
    def randomness(self) -> Randomness:
        return Randomness(*self.source.draws)

    def of_kind(self, kind: Kind) -> list[Message]:
        return [message for message in self.messages if message.kind is kind]

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        result = super()._exchange(kind, size, data)
        self.messages.append(Message(kind, result, *self._opening_now))
        self._opening_now = (None, ())
        return result

    def challenge(self) -> K:
        self._challenges.append((len(self.messages), super().challenge()))
        return self._challenges[-1][1]

    def challenge_before(self, message: Message) -> K:
        """The last challenge before a message."""
        place = next(i for i, other in enumerate(self.messages) if other is message)
        return [challenge for count, challenge in self._challenges if count <= place][-1]

    def _mask(self, value: K | None, index: int) -> K | None:
        assert value is not None
        self.values[index] = value
        return super()._mask(value, index)

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        self._opening_now = (oracle, tuple(positions))
        return super()._opening(oracle, positions)

    def fresh_pads(self, count: int) -> range:
        self.clear_before = len(self.of_kind(Kind.CLEAR))
        self.masks = super().fresh_pads(count)
        return self.masks


def k_vector(messages: Sequence[Message]) -> Words:
    """Messages of one element of K each, as (3, messages)."""
    words = words_from_bytes(b"".join(message.data for message in messages))
    return np.ascontiguousarray(words.reshape(-1, 3).T)

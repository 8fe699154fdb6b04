"""The honest-verifier zero-knowledge simulator: proofs without weights, for true and false statements alike.

It is one more role of the scripts that prover and verifier run. It has no witness; what it has is the verifier's coins
in advance, so it chooses first what a prover must arrive at last: the revealed vectors y* and pad* and the opened
columns are uniform, and the mask rows at the opened positions and mu are what the verifier's equations make of them.
A simulated proof is accepted under the coins that it was made for and under no others. That nothing tells it from a
real one is why a real one says nothing about the weights. Used by tests/zero_knowledge only.

Source: protocol.md, sections 7 and 8; honest-verifier simulation as in Ligero (eprint 2022/1608) and VEIL (eprint
2026/683).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from circuits.errors import StatementError
from prover.argument.kernels.interface import Kernels
from prover.argument.opening import PlainLevels, cube_size, functional_array
from prover.argument.randomness import Stream, fresh_seed
from verifier.argument.engine import LABEL_AUXILIARY, LABEL_LEVEL, LABEL_PADS, Engine, Oracle, Region
from verifier.argument.field import (
    K,
    Words,
    domain_points,
    eq_table,
    evaluate,
    k_add,
    k_dot,
    k_mul,
    k_scalar,
    k_scale,
    k_sub,
)
from verifier.argument.forms import Term
from verifier.argument.hashing import DIGEST_BYTES
from verifier.argument.merkle import leaf_digest, node_digest, sibling_nodes
from verifier.argument.opening import finish
from verifier.argument.parameters import Parameters
from verifier.argument.statement import Statement, dry_run, oracles
from verifier.argument.transcript import Kind, Transcript
from verifier.argument.workers import Maybe, OpeningWorker, Workers

SALT_WORDS = 4


class ProgrammedTranscript(Transcript):
    """Coins that a seed fixes in advance: the n-th draw is the same whatever was absorbed.

    The coins of an honest verifier, or of a random oracle that was programmed. *Soundness*: none; for tests only.
    """

    def __init__(self, seed: bytes) -> None:
        super().__init__()
        self._seed = seed
        super().absorb(Kind.NONCE, seed)

    def absorb(self, kind: Kind, data: bytes) -> None:
        """Ignored."""

    def rewound(self) -> ProgrammedTranscript:
        """The same coins from the start."""
        return ProgrammedTranscript(self._seed)


# ---------------------------------------------------------------- the coins, in advance


@dataclass(frozen=True)
class Coins:
    """The coins on which a simulator's first messages depend: the row-folding point, the mask coefficient eps, and what
    level 0 and the pad oracle open (ascending, distinct)."""

    point: tuple[K, ...]
    eps: K
    positions: tuple[int, ...]
    pad_positions: tuple[int, ...]


class ScoutingEngine(Engine):
    """Runs a script on zeros to see its coins, which must be programmed."""

    def __init__(self, parameters: Parameters, transcript: Transcript, models: Sequence[Oracle], pads: int) -> None:
        super().__init__(parameters, transcript, models, pads)
        self.workers = self._scout = _Scout()
        self._opened: dict[int, tuple[int, ...]] = {}

    @property
    def coins(self) -> Coins:
        """Once the script is finished."""
        scout, opened = self._scout, self._opened
        return Coins(tuple(scout.point), scout.eps, opened[LABEL_AUXILIARY], opened[LABEL_PADS])

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        return bytes(size)

    def _mask(self, value: K | None, index: int) -> K | None:
        return None

    def _root(self, oracle: Oracle) -> bytes | None:
        return None

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        self._opened[oracle.label] = tuple(positions)
        return None


class _Scout(Workers, OpeningWorker):
    """Watches the challenges of the opening."""

    eps: K

    def __init__(self) -> None:
        self.point: list[K] = []

    def opening(self, engine: Engine, terms: Sequence[Term]) -> OpeningWorker:
        return self

    def row_bind(self, challenge: K) -> None:
        self.point.append(challenge)

    def reveal(self, eps: K) -> Words | None:
        self.eps = eps
        return None


def foresee(statement: Statement, transcript: ProgrammedTranscript) -> Coins:
    """The coins that a proof of the statement meets under this transcript, whatever the roots of its commitments."""
    pads = dry_run(statement).pads
    engine = ScoutingEngine(statement.parameters, transcript.rewound(), oracles(statement), pads)
    statement.script(engine)
    finish(engine)
    return engine.coins


# ---------------------------------------------------------------- oracles that exist at a few positions


@dataclass(frozen=True)
class SimulatedOracle:
    """Columns at the given positions only, uint64 (words,) each; the rest of the Merkle tree is random digests.

    `nodes` has the digests of all paths from these positions and of their siblings, heap numbering.
    """

    columns: Mapping[int, Words]
    salts: Mapping[int, bytes]
    nodes: Mapping[int, bytes]

    @staticmethod
    def build(label: int, log_length: int, positions: Sequence[int], columns: Words, stream: Stream) -> SimulatedOracle:
        """columns: uint64 (len(positions), words), the positions ascending and distinct."""
        n = 1 << log_length
        salts = [stream.words(SALT_WORDS).astype("<u8").tobytes() for _ in positions]
        values = [column.astype("<u8").tobytes() for column in columns]
        nodes = {node: stream.words(DIGEST_BYTES // 8).tobytes() for node in sibling_nodes(positions, n)}
        level = []
        for position, salt, value in zip(positions, salts, values, strict=True):
            nodes[n + position] = leaf_digest(label, position, salt, value)
            level.append(n + position)
        while level and level[0] > 1:
            level = sorted({node >> 1 for node in level})
            nodes.update({node: node_digest(nodes[2 * node], nodes[2 * node + 1]) for node in level})
        return SimulatedOracle(
            dict(zip(positions, columns, strict=True)), dict(zip(positions, salts, strict=True)), nodes
        )

    @property
    def root(self) -> bytes:
        return self.nodes[1]

    def at(self, positions: Sequence[int]) -> Words:
        """Opened columns (len(positions), words). Raises StatementError at a position that does not exist."""
        if any(position not in self.columns for position in positions):
            raise StatementError("the oracle was simulated for other positions: foresee the coins of every proof first")
        return np.stack([self.columns[position] for position in positions])

    def opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes:
        """Columns, salts, sibling digests, in wire order."""
        parts = [self.at(positions).astype("<u8").tobytes()]
        parts.extend(self.salts[position] for position in positions)
        parts.extend(self.nodes[node] for node in sibling_nodes(positions, 1 << oracle.log_length))
        return b"".join(parts)


def simulate_commitment(oracle: Oracle, coins: Iterable[Coins]) -> SimulatedOracle:
    """A commitment to nothing, to be opened under all these coins: uniform columns at their positions.

    `oracle` gives its shape (label, rows, length). As for a real commitment this hides anything only while the distinct
    positions are no more than the hiding coefficients of a row (protocol.md, section 3).
    """
    stream = Stream(fresh_seed(), b"simulated commitment")
    positions = sorted({position for known in coins for position in known.positions})
    columns = stream.field(len(positions), oracle.rows)
    return SimulatedOracle.build(oracle.label, oracle.log_length, positions, columns, stream)


# ---------------------------------------------------------------- the role


class SimulatingEngine(Engine):
    """Produces a proof from nothing but public data and coins known in advance.

    `models` are simulated commitments of the statement, in order; they must exist at the positions in `coins`.
    """

    def __init__(
        self,
        parameters: Parameters,
        transcript: ProgrammedTranscript,
        models: Sequence[Oracle],
        pads: int,
        kernels: Kernels,
        model_data: Sequence[SimulatedOracle],
        coins: Coins,
        stream: Stream,
    ) -> None:
        super().__init__(parameters, transcript, models, pads)
        self.kernels = kernels
        self.coins = coins
        self.stream = stream
        self.data: dict[int, SimulatedOracle] = dict(zip(map(id, models), model_data, strict=True))
        self.y_star = stream.vector(parameters.message)
        self.pad_star = stream.vector(self.pad_code.dimension)
        self.plain = PlainLevels(kernels, parameters)
        self.workers = _SimulatorWorkers(self)
        self._masks = 0
        self._parts: list[bytes] = []

    @property
    def proof(self) -> bytes:
        return b"".join(self._parts)

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        if data is None and kind is Kind.CLEAR:
            # A_a = rho_a + e X_a: uniform because the mask rho_a is; or a sum with uniform advice
            if not self._masks:
                raise StatementError("a value is sent in clear that no mask hides: an error in the script")
            self._masks -= 1
            data = self.stream.element().to_bytes()
        assert data is not None and len(data) == size, f"{kind.name}: {size} bytes expected"
        self._parts.append(data)
        self.transcript.absorb(kind, data)
        return data

    def uniform_advice(self, name: str) -> Region:
        self._masks += 1
        return super().uniform_advice(name)

    def fresh_pads(self, count: int) -> range:
        self._masks += count
        return super().fresh_pads(count)

    def _mask(self, value: K | None, index: int) -> K | None:
        # value + pad_index: uniform because the pad is
        return self.stream.element()

    def _root(self, oracle: Oracle) -> bytes | None:
        columns = self._pad_columns() if oracle is self.pad_oracle else self._auxiliary_columns()
        positions = self.coins.pad_positions if oracle is self.pad_oracle else self.coins.positions
        data = SimulatedOracle.build(oracle.label, oracle.log_length, positions, columns, self.stream)
        self.data[id(oracle)] = data
        return data.root

    def _pad_columns(self) -> Words:
        """pad(x) uniform, g_P(x) = Enc(pad*)(x) - eps pad(x): (positions, 6)."""
        positions = self.coins.pad_positions
        pads = self.stream.vector(len(positions))
        shown = evaluate(self.pad_star, domain_points(positions, 1 << self.pad_oracle.log_length))
        return np.concatenate([pads, k_sub(shown, k_mul(k_scalar(self.coins.eps), pads))]).T

    def _auxiliary_columns(self) -> Words:
        """Advice uniform, g(x) = Enc(y*)(x) - eps sum_i eq(r, i) col_i(x): (positions, rows + 3)."""
        positions = self.coins.positions
        advice = self.stream.field(len(positions), self.auxiliary.rows)
        weights = eq_table(self.coins.point)
        folded = np.zeros((3, len(positions)), np.uint64)
        for oracle in self.level0:
            columns = advice if oracle is self.auxiliary else self.data[id(oracle)].at(positions)
            for i in range(oracle.rows):
                folded = k_add(folded, k_scale(weights[:, oracle.start_row + i, None], columns[:, i]))
        shown = evaluate(self.y_star, domain_points(positions, self.parameters.length))
        mask = k_sub(shown, k_mul(k_scalar(self.coins.eps), folded))
        return np.concatenate([advice, mask.T], axis=1)

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        if oracle.label >= LABEL_LEVEL:
            return self.plain.data[oracle.label].opening(self.kernels, oracle, positions)
        return self.data[id(oracle)].opening(oracle, positions)


class _SimulatorWorkers(Workers):
    """Blank but for the opening, from mu on."""

    def __init__(self, engine: SimulatingEngine) -> None:
        self._engine = engine

    def opening(self, engine: Engine, terms: Sequence[Term]) -> OpeningWorker:
        return SimulatedOpening(self._engine)


class SimulatedOpening(OpeningWorker):
    """The opening of a y* that was folded from nothing: mu is computed backwards, the plain levels are honest."""

    def __init__(self, engine: SimulatingEngine) -> None:
        self._engine = engine
        self._kernels = engine.kernels
        self._plain = engine.plain

    def mask_dot(self, terms: Sequence[Term], pad_weights: Words, total: K) -> Maybe:
        # mu = <y*, L || 0> + <pad*, U> - eps T*
        engine, k = self._engine, self._kernels
        self._vector = k.upload(engine.y_star)
        self._functional = functional_array(k, terms, cube_size(engine.parameters.message))
        pads = engine.pad_star[:, : pad_weights.shape[1]]
        return k.dot(self._vector, self._functional) + k_dot(pads, pad_weights) - engine.coins.eps * total

    def reveal(self, eps: K) -> Words | None:
        assert eps == self._engine.coins.eps, "the coins are not the ones that were foreseen"
        self._plain.begin(self._vector, self._functional)
        return self._engine.pad_star

    def plain_root(self, level: int) -> bytes | None:
        return self._plain.root(level)

    def plain_vector(self) -> Words | None:
        return self._kernels.download(self._plain.vector)

    def level_start(self, level: int, scales: Words, positions: Sequence[int], log_length: int) -> None:
        self._plain.start(level, scales, positions, log_length)

    def level_messages(self) -> tuple[Maybe, Maybe]:
        return self._plain.messages()

    def level_bind(self, challenge: K) -> None:
        self._plain.bind(challenge)


def simulate(
    statement: Statement, kernels: Kernels, coins: ProgrammedTranscript, models: Sequence[SimulatedOracle]
) -> bytes:
    """A proof of the statement, true or not, that is accepted under these coins.

    `models` are the statement's commitments from `simulate_commitment`. Raises StatementError if they do not exist at
    the positions of these coins, or if the script sends something in clear that no mask hides.
    """
    engine = SimulatingEngine(
        statement.parameters,
        coins.rewound(),
        oracles(statement),
        dry_run(statement).pads,
        kernels,
        models,
        foresee(statement, coins),
        Stream(fresh_seed(), b"simulated proof"),
    )
    statement.script(engine)
    finish(engine)
    return engine.proof

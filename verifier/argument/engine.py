"""The engine that every protocol script is written against: one script, several roles.

A role decides where messages come from: the verifier reads them from the proof, the prover computes and appends them,
the
counting role makes none, the simulator invents them. Everything else (the order of messages, what is absorbed, which
relations are checked) is here and in the sub-protocol modules, once. Source: protocol.md, sections 4 to 7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from circuits.errors import StatementError
from verifier.argument import merkle
from verifier.argument.errors import ProofFormatError
from verifier.argument.field import ONE, ZERO, K, Words, k_list, words_from_bytes
from verifier.argument.forms import Term
from verifier.argument.hidden import Hidden
from verifier.argument.parameters import PadCode, Parameters
from verifier.argument.soundness import Counts
from verifier.argument.transcript import Kind, Transcript
from verifier.argument.workers import BlankWorkers, Workers

MINUS_ONE = -ONE
SALT_BYTES = 32

LABEL_MODEL = 1
LABEL_AUXILIARY = 2
LABEL_PADS = 3
LABEL_LEVEL = 16


@dataclass(eq=False)
class Oracle:
    """A committed matrix of a proof. `words` is the number of u64 in one opened column, `start_row` where its rows
    begin among all level-0 rows."""

    name: str
    label: int
    rows: int
    words: int
    log_length: int
    salted: bool
    root: bytes = b""
    start_row: int = 0

    @property
    def padded_rows(self) -> int:
        return 1 << max(0, self.rows - 1).bit_length() if self.rows else 0


@dataclass(frozen=True)
class Region:
    """Advice cells: `size` of them from `address` in the auxiliary oracle, aligned to the next power of two."""

    name: str
    address: int
    size: int

    @property
    def log_size(self) -> int:
        return max(0, self.size - 1).bit_length()


@dataclass
class Claim:
    """sum over the terms of <oracle, term> = value."""

    terms: tuple[tuple[Oracle, Term], ...]
    value: Hidden


QuadraticTerm = tuple[K, Hidden, Hidden]


@dataclass
class Relations:
    """What a script has asked for so far."""

    constraints: list[Hidden] = field(default_factory=list)
    quadratics: list[tuple[tuple[QuadraticTerm, ...], Hidden]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


class Engine(ABC):
    """One run of a protocol script in some role.

    `models` are the level-0 oracles of the commitments that the statement opens, with known roots. The dry run has
    fixed `pads`; roles other than counting need it before the first message.
    """

    checks = False
    counting = False

    def __init__(
        self, parameters: Parameters, transcript: Transcript, models: Sequence[Oracle], pads: int | None
    ) -> None:
        self.parameters = parameters
        self.transcript = transcript
        self.models = tuple(models)
        self.pads = pads
        self.pads_used = 0
        self.relations = Relations()
        self.counts = Counts()
        self.regions: list[Region] = []
        self.advice_cells = 0
        self.committed = False
        self.challenged = False
        self.auxiliary = Oracle("auxiliary oracle", LABEL_AUXILIARY, 0, 3, parameters.log_length, True)
        self.pad_oracle = Oracle("pad oracle", LABEL_PADS, 2, 6, 0, True)
        self.workers: Workers = BlankWorkers()

    # ------------------------------------------------------------------ what a role provides

    @abstractmethod
    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        """Move one message of exactly `size` bytes (from the proof, or `data` into it) and absorb it."""

    @abstractmethod
    def _mask(self, value: K | None, index: int) -> K | None:
        """What goes on the wire for a hidden value: value + pad_index at the prover."""

    @abstractmethod
    def _root(self, oracle: Oracle) -> bytes | None:
        """The root of an oracle that this proof commits to."""

    @abstractmethod
    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        """Columns, salts and digests for ascending distinct positions, in wire order."""

    # ------------------------------------------------------------------ messages

    def _element(self, kind: Kind, value: K | None) -> K:
        data = self._exchange(kind, 24, None if value is None else value.to_bytes())
        return k_list(self._canonical(data).reshape(1, 3).T)[0]

    @staticmethod
    def _canonical(data: bytes) -> Words:
        try:
            return words_from_bytes(data)
        except ValueError as error:
            raise ProofFormatError(f"{error}; the proof was damaged or made by another program") from None

    def send(self, value: K | None) -> Hidden:
        """A hidden value: the prover puts value + pad on the wire. Each pad is used once."""
        if not self.committed:
            raise StatementError("a value was sent before the pads were committed: an error in the script")
        index = self.pads_used
        self.pads_used += 1
        wire = self._element(Kind.MASKED, self._mask(value, index))
        return Hidden(wire, {index: MINUS_ONE}, value)

    def fresh_pads(self, count: int) -> range:
        """Reserve pads that serve as masks of operands."""
        first = self.pads_used
        self.pads_used += count
        return range(first, self.pads_used)

    def clear(self, value: K | None) -> K:
        """A value in clear; only for values that are uniform on their own."""
        return self._element(Kind.CLEAR, value)

    def vector(self, count: int, values: Words | None) -> Words:
        """A K vector (3, count) in clear, element by element."""
        data = None if values is None else values.T.astype("<u8").tobytes()
        words = self._canonical(self._exchange(Kind.VECTOR, 24 * count, data))
        return words.reshape(count, 3).T.copy()

    def root(self, oracle: Oracle) -> None:
        """The root of an oracle that this proof commits to."""
        oracle.root = self.exchange_root(self._root(oracle))

    def exchange_root(self, root: bytes | None) -> bytes:
        """A root, moved and absorbed."""
        return self._exchange(Kind.ROOT, 32, root)

    def challenge(self) -> K:
        """A uniform challenge from K, a function of everything absorbed."""
        if not self.committed:
            raise StatementError("a challenge was drawn before the commit phase: an error in the script")
        self.challenged = True
        return self.transcript.challenge()

    def open(self, oracle: Oracle, drawn: Sequence[int]) -> Words:
        """Open the columns at the drawn positions: u64 (len(drawn), oracle.words), authenticated against the root.

        Raises MerkleError. Repeated positions are opened once.
        """
        n = 1 << oracle.log_length
        positions = sorted(set(drawn))
        siblings = merkle.sibling_nodes(positions, n)
        width, salt = 8 * oracle.words, SALT_BYTES if oracle.salted else 0
        body = len(positions) * (width + salt)
        data = self._exchange(Kind.OPENED, body + 32 * len(siblings), self._opening(oracle, positions))
        columns, salts = data[: len(positions) * width], data[len(positions) * width : body]
        values = self._canonical(columns).reshape(len(positions), oracle.words)
        if self.checks:
            leaves = {
                position: merkle.leaf_digest(
                    oracle.label, position, salts[i * salt : (i + 1) * salt], columns[i * width : (i + 1) * width]
                )
                for i, position in enumerate(positions)
            }
            path = [data[offset : offset + 32] for offset in range(body, len(data), 32)]
            merkle.check_multiproof(oracle.root, n, leaves, path, oracle.name)
        index = {position: i for i, position in enumerate(positions)}
        return values[[index[position] for position in drawn]]

    # ------------------------------------------------------------------ the commit phase

    def advice(self, name: str, size: int) -> Region:
        """Reserve `size` advice cells; the prover's witness holds their values under the same name."""
        if self.committed:
            raise StatementError(f"advice {name} comes after the commit phase: an error in the script")
        region = Region(name, 0, size)
        step = 1 << region.log_size
        region = Region(name, -(-self.advice_cells // step) * step, size)
        self.advice_cells = region.address + size
        self.regions.append(region)
        return region

    def uniform_advice(self, name: str) -> Region:
        """Reserve three cells for one uniform element of K. It hides one value that the script sends in clear, and the
        prover must draw it for this proof alone."""
        return self.advice(name, 3)

    def commit(self) -> None:
        """The one commit phase of a proof: the pad oracle, then the auxiliary oracle with all advice and the mask row.

        Raises StatementError after the first challenge, or if called twice.
        """
        if self.challenged or self.committed:
            raise StatementError("commit after a challenge: everything must be committed in one phase")
        self.committed = True
        self.auxiliary.rows = -(-self.advice_cells >> self.parameters.log_columns)
        self.auxiliary.words = self.auxiliary.rows + 3
        row = 0
        for oracle in self.level0:
            step = oracle.padded_rows
            oracle.start_row = -(-row // step) * step if step else row
            row = oracle.start_row + oracle.rows
        self.counts.rows = row
        self.counts.row_variables = max(0, row - 1).bit_length()
        if self.counting:
            return
        assert self.pads is not None
        self.pad_oracle.log_length = self.pad_code.log_length
        self.root(self.pad_oracle)
        self.root(self.auxiliary)

    @property
    def level0(self) -> tuple[Oracle, ...]:
        """The oracles opened together at level 0: commitments in the order of the statement, then the auxiliary one."""
        return (*self.models, self.auxiliary)

    @property
    def pad_code(self) -> PadCode:
        assert self.pads is not None
        return self.parameters.pad_code(self.pads)

    # ------------------------------------------------------------------ relations

    def zero(self, hidden: Hidden) -> None:
        """hidden = 0."""
        self._check_honest(hidden.value, "a linear relation")
        self.relations.constraints.append(hidden)

    def quad(self, terms: Sequence[QuadraticTerm], linear: Hidden) -> None:
        """sum_i c_i X_i Y_i + linear = 0 over hidden handles X_i, Y_i."""
        total = linear.value
        for c, x, y in terms:
            known = total is not None and x.value is not None and y.value is not None
            total = total + c * x.value * y.value if known else None
        self._check_honest(total, "a quadratic relation")
        self.relations.quadratics.append((tuple(terms), linear))

    def claim(self, terms: Sequence[tuple[Oracle, Term]], value: Hidden) -> None:
        """sum over (oracle, t) of <cells of the oracle, t> = value. Only level-0 oracles of this proof can be
        claimed."""
        for oracle, term in terms:
            if oracle not in self.level0:
                raise StatementError("a claim about an oracle that this proof does not open: an error in the script")
            stop = term.address + (1 << len(term.factors))
            if term.address % (1 << len(term.factors)) or stop > oracle.rows << self.parameters.log_columns:
                raise StatementError(f"a claim beyond the {oracle.name}, or not aligned: an error in the script")
        self.relations.claims.append(Claim(tuple(terms), value))

    def _check_honest(self, value: K | None, what: str) -> None:  # noqa: B027 (a hook: most roles hold no values)
        """Roles that hold values may refuse to go on with a relation that fails."""


class CountingEngine(Engine):
    """The dry run: no data, no messages; counts what the script uses. Its challenges come from a transcript that
    absorbs nothing: distinct, so that evaluations at different points are not taken for one."""

    counting = True

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        return bytes(size)

    def _mask(self, value: K | None, index: int) -> K | None:
        return None

    def _root(self, oracle: Oracle) -> bytes | None:
        return None

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        return None

    def _element(self, kind: Kind, value: K | None) -> K:
        return ZERO


class VerifyingEngine(Engine):
    """Reads every message from the proof; takes no length, position, identity or shape from it."""

    checks = True

    def __init__(
        self, parameters: Parameters, transcript: Transcript, models: Sequence[Oracle], pads: int, proof: bytes
    ) -> None:
        super().__init__(parameters, transcript, models, pads)
        self._proof = memoryview(proof)
        self._offset = 0

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        piece = bytes(self._proof[self._offset : self._offset + size])
        if len(piece) != size:
            raise ProofFormatError("the proof ends too early: it was truncated, or belongs to another statement")
        self._offset += size
        self.transcript.absorb(kind, piece)
        return piece

    def _mask(self, value: K | None, index: int) -> K | None:
        return None

    def _root(self, oracle: Oracle) -> bytes | None:
        return None

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        return None

    def require_end(self) -> None:
        """Nothing may remain of the proof."""
        if self._offset != len(self._proof):
            raise ProofFormatError("the proof has trailing bytes: it was altered, or belongs to another statement")

"""What a script asks of the role that holds data: specifications of heavy computations, and the blank answers.

A specification names committed cells and public numbers only; the prover's `Workers` compute with them, every other
role answers None. So the scripts contain no data and cannot depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from verifier.argument.field import K, Words
from verifier.argument.forms import Term

if TYPE_CHECKING:
    from circuits.program import Value
    from verifier.argument.engine import Engine, Oracle
    from verifier.argument.program.functional import Factors, Request
    from verifier.argument.program.waves import Item

Maybe = K | None


# ---------------------------------------------------------------- fraction trees


@dataclass(frozen=True, eq=False)
class CellFractions:
    """Leaves 1 / (alpha - (x + g X^2)) for the cells of runs of group g in a commitment, 0/1 elsewhere.

    start, stop, group: int64 arrays, ascending disjoint intervals of the oracle's address space.
    """

    oracle: Oracle
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    alpha: K


@dataclass(frozen=True, eq=False)
class LookupPiece:
    """Leaves 1 / (alpha - (offset + sign * x + identity X^2)) for `size` cells x from `address`; at leaf `position`, a
    multiple of the next power of two of size."""

    position: int
    oracle: Oracle
    address: int
    size: int
    sign: int
    offset: int
    identity: int = 0


@dataclass(frozen=True, eq=False)
class TablePiece:
    """Leaves m_i / (alpha - (first + i + id X^2)) for the 2^log_size multiplicities m_i from `address`; at leaf
    `position`, a multiple of 2^log_size."""

    position: int
    oracle: Oracle
    address: int
    log_size: int
    first: int
    identity: int


@dataclass(frozen=True, eq=False)
class PieceFractions:
    """A fraction tree over 2^depth leaves made of pieces; 0/1 elsewhere."""

    depth: int
    pieces: tuple[LookupPiece | TablePiece, ...]
    alpha: K


class TreeWorker:
    """A fraction tree, from its root down. Blank here."""

    def root(self) -> tuple[Maybe, Maybe]:
        return None, None

    def start(self, lam: K, point: Sequence[K]) -> None:
        """Begin the layer of 2^len(point) gates with batching challenge lam."""

    def messages(self) -> tuple[Maybe, Maybe]:
        """h(0), h(inf) of the current round, without the factor that the bound variables contribute."""
        return None, None

    def bind(self, challenge: K) -> None:
        """Fix the lowest free variable of the gates."""

    def finals(self) -> tuple[Maybe, Maybe, Maybe, Maybe]:
        """p0, p1, q0, q1 once all variables of the layer are bound."""
        return None, None, None, None


class WaveWorker:
    """The prover's side of a wave (`verifier.argument.program.waves`). Blank here."""

    def messages(self, cubic: bool) -> tuple[Maybe, Maybe, Maybe]:
        """Coefficients c0, c2 and, if cubic, c3 of the round polynomial."""
        return None, None, None

    def bind(self, challenge: K) -> None: ...


# ---------------------------------------------------------------- opening


class OpeningWorker:
    """The prover's side of the opening (protocol.md, section 7), in the order of the calls. Blank here."""

    def row_messages(self) -> tuple[Maybe, Maybe]:
        return None, None

    def row_bind(self, challenge: K) -> None: ...

    def mask_dot(self, terms: Sequence[Term], pad_weights: Words, total: K) -> Maybe:
        """mu = <g_u, L> + <g_P, U>, after the rows are folded. `total` is T* (which the simulator needs)."""
        return None

    def reveal(self, eps: K) -> Words | None:
        """pad* = (g_P || r'_P) + eps (pad || r_P)."""
        return None

    def plain_root(self, level: int) -> bytes | None:
        """Commit to the current vector as the matrix of that plain level."""
        return None

    def plain_vector(self) -> Words | None:
        """The current vector, in clear."""
        return None

    def level_start(self, level: int, scales: Words, positions: Sequence[int], log_length: int) -> None:
        """Add the spot claims sum_j scales_j <vector, pow(x_j)> to the linear functional; begin the level's row
        sumcheck."""

    def level_messages(self) -> tuple[Maybe, Maybe]:
        return None, None

    def level_bind(self, challenge: K) -> None: ...

    def level_fold(self, level: int) -> None:
        """The rows of the level are bound: the folded row becomes the current vector."""


class Workers:
    """Makes workers for specifications."""

    def tree(self, spec: CellFractions | PieceFractions) -> TreeWorker:
        return TreeWorker()

    def evaluate(self, terms: Sequence[tuple[Oracle, Term]]) -> Maybe:
        """The value of a linear form of few committed cells."""
        return None

    def request(self, request: Request) -> Maybe:
        """The value of a bilinear or indexed tensor of a program under a functional."""
        return None

    def evaluation(self, value: Value, factors: Factors) -> Maybe:
        """The value of any tensor of a program under a functional."""
        return None

    def wave(self, items: Sequence[Item]) -> WaveWorker:
        return WaveWorker()

    def pad(self, index: int) -> Maybe:
        """A committed pad, at the role that knows it."""
        return None

    def opening(self, engine: Engine, terms: Sequence[Term]) -> OpeningWorker:
        return OpeningWorker()


BlankWorkers = Workers

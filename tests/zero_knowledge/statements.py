"""Small statements over the real engine, with parameters so tiny that a proof takes hundredths of a second.

Not secure, but honest about zero knowledge: every code has the hiding coefficients that its openings need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.engine import Witness
from prover.argument.kernels.interface import Kernels
from prover.argument.kernels.reference import ReferenceKernels
from prover.argument.oracle import OracleData, commit_rows
from prover.argument.randomness import Stream, fresh_seed
from prover.argument.simulator import (
    ProgrammedTranscript,
    SimulatedOracle,
    foresee,
    simulate,
    simulate_commitment,
)
from tests.support.products import Cells, Product, products
from verifier.argument.engine import LABEL_MODEL, Engine, Oracle, VerifyingEngine
from verifier.argument.field import ONE, K
from verifier.argument.forms import dyadic_intervals, eq_term
from verifier.argument.hidden import Hidden
from verifier.argument.lookup import cell_tree, piece_tree, same_sum
from verifier.argument.opening import finish
from verifier.argument.parameters import Parameters, PlainLevel
from verifier.argument.statement import Statement, dry_run, oracles
from verifier.argument.workers import CellFractions, LookupPiece, PieceFractions, TablePiece

Integers = npt.NDArray[np.int64]

KERNELS = ReferenceKernels()
# Rows of 64 cells and 12 hiding coefficients, 128 positions of which a proof opens 4; 1 proof promised, of one bit.
SMALL = Parameters(1, 1, 6, 12, 4, (PlainLevel(2, 5, 6),))
NONCE = bytes(range(16))
LOWEST, TABLE_LOG = -8, 4
EXTRA_CELLS = 70


@dataclass(frozen=True)
class Matrix:
    """A commitment to rows of cells, without a manifest."""

    rows: int
    root: bytes = b""
    parameters: Parameters = SMALL

    @property
    def id(self) -> bytes:
        return hashlib.sha256(b"matrix" + bytes([self.rows]) + self.root).digest()

    def oracle(self, name: str = "matrix") -> Oracle:
        return Oracle(name, LABEL_MODEL, self.rows, self.rows, self.parameters.log_length, True, self.root)


@dataclass(frozen=True)
class Squares(Statement):
    """The squares of all cells of all matrices sum to `total`. No advice: the auxiliary oracle is a mask row."""

    matrices: tuple[Matrix, ...]
    total: int

    kind = "squares/v1"

    @property
    def commitments(self) -> Any:
        return self.matrices

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total,)

    def canonical(self) -> bytes:
        return b"sum of squares"

    def script(self, engine: Engine) -> None:
        engine.commit()
        self.sum_squares(engine)

    def sum_squares(self, engine: Engine) -> None:
        items = []
        for model in engine.models:
            for address, log_size in dyadic_intervals(0, model.rows << engine.parameters.log_columns):
                cells = Cells(model, address)
                items.append(Product(ONE, cells, cells, log_size))
        products(engine, items, Hidden.public(K.of(self.total)))


@dataclass(frozen=True)
class Ranged(Squares):
    """Also, the cells of the first matrix and 70 cells of advice are in [-8, 8): lookups, trees, rows of advice."""

    kind = "ranged/v1"

    def script(self, engine: Engine) -> None:
        model = engine.models[0]
        extra = engine.advice("extra", EXTRA_CELLS)
        counts = [engine.advice(name, 1 << TABLE_LOG) for name in ("cell counts", "extra counts")]
        engine.commit()
        alpha = engine.challenge()
        stop = np.array([model.rows << engine.parameters.log_columns])
        runs = CellFractions(model, np.zeros_like(stop), stop, np.zeros_like(stop), alpha)
        pieces = LookupPiece(0, engine.auxiliary, extra.address, extra.size, 1, 0)
        trees = [cell_tree(engine, runs), piece_tree(engine, PieceFractions(extra.log_size, (pieces,), alpha))]
        for tree, region in zip(trees, counts, strict=True):
            table = TablePiece(0, engine.auxiliary, region.address, TABLE_LOG, LOWEST, 0)
            same_sum(engine, tree, piece_tree(engine, PieceFractions(TABLE_LOG, (table,), alpha)))
        self.sum_squares(engine)


@dataclass(frozen=True)
class Talkative(Squares):
    """A script with a leak: an evaluation of the cells goes over in clear."""

    kind = "talkative/v1"

    def script(self, engine: Engine) -> None:
        engine.commit()
        point = [engine.challenge() for _ in range(engine.parameters.log_columns)]
        engine.clear(engine.workers.evaluate([(engine.models[0], eq_term(point, 0))]))
        self.sum_squares(engine)


def weights(seed: int, rows: int, parameters: Parameters = SMALL) -> Integers:
    """Cells in [-8, 8), as (rows, columns)."""
    return np.random.default_rng(seed).integers(-7, 8, (rows, parameters.columns))


def same_squares(cells: Sequence[Integers], seed: int) -> list[Integers]:
    """Other cells with the same sum of squares: signs changed at random, and a permutation."""
    rng = np.random.default_rng(seed)
    changed = [(rng.permutation(c.reshape(-1)) * rng.choice([-1, 1], c.size)).reshape(c.shape) for c in cells]
    assert all(not np.array_equal(old, new) for old, new in zip(cells, changed, strict=True))
    return changed


def square_sum(cells: Sequence[Integers]) -> int:
    return int(sum((c * c).sum() for c in cells))


def witness(cells: Sequence[Integers], seed: int = 0) -> Witness:
    """Advice of `Ranged`; `Squares` ignores it."""
    extra = np.random.default_rng(seed).integers(-8, 8, EXTRA_CELLS)
    inside = cells[0].reshape(-1)
    return {
        "extra": extra,
        "cell counts": np.bincount(inside - LOWEST, minlength=16),
        "extra counts": np.bincount(extra - LOWEST, minlength=16),
    }


def commit(
    cells: Integers, stream: Stream | None = None, parameters: Parameters = SMALL, kernels: Kernels = KERNELS
) -> tuple[Matrix, OracleData]:
    """A commitment under fresh randomness, or the given one."""
    stream = stream or Stream(fresh_seed(), b"commitment")
    data = commit_rows(kernels, LABEL_MODEL, cells.astype(np.int32), parameters.hiding, parameters.log_length, stream)
    return Matrix(len(cells), data.tree.root, parameters), data


def check_under(statement: Statement, proof: bytes, coins: ProgrammedTranscript) -> None:
    """The verifier under programmed coins. Raises VerificationError or FormatError."""
    pads = dry_run(statement).pads
    engine = VerifyingEngine(statement.parameters, coins.rewound(), oracles(statement), pads, proof)
    statement.script(engine)
    finish(engine)
    engine.require_end()


Claims = Sequence[tuple[Squares, ProgrammedTranscript]]


def simulated_commitments(claims: Claims) -> tuple[list[Squares], list[SimulatedOracle]]:
    """Commitments to nothing in place of the matrices of statements that are to be proved under coins: the statements
    about these, and the commitments."""
    coins = [foresee(statement, transcript) for statement, transcript in claims]
    models = [simulate_commitment(matrix.oracle(), coins) for matrix in claims[0][0].matrices]
    matrices = tuple(replace(m, root=data.root) for m, data in zip(claims[0][0].matrices, models, strict=True))
    return [replace(statement, matrices=matrices) for statement, _ in claims], models


def simulated_proof(statement: Squares, coins: ProgrammedTranscript) -> tuple[Squares, bytes]:
    """A proof of the statement about fresh simulated commitments."""
    (about,), models = simulated_commitments([(statement, coins)])
    return about, simulate(about, KERNELS, coins, models)

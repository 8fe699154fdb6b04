"""Toy commitments and a toy statement for attacks on the argument: every weight in [-8, 8), sum of squares disclosed.

The parameters are small and not secure; everything else is the real engine. More statements are in `statements.py`,
provers that cheat in `cheating.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.reference import ReferenceKernels
from prover.argument.oracle import OracleData, commit_rows
from prover.argument.randomness import Stream
from tests.support.products import Cells, Product, products
from tests.support.quick_kernels import QuickKernels
from verifier.argument.engine import LABEL_MODEL, Engine, Oracle
from verifier.argument.field import ONE, K
from verifier.argument.hidden import Hidden
from verifier.argument.lookup import piece_tree, same_sum
from verifier.argument.parameters import Parameters, PlainLevel
from verifier.argument.statement import Statement
from verifier.argument.workers import LookupPiece, PieceFractions, TablePiece

Integers = npt.NDArray[Any]

MICRO = Parameters(1, 1, 6, 12, 4, (PlainLevel(2, 5, 6),))
"""Rows of 64: the smallest proof that has every kind of message. About one bit."""
TINY = Parameters(4, 1, 8, 48, 16, (PlainLevel(4, 7, 10), PlainLevel(2, 6, 10)))
"""Rows of 256, two plain levels. Four bits."""
SOLID = Parameters(32, 1, 11, 320, 104, (PlainLevel(6, 9, 43), PlainLevel(3, 7, 38)))
"""Rows of 2,048. 32 bits: an attack that should fail and does not is a finding, not bad luck."""

COUNT = 1024
TABLE_LOG = 4
LOWEST = -8
NONCE = bytes(range(16))


KERNELS = QuickKernels()


@dataclass(frozen=True)
class ToyCommitment:
    """`rows` rows of cells under a root. `manifest` stands for the manifest: the id binds it."""

    parameters: Parameters
    root: bytes
    rows: int
    manifest: bytes = b"toy manifest"

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.parameters.to_bytes() + self.root + self.manifest).digest()

    @property
    def cells(self) -> int:
        return self.rows << self.parameters.log_columns

    def oracle(self, name: str = "model commitment") -> Oracle:
        return Oracle(name, LABEL_MODEL, self.rows, self.rows, self.parameters.log_length, True, self.root)


def in_rows(values: Integers, parameters: Parameters) -> Integers:
    """A flat vector of cells as rows: int32, or u64 field elements as they are."""
    return (values if values.dtype == np.uint64 else values.astype(np.int32)).reshape(-1, parameters.columns)


def commit(
    values: Integers,
    kernels: Any = KERNELS,
    parameters: Parameters = TINY,
    seed: bytes = bytes(32),
    manifest: bytes = b"toy manifest",
) -> tuple[ToyCommitment, OracleData]:
    """Commit to a vector of cells that fills whole rows."""
    cells = in_rows(values, parameters)
    data = commit_rows(kernels, LABEL_MODEL, cells, parameters.hiding, parameters.log_length, Stream(seed, b"toy"))
    return ToyCommitment(parameters, data.tree.root, cells.shape[0], manifest), data


@dataclass(frozen=True)
class Toy(Statement):
    """All cells lie in [-8, 8) and their squares sum to `total`, which is disclosed."""

    commitment: Any
    total: int
    text: bytes = b"toy statement"
    lowest: int = LOWEST
    identity: int = 0

    kind = "toy/v1"

    @property
    def commitments(self) -> Any:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total,)

    def canonical(self) -> bytes:
        return self.text

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        multiplicities = engine.advice("multiplicities", 1 << TABLE_LOG)
        engine.commit()
        alpha = engine.challenge()
        log_count = (self.commitment.cells - 1).bit_length()
        lookups = LookupPiece(0, model, 0, self.commitment.cells, 1, 0, self.identity)
        table = TablePiece(0, engine.auxiliary, multiplicities.address, TABLE_LOG, self.lowest, self.identity)
        cells_tree = piece_tree(engine, PieceFractions(log_count, (lookups,), alpha))
        table_tree = piece_tree(engine, PieceFractions(TABLE_LOG, (table,), alpha))
        same_sum(engine, cells_tree, table_tree)
        cells = Cells(model, 0)
        products(engine, [Product(ONE, cells, cells, log_count)], Hidden.public(K.of(self.total)))


def multiplicities(values: Integers, lowest: int = LOWEST, size: int = 1 << TABLE_LOG) -> npt.NDArray[np.int64]:
    """How often each table entry occurs; values outside are dropped, which is the best that a prover can do."""
    inside = values[(values >= lowest) & (values < lowest + size)].astype(np.int64)
    return np.bincount(inside - lowest, minlength=size).astype(np.int64)


def witness(values: Integers) -> dict[str, Any]:
    return {"multiplicities": multiplicities(values)}


def squares(values: Integers) -> int:
    return sum(int(x) ** 2 for x in values)


def weights(count: int = COUNT, seed: int = 1) -> Integers:
    """`count` uniform integers in [-8, 8)."""
    return np.random.default_rng(seed).integers(-8, 8, count)


__all__ = [
    "COUNT",
    "KERNELS",
    "MICRO",
    "NONCE",
    "SOLID",
    "TINY",
    "QuickKernels",
    "ReferenceKernels",
    "Toy",
    "ToyCommitment",
    "commit",
    "in_rows",
    "multiplicities",
    "replace",
    "squares",
    "weights",
    "witness",
]

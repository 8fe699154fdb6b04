"""More toy statements over the real sub-protocols: sums of blocks, exact histograms by groups, two commitments, limbs.

Flags such as `ranged` or `absorbed` take one defence away: a test that shows an attack to fail also shows that it
succeeds without the defence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.argument.oracle import OracleData
from tests.support.products import Cells, Product, products, send_evaluation
from tests.support.toy import LOWEST, MICRO, TABLE_LOG, ToyCommitment, commit, multiplicities
from verifier.argument.engine import Engine, Region
from verifier.argument.field import ONE, ZERO, K, powers
from verifier.argument.forms import Term
from verifier.argument.hidden import Hidden
from verifier.argument.lookup import cell_tree, piece_tree, same_sum
from verifier.argument.parameters import Parameters
from verifier.argument.statement import Statement
from verifier.argument.workers import CellFractions, LookupPiece, PieceFractions, TablePiece

TABLE = 1 << TABLE_LOG
Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class Sums(Statement):
    """The cells of block k, 2^log_block cells from k * 2^log_block on, sum to values[k] mod p. No range: a bare linear
    claim, batched with powers of one challenge."""

    commitment: Any
    log_block: int
    values: tuple[int, ...]
    absorbed: bool = True

    kind = "sums/v1"

    @property
    def commitments(self) -> Any:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return self.values if self.absorbed else ()

    def canonical(self) -> bytes:
        return b"block sums"

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        engine.commit()
        scales = powers(engine.challenge(), len(self.values))
        constant = ((ONE, ZERO),) * self.log_block
        terms = [(model, Term(scale, constant, k << self.log_block)) for k, scale in enumerate(scales)]
        total = sum((scale * value for scale, value in zip(scales, self.values, strict=True)), ZERO)
        engine.claim(terms, Hidden.public(total))


@dataclass(frozen=True)
class Histograms(Statement):
    """What `verifier.argument.validity` proves, with tables of 16 entries: every cell of the runs of group g occurs in
    the table of g, and the multiplicities, committed with the model, are exact. `first`: each table's lowest value."""

    commitment: Any
    runs: tuple[tuple[int, int, int], ...]
    tables: tuple[int, ...]
    first: tuple[int, ...] = ()
    identities: tuple[int, ...] = ()

    kind = "toy histograms/v1"

    @property
    def commitments(self) -> Any:
        return (self.commitment,)

    def canonical(self) -> bytes:
        return b"toy histograms"

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        engine.commit()
        alpha = engine.challenge()
        start, stop, group = (np.array(column, np.int64) for column in zip(*self.runs, strict=True))
        cells = cell_tree(engine, CellFractions(model, start, stop, group, alpha))
        pieces = tuple(
            TablePiece(
                g << TABLE_LOG,
                model,
                address,
                TABLE_LOG,
                self.first[g] if self.first else LOWEST,
                self.identities[g] if self.identities else g,
            )
            for g, address in enumerate(self.tables)
        )
        depth = TABLE_LOG + (len(self.tables) - 1).bit_length()
        table = piece_tree(engine, PieceFractions(depth, pieces, alpha))
        same_sum(engine, cells, table)


@dataclass
class Grouped:
    """A committed vector of 128 cells: weights of group 0 in [0, 40), of group 1 in [48, 80), the histograms at 96 and
    112, and unused cells in between. Change `flat`, then `commit`."""

    parameters: Parameters = MICRO
    runs: tuple[tuple[int, int, int], ...] = ((0, 32, 0), (32, 40, 1), (48, 80, 1))
    tables: tuple[int, ...] = (96, 112)
    flat: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        random = np.random.default_rng(7)
        self.flat = np.zeros(128, np.int64)
        for start, stop, _ in self.runs:
            self.flat[start:stop] = random.integers(-8, 8, stop - start)
        self.recount()

    def weights(self, group: int) -> Integers:
        return np.concatenate([self.flat[start:stop] for start, stop, owner in self.runs if owner == group])

    def recount(self) -> None:
        """Write the histograms that belong to the weights."""
        for group, address in enumerate(self.tables):
            self.flat[address : address + TABLE] = multiplicities(self.weights(group))

    def commit(self) -> tuple[Histograms, OracleData]:
        commitment, data = commit(self.flat, parameters=self.parameters)
        return Histograms(commitment, self.runs, self.tables), data


@dataclass(frozen=True)
class Pair(Statement):
    """Two commitments: the inner product of their first 2^log_size cells is `total`, and 16 advice cells, all looked up
    in [-8, 8), sum to `extra`."""

    left: Any
    right: Any
    log_size: int
    total: int
    extra: int

    kind = "pair/v1"

    @property
    def commitments(self) -> Any:
        return (self.left, self.right)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total, self.extra)

    def canonical(self) -> bytes:
        return b"pair"

    def script(self, engine: Engine) -> None:
        left, right = engine.models
        advice = engine.advice("extra", TABLE)
        counts = engine.advice("multiplicities", TABLE)
        engine.commit()
        lookup(engine, [advice], counts, LOWEST)
        product = Product(ONE, Cells(left, 0), Cells(right, 0), self.log_size)
        products(engine, [product], Hidden.public(K.of(self.total)))
        constant = Term(ONE, ((ONE, ZERO),) * TABLE_LOG, advice.address)
        engine.claim([(engine.auxiliary, constant)], Hidden.public(K.of(self.extra)))


def lookup(engine: Engine, regions: Sequence[Region], counts: Region, first: int) -> None:
    """All cells of the advice regions (equal sizes, powers of two) lie in [first, first + size of counts)."""
    alpha = engine.challenge()
    size = regions[0].size
    depth = regions[0].log_size + (len(regions) - 1).bit_length()
    pieces = tuple(LookupPiece(i * size, engine.auxiliary, x.address, size, 1, 0) for i, x in enumerate(regions))
    table = TablePiece(0, engine.auxiliary, counts.address, counts.log_size, first, 0)
    same_sum(
        engine,
        piece_tree(engine, PieceFractions(depth, pieces, alpha)),
        piece_tree(engine, PieceFractions(counts.log_size, (table,), alpha)),
    )


@dataclass(frozen=True)
class Limbs(Statement):
    """For the first 16 model cells x: x + shift = sum_i base^i limb_i entrywise, every limb in [0, base); `total`, the
    sum of the top limbs, is disclosed. With two limbs: base * quotient + remainder, or x + shift >= 0. `ranged` counts
    the limbs that are looked up, the lowest first; all of them unless given."""

    commitment: Any
    limbs: int
    base: int
    shift: int
    total: int
    ranged: int | None = None

    kind = "limbs/v1"

    @property
    def commitments(self) -> Any:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total,)

    def canonical(self) -> bytes:
        return f"limbs {self.limbs} {self.base} {self.shift} {self.ranged}".encode()

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        parts = [engine.advice(f"limb {i}", TABLE) for i in range(self.limbs)]
        counts = engine.advice("multiplicities", self.base)
        engine.commit()
        lookup(engine, parts[: self.ranged], counts, 0)
        point = [engine.challenge() for _ in range(TABLE_LOG)]
        left = send_evaluation(engine, Cells(model, 0), point, evaluation(engine, model, 0, point))
        for i, part in enumerate(parts):
            value = evaluation(engine, engine.auxiliary, part.address, point)
            left = left - send_evaluation(engine, Cells(engine.auxiliary, part.address), point, value) * self.base**i
        engine.zero(left + self.shift)
        constant = Term(ONE, ((ONE, ZERO),) * TABLE_LOG, parts[-1].address)
        engine.claim([(engine.auxiliary, constant)], Hidden.public(K.of(self.total)))


@dataclass(frozen=True)
class Bits(Statement):
    """16 advice cells b with sum b^2 = sum b = `total`, disclosed; if `ranged`, all looked up in {0, 1}."""

    commitment: Any
    total: int
    ranged: bool = True

    kind = "bits/v1"

    @property
    def commitments(self) -> Any:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total,)

    def canonical(self) -> bytes:
        return b"bits"

    def script(self, engine: Engine) -> None:
        bits = engine.advice("bits", TABLE)
        counts = engine.advice("multiplicities", 2)
        engine.commit()
        if self.ranged:
            lookup(engine, [bits], counts, 0)
        cells = Cells(engine.auxiliary, bits.address)
        products(engine, [Product(ONE, cells, cells, TABLE_LOG)], Hidden.public(K.of(self.total)))
        constant = Term(ONE, ((ONE, ZERO),) * TABLE_LOG, bits.address)
        engine.claim([(engine.auxiliary, constant)], Hidden.public(K.of(self.total)))


def evaluation(engine: Any, oracle: Any, address: int, point: Sequence[K]) -> K | None:
    """The multilinear extension of committed cells at a point, at the role that has them; None elsewhere."""
    if not hasattr(engine, "data"):
        return None
    from prover.argument.workers import field_cells
    from verifier.argument.field import eq_table, k_scale, k_sum

    return k_sum(k_scale(eq_table(point), field_cells(engine, oracle, address, 1 << len(point))))


__all__ = ["Bits", "Grouped", "Histograms", "Limbs", "Pair", "Sums", "ToyCommitment", "evaluation", "lookup"]

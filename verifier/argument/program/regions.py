"""Advice tensors in the auxiliary oracle: limbs, dyadic blocks, lookups (protocol.md, section 6: range first).

An advice cell x in [low, high] is committed as x - low = sum_l 2^(16 l) limb_l. Full limbs are looked up in [0,
2^16), the top
one, with bound T, from both sides: limb and T - limb. Each limb level of each tensor is one region of consecutive
real cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np

from circuits.errors import StatementError
from circuits.program import Advice, Integers, Shape, rounded_high
from verifier.argument.engine import Engine, Oracle, Region
from verifier.argument.field import ONE, K
from verifier.argument.forms import Factor, Term
from verifier.argument.lookup import piece_tree, same_sum
from verifier.argument.workers import LookupPiece, PieceFractions, TablePiece

LIMB_BITS = 16
TABLE = 1 << LIMB_BITS
MAX_BITS = 62
MULTIPLICITIES = "multiplicities"


def axis_bits(size: int) -> int:
    """Variables of an axis of that size."""
    return (size - 1).bit_length()


def axis_pieces(size: int) -> list[tuple[int, int]]:
    """An axis as dyadic pieces (start, log_size), high bit first."""
    pieces, start = [], 0
    for bit in range(size.bit_length() - 1, -1, -1):
        if size >> bit & 1:
            pieces.append((start, bit))
            start += 1 << bit
    return pieces


@lru_cache(maxsize=1024)
def block_layout(shape: Shape) -> BlockLayout:
    """The layout of a shape; a policy has many tensors of few shapes."""
    return BlockLayout(shape)


@dataclass(frozen=True)
class BlockLayout:
    """A tensor of any rank cut into dyadic blocks, largest first, laid out without gaps from 0: each is aligned."""

    shape: Shape

    @cached_property
    def blocks(self) -> list[tuple[tuple[tuple[int, int], ...], int]]:
        """((start, log_size) per axis, offset) of every block."""
        cut = [tuple(pieces) for pieces in product(*(axis_pieces(size) for size in self.shape))]
        cut.sort(key=lambda pieces: -sum(log for _, log in pieces))
        placed, offset = [], 0
        for pieces in cut:
            placed.append((pieces, offset))
            offset += 1 << sum(log for _, log in pieces)
        return placed

    def terms(self, factors: Sequence[Sequence[Factor]], coefficient: K, address: int) -> list[Term]:
        """The product-form functional with these factors per axis on the tensor at `address`."""
        out = []
        for pieces, offset in self.blocks:
            scale, low = coefficient, list[Factor]()
            for (start, log), axis in reversed(list(zip(pieces, factors, strict=True))):
                low.extend(axis[:log])
                scale = scale * chosen(axis[log:], start >> log)
            out.append(Term(scale, tuple(low), address + offset))
        return out

    def flatten(self, array: Integers) -> Integers:
        """The cells of a tensor in the order of the blocks."""
        parts = [
            array[tuple(slice(start, start + (1 << log)) for start, log in pieces)].reshape(-1)
            for pieces, _ in self.blocks
        ]
        return np.concatenate(parts)


def chosen(factors: Sequence[Factor], index: int) -> K:
    """prod_v (a_v + b_v x_v) at the bits of an index."""
    value = ONE
    for v, (a, b) in enumerate(factors):
        value = value * (a + b if index >> v & 1 else a)
    return value


@dataclass(frozen=True)
class Limb:
    """One limb level of an advice tensor: weight 2^shift, values [0, bound]."""

    name: str
    shift: int
    bound: int
    cells: int


def limbs_of(advice: Advice) -> list[Limb]:
    """The limb levels of an advice tensor. Raises StatementError for a range that limbs cannot show exactly."""
    span = advice.high - advice.low
    if span < 0 or span.bit_length() > MAX_BITS or rounded_high(advice.low, advice.high) != advice.high:
        raise StatementError(
            f"the range [{advice.low}, {advice.high}] of advice {advice.name} cannot be shown by limbs"
        )
    count = int(np.prod(advice.shape, dtype=np.int64)) if advice.shape else 1
    levels = []
    for level, shift in enumerate(range(0, max(1, span.bit_length()), LIMB_BITS)):
        bound = min(TABLE - 1, span >> shift)
        levels.append(Limb(f"{advice.name}#{level}", shift, bound, count))
    return levels


def limb_values(advice: Advice, array: Integers) -> dict[str, Integers]:
    """The witness of an advice tensor: cells by region name. Raises ValueError if a cell is outside the range."""
    if array.shape != advice.shape or array.min() < advice.low or array.max() > advice.high:
        raise ValueError(
            f"advice {advice.name} leaves [{advice.low}, {advice.high}] or has another shape than {advice.shape}"
        )
    offset = block_layout(advice.shape).flatten(array) - advice.low
    return {limb.name: (offset >> limb.shift) & (TABLE - 1) for limb in limbs_of(advice)}


def multiplicities(advice: Sequence[Advice], cells: dict[str, Integers]) -> Integers:
    """How often each entry of the table is looked up."""
    counts = np.zeros(TABLE, np.int64)
    for atom in advice:
        for limb in limbs_of(atom):
            values = cells[limb.name]
            for side in (values, limb.bound - values) if limb.bound < TABLE - 1 else (values,):
                counts += np.bincount(side[(side >= 0) & (side < TABLE)], minlength=TABLE)
    return counts


class AdviceRegions:
    """All advice of a program in one proof: reserved before the commit, looked up after it.

    `counts` are the multiplicities of fresh histograms: one cell each, fixed by a lookup of their own
    (`look_up_tally`).
    """

    def __init__(self, engine: Engine, advice: Sequence[Advice], counts: Sequence[Advice] = ()) -> None:
        self._engine = engine
        self._limbs = {atom.name: limbs_of(atom) for atom in advice}
        self._counts = {atom.name: engine.advice(atom.name, TABLE) for atom in counts}
        if len(self._limbs) != len(advice):
            raise StatementError("two advice tensors have one name: an error in the statement")
        levels = sorted((limb for limbs in self._limbs.values() for limb in limbs), key=lambda limb: -limb.cells)
        self._regions: dict[str, Region] = {}
        table = False
        for limb in levels:
            if not table and limb.cells < TABLE:
                self._table, table = engine.advice(MULTIPLICITIES, TABLE), True
            self._regions[limb.name] = engine.advice(limb.name, limb.cells)
        if levels and not table:
            self._table = engine.advice(MULTIPLICITIES, TABLE)
        self._levels = levels

    def is_count(self, atom: Advice) -> bool:
        """Is it the counts of a tally, whose cells are the values themselves?"""
        return atom.name in self._counts

    def terms(self, atom: Advice, factors: Sequence[Sequence[Factor]], coefficient: K) -> list[tuple[Oracle, Term]]:
        """The functional on x - low, as terms on the limbs."""
        if atom.name in self._counts:
            return [(self._engine.auxiliary, Term(coefficient, tuple(factors[0]), self._counts[atom.name].address))]
        layout, out = block_layout(atom.shape), list[tuple[Oracle, Term]]()
        for limb in self._limbs[atom.name]:
            region = self._regions[limb.name]
            terms = layout.terms(factors, coefficient * (1 << limb.shift), region.address)
            out.extend((self._engine.auxiliary, term) for term in terms)
        return out

    def look_up_tallies(self, alpha: K, tallies: Sequence[tuple[Advice, Oracle, Sequence[tuple[int, int]]]]) -> None:
        """Every tally (counts, oracle, intervals of addresses) counts exactly the cells of its intervals.

        The keys are (value, -, number of the tally), so that one tree serves all. *Soundness*: as for the histograms of
        a commitment; the cells are looked up in [-2^15, 2^15) by it.
        """
        lookups, position = [], 0
        blocks = [
            (stop - start, start, oracle, number)
            for number, (_, oracle, intervals) in enumerate(tallies)
            for start, stop in intervals
        ]
        for size, start, oracle, number in sorted(blocks, key=lambda block: -block[0]):
            lookups.append(LookupPiece(position, oracle, start, size, 1, 0, number))
            position += size
        tables = tuple(
            TablePiece(
                number << LIMB_BITS,
                self._engine.auxiliary,
                self._counts[counts.name].address,
                LIMB_BITS,
                -TABLE // 2,
                number,
            )
            for number, (counts, _, _) in enumerate(tallies)
        )
        cells = piece_tree(self._engine, PieceFractions(max(2, (position - 1).bit_length()), tuple(lookups), alpha))
        depth = LIMB_BITS + (len(tables) - 1).bit_length()
        same_sum(self._engine, cells, piece_tree(self._engine, PieceFractions(depth, tables, alpha)))

    def look_up(self, alpha: K) -> None:
        """Every limb is in its range. *Soundness*: alpha comes after the commit phase; the table is used by nothing
        else."""
        if not self._levels:
            return
        auxiliary = self._engine.auxiliary
        sides = [
            (limb.cells, self._regions[limb.name], sign, offset)
            for limb in self._levels
            for sign, offset in ([(1, 0)] if limb.bound == TABLE - 1 else [(1, 0), (-1, limb.bound)])
        ]
        sides.sort(key=lambda side: -side[0])
        pieces, position = [], 0
        for cells, region, sign, offset in sides:
            step = 1 << region.log_size
            position = -(-position // step) * step
            pieces.append(LookupPiece(position, auxiliary, region.address, cells, sign, offset))
            position += cells
        depth = (position - 1).bit_length()
        looked_up = piece_tree(self._engine, PieceFractions(depth, tuple(pieces), alpha))
        table = TablePiece(0, auxiliary, self._table.address, LIMB_BITS, 0, 0)
        same_sum(self._engine, looked_up, piece_tree(self._engine, PieceFractions(LIMB_BITS, (table,), alpha)))

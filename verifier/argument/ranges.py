"""Integers in [0, 2^bits) as committed 16-bit limbs, looked up in one table per proof (protocol.md, section 6).

Full limbs are looked up in [0, 2^16). A narrower top limb x of w bits is two-sided: x and 2^w - 1 - x. At most 62
bits: the limb bound B and the interval of what is decomposed then cannot wrap around p.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from circuits.errors import StatementError
from verifier.argument.engine import Engine, Oracle, Region
from verifier.argument.field import ONE, K
from verifier.argument.forms import Term
from verifier.argument.lookup import piece_tree, same_sum
from verifier.argument.workers import LookupPiece, PieceFractions, TablePiece

LIMB_BITS = 16
LIMB = 1 << LIMB_BITS
MAX_BITS = 62
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LimbPlan:
    """Where the limbs of a list of integers go: `full` counts the 16-bit limbs, `narrow[w]` the top limbs of w bits."""

    bits: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(not 1 <= b <= MAX_BITS for b in self.bits):
            raise StatementError(f"a range of {max(self.bits)} bits could wrap around the field; at most {MAX_BITS}")

    @property
    def full(self) -> int:
        return sum(b // LIMB_BITS for b in self.bits)

    @property
    def narrow(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for b in self.bits:
            if b % LIMB_BITS:
                counts[b % LIMB_BITS] = counts.get(b % LIMB_BITS, 0) + 1
        return dict(sorted(counts.items()))

    def places(self) -> Iterator[list[tuple[int, int, int]]]:
        """For every integer its limbs as (width, index among the limbs of that width, shift)."""
        used: dict[int, int] = {}
        for b in self.bits:
            limbs = []
            for shift in range(0, b, LIMB_BITS):
                width = min(LIMB_BITS, b - shift)
                limbs.append((width, used.get(width, 0), shift))
                used[width] = used.get(width, 0) + 1
            yield limbs

    def witness(self, values: Sequence[int], prefix: str) -> dict[str, Integers]:
        """The advice: limbs by region name, and the multiplicities of the table.

        Raises ValueError if a value is outside its range.
        """
        limbs: dict[int, list[int]] = {}
        for value, b, places in zip(values, self.bits, self.places(), strict=True):
            if not 0 <= value < 1 << b:
                raise ValueError(f"{value} is not in [0, 2^{b})")
            for width, _, shift in places:
                limbs.setdefault(width, []).append(value >> shift & ((1 << width) - 1))
        regions = {f"{prefix}/{width}": np.array(cells, np.int64) for width, cells in limbs.items()}
        return {**regions, f"{prefix}/multiplicities": self.multiplicities(regions, prefix)}

    def multiplicities(self, regions: Mapping[str, Integers], prefix: str) -> Integers:
        """How often each table entry is looked up."""
        counts = np.zeros(LIMB, np.int64)
        for name, cells in regions.items():
            width = int(name.removeprefix(f"{prefix}/"))
            inside = cells[(cells >= 0) & (cells < LIMB)]
            counts += np.bincount(inside, minlength=LIMB)
            if width < LIMB_BITS:
                other = (1 << width) - 1 - cells
                counts += np.bincount(other[(other >= 0) & (other < LIMB)], minlength=LIMB)
        return counts


class Limbs:
    """The limbs of one proof: reserved before the commit, looked up after it."""

    def __init__(self, engine: Engine, plan: LimbPlan, prefix: str) -> None:
        self._engine = engine
        self._places = list(plan.places())
        counts = {LIMB_BITS: plan.full, **plan.narrow}
        self._regions: dict[int, Region] = {
            width: engine.advice(f"{prefix}/{width}", count) for width, count in counts.items() if count
        }
        self._multiplicities = engine.advice(f"{prefix}/multiplicities", LIMB)

    def terms(self, number: int, scale: K = ONE) -> list[tuple[Oracle, Term]]:
        """scale * (the integer with that number) as a linear form of committed limbs."""
        return [
            (self._engine.auxiliary, Term(scale * (1 << shift), (), self._regions[width].address + index))
            for width, index, shift in self._places[number]
        ]

    def look_up(self, alpha: K) -> None:
        """Show that every limb is in its range. *Soundness*: alpha must come after the commit phase."""
        auxiliary = self._engine.auxiliary
        pieces: list[LookupPiece] = []
        position = 0
        for width, region in self._regions.items():
            offsets = [(1, 0)] if width == LIMB_BITS else [(1, 0), (-1, (1 << width) - 1)]
            for sign, offset in offsets:
                step = 1 << region.log_size
                position = -(-position // step) * step
                pieces.append(LookupPiece(position, auxiliary, region.address, region.size, sign, offset))
                position += region.size
        depth = (position - 1).bit_length()
        cells = piece_tree(self._engine, PieceFractions(depth, tuple(pieces), 0, alpha))
        table = TablePiece(0, auxiliary, self._multiplicities.address, LIMB_BITS, 0, 0)
        same_sum(self._engine, cells, piece_tree(self._engine, PieceFractions(LIMB_BITS, (table,), 0, alpha)))

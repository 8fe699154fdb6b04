"""The validity proof of a commitment: every weight is in range and every histogram exact (protocol.md, section 6).

Every weight of group g is looked up as (value, -, g) in [-2^15, 2^15) x groups; the multiplicities are the histograms
that were committed with the model. An identity of rational functions in alpha with fewer than p poles of
multiplicity 1 on the left makes each multiplicity the exact count.
"""

from __future__ import annotations

from dataclasses import dataclass

from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.lookup import cell_tree, piece_tree, same_sum
from verifier.argument.statement import Statement
from verifier.argument.workers import CellFractions, PieceFractions, TablePiece

HISTOGRAM_LOG = 16
LOWEST = -(1 << 15)


@dataclass(frozen=True)
class Validity(Statement):
    """Reusable: proved once per commitment, with no nonce."""

    commitment: Commitment

    kind = "validity/v1 (reusable, no nonce)"
    reusable = True

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    def canonical(self) -> bytes:
        return b"all cells in [-2^15, 2^15), histograms exact"

    def script(self, engine: Engine) -> None:
        layout = self.commitment.layout
        (model,) = engine.models
        engine.commit()
        alpha = engine.challenge()
        engine.counts.lookup_challenges += 1
        runs = layout.runs
        cells = cell_tree(engine, CellFractions(model, runs.start, runs.stop, runs.group, alpha))
        groups = len(layout.group_sizes)
        pieces = tuple(
            TablePiece(g << HISTOGRAM_LOG, model, layout.histogram_address(g), HISTOGRAM_LOG, LOWEST, g)
            for g in range(groups)
        )
        depth = HISTOGRAM_LOG + (groups - 1).bit_length()
        table = piece_tree(engine, PieceFractions(depth, pieces, alpha))
        same_sum(engine, cells, table)

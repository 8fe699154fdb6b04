"""What an ezkl proof will need, before it is made, from constants measured with ezkl 23.0.5 on two cores."""

from __future__ import annotations

from dataclasses import dataclass

from verifier.backends.ezkl.circuit import Circuit
from verifier.backends.ezkl.keys import INNER_COLUMNS, blocks, log_rows_for

ROWS_AN_OUTPUT = 2
ROWS_A_DIGIT = 3.3
"""The cell, the integer it is part of, x + d, and three halves of products and sums in the tree of fractions."""
BASE_MEMORY = 320 << 20
PROVE_BYTES_A_CELL = 5_200
"""A cell is a row of a block of columns: 65,536 weights, two blocks of 2^18 rows, took 3.0 GB."""
SETUP_SECONDS_A_CELL = 65e-6
PROVE_SECONDS_A_CELL = 85e-6


@dataclass(frozen=True)
class Estimate:
    """Rows as ezkl counts them, height, and what two cores need: seconds, and bytes of memory at the peak."""

    rows: int
    log_rows: int
    setup_seconds: float
    prove_seconds: float
    memory: int

    def text(self) -> str:
        return (
            f"{self.rows} rows, {self.setup_seconds:.0f} s of setup, {self.prove_seconds:.0f} s of proving and"
            f" {self.memory / 2**30:.1f} GiB, with a reference string for 2^{self.log_rows} rows"
        )


def estimate(circuit: Circuit) -> Estimate:
    """The estimate for a circuit; within a tenth of the rows that ezkl counts."""
    rows = ROWS_AN_OUTPUT * circuit.outputs + int(ROWS_A_DIGIT * circuit.digits) + circuit.products // INNER_COLUMNS
    log_rows = log_rows_for(circuit, rows)
    cells = blocks(rows, log_rows) << log_rows
    return Estimate(
        rows,
        log_rows,
        SETUP_SECONDS_A_CELL * cells,
        PROVE_SECONDS_A_CELL * cells,
        BASE_MEMORY + PROVE_BYTES_A_CELL * cells,
    )

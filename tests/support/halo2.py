"""The copy constraints of a circuit, read from ezkl's proving key: which cells Halo2 forces to be equal.

Halo2 writes them as one polynomial per column: the value in row r of column c is delta^c' omega^r' for the next cell
(c', r') of the cycle that (c, r) lies in, in Montgomery form.
"""

from __future__ import annotations

from verifier.backends.ezkl.circuit import FIELD

TWO_ADICITY, GENERATOR = 28, 7
MOST_COLUMNS = 64
Cell = tuple[int, int]


def copies(proving_key: bytes, log_rows: int) -> list[list[Cell]]:
    """For every column of the permutation argument, the next cell of every row's cycle. Empty if none is found."""
    rows = 1 << log_rows
    cells = _cells(log_rows)
    heads = {rows.to_bytes(4, "big"), rows.to_bytes(4, "little")}
    found, at = list[list[Cell]](), 0
    while at + 4 + 32 * rows <= len(proving_key):
        if proving_key[at : at + 4] in heads and (column := _column(proving_key, at + 4, rows, cells)):
            found.append(column)
            at += 4 + 32 * rows
        else:
            at += 1
    return found


def cycle_lengths(found: list[list[Cell]], column: int) -> list[int]:
    """How many cells are forced to equal each cell of a column, itself included."""
    lengths = []
    for row in range(len(found[column])):
        length, cell = 1, found[column][row]
        while cell != (column, row):
            length, cell = length + 1, found[cell[0]][cell[1]]
        lengths.append(length)
    return lengths


def _cells(log_rows: int) -> dict[bytes, Cell]:
    delta = pow(GENERATOR, 1 << TWO_ADICITY, FIELD)
    omega = pow(GENERATOR, (FIELD - 1) >> log_rows, FIELD)
    table, first = dict[bytes, Cell](), (1 << 256) % FIELD
    for column in range(MOST_COLUMNS):
        value = first
        for row in range(1 << log_rows):
            table[value.to_bytes(32, "little")] = (column, row)
            value = value * omega % FIELD
        first = first * delta % FIELD
    return table


def _column(data: bytes, start: int, rows: int, cells: dict[bytes, Cell]) -> list[Cell]:
    """One column, or nothing if the bytes are none."""
    column = list[Cell]()
    for row in range(rows):
        cell = cells.get(data[start + 32 * row : start + 32 * (row + 1)])
        if cell is None:
            return []
        column.append(cell)
    return column

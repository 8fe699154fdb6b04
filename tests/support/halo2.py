"""The constraint system that ezkl made of a circuit, read from its keys: copies, selectors, constants, instances.

Halo2 writes copies as one polynomial per column: the value in row r of column c is delta^c' omega^r' for the next cell
(c', r') of the cycle that (c, r) lies in, in Montgomery form. Columns come in the order in which ezkl makes them: the
input vectors, three groups of advice (left, right, output; per block and inner column), constants, instances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from verifier.backends.ezkl.circuit import FIELD
from verifier.backends.ezkl.keys import INNER_COLUMNS, KEY, PROVING_KEY

TWO_ADICITY, GENERATOR, POINT_BYTES = 28, 7, 64
INPUTS = 3
Cell = tuple[int, int]
_UNSHIFT = pow(1 << 256, -1, FIELD)
ROW_GATES = ("add", "sub", "mul")
BLOCK_GATES = ("dot from 0", "dot", "product", "product from 1", "sum", "sum from 0")


@dataclass(frozen=True)
class Gate:
    """`output` is `kind` of `operands`: left cells, right cells, and for what goes on the cell above the output."""

    kind: str
    operands: tuple[Cell, ...]
    output: Cell

    def value(self, cells: Sequence[int]) -> int:
        """What the gate forces its output to be."""
        match self.kind:
            case "add":
                return (cells[0] + cells[1]) % FIELD
            case "sub":
                return (cells[0] - cells[1]) % FIELD
            case "mul":
                return cells[0] * cells[1] % FIELD
            case "dot" | "dot from 0":
                pairs = zip(cells[:INNER_COLUMNS], cells[INNER_COLUMNS : 2 * INNER_COLUMNS], strict=True)
                return (sum(a * b for a, b in pairs) + sum(cells[2 * INNER_COLUMNS :])) % FIELD
            case "sum" | "sum from 0":
                return sum(cells) % FIELD
        raise AssertionError(f"no circuit of ours has the gate {self.kind}")


@dataclass(frozen=True)
class ConstraintSystem:
    """Attributes:
    rows: of every column.
    next: by column and row, the next cell of the cycle.
    constants: the cells of the column of constants, the last but one, if there is one.
    gates: all that a selector switches on.
    """

    rows: int
    next: list[list[Cell]]
    constants: list[int]
    gates: list[Gate]

    @staticmethod
    def of(folder: Path) -> ConstraintSystem:
        """From the keys in a folder."""
        key, proving = (folder / KEY).read_bytes(), (folder / PROVING_KEY).read_bytes()
        rows = 1 << key[1]
        at = len(key)
        for _ in range(3):  # first, last and usable rows, over a larger domain
            _, at = _vector(proving, at, None)
        fixed, at = _vectors(proving, at, rows)
        for _ in range(2):  # the same as polynomials and over a larger domain
            _, at = _vectors(proving, at, None)
        copies, _ = _vectors(proving, at, rows)
        cells = _cells(len(copies), rows)
        columns = [[cells[value] for value in column] for column in copies]
        (count,) = struct.unpack("<I", key[3:7])
        packed = key[7 + POINT_BYTES * (count + len(copies)) :]
        selectors = [
            [packed[start + row // 8] >> (row % 8) & 1 for row in range(rows)]
            for start in range(0, len(packed), rows // 8)
        ]
        blocks = len(selectors) // (INNER_COLUMNS * len(ROW_GATES) + len(BLOCK_GATES))
        # a circuit without constants has no column for them
        assert len(copies) - INPUTS - 3 * INNER_COLUMNS * blocks in (1, 2)
        some = len(copies) - INPUTS - 3 * INNER_COLUMNS * blocks == 2
        constants = [value * _UNSHIFT % FIELD for value in fixed[0]] if some else []
        return ConstraintSystem(rows, columns, constants, list(_gates(selectors, blocks)))

    def cycle(self, cell: Cell) -> list[Cell]:
        """The cells that are forced to be equal, from `cell` on."""
        found, at = [cell], self.next[cell[0]][cell[1]]
        while at != cell:
            found.append(at)
            at = self.next[at[0]][at[1]]
        return found

    def instances(self, inputs: Sequence[Sequence[int]]) -> list[int | None]:
        """The instances that the constraints leave for these input columns: None where any value would do.

        Raises AssertionError where constraints contradict each other, or leave the output of a gate open.
        """
        first: dict[Cell, Cell] = {}
        for column in range(len(self.next)):
            for row in range(self.rows):
                if (column, row) not in first:
                    first.update(dict.fromkeys(self.cycle((column, row)), (column, row)))
        known: dict[Cell, int] = {}

        def fix(cell: Cell, value: int) -> None:
            assert known.setdefault(first[cell], value) == value, f"{cell} is forced to have two values"

        for column, vector in enumerate(inputs):
            for row, value in enumerate(vector):
                fix((column, row), value % FIELD)
        place = len(self.next) - 2
        for row, value in enumerate(self.constants):
            if self.next[place][row] != (place, row):
                fix((place, row), value)
        waiting = self.gates
        while waiting:
            later = []
            for gate in waiting:
                values = [known.get(first[cell]) for cell in gate.operands]
                if None in values:
                    later.append(gate)
                else:
                    fix(gate.output, gate.value([value for value in values if value is not None]))
            assert len(later) < len(waiting), f"nothing determines the operands of {later[0]}"
            waiting = later
        last = len(self.next) - 1
        return [known.get(first[last, row]) for row in range(self.rows)]


def _gates(selectors: list[list[int]], blocks: int) -> Iterator[Gate]:
    """ezkl's selectors: for every block and inner column the gates of a row, then for every block those of a chain."""

    def column(group: int, block: int, inner: int) -> int:
        return INPUTS + (group * blocks + block) * INNER_COLUMNS + inner

    names = [(kind, block, inner) for block in range(blocks) for inner in range(INNER_COLUMNS) for kind in ROW_GATES]
    names += [(kind, block, 0) for block in range(blocks) for kind in BLOCK_GATES]
    for (kind, block, inner), selector in zip(names, selectors, strict=True):
        for row, on in enumerate(selector):
            if not on:
                continue
            left, right = ([(column(group, block, i), row) for i in range(INNER_COLUMNS)] for group in (0, 1))
            output = (column(2, block, inner), row)
            above = [] if kind.endswith(("0", "1")) else [(output[0], row - 1)]
            if kind in ROW_GATES:
                yield Gate(kind, (left[inner], right[inner]), output)
            elif kind.startswith("sum"):
                yield Gate(kind, (*right, *above), output)
            else:
                yield Gate(kind, (*left, *right, *above), output)


def _cells(columns: int, rows: int) -> dict[int, Cell]:
    delta = pow(GENERATOR, 1 << TWO_ADICITY, FIELD)
    omega = pow(GENERATOR, (FIELD - 1) // rows, FIELD)
    table, first = dict[int, Cell](), (1 << 256) % FIELD
    for column in range(columns):
        value = first
        for row in range(rows):
            table[value] = (column, row)
            value = value * omega % FIELD
        first = first * delta % FIELD
    return table


def _vector(data: bytes, at: int, size: int | None) -> tuple[list[int], int]:
    """Field elements behind their number, as they are stored, and where they end; not read if no size is expected."""
    (count,) = struct.unpack(">I", data[at : at + 4])
    assert size in (None, count)
    at += 4
    stop = at + 32 * count
    read = [int.from_bytes(data[i : i + 32], "little") for i in range(at, stop, 32)] if size else []
    return read, stop


def _vectors(data: bytes, at: int, size: int | None) -> tuple[list[list[int]], int]:
    """Behind their number and that many lengths, which every one of them repeats."""
    (count,) = struct.unpack(">I", data[at : at + 4])
    at += 4 + 4 * count
    found = []
    for _ in range(count):
        vector, at = _vector(data, at, size)
        found.append(vector)
    return found, at

"""Derivation of parameters at commit time: the smallest proof that reaches the target (protocol.md, section 8).

Sizes and costs are estimates that only rank candidates; soundness is decided by the exact account.
"""

from __future__ import annotations

from fractions import Fraction
from math import log2

from circuits.errors import StatementError
from verifier.argument.errors import SoundnessError
from verifier.argument.field import ELEMENT_BYTES, P
from verifier.argument.hashing import DIGEST_BYTES
from verifier.argument.parameters import TARGET_BITS, Parameters, PlainLevel, least_queries
from verifier.argument.soundness import Counts, account

FOLDS = [(first, *rest) for first in (3, 4, 5, 6) for rest in ((), (3,), (4,), (5,), (4, 3), (4, 4), (5, 4), (5, 5))]
MAX_ROWS = 1024
# Upper estimates for a policy of some dozens of checks on hundreds of tensors.
GENEROUS = Counts(
    pads=4000, gates=4000, operands=4000, claims=8000, constraints=16000, lookup_challenges=4, tree_rounds=2000,
    tree_layers=200, sumcheck_rounds=1000, batched_relations=10**6, row_variables=11,
)  # fmt: skip


def expected_digests(queries: int, height: int) -> float:
    """Expected size of a multiproof for uniform leaves of a tree of 2^height leaves."""
    total = 0.0
    for j in range(1, height + 1):
        nodes = 2.0**j
        total += nodes * (1 - (1 - 2 / nodes) ** queries) - nodes * (1 - (1 - 1 / nodes) ** queries)
    return total


def proof_bytes(parameters: Parameters, rows: int, pads: int, trees: int = 2) -> float:
    """Expected size of a proof that opens `rows` F-rows in `trees` level-0 oracles."""
    p = parameters

    def tree(queries: int, height: int) -> float:
        return (expected_digests(queries, height) + 1) * DIGEST_BYTES

    total = trees * tree(p.queries, p.log_length)
    total += p.queries * (8 * rows + ELEMENT_BYTES + DIGEST_BYTES * trees)
    above = p.message
    for level in p.levels:
        count = -(-above // (1 << level.log_columns))
        total += tree(level.queries, level.log_length) + level.queries * count * ELEMENT_BYTES
        total += 2 * ELEMENT_BYTES * (count - 1).bit_length()
        above = 1 << level.log_columns
    total += above * ELEMENT_BYTES
    pad = p.pad_code(pads)
    total += (pads + pad.dimension) * ELEMENT_BYTES + tree(pad.queries, pad.log_length)
    return total + pad.queries * (2 * ELEMENT_BYTES + DIGEST_BYTES)


def butterflies(parameters: Parameters, rows: int) -> float:
    """Butterflies to encode the commitment and the first plain level."""
    total = rows * parameters.length * parameters.log_length / 2
    if parameters.levels:
        level = parameters.levels[0]
        count = -(-parameters.message // (1 << level.log_columns))
        total += 3 * count * (1 << level.log_length) * level.log_length / 2
    return total


def candidate(log_columns: int, folds: tuple[int, ...], proofs: int, target_bits: int) -> Parameters | None:
    """The parameters with that row length and those folds, or None if there are none."""
    if log_columns - sum(folds) < 2:
        return None
    error = Fraction(1, 2**target_bits * 2 * (len(folds) + 3))
    n, columns, step = 2 << log_columns, 1 << log_columns, 1 << (log_columns - folds[0])
    hiding = 0
    while True:
        queries = least_queries(n, columns + hiding, error)
        if queries is None:
            return None
        need = -(-queries * (proofs + 2) // step) * step
        if need > columns:
            return None
        if need <= hiding:
            break
        hiding = need
    levels, size, blowup = [], log_columns, 3
    for fold in folds:
        size -= fold
        count = least_queries(1 << (size + blowup), 1 << size, error)
        if count is None or count >= 1 << (size + blowup):
            return None
        levels.append(PlainLevel(size, size + blowup, count))
        blowup = min(blowup + 1, 4)
    return Parameters(target_bits, proofs, log_columns, hiding, queries, tuple(levels))


def derive(
    entries: int, proofs: int = 64, target_bits: int = TARGET_BITS, log_columns: int | None = None
) -> Parameters:
    """Parameters for a commitment to `entries` cells that promises `proofs` proofs.

    `log_columns` fixes the row length 2^log_columns (two commitments opened together need the same).
    Raises StatementError if sums of squares could wrap, SoundnessError if no parameters reach the target.
    """
    if entries < 1 or proofs < 1:
        raise StatementError("a commitment needs at least one entry and one proof")
    if entries * 2**30 * 2 >= P:
        raise StatementError("a sum of squares could wrap around the field: split the model into several commitments")
    best: tuple[float, Parameters] | None = None
    for size in range(8, 28) if log_columns is None else (log_columns,):
        rows = -(-entries >> size)
        if rows > MAX_ROWS or (log_columns is None and (1 << size) > 64 * entries):
            continue
        for folds in FOLDS:
            found = candidate(size, folds, proofs, target_bits)
            if found is None:
                continue
            pads = 60 * max(16, entries.bit_length())
            cost = butterflies(found, rows) / entries
            rank = proof_bytes(found, rows + 16, pads) * (1 + max(0.0, cost - 30) / 30)
            if best is None or rank < best[0]:
                counts = Counts(**{**vars(GENEROUS), "lookup_entries": 2 * entries, "rows": rows + 64})
                result = account(found, counts, found.pad_code(counts.pads))
                if result.union <= Fraction(1, 2**target_bits):
                    best = (rank, found)
    if best is None:
        raise SoundnessError(
            f"no parameters reach {target_bits} bits for {entries} entries and {proofs} proofs: promise fewer proofs"
        )
    best[1].check()
    return best[1]


def describe(parameters: Parameters, entries: int) -> str:
    """One line for people: shape, queries, levels."""
    rows = -(-entries >> parameters.log_columns)
    levels = ", ".join(f"2^{x.log_columns} ({x.queries})" for x in parameters.levels)
    size = proof_bytes(parameters, rows, 60 * int(max(16, log2(entries))))
    return (
        f"{rows} rows of 2^{parameters.log_columns} + {parameters.hiding}, {parameters.queries} queries; "
        f"plain levels {levels}; about {size / 1000:.0f} kB a proof"
    )

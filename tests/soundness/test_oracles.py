"""Groups 8, 13, 14, 21, 22: another commitment than the one argued about, oracles exchanged, multiproofs forged, cells
and rows that do not count."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from circuits.errors import StatementError
from prover.argument.opening import ProverOpening
from prover.argument.oracle import OracleData, commit_rows
from prover.argument.randomness import Stream
from tests.soundness.conftest import Honest
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.statements import Grouped, Pair, Sums
from tests.support.toy import KERNELS, MICRO, TINY, Toy, commit, in_rows, squares, weights, witness
from verifier.argument.engine import LABEL_AUXILIARY, LABEL_MODEL, Engine, Oracle
from verifier.argument.errors import FinalRelationError, MerkleError
from verifier.argument.field import ONE, K, P, Words, eq_table, k_dot, k_list
from verifier.argument.forms import Term
from verifier.argument.workers import Maybe

# ---------------------------------------------------------------- group 8


class SwitchedAtLast(ProverOpening):
    """Uses the cells that were argued about until mu is sent, the committed ones for y*."""

    def reveal(self, eps: K) -> Words | None:
        engine = self._engine
        data = engine.data[id(engine.models[0])]
        data.cells = cast(Any, data).committed
        return super().reveal(eps)


class Switching(Cheater):
    opening_worker = SwitchedAtLast


class Shown(Cheater):
    """Opens the columns of the other commitment."""

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        if oracle is self.models[0]:
            return cast(Any, self.data[id(oracle)]).other.opening(KERNELS, oracle, positions)  # type: ignore[no-any-return]
        return super()._opening(oracle, positions)


@pytest.mark.parametrize(("cheat", "error"), [(Cheater, None), (Switching, None), (Shown, MerkleError)])
@pytest.mark.parametrize("changed", [1, 128])
def test_committed_to_others_than_argued_about(
    micro: Honest, cheat: type[Cheater], error: type[Exception] | None, changed: int
) -> None:
    """Group 8: commit to w', prove a true statement about w: with y* of w, with y* of w', and with columns of w."""
    other = micro.weights.copy()
    other[:changed] = 7 - (other[:changed] + 8)
    commitment, data = commit(other, parameters=MICRO, seed=b"\x02" * 32)
    bent = replace(data, cells=micro.data.cells)
    vars(bent).update(committed=data.cells, other=micro.data)
    statement = Toy(commitment, micro.statement.total)
    rejects(error or FinalRelationError, statement, forge(statement, [bent], micro.advice, cheat).proof)


# ---------------------------------------------------------------- group 13


def pair(seed: int = 0, rows: int = 3) -> tuple[Pair, list[OracleData], dict[str, Any]]:
    """Two commitments of three rows each, then an auxiliary oracle."""
    left, right, extra = (weights(count, seed + i) for i, count in enumerate((64 * rows, 64 * rows, 16)))
    (a, a_data), (b, b_data) = (commit(x, parameters=MICRO, seed=bytes([i]) * 32) for i, x in enumerate((left, right)))
    total = int((left[:128] * right[:128]).sum())
    statement = Pair(a, b, 7, total, int(extra.sum()))
    return statement, [a_data, b_data], {"extra": extra, **witness(extra)}


def test_two_oracles_exchanged() -> None:
    """Group 13: the inner product does not change if its factors are swapped, the roots do; and one shown twice."""
    statement, data, advice = pair()
    accepts(statement, forge(statement, data, advice).proof)
    rejects(MerkleError, statement, forge(statement, data[::-1], advice).proof)
    for i in (0, 1):
        rejects(MerkleError, statement, forge(statement, [data[i], data[i]], advice).proof)
    swapped = Pair(statement.right, statement.left, 7, statement.total, statement.extra)
    accepts(swapped, forge(swapped, data[::-1], advice).proof)
    rejects(MerkleError, swapped, forge(statement, data, advice).proof)


def test_the_same_commitment_twice_is_itself() -> None:
    """Group 13: a statement may name a commitment twice; the factors are then equal, and other data is refused."""
    statement, data, advice = pair()
    cells = in_rows(np.asarray(data[0].cells), MICRO).reshape(-1)[:128].astype(np.int64)
    square = Pair(statement.left, statement.left, 7, int((cells * cells).sum()), statement.extra)
    accepts(square, forge(square, [data[0], data[0]], advice).proof)
    rejects(MerkleError, replace(square, total=statement.total), forge(statement, data, advice).proof)
    mixed = replace(square, total=statement.total)
    rejects(MerkleError, mixed, forge(mixed, data, advice).proof)


def test_commitments_of_different_shapes() -> None:
    """Group 13: oracles that are opened together share their code; anything else is refused before any proof is
    read."""
    statement, data, advice = pair()
    proof = forge(statement, data, advice).proof
    for other in (TINY, replace(MICRO, hiding=14, queries=4), replace(MICRO, queries=3), replace(MICRO, target_bits=2)):
        mixed = replace(statement, right=replace(statement.right, parameters=other))
        rejects(StatementError, mixed, proof)


def test_a_root_of_another_code() -> None:
    """Group 13: a tree over a longer code, under the parameters of the shorter one."""
    statement, data, advice = pair()
    cells = in_rows(weights(192, 1), MICRO)
    longer = commit_rows(KERNELS, LABEL_MODEL, cells, MICRO.hiding, MICRO.log_length + 1, Stream(bytes(32), b"x"))
    bent = replace(statement, right=replace(statement.right, root=longer.tree.root))
    rejects(MerkleError, bent, forge(bent, [data[0], longer], advice).proof)


class Mislabelled(Cheater):
    """Hashes the auxiliary oracle as if it were a model."""

    def _root(self, oracle: Oracle) -> bytes | None:
        if oracle.label != LABEL_AUXILIARY:
            return super()._root(oracle)
        oracle.label = LABEL_MODEL
        root = super()._root(oracle)
        oracle.label = LABEL_AUXILIARY
        return root


def test_an_oracle_of_another_kind(micro: Honest) -> None:
    """Group 13: leaves carry the label of their oracle, so that no tree can stand for another kind of oracle."""
    rejects(MerkleError, micro.statement, forge(micro.statement, [micro.data], micro.advice, Mislabelled).proof)


# ---------------------------------------------------------------- group 14

Pieces = tuple[list[bytes], list[bytes], list[bytes]]


def siblings_reversed(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return columns, salts, siblings[::-1]


def siblings_exchanged(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return columns, salts, [siblings[1], siblings[0], *siblings[2:]]


def columns_exchanged(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return [columns[1], columns[0], *columns[2:]], [salts[1], salts[0], *salts[2:]], siblings


def column_twice(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return [columns[0], columns[0], *columns[2:]], [salts[0], salts[0], *salts[2:]], siblings


def digest_missing(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return columns, salts, [*siblings[:-2], siblings[-1], bytes(32)]


def siblings_zero(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return columns, salts, [bytes(32)] * len(siblings)


def salts_exchanged(columns: list[bytes], salts: list[bytes], siblings: list[bytes]) -> Pieces:
    return columns, [salts[1], salts[0], *salts[2:]], siblings


class Repacked(Cheater):
    """Opens the model with its multiproof taken apart and put together otherwise."""

    change: Callable[..., Pieces]

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        data = super()._opening(oracle, positions)
        assert data is not None
        if oracle is not self.models[0]:
            return data
        width, count = 8 * oracle.words, len(positions)
        cut = [width * count, (width + 32) * count]
        columns = [data[i : i + width] for i in range(0, cut[0], width)]
        salts = [data[i : i + 32] for i in range(cut[0], cut[1], 32)]
        siblings = [data[i : i + 32] for i in range(cut[1], len(data), 32)]
        return b"".join(b"".join(part) for part in type(self).change(columns, salts, siblings))


@pytest.mark.parametrize(
    "change",
    [
        siblings_reversed, siblings_exchanged, columns_exchanged, column_twice, digest_missing, siblings_zero,
        salts_exchanged,
    ],
)  # fmt: skip
def test_a_multiproof_in_another_order(tiny: Honest, change: Callable[..., Pieces]) -> None:
    """Group 14: sibling order, unsorted and doubled positions, a missing digest, digests of nothing."""

    class Changed(Repacked):
        pass

    Changed.change = staticmethod(change)
    rejects(MerkleError, tiny.statement, forge(tiny.statement, [tiny.data], tiny.advice, Changed).proof)


class NodeAsLeaf(Cheater):
    """Shows an inner node as a leaf: its two children as salt and as the four values of a column."""

    def _opening(self, oracle: Oracle, positions: Sequence[int]) -> bytes | None:
        data = super()._opening(oracle, positions)
        assert data is not None
        if oracle is not self.models[0]:
            return data
        n, tree = 1 << oracle.log_length, self.data[id(oracle)].tree
        left, right = tree.digests([2 * (n // 2), 2 * (n // 2) + 1])
        words = struct.unpack("<4Q", right)
        column = struct.pack("<4Q", *(word % P for word in words))
        salts = 32 * len(positions)
        return column + data[32:salts] + left + data[salts + 32 :]


def test_a_node_as_a_leaf() -> None:
    """Group 14: leaves and nodes are hashed in different domains, and leaves with their label and position."""
    values = weights(256)
    commitment, data = commit(values, parameters=MICRO)
    assert commitment.rows == 4
    statement = Toy(commitment, squares(values))
    rejects(MerkleError, statement, forge(statement, [data], witness(values), NodeAsLeaf).proof)


# ---------------------------------------------------------------- group 21


def test_unused_cells_do_not_count() -> None:
    """Group 21: cells outside of every tensor may hold anything: no statement reads them, so nothing follows from
    them. A weight hidden there, or counted there instead of in its group, is missed."""
    grouped = Grouped()
    grouped.flat[90] = 3
    statement, data = grouped.commit()
    accepts(statement, forge(statement, [data], {}).proof)
    grouped.flat[112 + 3 + 8] += 1
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)
    grouped.recount()
    honest = int(grouped.flat[33])
    grouped.flat[33], grouped.flat[90] = 100, honest
    statement, data = grouped.commit()
    rejects(FinalRelationError, statement, forge(statement, [data], {}).proof)


class CountsRandomness(ProverOpening):
    """Argues as if the linear functional went on over the random coefficients."""

    def mask_dot(self, terms: Sequence[Term], pad_weights: Words, total: K) -> Maybe:
        super().mask_dot(terms, pad_weights, total)
        parameters = self._engine.parameters
        self._functional[0, parameters.columns : parameters.message] = 1
        assert self._engine.pad_data is not None
        pads = self._engine.pad_data.mask[:, : pad_weights.shape[1]]
        return self._kernels.dot(self._mask, self._functional) + k_dot(pads, pad_weights)


class WeightsInRandomness(Cheater):
    opening_worker = CountsRandomness


def test_values_in_the_random_coefficients() -> None:
    """Group 21: the sum of a row with its random coefficients, passed off as the sum of its cells. Row and functional
    agree everywhere except in L || 0."""
    values = weights(64)
    commitment, data = commit(values, parameters=MICRO)
    assert data.tails is not None
    hidden = sum(int(x) for x in data.tails[0])
    true = Sums(commitment, 6, (int(values.sum()),))
    accepts(true, forge(true, [data], {}).proof)
    total = (int(values.sum()) + hidden) % P
    false = Sums(commitment, 6, (total if total < 1 << 63 else total - P,))
    rejects(FinalRelationError, false, forge(false, [data], {}, WeightsInRandomness).proof)
    rejects(FinalRelationError, false, forge(false, [data], {}).proof)


# ---------------------------------------------------------------- group 22


class Squeezed(Cheater):
    """Puts the rows of every oracle right behind those of the one before, in its own account of the joint rows."""

    def commit(self) -> None:
        super().commit()
        row = 0
        for oracle in self.level0:
            oracle.start_row = row
            row += oracle.rows


def test_an_oracle_after_one_of_three_rows() -> None:
    """Groups 21, 22: oracles start at multiples of their padded row count. One with three rows leaves a virtual row,
    which is zero: a prover who uses it for the next oracle is refused, and a claim that would reach into it is not
    compiled."""
    statement, data, advice = pair()
    accepts(statement, forge(statement, data, advice).proof)
    rejects(FinalRelationError, statement, forge(statement, data, advice, Squeezed).proof)
    rejects(StatementError, replace(statement, log_size=8), forge(statement, data, advice).proof)


class VirtualRow(ProverOpening):
    """Adds a row of its own to y*, in the gap between two oracles."""

    def reveal(self, eps: K) -> Words | None:
        engine = self._engine
        shown = super().reveal(eps)
        weight = k_list(eq_table(self._point))[3]
        row = np.zeros((3, engine.parameters.message), np.uint64)
        row[0, 5] = 12345
        self._kernels.axpy(self._plain.vector, eps * weight, row)
        return shown


class UsesVirtualRow(Cheater):
    opening_worker = VirtualRow


def test_a_virtual_row_is_zero() -> None:
    """Group 21: a value in a row between two oracles, which nothing commits to."""
    statement, data, advice = pair()
    rejects(FinalRelationError, statement, forge(statement, data, advice, UsesVirtualRow).proof)


@pytest.mark.parametrize(
    "factors",
    [7, 6, 3],
    ids=["larger than the oracle", "misaligned", "beyond its end"],
)
def test_a_misplaced_block_is_not_compiled(micro: Honest, factors: int) -> None:
    """Group 22: a claim whose subcube is misaligned or leaves its oracle would read cells of another one."""
    address = {7: 64, 6: 32, 3: 128}[factors]

    class Misplaced(Sums):
        def script(self, engine: Engine) -> None:
            super().script(engine)
            engine.claim([(engine.models[0], Term(ONE, ((ONE, ONE),) * factors, address))], engine.send(None))

    rejects(StatementError, Misplaced(micro.commitment, 3, (1,)), micro.proof)


def test_two_blocks_exchanged(micro: Honest) -> None:
    """Group 22: a prover who takes one tensor's block for another's, where the disclosed values tell them apart."""
    sums = micro.weights.reshape(16, 8).sum(axis=1)
    assert sums[0] != sums[1]
    true = Sums(micro.commitment, 3, tuple(int(x) for x in sums))
    false = replace(true, values=(true.values[1], true.values[0], *true.values[2:]))

    def exchanged(engine: Engine) -> None:
        original = engine.claim

        def claim(terms: Any, value: Any) -> None:
            (model, first), (_, second), *rest = terms
            bent = [(model, first.moved(8)), (model, second.moved(-8)), *rest]
            original(bent, value)

        engine.claim = claim  # type: ignore[method-assign]
        false.script(engine)

    rejects(FinalRelationError, false, forge(false, [micro.data], {}, script=exchanged).proof)
    rejects(MerkleError, false, forge(true, [micro.data], {}).proof)

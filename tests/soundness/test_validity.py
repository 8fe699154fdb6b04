"""Groups 4, 6, 7, 21, 22 on the real validity proof: a manifest, its layout, histograms of 65,536 entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from circuits.errors import StatementError
from circuits.layout import Layout
from tests.support.cheating import accepts, forge, rejects
from tests.support.model import Integers, Model, build, manifest, recount, tensors
from tests.support.toy import NONCE
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine
from verifier.argument.errors import FinalRelationError, MerkleError
from verifier.argument.field import ONE, ZERO
from verifier.argument.forms import Term
from verifier.argument.hidden import Hidden
from verifier.argument.statement import Statement
from verifier.argument.validity import Validity


@cache
def honest() -> tuple[Model, bytes]:
    model = build(tensors())
    statement = Validity(model.commitment)
    proof = forge(statement, [model.data], {}, nonce=b"").proof
    accepts(statement, proof, b"")
    return model, proof


def attempt(change: Callable[[Integers, Layout], None]) -> tuple[Statement, bytes]:
    model = build(tensors(), change)
    statement = Validity(model.commitment)
    return statement, forge(statement, [model.data], {}, nonce=b"").proof


def first_weight(layout: Layout) -> int:
    return int(layout.runs.start[0])


def too_large(flat: Integers, layout: Layout) -> None:
    flat[first_weight(layout)] = 1 << 15
    recount(flat, layout)


def too_small(flat: Integers, layout: Layout) -> None:
    flat[first_weight(layout)] = -(1 << 15) - 1
    recount(flat, layout)


def too_small_but_counted(flat: Integers, layout: Layout) -> None:
    too_small(flat, layout)
    flat[layout.histogram_address(0)] += 1


def one_moved(flat: Integers, layout: Layout) -> None:
    address = layout.histogram_address(0)
    flat[address + 40000] += 1
    flat[address] -= 1


def negative_count(flat: Integers, layout: Layout) -> None:
    address = layout.histogram_address(0)
    flat[address + 5] -= 1
    flat[address + 6] += 1


def off_by_one(flat: Integers, layout: Layout) -> None:
    address = layout.histogram_address(0)
    flat[address : address + 65536] = np.roll(flat[address : address + 65536], 1)


def counted_elsewhere(flat: Integers, layout: Layout) -> None:
    """A weight out of range; an unused cell at the end holds what is counted in its place."""
    honest_value = int(flat[first_weight(layout)])
    flat[first_weight(layout)] = 99999
    flat[layout.entries] = honest_value


def test_an_honest_commitment() -> None:
    """Group 6: the extremes -2^15 and 2^15 - 1 are among the weights."""
    model, proof = honest()
    accepts(Validity(model.commitment), proof, b"")
    rejects(StatementError, Validity(model.commitment), proof, NONCE)


def slow(change: Any) -> Any:
    return pytest.param(change, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "change",
    [
        too_large,
        slow(too_small),
        too_small_but_counted,
        one_moved,
        slow(negative_count),
        slow(off_by_one),
        counted_elsewhere,
    ],
)
def test_a_commitment_that_is_not_valid(change: Callable[[Integers, Layout], None]) -> None:
    """Groups 6, 7, 21: one weight at 2^15 or -2^15 - 1, a histogram that is not exact, a weight counted elsewhere."""
    statement, proof = attempt(change)
    rejects(FinalRelationError, statement, proof, b"")


@pytest.mark.slow
def test_unused_cells_at_the_end() -> None:
    """Group 21: cells beyond the layout belong to no tensor: validity does not depend on them, and no statement can."""

    def fill(flat: Integers, layout: Layout) -> None:
        flat[layout.entries :] = 12345

    statement, proof = attempt(fill)
    accepts(statement, proof, b"")


SHAPES = {"a.weight": (3, 5), "b.bias": (10,), "c.bias": (10,)}
OTHERS = {
    "renamed": manifest({"A.weight": (3, 5), "b.bias": (10,), "c.bias": (10,)}),
    "transposed": manifest({**SHAPES, "a.weight": (5, 3)}),
    "another scale": manifest(SHAPES, 11),
    "one tensor more": manifest({**SHAPES, "d.bias": (2,)}),
    "one tensor less": manifest({"a.weight": (3, 5), "b.bias": (10,)}),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_manifest_for_the_same_root(other: Any) -> None:
    """Groups 4, 22: names, shapes and scales are part of the commitment id; a validity proof is for one of them."""
    model, proof = honest()
    bent = model.under(other)
    assert bent.commitment.id != model.commitment.id
    rejects(MerkleError, Validity(bent.commitment), proof, b"")


@dataclass(frozen=True)
class TensorSum(Statement):
    """The entries of one tensor sum to `total` mod p: a statement without ranges of its own."""

    commitment: Commitment
    name: str
    total: int

    kind = "tensor sum/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    @property
    def disclosed(self) -> tuple[int, ...]:
        return (self.total,)

    def canonical(self) -> bytes:
        return self.name.encode()

    def script(self, engine: Engine) -> None:
        (model,) = engine.models
        engine.commit()
        terms = [
            (model, Term(ONE, ((ONE, ZERO),) * (block.log_rows + block.log_cols), block.address))
            for block in self.commitment.layout.tensor_blocks(self.name)
        ]
        engine.claim(terms, Hidden.public(ONE * self.total))


def test_a_tensor_over_cells_that_were_never_checked() -> None:
    """Group 4: an owner hides 10^9 in a cell that manifest A does not use, proves A valid, and proves a sum over it
    under manifest B, with the same root. The statement proof is fine as far as it goes: it is about B, and the
    validity proof of B, which the verifier must have accepted too, cannot be made."""

    def hide(flat: Integers, layout: Layout) -> None:
        flat[layout.entries] = 10**9

    model = build(tensors(), hide)
    valid = Validity(model.commitment)
    proof = forge(valid, [model.data], {}, nonce=b"").proof
    accepts(valid, proof, b"")
    bent = model.under(manifest({**SHAPES, "d.bias": (1,)}))
    (block,) = bent.layout.tensor_blocks("d.bias")
    total = int(model.flat[block.address])
    assert total == 10**9
    statement = TensorSum(bent.commitment, "d.bias", total)
    accepts(statement, forge(statement, [bent.data], {}).proof)
    rejects(MerkleError, Validity(bent.commitment), proof, b"")
    rejects(
        FinalRelationError,
        Validity(bent.commitment),
        forge(Validity(bent.commitment), [bent.data], {}, nonce=b"").proof,
        b"",
    )
    with pytest.raises(StatementError):
        forge(TensorSum(model.commitment, "d.bias", total), [model.data], {})


def test_two_tensors_exchanged() -> None:
    """Group 22: the sum of one tensor passed off as that of another of its shape, in the statement or by its
    selector."""
    model, _ = honest()
    sums = {name: int(values.sum()) for name, values in tensors().items()}
    true = TensorSum(model.commitment, "b.bias", sums["b.bias"])
    proof = forge(true, [model.data], {}).proof
    accepts(true, proof)
    false = TensorSum(model.commitment, "c.bias", sums["b.bias"])
    rejects(MerkleError, false, proof)
    rejects(FinalRelationError, false, forge(false, [model.data], {}).proof)
    rejects(FinalRelationError, false, forge(false, [model.data], {}, script=true.script).proof)


@pytest.mark.parametrize("shape", [(3, 5), (7, 1), (1, 7), (6, 6), (768,), (13, 31)])
def test_blocks_are_aligned_and_disjoint(shape: tuple[int, ...]) -> None:
    """Group 22: what every statement relies on: the blocks of a layout are aligned to their size, disjoint, and cover
    each tensor exactly once."""
    layout = Layout(manifest({"x": shape, "y": (shape[-1],), "z": ()}))
    used = np.zeros(layout.entries, np.int64)
    for name in ("x", "y", "z"):
        for block in layout.tensor_blocks(name):
            size = 1 << (block.log_rows + block.log_cols)
            assert block.address % size == 0
            used[block.address : block.address + size] += 1
    address = layout.histogram_address(0)
    assert address % 65536 == 0
    used[address : address + 65536] += 1
    assert (used == 1).all()

"""Groups 9, 10, 12: mask row, pads, mu and y* other than committed, or chosen after the challenge that fixes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from prover.argument.opening import ProverOpening
from tests.soundness.conftest import Honest
from tests.soundness.test_weight_collisions import pair_case
from tests.support.cheating import Cheater, accepts, coins, forge, rejects
from tests.support.statements import Grouped, Pair
from verifier.argument.engine import Oracle
from verifier.argument.errors import FinalRelationError, PadCheckError
from verifier.argument.field import ONE, ZERO, K, P, Words, eq_table, k_add, k_dot, k_list
from verifier.argument.workers import Maybe

# ---------------------------------------------------------------- group 9


class OtherMask(Cheater):
    """Argues with a mask row that differs from the committed g: everywhere, or in one coefficient."""

    everywhere = True

    def _root(self, oracle: Oracle) -> bytes | None:
        root = super()._root(oracle)
        if oracle is self.auxiliary:
            data = self.data[id(oracle)]
            assert data.mask is not None
            self.committed_mask = data.mask
            data.mask = self.stream.vector(data.mask.shape[1]) if self.everywhere else data.mask.copy()
            data.mask[0, 0] = (int(data.mask[0, 0]) + 1) % P
        return root


class OtherMaskCoefficient(OtherMask):
    everywhere = False


class CommittedMaskAtLast(ProverOpening):
    """mu of the other mask, y* of the committed one."""

    def reveal(self, eps: K) -> Words | None:
        self._mask = self._kernels.upload(cast(OtherMask, self._engine).committed_mask)
        return super().reveal(eps)


class OtherMaskInMu(OtherMask):
    opening_worker = CommittedMaskAtLast


@pytest.mark.parametrize("cheat", [OtherMask, OtherMaskCoefficient, OtherMaskInMu])
def test_another_mask_row(micro: Honest, cheat: type[Cheater]) -> None:
    """Group 9: the mask row could absorb any falsehood if it were chosen late."""
    rejects(FinalRelationError, micro.statement, forge(micro.statement, [micro.data], micro.advice, cheat).proof)


# ---------------------------------------------------------------- group 10


class OtherPad(Cheater):
    """Masks one message with another pad than the committed one."""

    number = 3

    def _root(self, oracle: Oracle) -> bytes | None:
        root = super()._root(oracle)
        if oracle is self.pad_oracle:
            self.pad_values[self.number] = self.pad_values[self.number] + 1
        return root


class RevealsOtherPad(OtherPad):
    """The same, and reveals the combination of that pad."""

    def _root(self, oracle: Oracle) -> bytes | None:
        root = super()._root(oracle)
        if oracle is self.pad_oracle:
            assert self.pad_data is not None
            self.pad_data.pads = self.pad_data.pads.copy()
            self.pad_data.pads[0, self.number] = (int(self.pad_data.pads[0, self.number]) + 1) % P
        return root


class OnePadForAll(Cheater):
    """Masks every message with the first pad."""

    def _mask(self, value: K | None, index: int) -> K | None:
        return super()._mask(value, 0)


class PadTwice(Cheater):
    """Masks two neighbouring messages with the same pad."""

    def _mask(self, value: K | None, index: int) -> K | None:
        return super()._mask(value, 6 if index == 7 else index)


class NoPads(Cheater):
    """Sends everything in clear."""

    def _mask(self, value: K | None, index: int) -> K | None:
        return value


@pytest.mark.parametrize(
    ("cheat", "error"),
    [
        (OtherPad, FinalRelationError),
        (RevealsOtherPad, PadCheckError),
        (OnePadForAll, FinalRelationError),
        (PadTwice, FinalRelationError),
        (NoPads, FinalRelationError),
    ],
)
def test_other_pads(micro: Honest, cheat: type[Cheater], error: type[Exception]) -> None:
    """Group 10: a hidden value is what its pad says; the pads are those of the oracle, each for one message."""
    rejects(error, micro.statement, forge(micro.statement, [micro.data], micro.advice, cheat).proof)


def test_a_false_statement_repaired_by_a_pad(micro: Honest) -> None:
    """Group 10: whoever could move a pad could prove anything: a hidden value is wire minus pad."""
    false = replace(micro.statement, total=micro.statement.total + 1)
    for number in (0, 100):
        kind = type("Late", (RevealsOtherPad,), {"number": number})
        rejects(PadCheckError, false, forge(false, [micro.data], micro.advice, kind).proof)


class Recording(Cheater):
    """Notes which pads hide which messages, and what masks the operands of quadratic relations."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.used: list[int] = []

    def _mask(self, value: K | None, index: int) -> K | None:
        self.used.append(index)
        return super()._mask(value, index)

    def fresh_pads(self, count: int) -> range:
        pads = super().fresh_pads(count)
        self.used.extend(pads)
        return pads


def test_every_pad_is_used_once_and_comes_from_k(micro: Honest) -> None:
    """Group 10: a reused pad shows the difference of two hidden values, and a pad from F leaves two thirds of a hidden
    value in clear: the API gives out each pad once, and none is in F."""
    prover = forge(micro.statement, [micro.data], micro.advice, Recording)
    assert isinstance(prover, Recording)
    assert sorted(prover.used) == list(range(prover.pads or 0)) == list(range(len(prover.pad_values)))
    assert all(pad[1] and pad[2] for pad in prover.pad_values), "2^-64 for a coefficient of a uniform pad"
    assert len({c for pad in prover.pad_values for c in pad}) == 3 * len(prover.pad_values)


# ---------------------------------------------------------------- group 12


class Bending(ProverOpening):
    """Knows the functional, the folded row and by how much the folded relation fails: <y, L> + <pad, U> - T*."""

    defect: K

    def mask_dot(self, terms: Any, pad_weights: Words, total: K) -> Maybe:
        mu = super().mask_dot(terms, pad_weights, total)
        engine, kernels = self._engine, self._kernels
        weights = k_list(eq_table(self._point))
        folded = kernels.zeros(engine.parameters.message)
        for oracle in engine.level0:
            data = engine.data[id(oracle)]
            if data.cells is not None:
                part = weights[oracle.start_row : oracle.start_row + oracle.rows]
                kernels.add_into(folded, 0, kernels.fold_rows(data.cells, part))
        assert engine.pad_data is not None
        pads = k_dot(engine.pad_data.pads[:, : pad_weights.shape[1]], pad_weights)
        self.defect = kernels.dot(folded, self._functional) + pads - total
        return self.bend_mu(cast(K, mu))

    def bend_mu(self, mu: K) -> K:
        return mu


class AnotherEps(Bending):
    """y* and pad* for another eps."""

    def reveal(self, eps: K) -> Words | None:
        return super().reveal(eps + 1)


class AnotherEpsForRow(Bending):
    """y* for another eps, pad* for the right one."""

    def reveal(self, eps: K) -> Words | None:
        shown = super().reveal(eps)
        vector = self._plain.vector
        super().reveal(eps + 1)
        assert vector is not self._plain.vector
        return shown


class BentRow(Bending):
    """y* moved by one coefficient, so that the batched relation holds although the statement is false."""

    def reveal(self, eps: K) -> Words | None:
        shown = super().reveal(eps)
        first = k_list(self._functional[:, :1])[0]
        step = -(eps * self.defect) * first.inverse()
        self._kernels.add_into(self._plain.vector, 0, np.array([[c] for c in step], np.uint64))
        return shown


class BentPads(Bending):
    """pad* moved likewise."""

    def mask_dot(self, terms: Any, pad_weights: Words, total: K) -> Maybe:
        self.first = k_list(pad_weights[:, :1])[0]
        return super().mask_dot(terms, pad_weights, total)

    def reveal(self, eps: K) -> Words | None:
        shown = super().reveal(eps)
        assert shown is not None
        step = -(eps * self.defect) * self.first.inverse()
        shown[:, :1] = k_add(shown[:, :1], np.array([[c] for c in step], np.uint64))
        return shown


class GuessedEps(Bending):
    """mu as if eps were known: mu + eps defect."""

    guess: K = ONE

    def bend_mu(self, mu: K) -> K:
        return mu + self.guess * self.defect

    def reveal(self, eps: K) -> Words | None:
        cast(Any, self._engine).eps = eps
        return super().reveal(eps)


def cheat_with(worker: type[ProverOpening], **settings: Any) -> type[Cheater]:
    return type("Bent", (Cheater,), {"opening_worker": type("Worker", (worker,), settings)})


@pytest.mark.parametrize(
    ("worker", "error"),
    [
        (AnotherEps, PadCheckError),
        (AnotherEpsForRow, FinalRelationError),
        (BentRow, FinalRelationError),
        (BentPads, PadCheckError),
        (GuessedEps, FinalRelationError),
    ],
)
@pytest.mark.parametrize("false", [0, 1])
def test_vectors_bent_after_eps(micro: Honest, worker: type[Bending], error: type[Exception], false: int) -> None:
    """Group 12: y* for another eps; a false statement with y*, pad* or mu made to fit the batched relation."""
    statement = replace(micro.statement, total=micro.statement.total + false)
    prover = forge(statement, [micro.data], micro.advice, cheat_with(worker))
    if not false and worker in (BentRow, BentPads, GuessedEps):
        accepts(statement, prover.proof)
    else:
        rejects(error, statement, prover.proof)


@pytest.mark.parametrize("known", [True, False])
def test_why_mu_comes_before_eps(micro: Honest, known: bool) -> None:
    """Group 12: mu chosen after eps proves anything. With programmed coins the prover knows eps and is believed; under
    Fiat-Shamir the same prover is not, since mu is absorbed before."""
    false = replace(micro.statement, total=micro.statement.total + 1)
    with coins(b"eps"):
        first = forge(false, [micro.data], micro.advice, cheat_with(GuessedEps))
        eps = cast(Any, first).eps
        rejects(FinalRelationError, false, first.proof)
        second = forge(false, [micro.data], micro.advice, cheat_with(GuessedEps, guess=eps))
        accepts(false, second.proof)
    if not known:
        third = forge(false, [micro.data], micro.advice, cheat_with(GuessedEps, guess=eps))
        rejects(FinalRelationError, false, third.proof)


def test_the_mask_hides_a_false_histogram_no_better() -> None:
    """Groups 9, 12: the same for histograms that are committed with the model."""
    grouped = Grouped()
    grouped.flat[96] += 1
    statement, data = grouped.commit()
    prover = forge(statement, [data], {}, cheat_with(GuessedEps, guess=ZERO))
    rejects(FinalRelationError, statement, prover.proof)


# ---------------------------------------------------------------- operands of the quadratic check


class BentOperand(Cheater):
    """Shows a wrong masked operand: the last one, moved so that the closing equation of the quadratic check holds
    although the last product is false."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shown: list[K] = []

    def clear(self, value: K | None) -> K:
        operands = {id(h) for terms, _ in self.relations.quadratics for _, x, y in terms for h in (x, y)}
        assert value is not None
        self.shown.append(value)
        if len(self.shown) == len(operands):
            (c, x, y), rest = self.relations.quadratics[-1][0][0], self.relations.quadratics[-1][1]
            assert x.value is not None and y.value is not None and rest.value is not None
            defect = c * x.value * y.value + rest.value
            e = self.challenges[-1]
            value = value - e * e * defect * (c * self.shown[-2]).inverse()
        return super().clear(value)


@pytest.mark.parametrize("false", [0, 1])
def test_a_masked_operand_that_is_none(false: int) -> None:
    """Group 10: the operands of quadratic relations are shown under pads; each is tied to its pad and its hidden value
    by a relation of its own."""
    statement, data, advice = pair_case()
    claimed = replace(cast(Pair, statement), total=cast(Pair, statement).total + false)
    proof = forge(claimed, data, advice, BentOperand).proof
    if false:
        rejects(FinalRelationError, claimed, proof)
    else:
        accepts(claimed, proof)

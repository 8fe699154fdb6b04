"""Group 18 (and 5): round polynomials of another degree or order, sums whose errors are carried along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from tests.soundness.conftest import Honest
from tests.support.cheating import Cheater, CheatingWorkers, accepts, forge, rejects
from tests.support.products import Cells, Product, ProverProducts, Public, SumcheckWorker, products
from tests.support.statements import Sums
from tests.support.toy import KERNELS, replace
from verifier.argument.engine import Engine
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import ONE, K, P, k_list
from verifier.argument.hidden import NOTHING
from verifier.argument.workers import Maybe


class OtherProducts(Cheater):
    """Runs the sumcheck of the products with a worker of its own."""

    worker: type[ProverProducts]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        cheat = self.worker

        class Bent(CheatingWorkers):
            def products(self, spec: Sequence[Product]) -> SumcheckWorker:
                return cheat(self._engine, spec)

        self.workers = Bent(self)


class Cubic(ProverProducts):
    """Sums cubes: the round polynomial has degree three, of which two coefficients are sent."""

    def _round_values(self) -> tuple[list[K], list[K]]:
        array = np.asarray(self._left[0])
        values = k_list(array) if array.ndim == 2 else [K.of(int(x)) for x in array]
        return values[0::2], values[1::2]

    def messages(self) -> tuple[Maybe, Maybe]:
        low, high = self._round_values()
        zero = K((0, 0, 0))
        at_zero = sum((x * x * x for x in low), zero)
        leading = sum(((y - x) * (y - x) * (y - x) for x, y in zip(low, high, strict=True)), zero)
        return at_zero, leading


class HighestFirst(ProverProducts):
    """Binds the variables from the highest bit down."""

    def messages(self) -> tuple[Maybe, Maybe]:
        size = np.asarray(self._left[0]).shape[-1] // 2
        return KERNELS.product_messages(self._left[0], self._right[0], size)

    def bind(self, challenge: K) -> None:
        size = np.asarray(self._left[0]).shape[-1] // 2
        self._left[0] = KERNELS.product_bind(self._left[0], challenge, size)
        self._right[0] = self._left[0]
        self._round += 1


class Swapped(ProverProducts):
    """Sends g(inf) and g(0) in the wrong order."""

    def messages(self) -> tuple[Maybe, Maybe]:
        at_zero, leading = super().messages()
        return leading, at_zero


@pytest.mark.parametrize("worker", [Cubic, HighestFirst, Swapped])
def test_other_round_polynomials(micro: Honest, worker: type[ProverProducts]) -> None:
    """Group 18: a sum of cubes passed off as the sum of squares, the wrong order of variables, exchanged messages."""
    cheat = type("Cheat", (OtherProducts,), {"worker": worker})
    rejects(FinalRelationError, micro.statement, forge(micro.statement, [micro.data], micro.advice, cheat).proof)
    cubes = replace(micro.statement, total=sum(int(x) ** 3 for x in micro.weights))
    rejects(FinalRelationError, cubes, forge(cubes, [micro.data], micro.advice, cheat).proof)


class FreeSum(ProverProducts):
    """Answers every round with what the false claim needs: g(inf) honest, g(0) solved from the claim so far."""

    def __init__(self, engine: Any, items: Sequence[Product]) -> None:
        super().__init__(engine, items)
        self._excess = cast(Any, engine).excess

    def messages(self) -> tuple[Maybe, Maybe]:
        at_zero, leading = super().messages()
        self._half = self._excess * pow(2, -1, P)
        return cast(K, at_zero) + self._half, leading

    def bind(self, challenge: K) -> None:
        # g' = g + excess / 2 throughout: g'(0) + g'(1) = T + excess, and g'(r) - g(r) = excess / 2
        self._excess = self._half
        super().bind(challenge)


class CarriedSum(OtherProducts):
    worker = FreeSum
    excess = ONE


def test_an_error_carried_through_a_sumcheck(micro: Honest) -> None:
    """Groups 5, 18: a false sum whose every round is consistent; it fails at the factors, which are claimed."""
    false = replace(micro.statement, total=micro.statement.total + 1)
    rejects(FinalRelationError, false, forge(false, [micro.data], micro.advice, CarriedSum).proof)


def test_products_of_different_lengths(micro: Honest) -> None:
    """Group 18: shorter products are extended by a selector, on both sides; sums that leave it out are false."""

    class Batch(Sums):
        def script(self, engine: Engine) -> None:
            (model,) = engine.models
            engine.commit()
            gamma = engine.challenge()
            short, long = Cells(model, 0), Cells(model, 64)
            ladder = Public(np.arange(64, dtype=np.int64))
            items = [Product(ONE, short, short, 3), Product(gamma, long, ladder, 6)]
            first, second = self.values
            products(engine, items, NOTHING + first + gamma * second)

    w = [int(x) for x in micro.weights]
    true = (sum(x * x for x in w[:8]), sum(i * x for i, x in enumerate(w[64:])))
    accepts(Batch(micro.commitment, 0, true), forge(Batch(micro.commitment, 0, true), [micro.data], {}).proof)
    for false in ((8 * true[0], true[1]), (true[0], true[1] + 1), (true[0] + 1, true[1] - 1), true[::-1]):
        statement = Batch(micro.commitment, 0, false)
        rejects(FinalRelationError, statement, forge(statement, [micro.data], {}).proof)

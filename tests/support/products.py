"""A batched sum of products of committed vectors: a small sub-protocol of the toy statements, both roles of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prover.argument.engine import ProvingEngine
from prover.argument.kernels.interface import Array
from prover.argument.workers import field_cells
from verifier.argument.engine import Engine, Oracle
from verifier.argument.field import ONE, ZERO, K, Words, eq_table, k_dot, k_list, lift
from verifier.argument.forms import eq_term
from verifier.argument.hidden import Hidden
from verifier.argument.sumcheck import rounds
from verifier.argument.workers import Maybe


@dataclass(frozen=True, eq=False)
class Cells:
    """2^log_size committed cells from `address`."""

    oracle: Oracle
    address: int


@dataclass(frozen=True, eq=False)
class Public:
    """A public vector of integers, signed, |x| < 2^62; length a power of two."""

    values: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Product:
    """coefficient * <left, right> over 2^log_size entries. `left is right` for a sum of squares."""

    coefficient: K
    left: Cells
    right: Cells | Public
    log_size: int


class SumcheckWorker:
    """The prover's side of a batched sum of products. Blank here."""

    def messages(self) -> tuple[Maybe, Maybe]:
        """g(0), g(inf)."""
        return None, None

    def bind(self, challenge: K) -> None: ...

    def finals(self) -> list[tuple[Maybe, Maybe]]:
        """Every product's left and right factor at the point."""
        return []


class ProverProducts(SumcheckWorker):
    """A batched sum of products; see `verifier.argument.sumcheck.products` for the extension to the longest."""

    def __init__(self, engine: ProvingEngine, items: Sequence[Product]) -> None:
        self._kernels = engine.kernels
        self._items = items
        self._round = 0
        self._tail = [ONE] * len(items)
        self._left: list[Array] = []
        self._right: list[Array] = []
        for item in items:
            size = 1 << item.log_size
            if item.right is item.left:
                raw = engine.cells(item.left.oracle).reshape(-1)[item.left.address : item.left.address + size]
                array = raw if raw.dtype == np.int32 else self._embed(raw)
                self._left.append(array)
                self._right.append(array)
                continue
            self._left.append(self._embed(field_cells(engine, item.left.oracle, item.left.address, size)))
            right = item.right
            values = (
                lift(right.values)
                if isinstance(right, Public)
                else field_cells(engine, right.oracle, right.address, size)
            )
            self._right.append(self._embed(values))

    def _embed(self, values: Words) -> Array:
        array = np.zeros((3, values.shape[0]), np.uint64)
        array[0] = values
        return self._kernels.upload(array)

    def messages(self) -> tuple[Maybe, Maybe]:
        total0 = total_inf = ZERO
        for i, item in enumerate(self._items):
            if self._round < item.log_size:
                g0, g_inf = self._kernels.product_messages(self._left[i], self._right[i], 1)
                total0, total_inf = total0 + item.coefficient * g0, total_inf + item.coefficient * g_inf
            else:
                # both sides carry the selector 1 - X: values f and 0, slope -f
                left, right = self._value(i)
                value = item.coefficient * self._tail[i] * left * right
                total0, total_inf = total0 + value, total_inf + value
        return total0, total_inf

    def _value(self, i: int) -> tuple[K, K]:
        return tuple(self._scalar(side[i]) for side in (self._left, self._right))  # type: ignore[return-value]

    def _scalar(self, array: Array) -> K:
        host = np.asarray(self._kernels.download(array))
        if host.ndim == 1:
            return ZERO + int(host[0])
        return k_list(host[:, :1])[0]

    def bind(self, challenge: K) -> None:
        for i, item in enumerate(self._items):
            if self._round < item.log_size:
                same = self._left[i] is self._right[i]
                self._left[i] = self._kernels.product_bind(self._left[i], challenge, 1)
                self._right[i] = self._left[i] if same else self._kernels.product_bind(self._right[i], challenge, 1)
            else:
                self._tail[i] = self._tail[i] * (1 - challenge) * (1 - challenge)
        self._round += 1

    def finals(self) -> list[tuple[Maybe, Maybe]]:
        return [self._value(i) for i in range(len(self._items))]


def evaluate_public(public: Public, point: Sequence[K]) -> K:
    """The multilinear extension of a public vector at the point."""
    return k_dot(eq_table(point), np.stack([lift(public.values), *2 * [np.zeros(len(public.values), np.uint64)]]))


def products(engine: Engine, items: Sequence[Product], total: Hidden) -> None:
    """Prove sum_i coefficient_i <left_i, right_i> = total, vectors of different lengths included.

    A vector of 2^s entries is extended by the selector prod_{v >= s} (1 - X_v), on both sides, so that its product
    contributes c_i = prod_{v >= s} (1 - r_v)^2 at the point. Ends with the factors sent padded, one quadratic relation
    and claims on the committed cells. *Soundness*: 2/|K| a round; the coefficients must have been drawn after
    everything that they batch was fixed, if they batch.
    """
    variables = max(item.log_size for item in items)
    worker = worker_of(engine, items)
    point, total = rounds(engine, variables, total, worker.messages, worker.bind)
    engine.counts.sumcheck_rounds += variables
    engine.counts.batched_relations += len(items)
    finals = worker.finals() or [(None, None)] * len(items)
    tails = [ONE]
    for r in reversed(point):
        tails.append(tails[-1] * (1 - r) * (1 - r))
    linear, quadratic = -total, []
    known: dict[int, K] = {}
    for item, (left_value, right_value) in zip(items, finals, strict=True):
        scale = item.coefficient * tails[variables - item.log_size]
        left = send_evaluation(engine, item.left, point[: item.log_size], left_value)
        if isinstance(item.right, Public):
            if id(item.right) not in known:
                known[id(item.right)] = evaluate_public(item.right, point[: item.log_size])
            linear = linear + left * (scale * known[id(item.right)])
        elif item.right is item.left:
            quadratic.append((scale, left, left))
        else:
            right = send_evaluation(engine, item.right, point[: item.log_size], right_value)
            quadratic.append((scale, left, right))
    if quadratic:
        engine.quad(quadratic, linear)
    else:
        engine.zero(linear)


def send_evaluation(engine: Engine, cells: Cells, point: Sequence[K], value: K | None) -> Hidden:
    """Send the evaluation of committed cells at a point, padded, and claim it."""
    hidden = engine.send(value)
    engine.claim([(cells.oracle, eq_term(point, cells.address))], hidden)
    return hidden


def worker_of(engine: Engine, items: Sequence[Product]) -> SumcheckWorker:
    """The worker of the engine's role; a cheating prover may bring its own as `workers.products`."""
    own = getattr(engine.workers, "products", None)
    if own is not None:
        worker: SumcheckWorker = own(items)
        return worker
    return ProverProducts(engine, items) if isinstance(engine, ProvingEngine) else SumcheckWorker()

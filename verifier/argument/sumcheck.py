"""Sumcheck with padded messages (protocol.md, section 6).

A round polynomial of degree two goes over as g(0) and g(inf), its leading coefficient; g(1) = T - g(0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from verifier.argument.engine import Engine
from verifier.argument.field import ONE, K, eq_table, k_dot, lift
from verifier.argument.forms import eq_term
from verifier.argument.hidden import Hidden
from verifier.argument.workers import Cells, Product, Public


def next_claim(total: Hidden, g0: Hidden, g_inf: Hidden, r: K) -> Hidden:
    """T' = g(r) = g0 + r (T - 2 g0 - ginf) + r^2 ginf."""
    return total * r + g0 * (1 - 2 * r) + g_inf * (r * r - r)


def next_clear_claim(total: K, g0: K, g_inf: K, r: K) -> K:
    """The same for values in clear."""
    return g0 + r * (total - 2 * g0 - g_inf) + r * r * g_inf


def rounds(
    engine: Engine,
    variables: int,
    total: Hidden,
    messages: Callable[[], tuple[K | None, K | None]],
    bind: Callable[[K], None],
) -> tuple[list[K], Hidden]:
    """Run the rounds of a degree-2 sumcheck with padded messages; returns the point, lowest variable first, and the
    claim left at it.

    *Soundness*: 2/|K| a round. The caller must tie the final claim to committed data.
    """
    point: list[K] = []
    for _ in range(variables):
        m0, m_inf = messages()
        g0, g_inf = engine.send(m0), engine.send(m_inf)
        r = engine.challenge()
        total = next_claim(total, g0, g_inf, r)
        bind(r)
        point.append(r)
    return point, total


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
    worker = engine.workers.products(items)
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

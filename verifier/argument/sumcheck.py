"""Sumcheck with padded messages (protocol.md, section 6).

A round polynomial of degree two goes over as g(0) and g(inf), its leading coefficient; g(1) = T - g(0).
"""

from __future__ import annotations

from collections.abc import Callable

from verifier.argument.engine import Engine
from verifier.argument.field import K
from verifier.argument.hidden import Hidden, Recurrence


def next_clear_claim(total: K, g0: K, g_inf: K, r: K) -> K:
    """T' = g(r) = g0 + r (T - 2 g0 - ginf) + r^2 ginf, for values in clear."""
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
    running = Recurrence(total)
    for _ in range(variables):
        m0, m_inf = messages()
        g0, g_inf = engine.send(m0), engine.send(m_inf)
        r = engine.challenge()
        # T' = g(r) = r T + (1 - 2r) g0 + (r^2 - r) ginf
        running.step(r, (1 - 2 * r, g0), (r * r - r, g_inf))
        bind(r)
        point.append(r)
    return point, running.total()

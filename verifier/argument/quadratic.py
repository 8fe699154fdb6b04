"""The masked quadratic check that closes all quadratic relations at once (protocol.md, section 6).

Every operand X_a gets a fresh pad rho_a as mask. With e the challenge and A_a = rho_a + e X_a in clear, the form
sum_s theta^s q_s is evaluated at A in the open: q(rho + e X) = q(rho) + e B(rho, X) + e^2 q(X).
"""

from __future__ import annotations

from verifier.argument.engine import Engine
from verifier.argument.field import ONE, ZERO, K, powers
from verifier.argument.hidden import NOTHING, Hidden, weighted_sum


def close_quadratics(engine: Engine) -> None:
    """Turn all quadratic relations into linear constraints on pads.

    *Soundness*: (number of relations + 2)/|K|: theta batches, the identity in e has degree two. Operands are engine
    handles in order of first use; each mask pad is used for nothing else.
    """
    relations = engine.relations
    engine.counts.gates = len(relations.quadratics)
    theta = engine.challenge()
    operands: list[Hidden] = []
    index: dict[int, int] = {}
    for terms, _ in relations.quadratics:
        for _, x, y in terms:
            for operand in (x, y):
                if id(operand) not in index:
                    index[id(operand)] = len(operands)
                    operands.append(operand)
    engine.counts.operands = len(operands)
    if engine.counting:
        engine.fresh_pads(len(operands) + 2)
        relations.constraints.extend([NOTHING] * (len(operands) + 1))
        return
    masks = engine.fresh_pads(len(operands))
    rho = [engine.workers.pad(pad) for pad in masks]
    d0, d1 = cross_terms(engine, theta, index, rho)
    hidden_d0, hidden_d1 = engine.send(d0), engine.send(d1)
    e = engine.challenge()
    opened = []
    for operand, pad, mask in zip(operands, masks, rho, strict=True):
        value = None if mask is None or operand.value is None else mask + e * operand.value
        opened.append(engine.clear(value))
        # A_a - rho_a - e X_a = 0
        engine.zero(
            Hidden(opened[-1], {pad: -ONE}, None if value is None or mask is None else value - mask) - operand * e
        )
    form, weights = ZERO, powers(theta, len(relations.quadratics))
    for weight, (terms, _) in zip(weights, relations.quadratics, strict=True):
        for c, x, y in terms:
            form = form + weight * c * opened[index[id(x)]] * opened[index[id(y)]]
    linear = weighted_sum(zip(weights, (rest for _, rest in relations.quadratics), strict=True))
    # sum theta^s q_s(A) - d0 - e d1 + e^2 sum theta^s lin_s = 0
    engine.zero(Hidden.public(form) - hidden_d0 - hidden_d1 * e + linear * (e * e))


def cross_terms(engine: Engine, theta: K, index: dict[int, int], rho: list[K | None]) -> tuple[K | None, K | None]:
    """q(rho) and the bilinear part B(rho, X), at the prover."""
    d0 = d1 = ZERO
    weight = ONE
    for terms, _ in engine.relations.quadratics:
        for c, x, y in terms:
            a, b = rho[index[id(x)]], rho[index[id(y)]]
            if a is None or b is None or x.value is None or y.value is None:
                return None, None
            scale = weight * c
            d0 = d0 + scale * a * b
            d1 = d1 + scale * (a * y.value + b * x.value)
        weight = weight * theta
    return d0, d1

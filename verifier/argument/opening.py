"""The opening: all claims and constraints become one linear relation on a uniformly random vector, which is then
proved by a plain recursive opening (protocol.md, section 7).

Nothing after `reveal` needs hiding: y* = g + eps y is uniform because the mask row g is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuits.errors import StatementError
from verifier.argument.engine import LABEL_LEVEL, Engine, Oracle
from verifier.argument.errors import FinalRelationError, PadCheckError, SpotCheckError
from verifier.argument.field import (
    ZERO,
    K,
    Words,
    domain_points,
    eq_table,
    evaluate,
    f_mul,
    k_add,
    k_array,
    k_dot,
    k_mul,
    k_scalar,
    k_scale,
    k_sub,
    powers,
)  # fmt: skip
from verifier.argument.forms import Term, bind_rows, dense
from verifier.argument.hidden import Hidden, weighted_sum
from verifier.argument.quadratic import close_quadratics
from verifier.argument.sumcheck import next_clear_claim, rounds
from verifier.argument.workers import OpeningWorker


class Functional:
    """A linear functional on K^(2^b): product-form terms and groups of power vectors (1, x, x^2, ...) with F points."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = list(terms)
        self.scales = np.zeros((3, 0), np.uint64)
        self.points = np.zeros(0, np.uint64)

    def add_powers(self, scales: Words, points: Words) -> None:
        """Add sum_j scales_j pow(points_j)."""
        self.scales = np.concatenate([self.scales, scales], axis=1)
        self.points = np.concatenate([self.points, points])

    def bind_high(self, columns: int, challenges: Sequence[K]) -> None:
        """Fix the variables from `columns` on; pow(x) = prod_v (1 + (x^(2^v) - 1) X_v)."""
        self.terms = bind_rows(self.terms, columns, challenges)
        power = self.points
        for _ in range(columns):
            power = f_mul(power, power)
        one = np.uint64(1)
        for r in challenges:
            factor = k_scale(k_scalar(r), k_sub(power, np.full_like(power, one)))
            factor[0] = k_add(factor[0], np.full_like(power, one))
            self.scales = k_mul(self.scales, factor)
            power = f_mul(power, power)

    def apply(self, vector: Words, log_size: int) -> K:
        """The functional on a vector (3, n), n <= 2^log_size."""
        count = vector.shape[1]
        total = k_dot(dense(self.terms, log_size)[:, :count], vector)
        return total + k_dot(self.scales, evaluate(vector, self.points))


def finish(engine: Engine) -> None:
    """Close all relations of the script. Raises VerificationError subclasses in a checking role.

    *Soundness*: see `soundness.account`; every relation carries its own weight: the folded claim 1, claim j lambda^j
    before it, constraint j beta^(j+1), spot claim j alpha^(j+1).
    """
    close_quadratics(engine)
    parameters = engine.parameters
    if engine.counting:
        count(engine)
        return
    terms, total = batch_claims(engine)
    worker = engine.workers.opening(engine, terms)
    rows, total = rounds(engine, engine.counts.row_variables, total, worker.row_messages, worker.row_bind)
    folded = bind_rows(terms, parameters.log_columns, rows)
    beta = engine.challenge()
    if engine.pads_used != engine.pads:
        raise StatementError("the script used another number of pads than its dry run: an error in the script")
    pad_weights, public = batch_constraints(engine, total, beta)
    mu = engine.clear(worker.mask_dot(folded, pad_weights, public))
    eps = engine.challenge()
    pad_star = engine.vector(engine.pad_code.dimension, worker.reveal(eps))
    level_oracle, vector = next_vector(engine, worker, 0, parameters.message)
    drawn, spots = open_level_zero(engine, rows, eps, pad_star)
    # <y*, L || 0> = mu + eps T* - <pad*, U>
    claim = mu + eps * public - k_dot(pad_star[:, : engine.pads_used], pad_weights)
    functional = Functional(folded)
    log_length = parameters.log_length
    for i, level in enumerate(parameters.levels):
        assert level_oracle is not None
        alpha = engine.challenge()
        scales = k_array([alpha * power for power in powers(alpha, len(drawn))])
        functional.add_powers(scales, domain_points(drawn, 1 << log_length))
        claim = claim + k_dot(scales, spots)
        worker.level_start(i, scales, drawn, log_length)
        point = []
        for _ in range((level_oracle.rows - 1).bit_length()):
            m0, m_inf = worker.level_messages()
            g0, g_inf = engine.clear(m0), engine.clear(m_inf)
            r = engine.challenge()
            claim = next_clear_claim(claim, g0, g_inf, r)
            worker.level_bind(r)
            point.append(r)
        functional.bind_high(level.log_columns, point)
        worker.level_fold(i)
        below, vector = next_vector(engine, worker, i + 1, 1 << level.log_columns)
        drawn = engine.transcript.positions(1 << level.log_length, level.queries)
        columns = engine.open(level_oracle, drawn).reshape(len(drawn), level_oracle.rows, 3)
        weights = eq_table(point)[:, : level_oracle.rows]
        spots = weighted_rows(columns, weights)
        level_oracle, log_length = below, level.log_length
    if engine.checks:
        assert vector is not None
        check_last_vector(functional, vector, claim, spots, domain_points(drawn, 1 << log_length))


def count(engine: Engine) -> None:
    """What the dry run has to know of the opening: two padded messages a row variable, and the totals."""
    engine.fresh_pads(2 * engine.counts.row_variables)
    engine.counts.claims = len(engine.relations.claims)
    engine.counts.pads = engine.pads_used
    engine.counts.constraints = len(engine.relations.constraints)


def batch_claims(engine: Engine) -> tuple[list[Term], Hidden]:
    """All claims as one: claim j has weight lambda^j. Addresses become those of the joint row space."""
    lam = engine.challenge()
    shift = engine.parameters.log_columns
    terms: list[Term] = []
    claims = engine.relations.claims
    weights = powers(lam, len(claims))
    for claim, weight in zip(claims, weights, strict=True):
        for oracle, term in claim.terms:
            terms.append(Term(term.coefficient * weight, term.factors, term.address + (oracle.start_row << shift)))
    return terms, weighted_sum(zip(weights, (claim.value for claim in claims), strict=True))


def batch_constraints(engine: Engine, total: Hidden, beta: K) -> tuple[Words, K]:
    """<y, L> + <pad, U> = T*: U (3, pads) and T*. The folded claim has weight 1, constraint j weight beta^(j+1)."""
    weights = [ZERO] * engine.pads_used
    public = total.known
    for index, coefficient in total.terms.items():
        weights[index] = weights[index] - coefficient
    weight = beta
    for constraint in engine.relations.constraints:
        for index, coefficient in constraint.terms.items():
            weights[index] = weights[index] + weight * coefficient
        public = public - weight * constraint.known
        weight = weight * beta
    return k_array(weights), public


def next_vector(engine: Engine, worker: OpeningWorker, level: int, length: int) -> tuple[Oracle | None, Words | None]:
    """Commit to the current vector of `length` entries as the matrix of a plain level, or, after the last, show it."""
    levels = engine.parameters.levels
    if level == len(levels):
        return None, engine.vector(length, worker.plain_vector())
    shape = levels[level]
    rows = -(-length >> shape.log_columns)
    oracle = Oracle(f"plain level {level + 1}", LABEL_LEVEL + level, rows, 3 * rows, shape.log_length, False)
    oracle.root = engine.exchange_root(worker.plain_root(level))
    return oracle, None


def open_level_zero(engine: Engine, rows: Sequence[K], eps: K, pad_star: Words) -> tuple[list[int], Words]:
    """Open every level-0 oracle at the same positions and the pad oracle at its own; returns the positions and
    the values of y* there, g(x_j) + eps sum_i eq(r, i) col_i(x_j)."""
    parameters, pad = engine.parameters, engine.pad_code
    drawn = engine.transcript.positions(parameters.length, parameters.queries)
    drawn_pads = engine.transcript.positions(1 << pad.log_length, pad.queries)
    weights = eq_table(rows)
    total = np.zeros((3, len(drawn)), np.uint64)
    for oracle in engine.level0:
        columns = engine.open(oracle, drawn)
        for i in range(oracle.rows):
            total = k_add(total, k_scale(weights[:, oracle.start_row + i, None], columns[:, i]))
        mask = columns[:, oracle.rows :].T
    pads = engine.open(engine.pad_oracle, drawn_pads).T
    # Enc(pad*)(x) = g_P(x) + eps pad(x)
    if engine.checks:
        shown = evaluate(pad_star, domain_points(drawn_pads, 1 << pad.log_length))
        if not np.array_equal(shown, k_add(pads[3:], k_mul(k_scalar(eps), pads[:3]))):
            raise PadCheckError("Enc(pad*)(x) != g_P(x) + eps pad(x) at an opened position")
    return drawn, k_add(mask, k_mul(k_scalar(eps), total))


def weighted_rows(columns: Words, weights: Words) -> Words:
    """sum_i weights_i column_i for opened K columns (positions, rows, 3): K array (3, positions)."""
    total = np.zeros((3, columns.shape[0]), np.uint64)
    for i in range(columns.shape[1]):
        total = k_add(total, k_mul(weights[:, i, None], columns[:, i].T))
    return total


def check_last_vector(functional: Functional, vector: Words, claim: K, spots: Words, points: Words) -> None:
    """The last vector satisfies the linear claim and its spot checks."""
    log_size = (vector.shape[1] - 1).bit_length()
    if not np.array_equal(evaluate(vector, points), spots):
        raise SpotCheckError("the last vector differs from the opened columns above it")
    if functional.apply(vector, log_size) != claim:
        raise FinalRelationError("<last vector, L> != T: a claim or a constraint of the statement is false")

"""Lookups by logarithmic derivatives and fraction trees (Papini-Haboeck logUp-GKR; protocol.md, section 6).

A tree sums the fractions p_i / q_i of its leaves: a node is (p0 q1 + p1 q0, q0 q1) of its two children. From the root
down, every layer is one sumcheck with eq pulled out of the round polynomial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from circuits.errors import StatementError
from verifier.argument.engine import Engine, Oracle
from verifier.argument.errors import UnluckyChallengeError
from verifier.argument.field import ONE, X2, ZERO, K, k_list, k_sub
from verifier.argument.forms import Selectors, Term, eq_factors, interval_terms, prefix_sum, prefix_sums
from verifier.argument.hidden import NOTHING, Hidden, Recurrence
from verifier.argument.workers import CellFractions, PieceFractions, TablePiece


@dataclass(frozen=True)
class TreeClaim:
    """Root fraction and, at a random point of the leaves, numerator and denominator: the caller must check the
    latter."""

    root_p: Hidden
    root_q: Hidden
    point: tuple[K, ...]
    p: Hidden
    q: Hidden


def fraction_tree(engine: Engine, depth: int, spec: CellFractions | PieceFractions) -> TreeClaim:
    """Reduce the root of a fraction tree over 2^depth leaves to one evaluation of its leaf layer.

    *Soundness*: per round 3/|K|, per layer 2/|K| for batching and branch. Root and leaves stay hidden; the caller
    checks the leaf evaluations and compares roots (a root denominator is a product of leaf denominators: zero only if
    alpha hits a key).
    """
    worker = engine.workers.tree(spec)
    value_p, value_q = worker.root()
    root_p, root_q = engine.send(value_p), engine.send(value_q)
    p, q, z = root_p, root_q, list[K]()
    for layer in range(depth):
        lam = engine.challenge()
        running = Recurrence(p + q * lam)
        worker.start(lam, z)
        scale, point = ONE, list[K]()
        for j in range(layer):
            m0, m_inf = worker.messages()
            h0 = engine.send(None if m0 is None else scale * m0)
            h_inf = engine.send(None if m_inf is None else scale * m_inf)
            r = engine.challenge()
            # T = (1 - z_j) h(0) + z_j h(1): the verifier solves for h(1)
            if z[j].is_zero():
                raise UnluckyChallengeError("a challenge of a fraction tree is zero; prove again with a new nonce")
            inverse = z[j].inverse()
            eq = (1 - z[j]) * (1 - r) + z[j] * r
            # h(r) = h0 + r (h1 - h0 - hinf) + r^2 hinf, h1 = (T - (1 - z) h0) / z
            running.step(r * inverse * eq, (eq * (1 - r - r * (1 - z[j]) * inverse), h0), (eq * (r * r - r), h_inf))
            scale = scale * eq
            worker.bind(r)
            point.append(r)
        p0, p1, q0, q1 = (engine.send(value) for value in worker.finals())
        # eq(z, point) (p0 q1 + p1 q0 + lam q0 q1) = T
        engine.quad([(scale, p0, q1), (scale, p1, q0), (scale * lam, q0, q1)], -running.total())
        branch = engine.challenge()
        p = p0 * (1 - branch) + p1 * branch
        q = q0 * (1 - branch) + q1 * branch
        z = [branch, *point]
        engine.counts.tree_layers += 1
        engine.counts.tree_rounds += layer
    return TreeClaim(root_p, root_q, tuple(z), p, q)


def cell_tree(engine: Engine, spec: CellFractions) -> TreeClaim:
    """The lookups of committed cells: numerator 1, denominator alpha - (x + g X^2) on the runs; leaf checks included.

    With R the real cells: p(z) = sum_R eq(z, i) and q(z) = 1 + sum_R eq(z, i) (alpha - 1 - g_i X^2) - sum_R eq(z, i)
    x_i.
    """
    depth = max(0, int(spec.stop[-1]) - 1).bit_length()
    tree = fraction_tree(engine, depth, spec)
    engine.counts.lookup_entries += int((spec.stop - spec.start).sum())
    weights = k_list(k_sub(prefix_sums(tree.point, spec.stop), prefix_sums(tree.point, spec.start)))
    indicator, groups = ZERO, ZERO
    for weight, group in zip(weights, spec.group.tolist(), strict=True):
        indicator = indicator + weight
        groups = groups + weight * group
    engine.zero(tree.p - indicator)
    public = 1 + (spec.alpha - 1) * indicator - groups * X2
    terms = [
        (spec.oracle, term)
        for start, stop in merged_intervals(spec.start.tolist(), spec.stop.tolist())
        for term in interval_terms(tree.point, start, stop)
    ]
    engine.claim(terms, -(tree.q - public))
    return tree


def merged_intervals(starts: Sequence[int], stops: Sequence[int]) -> list[tuple[int, int]]:
    """Join intervals that touch."""
    merged: list[tuple[int, int]] = []
    for start, stop in zip(starts, stops, strict=True):
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged


def piece_tree(engine: Engine, spec: PieceFractions) -> TreeClaim:
    """A tree made of lookup pieces and table pieces, leaf checks included.

    Each leaf of a piece at offset i has eq weight e_i; with R all of them: p(z) = sum over lookups of e_i + sum over
    tables of e_i m_i, and q(z) = 1 + sum_R e_i (alpha - id X^2 - key_i - 1), affine in the looked-up cells.
    """
    require_disjoint(spec)
    tree = fraction_tree(engine, spec.depth, spec)
    selectors = Selectors(tree.point)
    indicator = public = ZERO
    numerators: list[tuple[Oracle, Term]] = []
    denominators: list[tuple[Oracle, Term]] = []
    for piece in spec.pieces:
        log_size = piece.log_size if isinstance(piece, TablePiece) else max(0, piece.size - 1).bit_length()
        low = tree.point[:log_size]
        chosen = selectors.of(log_size, piece.position >> log_size)
        if isinstance(piece, TablePiece):
            engine.counts.lookup_entries += 1 << log_size
            index = sum((z * (1 << v) for v, z in enumerate(low)), ZERO)
            public = public + chosen * (spec.alpha - X2 * piece.identity - 1 - piece.first - index)
            numerators.append((piece.oracle, Term(chosen, eq_factors(low), piece.address)))
        else:
            engine.counts.lookup_entries += piece.size
            weight = chosen * prefix_sum(low, piece.size)
            indicator = indicator + weight
            public = public + weight * (spec.alpha - X2 * piece.identity - 1 - piece.offset)
            terms = interval_terms(low, 0, piece.size, chosen * -piece.sign, piece.address)
            denominators.extend((piece.oracle, term) for term in terms)
    settle(engine, numerators, tree.p - indicator)
    settle(engine, denominators, tree.q - (1 + public))
    return tree


def require_disjoint(spec: PieceFractions) -> None:
    """Pieces lie aligned and apart in the tree, and no key is in two tables: else counts could move between them.

    Raises StatementError.
    """
    used: list[tuple[int, int]] = []
    keys: list[tuple[int, int, int]] = []
    for piece in spec.pieces:
        size = 1 << piece.log_size if isinstance(piece, TablePiece) else piece.size
        step = 1 << max(0, size - 1).bit_length()
        if piece.position % step or piece.position + size > 1 << spec.depth:
            raise StatementError("a piece of a fraction tree is misplaced: an error in the script")
        used.append((piece.position, piece.position + size))
        if isinstance(piece, TablePiece):
            keys.append((piece.identity, piece.first, piece.first + size))
    used.sort()
    keys.sort()
    if any(a[1] > b[0] for a, b in pairwise(used)) or any(a[0] == b[0] and a[2] > b[1] for a, b in pairwise(keys)):
        raise StatementError("two pieces of a fraction tree overlap, or two tables share a key: an error in the script")


def settle(engine: Engine, terms: list[tuple[Oracle, Term]], value: Hidden) -> None:
    """value is the sum of the claims, or zero if there are none."""
    if terms:
        engine.claim(terms, value)
    else:
        engine.zero(value)


def same_sum(engine: Engine, left: TreeClaim, right: TreeClaim) -> None:
    """The two root fractions are equal: p_L q_R - p_R q_L = 0."""
    engine.quad([(ONE, left.root_p, right.root_q), (-ONE, right.root_p, left.root_q)], NOTHING)

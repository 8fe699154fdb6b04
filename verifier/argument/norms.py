"""Inequalities between sums of squares of committed weights, as a protocol script.

Every inequality sum_k 4^w_k S_k + sum_j u_j <= B becomes the identity B - (left side) = D with D in [0, 2^bits) by
limbs, and
every rounded part 4^s u - S = r with r in [0, 4^s). All identities are batched with powers of a challenge and proved by
one sumcheck over all tensors, and, where the tensors are whole histogram groups, a second time from the exact
histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.checks.frobenius_norm import SumBound
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine, Oracle
from verifier.argument.field import ZERO, K, powers
from verifier.argument.forms import Term
from verifier.argument.ranges import LimbPlan, Limbs
from verifier.argument.sumcheck import products
from verifier.argument.workers import Cells, Product, Public

LIMBS = "norms"
ItemsOf = Callable[[Sequence["Identity"], Sequence[K]], list[Product]]
SQUARES = Public(np.arange(-(1 << 15), 1 << 15, dtype=np.int64) ** 2)


@dataclass(frozen=True)
class Identity:
    """sum over tensors of weight * S + sum over ranged integers of scale * value = constant, as integers."""

    squares: tuple[tuple[str, int], ...]
    ranged: tuple[tuple[int, int], ...]
    constant: int


@dataclass(frozen=True)
class NormPlan:
    """A list of inequalities on one commitment, compiled: ranged integers with their bits, and identities."""

    bounds: tuple[SumBound, ...]

    @cached_property
    def limbs(self) -> LimbPlan:
        bits: list[int] = []
        for bound in self.bounds:
            bits.append(max(1, bound.maximum.bit_length()))
            for part in bound.rounded:
                bits.extend((part.bits, 2 * part.shift))
        return LimbPlan(tuple(bits))

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """In the order of the ranged integers: per bound D, then (u, r) of each rounded part."""
        found: list[Identity] = []
        number = 0
        for bound in self.bounds:
            parts = range(number + 1, number + 1 + 2 * len(bound.rounded), 2)
            squares = tuple((name, 4**weight) for name, weight in bound.exact)
            ranged = ((number, 1), *((u, 1) for u in parts))
            # sum_k 4^w_k S_k + sum_j u_j + D = B
            found.append(Identity(squares, ranged, bound.bound))
            for u, part in zip(parts, bound.rounded, strict=True):
                # S - 4^s u + r = 0
                squares = tuple((name, 1) for name in part.tensors)
                found.append(Identity(squares, ((u, -(4**part.shift)), (u + 1, 1)), 0))
            number += 1 + 2 * len(bound.rounded)
        return tuple(found)

    def values(self, sums: Mapping[str, int]) -> list[int]:
        """The ranged integers for given sums of squares; negative where an inequality does not hold."""
        out: list[int] = []
        for bound in self.bounds:
            rounded: list[int] = []
            for part in bound.rounded:
                total = sum(sums[name] for name in part.tensors)
                u = -(-total // 4**part.shift)
                rounded.extend((u, 4**part.shift * u - total))
            left = sum(4**weight * sums[name] for name, weight in bound.exact) + sum(rounded[::2])
            out.extend((bound.bound - left, *rounded))
        return out


class NormScript:
    """The script, in the two halves that a statement calls before and after the commit phase."""

    def __init__(self, engine: Engine, model: Oracle, commitment: Commitment, plan: NormPlan) -> None:
        self._engine, self._model, self._commitment, self._plan = engine, model, commitment, plan
        self._limbs = Limbs(engine, plan.limbs, LIMBS)

    def after_commit(self) -> None:
        """*Soundness*: needs the validity of the commitment (weights in range, histograms exact)."""
        engine = self._engine
        alpha = engine.challenge()
        engine.counts.lookup_challenges += 1
        self._limbs.look_up(alpha)
        identities = self._plan.identities
        self._prove(identities, self._from_cells)
        from_histograms = [identity for identity in identities if self._groups(identity) is not None]
        if from_histograms:
            self._prove(from_histograms, self._from_histograms)

    def _prove(self, identities: Sequence[Identity], items: ItemsOf) -> None:
        """sum_i gamma^i (constant_i - ranged_i) = sum_i gamma^i (sums of squares)_i."""
        engine = self._engine
        gamma = engine.challenge()
        engine.counts.batched_relations += len(identities)
        weights = powers(gamma, len(identities))
        constant = sum((w * identity.constant for w, identity in zip(weights, identities, strict=True)), ZERO)
        terms: list[tuple[Oracle, Term]] = []
        for weight, identity in zip(weights, identities, strict=True):
            for number, scale in identity.ranged:
                terms.extend(self._limbs.terms(number, weight * scale))
        ranged = engine.send(engine.workers.evaluate(terms))
        engine.claim(terms, ranged)
        products(engine, items(identities, weights), -(ranged - constant))

    def _from_cells(self, identities: Sequence[Identity], weights: Sequence[K]) -> list[Product]:
        scales: dict[str, K] = {}
        for weight, identity in zip(weights, identities, strict=True):
            for name, factor in identity.squares:
                scales[name] = scales.get(name, ZERO) + weight * factor
        items = []
        for name, scale in scales.items():
            for block in self._commitment.layout.tensor_blocks(name):
                cells = Cells(self._model, block.address)
                items.append(Product(scale, cells, cells, block.log_rows + block.log_cols))
        return items

    def _groups(self, identity: Identity) -> dict[int, int] | None:
        """group -> factor if the identity's tensors are whole groups with one factor each."""
        manifest = self._commitment.manifest
        factors: dict[int, dict[str, int]] = {}
        by_name = self._group_of
        for name, factor in identity.squares:
            factors.setdefault(by_name[name], {})[name] = factor
        for group, members in factors.items():
            entries = sum(self._entries[name] for name in members)
            if len(set(members.values())) != 1 or entries != manifest.groups[group].entries:
                return None
        return {group: next(iter(members.values())) for group, members in factors.items()}

    @cached_property
    def _group_of(self) -> dict[str, int]:
        return {tensor.name: tensor.group for tensor in self._commitment.manifest.tensors}

    @cached_property
    def _entries(self) -> dict[str, int]:
        return {tensor.name: tensor.entries for tensor in self._commitment.manifest.tensors}

    def _from_histograms(self, identities: Sequence[Identity], weights: Sequence[K]) -> list[Product]:
        scales: dict[int, K] = {}
        for weight, identity in zip(weights, identities, strict=True):
            for group, factor in (self._groups(identity) or {}).items():
                scales[group] = scales.get(group, ZERO) + weight * factor
        layout = self._commitment.layout
        return [
            Product(scale, Cells(self._model, layout.histogram_address(group)), SQUARES, 16)
            for group, scale in scales.items()
        ]

"""Group 23: equalities that hold mod p and not as integers. Each attack works where a range is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from circuits.errors import StatementError
from circuits.program import Advice
from prover.argument.oracle import OracleData
from tests.support.cheating import accepts, forge, rejects
from tests.support.products import Cells, Product, products
from tests.support.statements import Bits, Limbs
from tests.support.toy import MICRO, Integers, Toy, ToyCommitment, commit, weights, witness
from verifier.argument.engine import Engine
from verifier.argument.errors import FinalRelationError
from verifier.argument.field import ONE, P, lift
from verifier.argument.hidden import Hidden
from verifier.argument.program.regions import limbs_of

QUARTER = pow(4, -1, P)
ROOT = 281474976710656  # 2^48: its square is -1 mod p


def model(values: Integers) -> tuple[ToyCommitment, OracleData]:
    return commit(lift(values.astype(np.int64)), parameters=MICRO)


def field(*values: int) -> Integers:
    return np.array([int(x) % P for x in values], np.uint64)


def counts(size: int, *regions: Integers) -> Integers:
    """Multiplicities of everything that is in range; the rest is dropped."""
    cells = [int(x) for region in regions for x in region]
    return np.bincount([x for x in cells if x < size], minlength=size)


@dataclass(frozen=True)
class Unranged(Toy):
    """The sum of squares without the range lookup."""

    kind = "unranged"

    def script(self, engine: Engine) -> None:
        (oracle,) = engine.models
        engine.commit()
        cells = Cells(oracle, 0)
        log_count = (self.commitment.cells - 1).bit_length()
        products(engine, [Product(ONE, cells, cells, log_count)], Hidden.public(ONE * self.total))


def test_squares_that_sum_to_p() -> None:
    """A residual whose squares sum to a multiple of p, or to S + p: a small norm, if the entries were not looked up."""
    assert ROOT * ROOT % P == P - 1
    values = weights(128).astype(np.int64)
    values[:8] = [0, 1, 2, 3, 0, 1, 2, 3]
    small = sum(int(x) ** 2 for x in values)
    cells = lift(values)
    for i, j in ((0, 1), (4, 5)):  # x^2 + (2^48 x)^2 = 0
        cells[i], cells[j] = 7 * ROOT % P, 7
    claimed = small - 2
    commitment, data = commit(cells, parameters=MICRO)
    loose, strict = Unranged(commitment, claimed), Toy(commitment, claimed)
    accepts(loose, forge(loose, [data], {}).proof)
    rejects(FinalRelationError, strict, forge(strict, [data], witness(values)).proof)


def test_quotients_with_another_remainder() -> None:
    """y = 4 z + r with z = (y - r') / 4 mod p: every remainder will do unless the quotient is in its range too."""
    values = weights(128)
    commitment, data = model(values)
    shifted = values[:16] + 8
    quotient, remainder = shifted // 4, shifted % 4
    total = int(quotient.sum())
    true = Limbs(commitment, 2, 4, 8, total)
    honest = {"limb 0": remainder, "limb 1": quotient, "multiplicities": counts(4, remainder, quotient)}
    accepts(true, forge(true, [data], honest).proof)

    other = remainder.copy()
    other[0] = (remainder[0] + 1) % 4
    bent = field(*((int(y) - int(r)) * QUARTER for y, r in zip(shifted, other, strict=True)))
    false_total = sum(int(x) for x in bent) % P
    false_total = false_total if false_total < 1 << 63 else false_total - P
    assert false_total != total
    for ranged, breaks in ((1, True), (2, False)):
        false = Limbs(commitment, 2, 4, 8, false_total, ranged)
        looked_up = counts(4, other) if breaks else counts(4, other, bent)
        advice = {"limb 0": other, "limb 1": bent, "multiplicities": looked_up}
        proof = forge(false, [data], advice).proof
        if breaks:
            accepts(false, proof)
        else:
            rejects(FinalRelationError, false, proof)


def compare(values: Integers, limbs: int, shift: int) -> tuple[Limbs, OracleData, dict[str, Any]]:
    """x + shift >= 0 for the first 16 cells, by nibbles; the limbs are those of the residue."""
    commitment, data = model(values)
    residues = [(int(x) + shift) % P for x in values[:16]]
    parts = [np.array([r >> 4 * i & 15 for r in residues]) for i in range(limbs)]
    advice: dict[str, Any] = {f"limb {i}": part for i, part in enumerate(parts)}
    advice["multiplicities"] = counts(16, *parts)
    return Limbs(commitment, limbs, 16, shift, int(parts[-1].sum())), data, advice


@pytest.mark.parametrize(("limbs", "accepted"), [(2, False), (4, False), (16, True)])
def test_a_comparison_with_limbs_for_the_whole_field(limbs: int, accepted: bool) -> None:
    """a - b < 0 is p minus something small: sixteen nibbles (four 16-bit limbs) hold it, fewer do not."""
    values = weights(128)
    values[3] = -8
    true, data, advice = compare(np.maximum(values, -7), 2, 7)
    accepts(true, forge(true, [data], advice).proof)
    false, data, advice = compare(values, limbs, 7)
    proof = forge(false, [data], advice).proof
    if accepted:
        accepts(false, proof)
    else:
        rejects(FinalRelationError, false, proof)


def test_a_scaled_limb_alone() -> None:
    """5/4 mod p, four times which is 5: accepted nowhere as an element of [0, 4)."""
    values = weights(128)
    values[:16] = 5
    commitment, data = model(values)
    quotient = field(*[5 * QUARTER] * 16)
    remainder = np.zeros(16, np.int64)
    total = 16 * 5 * QUARTER % P
    for ranged, breaks in ((1, True), (2, False)):
        false = Limbs(commitment, 2, 4, 0, total - P if total >= 1 << 63 else total, ranged)
        advice = {"limb 0": remainder, "limb 1": quotient, "multiplicities": counts(4, remainder)}
        proof = forge(false, [data], advice).proof
        if breaks:
            accepts(false, proof)
        else:
            rejects(FinalRelationError, false, proof)


def test_bits_that_are_none() -> None:
    """sum b^2 = sum b with values that are no bits: 1, 0, ... and four cells that make up for each other."""
    commitment, data = model(weights(128))
    honest = np.arange(16) % 2
    true = Bits(commitment, 8)
    accepts(true, forge(true, [data], {"bits": honest, "multiplicities": counts(2, honest)}).proof)
    # y with y^2 - y = -(x^2 - x) for the least x >= 2 that has one
    x = next(x for x in range(2, 99) if pow(1 - 4 * x * (x - 1), (P - 1) // 2, P) == 1)
    y = (1 + square_root((1 - 4 * x * (x - 1)) % P)) * pow(2, -1, P) % P
    assert (x * x - x + y * y - y) % P == 0
    bits = field(x, y, *honest[2:])
    total = sum(int(b) for b in bits) % P
    for ranged, breaks in ((False, True), (True, False)):
        false = Bits(commitment, total - P if total >= 1 << 63 else total, ranged)
        proof = forge(false, [data], {"bits": bits, "multiplicities": counts(2, bits)}).proof
        if breaks:
            accepts(false, proof)
        else:
            rejects(FinalRelationError, false, proof)


def square_root(value: int) -> int:
    """A square root mod p (Tonelli and Shanks); value must be a square."""
    odd, two = (P - 1) >> 32, 32
    z = pow(7, odd, P)
    root, rest = pow(value, (odd + 1) // 2, P), pow(value, odd, P)
    while rest != 1:
        order, power = 0, rest
        while power != 1:
            power, order = power * power % P, order + 1
        step = pow(z, 1 << (two - order - 1), P)
        root, z = root * step % P, step * step % P
        rest, two = rest * z % P, order
    return root


@pytest.mark.parametrize("high", [2**62, 2**63, 2**64 - 1, P - 1, -1])
def test_a_range_that_could_wrap_is_not_compiled(high: int) -> None:
    """The compiler of ranges refuses four full limbs: 2 B - 2 - (hi - lo) < p would not hold."""
    with pytest.raises(StatementError):
        limbs_of(Advice((4,), 0, high, "x"))
    limbs = limbs_of(Advice((4,), -(2**61), 2**61 - 1, "x"))
    assert sum(limb.bound << limb.shift for limb in limbs) == 2**62 - 1

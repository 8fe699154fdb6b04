"""What links the two commitments tells nothing about the weights: one masked combination, simulated and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from circuits.errors import VerificationError
from circuits.program import Weight
from prover.argument.prove import prove
from prover.argument.simulator import ProgrammedTranscript, foresee, simulate, simulate_commitment
from tests.support.model import Integers, Model, build, tensors
from tests.support.toy import KERNELS
from tests.zero_knowledge.statements import check_under
from tests.zero_knowledge.statistics import SIGNIFICANCE, upper_tail
from verifier.argument.field import K, P
from verifier.argument.statement import verify
from verifier.backends.ezkl.inputs import Hidden
from verifier.backends.ezkl.link import MASK, Coefficients, LinkStatement

NONCE = bytes(range(16))
POINT, CONTEXT = bytes(31) + b"x", b"c" * 32
SHAPES = {"a.weight": (3, 5), "b.bias": (1, 10), "c.bias": (1, 10)}


def weights(seed: int) -> list[Integers]:
    return [values.reshape(SHAPES[name]).astype(np.int64) for name, values in tensors(seed).items()]


def statement(model: Model, answer: object = None) -> LinkStatement:
    atoms = tuple(Weight(shape, -(1 << 15), (1 << 15) - 1, name) for name, shape in SHAPES.items())
    return LinkStatement(model.commitment, atoms, CONTEXT, POINT, answer)  # type: ignore[arg-type]


def fresh_mask() -> K:
    return Hidden.fresh(None, lambda value: None).mask  # type: ignore[arg-type, return-value]


def total(coefficients: Coefficients, values: list[Integers], mask: K) -> K:
    c0, c1, c2 = (c % P for c in coefficients.combination(values))
    return mask + K((c0, c1, c2))


def random_coefficients(seed: int) -> Coefficients:
    random = np.random.default_rng(seed)

    def points(count: int) -> list[K]:
        return [K(tuple(int(x) for x in random.integers(0, P, 3, np.uint64))) for _ in range(count)]

    return Coefficients.at(list(SHAPES.values()), points(2), points(4), points(3))


def test_the_native_side_opens_the_combination_of_the_committed_weights() -> None:
    """And no other: an answer for other weights, or for another mask, is rejected."""
    model, values, mask = build(tensors()), weights(1), fresh_mask()
    witness = {MASK: np.array([m if m <= P // 2 else m - P for m in mask], np.int64)}
    honest = statement(model, lambda coefficients: total(coefficients, values, mask))
    proof = prove(honest, KERNELS, [model.data], witness, NONCE, minimum_bits=1)
    checked = statement(model)
    verify(checked, proof, NONCE, minimum_bits=1)
    assert checked.opened == honest.opened
    for wrong in (
        statement(model, lambda coefficients: total(coefficients, weights(2), mask)),
        statement(model, lambda coefficients: total(coefficients, values, mask + 1)),
    ):
        forged = prove(wrong, KERNELS, [model.data], witness, NONCE, minimum_bits=1, check=False)
        with pytest.raises(VerificationError):
            verify(statement(model), forged, NONCE, minimum_bits=1)


def test_a_link_is_bound_to_the_commitment_of_the_other_side() -> None:
    model, values, mask = build(tensors()), weights(1), fresh_mask()
    witness = {MASK: np.array([m if m <= P // 2 else m - P for m in mask], np.int64)}
    proof = prove(
        statement(model, lambda c: total(c, values, mask)), KERNELS, [model.data], witness, NONCE, minimum_bits=1
    )
    for other in (
        replace(statement(model), point=bytes(32), opened=[]),
        replace(statement(model), context=bytes(32), opened=[]),
        replace(statement(model), tensors=statement(model).tensors[:2], opened=[]),
    ):
        with pytest.raises(VerificationError):
            verify(other, proof, NONCE, minimum_bits=1)


def test_the_native_side_is_simulated_without_weights_and_mask() -> None:
    """The opened total is drawn by the simulator: it is uniform, whatever was committed."""
    blank = statement(build(tensors()))
    coins = ProgrammedTranscript(b"coins")
    simulated = simulate_commitment(blank.commitment.oracle(), [foresee(blank, coins)])
    about = replace(blank, commitment=replace(blank.commitment, root=simulated.root), opened=[])
    check_under(about, simulate(about, KERNELS, coins, [simulated]), coins)


def test_the_total_is_the_mask_moved_by_a_constant() -> None:
    """For every challenge a bijection of the masks: a uniform mask makes a uniform total, for any weights."""
    coefficients = random_coefficients(1)
    for values in (weights(1), [np.zeros(shape, np.int64) for shape in SHAPES.values()]):
        moved = {total(coefficients, values, mask) - mask for mask in (fresh_mask() for _ in range(20))}
        assert len(moved) == 1


def test_totals_of_two_models_have_one_distribution() -> None:
    """Chi-square on the bytes of totals under one challenge: extreme weights and none at all."""
    coefficients, draws = random_coefficients(2), 400
    extreme = [np.full(shape, -(1 << 15)) for shape in SHAPES.values()]
    nothing = [np.zeros(shape, np.int64) for shape in SHAPES.values()]
    for values in (extreme, nothing):
        data = b"".join(total(coefficients, values, fresh_mask()).to_bytes() for _ in range(draws))
        counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
        expected = len(data) / 256
        assert upper_tail(float(((counts - expected) ** 2 / expected).sum()), 255) > SIGNIFICANCE


def test_every_attempt_has_masks_of_its_own() -> None:
    drawn = [Hidden.fresh(None, lambda value: None) for _ in range(3)]  # type: ignore[arg-type, return-value]
    assert len({one.mask for one in drawn}) == 3
    assert len({blind for one in drawn for part in one.blinds for blind in part}) == 3 * 2 * len(drawn[0].blinds[0])

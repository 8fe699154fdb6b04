"""What a proof by ezkl gives away: its lookups commit to multiplicities without any blind.

ezkl shows ranges by logarithmic derivatives: for every lookup the proof holds a commitment to how often each entry of
the table was looked up, and its value at one point. ezkl 23.0.5 blinds neither. The table of signs has three entries:
whoever reads a proof finds the three counts by trying. The signs are those of weights minus thresholds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.bn254 import Point, add, lagrange_points, multiple, negative, proof_points
from tests.support.ezkl import Owner, matrix, needs_ezkl, policy
from verifier.backends.ezkl.reference_string import ReferenceString, generate

pytestmark = needs_ezkl
LOG_ROWS, BLINDED_ROWS = 9, 6
"""The height of the circuit, so that the string's own second basis is the one in use; rows that Halo2 keeps."""
ASKED = policy('check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"')


def counts_of_signs(commitment: Point, lagrange: list[Point], most: int = 64) -> tuple[int, int] | None:
    """How often 0 and 1 were looked up, if this is a commitment to multiplicities of the table -1, 0, 1, -1, ..., -1.

    The multiplicities add up to the usable rows; the last of several equal entries counts.
    """
    usable = (1 << LOG_ROWS) - BLINDED_ROWS
    rest = add(commitment, negative(multiple(usable, lagrange[usable - 1])))
    zero, one = (add(lagrange[row], negative(lagrange[usable - 1])) for row in (1, 2))
    zeros: dict[Point, int] = {}
    point: Point = None
    for count in range(most):
        zeros[point] = count
        point = add(point, zero)
    for count in range(most):
        if rest in zeros:
            return zeros[rest], count
        rest = add(rest, negative(one))
    return None


def positive_signs(folder: Path, weights: npt.NDArray[np.float32], reference: ReferenceString) -> tuple[int, int]:
    """Positive signs as the attacker reads them from proof and reference string, and as the weights have them."""
    owner = Owner.of(folder, {"weight": weights}, reference)
    proof = owner.audit(ASKED, linked=False).proof
    lagrange = lagrange_points(reference.path)
    read = [counts_of_signs(point, lagrange) for point in proof_points(proof, 24)]
    cells = owner.opened.model.integers.matrix("weight").astype(np.int64)
    # a count from `start` looks at the signs of w - start and of w - start + 1
    own = sum(int((cells > start).sum() + (cells >= start).sum()) for start in (-8191, 8192))
    return sum(counts[1] for counts in read if counts is not None), own


@pytest.mark.slow
def test_known_leak_the_number_of_weights_beyond_a_threshold_can_be_read_from_a_proof(tmp_path: Path) -> None:
    """Exact, where the policy only bounds it: all else that has a sign here is positive, in both models alike."""
    reference = generate(tmp_path / "srs", LOG_ROWS)
    many = matrix()
    # one weight beyond the threshold stays, and with it the scale
    few = np.where(np.abs(many) < np.abs(many).max(), many / 4, many)
    first, own = positive_signs(tmp_path / "many", many, reference)
    second, other = positive_signs(tmp_path / "few", few, reference)
    assert own != other
    assert first - own == second - other > 0

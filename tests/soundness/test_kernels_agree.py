"""The kernels that these tests prove with are the reference kernels: equal randomness gives equal proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from prover.argument.randomness import Stream
from tests.soundness.test_weight_collisions import histogram_case, pair_case
from tests.support import cheating
from tests.support.cheating import forge
from tests.support.toy import MICRO, ReferenceKernels, Toy, commit, in_rows, squares, weights, witness


def toy_case() -> tuple[Any, Any, Any]:
    values = weights(128)
    commitment, data = commit(values, parameters=MICRO)
    return Toy(commitment, squares(values)), [data], witness(values)


@pytest.mark.parametrize("case", [toy_case, histogram_case, pair_case])
def test_equal_proofs(case: Callable[[], tuple[Any, Any, Any]]) -> None:
    statement, data, advice = case()
    quick = forge(statement, data, advice, stream=Stream(bytes(32), b"both")).proof
    with mock.patch.object(cheating, "KERNELS", ReferenceKernels()):
        slow = forge(statement, data, advice, stream=Stream(bytes(32), b"both")).proof
    assert quick == slow


def test_equal_commitments() -> None:
    values = weights(256)
    assert commit(values)[0].root == commit(values, ReferenceKernels())[0].root
    assert in_rows(values, MICRO).shape == (4, 64)

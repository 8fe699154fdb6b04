"""Honest proofs that several attacks start from.

Which size an attack needs: wrong algebra (a false relation, another vector in place of the committed one) is caught by
challenges of 192 bits, and two vectors that differ by chance differ at every position: micro parameters reject it as
surely as real ones. Only words that were made to agree with a codeword at many positions live on the number of queries;
they need solid parameters, or counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from prover.argument.oracle import OracleData
from tests.support.base_models import World
from tests.support.cheating import Cheater, accepts, forge
from tests.support.toy import MICRO, SOLID, TINY, Integers, Toy, commit, squares, weights, witness
from verifier.argument.parameters import Parameters


@dataclass(frozen=True)
class Honest:
    """A commitment, a true statement about it, and an accepted proof."""

    weights: Integers
    commitment: Any
    data: OracleData
    statement: Toy
    prover: Cheater

    @property
    def proof(self) -> bytes:
        return self.prover.proof

    @property
    def advice(self) -> dict[str, Any]:
        return witness(self.weights)


def honest(parameters: Parameters, count: int) -> Honest:
    values = weights(count)
    commitment, data = commit(values, parameters=parameters)
    statement = Toy(commitment, squares(values))
    prover = forge(statement, [data], witness(values))
    accepts(statement, prover.proof)
    return Honest(values, commitment, data, statement, prover)


@pytest.fixture(scope="session")
def micro() -> Honest:
    """The smallest proof, one plain level: about 15 kB."""
    return honest(MICRO, 128)


@pytest.fixture(scope="session")
def tiny() -> Honest:
    """Two plain levels, four bits."""
    return honest(TINY, 1024)


@pytest.fixture(scope="session")
def solid() -> Honest:
    """32 bits: what fails here fails."""
    return honest(SOLID, 2048)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A model and three that it may be compared with, committed."""
    return World(tmp_path_factory.mktemp("world"))

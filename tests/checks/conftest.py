"""One small model for the tests that go through every check."""

from __future__ import annotations

import pytest

from tests.checks.proof_cases import Boundaries
from tests.checks.proved_models import World


@pytest.fixture(scope="session")
def boundaries(tmp_path_factory: pytest.TempPathFactory) -> Boundaries:
    """The small transformer, committed, with every check just inside and just outside."""
    return Boundaries(World.of(tmp_path_factory.mktemp("models")))

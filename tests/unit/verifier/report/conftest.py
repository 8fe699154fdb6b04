"""Keys, made once."""

from __future__ import annotations

import pytest

from tests.unit.verifier.attestation.examples import new_key
from verifier.attestation.keys import SigningKey


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys"), "stranger")

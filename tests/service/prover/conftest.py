"""Daemons for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.prover.daemon import Daemon, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that the tests of a module share; they leave it running."""
    with running(Daemon(tmp_path_factory.mktemp("daemon") / "d")) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for a daemon of one's own."""
    return tmp_path / "d"

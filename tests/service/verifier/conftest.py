"""Databases of both kinds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.postgresql import binaries, postgresql


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server, where the package is installed."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    # short: the path of a Unix socket has at most 107 bytes; readable for the account that PostgreSQL runs as
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)
        with postgresql(Path(folder) / "server") as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    import psycopg

    name = "test_" + tmp_path.name.lower().replace("-", "_").replace("[", "_").replace("]", "_")[-40:]
    host = url.rpartition("host=")[2]
    with psycopg.connect(host=host, user="weightproof", dbname="postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"postgresql+psycopg://weightproof@/{name}?host={host}"

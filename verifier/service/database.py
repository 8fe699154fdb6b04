"""One database for what must not be lost: SQLite in WAL mode, or PostgreSQL by URL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from circuits.errors import FormatError
from verifier.service.errors import StorageError

METADATA = MetaData()
BUSY_SECONDS = 10.0
_ATTEMPTS = 10
_RETRIED = {"40001", "40P01", "23505"}
"""SQLSTATE of transactions that PostgreSQL gives up for another one's sake: serialization failure, deadlock, a row that
the other one inserted first."""


def now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()


class Database:
    """Tables of `METADATA` behind short transactions. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Connect, and create the tables that are missing.

        Args:
            url: "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/NAME".

        Raises FormatError (no such URL or driver), StorageError (it cannot be opened).
        """
        try:
            self.dialect = make_url(url).get_backend_name()
            if self.dialect not in ("sqlite", "postgresql"):
                raise FormatError(f"the database is SQLite or PostgreSQL, not {self.dialect}")
            self.engine = create_engine(url, pool_pre_ping=True, **self._options())
        except ArgumentError:
            raise FormatError("the database URL is none; write sqlite:///FILE or postgresql+psycopg://...") from None
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise FormatError(f"{error}; install the extra: pip install 'weightproof[postgres]'") from None
        if self.dialect == "sqlite":
            _prepare_sqlite(self.engine)
        with self._named():
            METADATA.create_all(self.engine)

    def _options(self) -> dict[str, Any]:
        if self.dialect == "sqlite":
            return {"connect_args": {"timeout": BUSY_SECONDS}}
        return {"isolation_level": "SERIALIZABLE", "connect_args": {"connect_timeout": int(BUSY_SECONDS)}}

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise _failed(error) from None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that sees and makes all its changes at once. Raises StorageError; then nothing changed."""
        with self._named(), self.engine.begin() as connection:
            yield connection

    def attempt(self, transaction: Any, *arguments: Any) -> Any:
        """Run `transaction(connection, *arguments)`, again if PostgreSQL gave it up for a concurrent one's sake."""
        for remaining in reversed(range(_ATTEMPTS)):
            try:
                with self.engine.begin() as connection:
                    return transaction(connection, *arguments)
            except SQLAlchemyError as error:
                if remaining and getattr(getattr(error, "orig", None), "sqlstate", None) in _RETRIED:
                    time.sleep(random.uniform(0.0, 0.01 * (_ATTEMPTS - remaining)))
                    continue
                raise _failed(error) from None
        raise AssertionError

    def require_alive(self) -> None:
        """Raises StorageError if the database does not answer."""
        with self._named(), self.engine.connect():
            pass

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _failed(error: SQLAlchemyError) -> StorageError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return StorageError(f"the database failed: {cause}; nothing was changed")


def _prepare_sqlite(engine: Engine) -> None:
    """Durable commits, enforced references, and transactions that take the write lock when they begin."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

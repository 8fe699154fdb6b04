"""The opening ledger: how often a commitment may still be opened (protocol.md, section 3).

Any t0 opened positions are independent of the data, so a commitment made for N proofs can be opened N + 2 times: one
share is validity's, one is kept for migration. A share is written to disk before the first byte of its proof exists
and is never given back: a crash after the reservation costs the share.

Kept in SQLite with full synchronisation. The ledger is the owner's protection of the owner's weights: restoring an
old copy of it gives up that protection.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from circuits.errors import BudgetError

LEDGER_FILE = "opening.ledger"
VALIDITY, PROOF, MIGRATION = "validity", "proof", "migration"
_TIMEOUT_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE budget (commitment TEXT PRIMARY KEY, proofs INTEGER NOT NULL) STRICT;
CREATE TABLE openings (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    purpose TEXT NOT NULL CHECK (purpose IN ('validity', 'proof', 'migration')),
    note TEXT NOT NULL,
    reserved_at REAL NOT NULL
) STRICT;
"""


class Ledger:
    """The ledger of one commitment."""

    def __init__(self, path: Path, commitment: bytes) -> None:
        """Open an existing ledger. Raises BudgetError if it is missing, damaged or another commitment's."""
        self._path = path
        if not path.is_file():
            raise BudgetError(
                f"the opening ledger {path} is missing: without it no proof may be made; recommit the model"
            )
        try:
            with closing(self._connect()) as connection:
                # one snapshot: another process may be reserving
                connection.execute("BEGIN")
                require_intact(connection, path)
                rows = connection.execute("SELECT commitment, proofs FROM budget").fetchall()
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise BudgetError(f"the opening ledger {path} cannot be read ({error}); recommit the model") from None
        if len(rows) != 1 or rows[0][0] != commitment.hex():
            raise BudgetError(
                f"the opening ledger {path} belongs to another commitment; restore the right one or recommit"
            )
        self.proofs: int = rows[0][1]

    @staticmethod
    def create(path: Path, commitment: bytes, proofs: int) -> Ledger:
        """Create the ledger of a new commitment, synced to disk. Raises BudgetError if the file exists."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            raise BudgetError(f"{path} exists; a ledger is never overwritten, choose another folder") from None
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.executescript("BEGIN;" + _SCHEMA + "COMMIT;")
            connection.execute("INSERT INTO budget VALUES (?, ?)", (commitment.hex(), proofs))
        _sync_folder(path.parent)
        return Ledger(path, commitment)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw", _TIMEOUT_SECONDS, uri=True, isolation_level=None
        )
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    def _limit(self, purpose: str) -> int:
        return self.proofs if purpose == PROOF else 1

    def used(self, purpose: str) -> int:
        """Shares reserved for a purpose so far."""
        with closing(self._connect()) as connection:
            return self._count(connection, purpose)

    @staticmethod
    def _count(connection: sqlite3.Connection, purpose: str) -> int:
        (count,) = connection.execute("SELECT count(*) FROM openings WHERE purpose = ?", (purpose,)).fetchone()
        return int(count)

    def remaining(self, purpose: str = PROOF) -> int:
        """Shares left for a purpose."""
        return self._limit(purpose) - self.used(purpose)

    def reserve(self, purpose: str, note: str) -> int:
        """Take one share; returns its number. On return it is on disk, whatever happens next.

        Raises BudgetError if none is left, or if the ledger cannot be written.
        """
        try:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                require_intact(connection, self._path)
                if self._count(connection, purpose) >= self._limit(purpose):
                    raise BudgetError(
                        f"all {self._limit(purpose)} openings for {purpose} of this commitment are used;"
                        " commit the model again with a larger --proofs"
                    )
                cursor = connection.execute(
                    "INSERT INTO openings (purpose, note, reserved_at) VALUES (?, ?, ?)", (purpose, note, time.time())
                )
                connection.execute("COMMIT")
                number = cursor.lastrowid
        except sqlite3.Error as error:
            raise BudgetError(f"the opening ledger cannot be written ({error}); no proof was started") from None
        _sync_folder(self._path.parent)
        assert number is not None
        return number


def require_intact(connection: sqlite3.Connection, path: Path) -> None:
    """Raises BudgetError if the database is damaged, or holds fewer openings than were ever numbered."""
    verdict = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall()]
    numbers = [row[0] for row in connection.execute("SELECT number FROM openings ORDER BY number").fetchall()]
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'openings'").fetchone()
    if verdict != ["ok"] or numbers != list(range(1, (row[0] if row else 0) + 1)):
        raise BudgetError(f"the opening ledger {path} is damaged: openings may be missing from it; recommit the model")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The opening ledger: how often a commitment may still be opened (protocol.md, section 3).

Any t0 opened positions are independent of the data, so a commitment made for N proofs can be opened N + 2 times: one
share is validity's, one is kept for migration. A share is written to disk before the first byte of its proof exists
and is never given back.

A share counts openings that others may see. An attempt that was killed showed nobody anything, so its share may serve
the next attempt of the same proof (`reserve_once`) until the proof has an outcome (`settle`): one bundle, by its
digest, which alone may leave the machine, or a refusal. Outcomes are final. docs/adr/0008 argues why this is as good.

Kept in SQLite with full synchronisation. The ledger is the owner's protection of the owner's weights: restoring an
old copy of it gives up that protection.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
# Tables of version 1; ledgers of version 0 get them with their first key. Rows are added, never changed.
_VERSION = 1
_SHARES = (
    """CREATE TABLE IF NOT EXISTS shares (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    opening INTEGER NOT NULL UNIQUE REFERENCES openings (number)
) STRICT""",
    """CREATE TABLE IF NOT EXISTS outcomes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    opening INTEGER NOT NULL UNIQUE REFERENCES openings (number),
    outcome TEXT NOT NULL
) STRICT""",
)


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
        """Take one share; returns its number. On return it is on disk, whatever happens next: a crash costs it.

        Raises BudgetError if none is left, or if the ledger cannot be written.
        """
        with self._writing() as connection:
            return self._insert(connection, purpose, note)

    def reserve_once(self, key: str, note: str) -> int:
        """The share of the proof that `key` names: taken now, or by an attempt that was lost. On disk on return.

        Args:
            key: names one proof for ever, such as the id of the job that makes it.
            note: what is proved (policy, nonce); the same at every attempt.

        Raises BudgetError if none is left, if the key was used for another note, or if the proof has an outcome: then
        something of it may have been seen, and another attempt would open further positions.
        """
        with self._writing(keyed=True) as connection:
            known = connection.execute(
                "SELECT opening, note FROM shares JOIN openings ON openings.number = opening WHERE key = ?", (key,)
            ).fetchone()
            if known is None:
                number = self._insert(connection, PROOF, note)
                connection.execute("INSERT INTO shares (key, opening) VALUES (?, ?)", (key, number))
                return number
            number, earlier = int(known[0]), known[1]
            if earlier != note:
                raise BudgetError(f"the share of {key} was taken for another proof; start a new audit")
            if self._outcome(connection, key) is not None:
                raise BudgetError(f"the share of {key} is used: its proof has an outcome; start a new audit")
            return number

    def reserved(self, key: str) -> bool:
        """Has `reserve_once` taken a share for this key? Raises BudgetError if the ledger cannot be read."""
        with self._writing(keyed=True) as connection:
            return connection.execute("SELECT 1 FROM shares WHERE key = ?", (key,)).fetchone() is not None

    def outcome(self, key: str) -> str | None:
        """What the proof of this key came to, None if nothing yet. Raises BudgetError if it cannot be read."""
        with self._writing(keyed=True) as connection:
            return self._outcome(connection, key)

    def settle(self, key: str, outcome: str) -> None:
        """Record what the proof of this key came to, once and for all; on disk on return. The same may be said twice.

        Nothing of the proof may be shown to anybody before. Raises BudgetError if there is no share, or another
        outcome: then that one counts, and what this attempt made must be thrown away.
        """
        with self._writing(keyed=True) as connection:
            row = connection.execute("SELECT opening FROM shares WHERE key = ?", (key,)).fetchone()
            if row is None:
                raise BudgetError(f"no share was taken for {key}; nothing may be shown")
            earlier = self._outcome(connection, key)
            if earlier is None:
                connection.execute("INSERT INTO outcomes (opening, outcome) VALUES (?, ?)", (row[0], outcome))
            elif earlier != outcome:
                raise BudgetError(f"the proof of {key} has another outcome already; this one is not to be shown")

    def _insert(self, connection: sqlite3.Connection, purpose: str, note: str) -> int:
        if self._count(connection, purpose) >= self._limit(purpose):
            raise BudgetError(
                f"all {self._limit(purpose)} openings for {purpose} of this commitment are used;"
                " commit the model again with a larger --proofs"
            )
        cursor = connection.execute(
            "INSERT INTO openings (purpose, note, reserved_at) VALUES (?, ?, ?)", (purpose, note, time.time())
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    @staticmethod
    def _outcome(connection: sqlite3.Connection, key: str) -> str | None:
        row = connection.execute("SELECT outcome FROM outcomes JOIN shares USING (opening) WHERE key = ?", (key,))
        found = row.fetchone()
        return None if found is None else str(found[0])

    @contextmanager
    def _writing(self, keyed: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction on an intact ledger; durable when it ends, or without effect. Raises BudgetError."""
        try:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                if keyed and _version(connection) < _VERSION:
                    for statement in _SHARES:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
                require_intact(connection, self._path)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise BudgetError(f"the opening ledger cannot be written ({error}); no proof was started") from None
        _sync_folder(self._path.parent)


def require_intact(connection: sqlite3.Connection, path: Path) -> None:
    """Raises BudgetError if the database is damaged, or holds fewer rows than were ever numbered."""
    verdict = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall()]
    tables = ["openings", *(("shares", "outcomes") if _version(connection) else ())]
    if verdict != ["ok"] or not all(_is_whole(connection, table) for table in tables):
        raise BudgetError(f"the opening ledger {path} is damaged: openings may be missing from it; recommit the model")


def _is_whole(connection: sqlite3.Connection, table: str) -> bool:
    """Does a table hold exactly the rows 1, 2, ... up to the last that was ever numbered?"""
    numbers = [row[0] for row in connection.execute(f"SELECT number FROM {table} ORDER BY number").fetchall()]
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return numbers == list(range(1, (row[0] if row else 0) + 1))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

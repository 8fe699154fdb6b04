"""Shares by key: an attempt that was lost leaves its share to the next one of the same proof, an outcome ends that."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from circuits.errors import BudgetError
from prover.ledger import LEDGER_FILE, PROOF, VALIDITY, Ledger

ROOT = Path(__file__).resolve().parents[3]
COMMITMENT = bytes(range(32))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / LEDGER_FILE, COMMITMENT, 2)


def test_the_same_key_gets_the_same_share(ledger: Ledger) -> None:
    assert [ledger.reserve_once("a", "n"), ledger.reserve_once("a", "n")] == [1, 1]
    assert ledger.reserve_once("b", "n") == 2
    assert ledger.used(PROOF) == 2
    with pytest.raises(BudgetError, match="all 2 openings"):
        ledger.reserve_once("c", "n")
    assert ledger.reserve_once("b", "n") == 2


def test_shares_with_and_without_keys_are_counted_together(ledger: Ledger) -> None:
    ledger.reserve(VALIDITY, "validity")
    ledger.reserve(PROOF, "by hand")
    ledger.reserve_once("a", "n")
    with pytest.raises(BudgetError):
        ledger.reserve(PROOF, "by hand")
    assert ledger.remaining() == 0


def test_a_share_serves_no_other_proof(ledger: Ledger) -> None:
    """Another policy or nonce under the same key would be a second proof."""
    ledger.reserve_once("a", "policy 1 nonce 1")
    with pytest.raises(BudgetError, match="another proof"):
        ledger.reserve_once("a", "policy 1 nonce 2")
    assert ledger.used(PROOF) == 1


def test_an_outcome_is_final(ledger: Ledger) -> None:
    ledger.reserve_once("a", "n")
    assert ledger.outcome("a") is None
    ledger.settle("a", "bundle 1")
    ledger.settle("a", "bundle 1")
    with pytest.raises(BudgetError, match="another outcome"):
        ledger.settle("a", "bundle 2")
    with pytest.raises(BudgetError, match="has an outcome"):
        ledger.reserve_once("a", "n")
    assert Ledger(ledger._path, COMMITMENT).outcome("a") == "bundle 1"
    assert ledger.used(PROOF) == 1


def test_nothing_is_settled_without_a_share(ledger: Ledger) -> None:
    with pytest.raises(BudgetError, match="no share"):
        ledger.settle("a", "bundle")
    assert not ledger.reserved("a")


def test_a_ledger_of_the_first_version_is_taken_over(ledger: Ledger) -> None:
    """It has no tables of keys until the first key, and its shares stay counted."""
    ledger.reserve(PROOF, "before")
    with closing(sqlite3.connect(ledger._path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert not tables & {"shares", "outcomes"}
    assert ledger.reserve_once("a", "n") == 2
    assert Ledger(ledger._path, COMMITMENT).remaining() == 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM outcomes",
        "DELETE FROM shares",
        "DROP TABLE outcomes",
        "DROP TABLE shares",
        "PRAGMA user_version = 0; DELETE FROM outcomes",
    ],
)
def test_missing_rows_are_noticed(ledger: Ledger, damage: str) -> None:
    """Otherwise a second proof could be made on a share whose first one was sent."""
    ledger.reserve_once("a", "n")
    ledger.settle("a", "bundle 1")
    with closing(sqlite3.connect(ledger._path)) as connection:
        connection.executescript(damage)
    with pytest.raises(BudgetError):
        ledger.reserve_once("a", "n")


def test_no_damage_reopens_a_settled_share(ledger: Ledger) -> None:
    """Blocks of zeros and flipped bits: whatever can still be read, the settled key gives no share again."""
    ledger.reserve_once("a", "n")
    ledger.settle("a", "bundle 1")
    ledger.reserve_once("b", "n")
    ledger.settle("b", "bundle 2")
    path = ledger._path
    whole = path.read_bytes()
    blocks = [whole[:at] + bytes(512) + whole[at + 512 :] for at in range(0, len(whole), 512)]
    bits = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole)) if whole[at]]
    for content in blocks + bits:
        path.write_bytes(content)
        with pytest.raises(BudgetError):
            Ledger(path, COMMITMENT).reserve_once("a", "n")


# Kills itself with SIGKILL at the n-th line that the ledger's module executes.
DIE_AT_LINE = """
import os, sys
from pathlib import Path
import prover.ledger as module
stop, count = int(sys.argv[2]), 0
ledger = module.Ledger(Path(sys.argv[1]), bytes(range(32)))
def trace(frame, event, argument):
    global count
    if frame.f_code.co_filename != module.__file__:
        return None
    count += event == "line"
    if count == stop:
        os.kill(os.getpid(), 9)
    return trace
sys.settrace(trace)
ledger.reserve_once("a", "n")
ledger.settle("a", "bundle 1")
sys.settrace(None)
"""


@pytest.mark.slow
def test_killed_at_every_line(ledger: Ledger, tmp_path: Path) -> None:
    """The next attempt goes on from wherever the first one was, with one share and one outcome in the end."""
    copy = tmp_path / "copy.ledger"
    for line in range(1, 200):
        shutil.copy(ledger._path, copy)
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
        code = subprocess.run([sys.executable, "-c", DIE_AT_LINE, copy, str(line)], env=environment, check=False)
        again = Ledger(copy, COMMITMENT)
        if again.outcome("a") is None:
            again.reserve_once("a", "n")
            again.settle("a", "bundle 2")
        assert again.used(PROOF) == 1
        if code.returncode == 0:
            assert again.outcome("a") == "bundle 1"
            return
        assert code.returncode == -signal.SIGKILL
    pytest.fail("it never ended")

"""The opening ledger: what is reserved stays reserved, whatever crashes, and nobody gets more than was promised."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from circuits.errors import BudgetError
from prover.ledger import LEDGER_FILE, MIGRATION, PROOF, VALIDITY, Ledger

ROOT = Path(__file__).resolve().parents[3]
COMMITMENT = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / LEDGER_FILE


def start(script: str, *arguments: str | int | Path) -> subprocess.Popen[bytes]:
    """A process that runs `script` with the prover on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


def test_a_new_ledger(path: Path) -> None:
    ledger = Ledger.create(path, COMMITMENT, 3)
    assert (ledger.proofs, ledger.remaining(), ledger.used(PROOF)) == (3, 3, 0)
    assert ledger.remaining(VALIDITY) == ledger.remaining(MIGRATION) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_shares_are_numbered_and_run_out(path: Path) -> None:
    ledger = Ledger.create(path, COMMITMENT, 2)
    assert [ledger.reserve(PROOF, "a"), ledger.reserve(PROOF, "b")] == [1, 2]
    for _ in range(3):
        with pytest.raises(BudgetError, match="all 2 openings for proof"):
            ledger.reserve(PROOF, "c")
    assert Ledger(path, COMMITMENT).remaining() == 0


def test_one_share_each_for_validity_and_migration(path: Path) -> None:
    """They are not proofs: neither can take the other's share, nor a proof's."""
    ledger = Ledger.create(path, COMMITMENT, 1)
    for purpose in (VALIDITY, MIGRATION, PROOF):
        ledger.reserve(purpose, "")
        with pytest.raises(BudgetError):
            ledger.reserve(purpose, "")
    assert ledger.used(VALIDITY) == ledger.used(MIGRATION) == ledger.used(PROOF) == 1


def test_an_unknown_purpose_takes_nothing(path: Path) -> None:
    ledger = Ledger.create(path, COMMITMENT, 1)
    with pytest.raises(BudgetError):
        ledger.reserve("favour", "")
    assert ledger.remaining() == 1


def test_a_ledger_is_never_overwritten(path: Path) -> None:
    Ledger.create(path, COMMITMENT, 1).reserve(PROOF, "")
    with pytest.raises(BudgetError, match="never overwritten"):
        Ledger.create(path, COMMITMENT, 100)
    assert Ledger(path, COMMITMENT).remaining() == 0


def test_a_missing_ledger(path: Path) -> None:
    with pytest.raises(BudgetError, match="missing"):
        Ledger(path, COMMITMENT)
    path.mkdir()
    with pytest.raises(BudgetError, match="missing"):
        Ledger(path, COMMITMENT)


def test_a_ledger_that_disappears_while_open(path: Path) -> None:
    ledger = Ledger.create(path, COMMITMENT, 1)
    path.unlink()
    with pytest.raises(BudgetError):
        ledger.reserve(PROOF, "")
    assert not path.exists()


def test_another_commitments_ledger(path: Path) -> None:
    Ledger.create(path, COMMITMENT, 1)
    with pytest.raises(BudgetError, match="another commitment"):
        Ledger(path, COMMITMENT[::-1])


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(4080), b"no database" * 100]
)
def test_bytes_that_are_no_ledger(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BudgetError):
        Ledger(path, COMMITMENT)


def test_a_cut_ledger(path: Path) -> None:
    Ledger.create(path, COMMITMENT, 1).reserve(PROOF, "")
    whole = path.read_bytes()
    for size in range(16):
        path.write_bytes(whole[: size * len(whole) // 16])
        with pytest.raises(BudgetError):
            Ledger(path, COMMITMENT).reserve(PROOF, "")


def test_a_damaged_ledger(path: Path) -> None:
    """Whatever can still be read of it, no share comes out of a ledger that is used up and then damaged."""
    Ledger.create(path, COMMITMENT, 1).reserve(PROOF, "")
    whole = path.read_bytes()
    blocks = [whole[:at] + bytes(512) + whole[at + 512 :] for at in range(0, len(whole), 512)]
    bits = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole)) if whole[at]]
    given_back = 0
    for content in blocks + bits:
        path.write_bytes(content)
        try:
            Ledger(path, COMMITMENT).reserve(PROOF, "")
        except BudgetError:
            continue
        given_back += 1
    assert given_back == 0


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM budget", "INSERT INTO budget VALUES ('00', 9)", "DROP TABLE openings", "DROP TABLE budget"],
)
def test_an_altered_ledger(path: Path, statement: str) -> None:
    Ledger.create(path, COMMITMENT, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(BudgetError):
        Ledger(path, COMMITMENT).reserve(PROOF, "")


def test_a_read_only_ledger_starts_no_proof(path: Path) -> None:
    """Nothing that cannot be written down may be proved. Root writes everywhere, so the database itself is locked."""
    ledger = Ledger.create(path, COMMITMENT, 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
        connection.execute("BEGIN EXCLUSIVE")
        short = "import prover.ledger as l; l._TIMEOUT_SECONDS = 0.1; from pathlib import Path; import sys\n" + (
            "try:\n    l.Ledger(Path(sys.argv[1]), bytes(range(32))).reserve(l.PROOF, '')\n"
            "except l.BudgetError as error:\n    print('refused')"
        )
        out, _ = start(short, path).communicate(timeout=60)
        assert out == b"refused\n"
    assert ledger.remaining() == 1


RESERVE_AND_DIE = """
import os, sys
from pathlib import Path
from prover.ledger import PROOF, Ledger
ledger = Ledger(Path(sys.argv[1]), bytes(range(32)))
ledger.reserve(PROOF, "then killed")
os.kill(os.getpid(), 9)
"""


def test_killed_between_reservation_and_proof(path: Path) -> None:
    """The share is gone: reserve has returned only once it was on disk."""
    Ledger.create(path, COMMITMENT, 4)
    for left in (3, 2, 1):
        assert start(RESERVE_AND_DIE, path).wait(60) == -signal.SIGKILL
        assert Ledger(path, COMMITMENT).remaining() == left


# Kills itself with SIGKILL at the n-th line that `Ledger.reserve` and what it calls execute in the ledger's module.
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
ledger.reserve(module.PROOF, "killed on the way")
sys.settrace(None)
print("reserved", flush=True)
"""


def test_killed_at_every_line_of_a_reservation(path: Path, tmp_path: Path) -> None:
    """However far it came, the ledger is whole afterwards; once reserve returned, the share is counted; none is ever
    given back."""
    Ledger.create(path, COMMITMENT, 100)
    copy = tmp_path / "copy.ledger"
    counted = []
    for line in range(1, 60):
        shutil.copy(path, copy)
        process = start(DIE_AT_LINE, copy, line)
        out, _ = process.communicate(timeout=60)
        used = Ledger(copy, COMMITMENT).used(PROOF)
        counted.append(used)
        if process.returncode == 0:
            assert out == b"reserved\n" and used == 1
            break
        assert process.returncode == -signal.SIGKILL and used in (0, 1)
    else:
        pytest.fail("a reservation never ended")
    assert counted == sorted(counted), "a share that was on disk was given back"
    assert counted[0] == 0 and counted[-1] == 1


GREEDY = """
import sys
from pathlib import Path
from circuits.errors import BudgetError
from prover.ledger import PROOF, Ledger
ledger = Ledger(Path(sys.argv[1]), bytes(range(32)))
while True:
    try:
        print(ledger.reserve(PROOF, sys.argv[2]), flush=True)
    except BudgetError:
        break
"""


def numbers(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """All share numbers that the processes printed."""
    return [int(line) for process in processes for line in process.communicate(timeout=120)[0].split()]


def test_eight_processes_never_get_more_than_was_promised(path: Path) -> None:
    Ledger.create(path, COMMITMENT, 25)
    processes = [start(GREEDY, path, str(number)) for number in range(8)]
    reserved = numbers(processes)
    assert sorted(reserved) == list(range(1, 26))
    assert all(process.returncode == 0 for process in processes)
    assert Ledger(path, COMMITMENT).remaining() == 0

"""One bundle for every share, wherever the process is killed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from circuits.errors import BudgetError
from prover.argument.engine import FalseStatementError
from prover.ledger import LEDGER_FILE, PROOF, Ledger
from prover.service.release import Release
from tests.end_to_end.commands import environment

COMMITMENT = bytes(range(32))
KEY = "job"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    folder = tmp_path / "job"
    folder.mkdir()
    return Release(folder, Ledger.create(tmp_path / LEDGER_FILE, COMMITMENT, 4), KEY)


def shown(release: Release) -> list[bytes]:
    """The bundles under their own names."""
    return [path.read_bytes() for path in release.folder.iterdir() if not path.name.startswith(".")]


def test_a_bundle_gets_its_name_once_it_is_the_outcome(release: Release) -> None:
    assert release.earlier() is None
    release.ledger.reserve_once(KEY, "n")
    assert release.earlier() is None
    path = release.seal(b"first")
    assert path.name == f"{hashlib.sha256(b'first').hexdigest()}.bundle"
    assert release.earlier() == path and path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_bundle_is_thrown_away(release: Release) -> None:
    """Two attempts at once, as when a lease lapsed under a worker that was only slow: the first counts for both."""
    release.ledger.reserve_once(KEY, "n")
    first = release.seal(b"first")
    assert release.seal(b"second") == first
    assert shown(release) == [b"first"]
    assert len(list(release.folder.iterdir())) == 1


def test_nothing_is_shown_without_a_share(release: Release) -> None:
    with pytest.raises(BudgetError):
        release.seal(b"first")
    assert list(release.folder.iterdir()) == []


def test_a_refusal_is_final(release: Release) -> None:
    """No later attempt turns it into a proof, or into a second refusal by another share."""
    release.ledger.reserve_once(KEY, "n")
    release.refuse(FalseStatementError("it does not hold"))
    for _ in range(2):
        with pytest.raises(FalseStatementError, match="it does not hold"):
            release.earlier()
    with pytest.raises(FalseStatementError):
        release.seal(b"a proof after all")
    assert shown(release) == [] and release.ledger.used(PROOF) == 1


def test_an_error_before_the_share_was_taken_is_no_refusal(release: Release) -> None:
    release.refuse(FalseStatementError("asked for what cannot be"))
    assert release.earlier() is None and release.ledger.used(PROOF) == 0


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_lost_bundle_is_not_replaced(release: Release, content: bytes | None) -> None:
    """It may have been sent: a second proof on the same share would open further positions."""
    release.ledger.reserve_once(KEY, "n")
    path = release.seal(b"first")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BudgetError, match="lost or damaged"):
        release.earlier()
    with pytest.raises(BudgetError):
        release.ledger.reserve_once(KEY, "n")


# Forks for every n a child that kills itself with SIGKILL at the n-th line that the modules below
# execute, until a child gets to the end.
DIE_AT_LINES = """
import os, sys
from pathlib import Path
import prover.directory, prover.ledger, prover.service.release as module, verifier.service.blobs
files = {one.__file__ for one in (prover.directory, prover.ledger, module, verifier.service.blobs)}

def attempt(place, stop):
    count = 0
    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        if count == stop:
            os.kill(os.getpid(), 9)
        return trace
    ledger = prover.ledger.Ledger(place / prover.ledger.LEDGER_FILE, bytes(range(32)))
    release = module.Release(place / "job", ledger, "job")
    sys.settrace(trace)
    if release.earlier() is None:
        release.ledger.reserve_once("job", "n")
        release.seal(b"first")
    sys.settrace(None)

status = stop = 1
while status:
    place = Path(sys.argv[1]) / str(stop)
    (place / "job").mkdir(parents=True)
    prover.ledger.Ledger.create(place / prover.ledger.LEDGER_FILE, bytes(range(32)), 4)
    child = os.fork()
    if not child:
        attempt(place, stop)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, 9)
    stop += 1
"""


@pytest.mark.slow
def test_killed_at_every_line(tmp_path: Path) -> None:
    """The next attempt always ends with a bundle, on the same share; one that was shown is never replaced."""
    subprocess.run([sys.executable, "-c", DIE_AT_LINES, str(tmp_path)], env=environment(), check=True)
    kept = replaced = 0
    for place in tmp_path.iterdir():
        attempt = Release(place / "job", Ledger(place / LEDGER_FILE, COMMITMENT), KEY)
        seen = shown(attempt)
        assert not seen or attempt.ledger.outcome(KEY) is not None, "a bundle was shown before its digest was recorded"
        bundle = attempt.earlier()
        if bundle is None:
            attempt.ledger.reserve_once(KEY, "n")
            bundle = attempt.seal(b"second")
            replaced += 1
        else:
            kept += 1
        assert shown(attempt) == [bundle.read_bytes()] and (not seen or seen == shown(attempt))
        assert attempt.ledger.used(PROOF) == 1
        assert len(list(attempt.folder.iterdir())) == 1
    assert kept > 10 and replaced > 10

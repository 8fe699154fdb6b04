"""The monitor: growth passes; forks, rollbacks and damage do not, on disk and over HTTP."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.errors import FormatError, TrustError
from tests.unit.verifier.log.reference import ORIGIN, MemorySource, mth, new_log, numbered, tile_files
from verifier.log.checkpoint import Checkpoint
from verifier.log.errors import ForkError, LogDamagedError, RollbackError
from verifier.log.monitor import check_growth, monitor
from verifier.log.note import NoteSigner
from verifier.log.source import FolderSource, WebSource, open_source
from verifier.log.writer import LogWriter


def test_a_log_that_grows(tmp_path: Path) -> None:
    folder, state = tmp_path / "log", tmp_path / "state"
    signer = new_log(folder)
    seen = monitor(FolderSource(folder), signer.key, state)
    assert (seen.previous, seen.checkpoint.size, seen.entries_checked) == (None, 0, 0)
    size = 0
    with LogWriter(folder, signer) as writer:
        for step in (1, 255, 0, 100, 200):
            writer.append(numbered(step))
            seen = monitor(FolderSource(folder), signer.key, state)
            assert seen.previous is not None
            assert (seen.previous.size, seen.checkpoint.size, seen.entries_checked) == (size, size + step, step)
            size += step
    assert state.read_bytes() == (folder / "checkpoint").read_bytes()


def forked(tmp_path: Path, common: int, first: int, second: int) -> tuple[Path, Path, NoteSigner]:
    """Two logs by one key that agree on `common` entries and then go on differently."""
    left, right = tmp_path / "left", tmp_path / "right"
    signer = new_log(left, numbered(common))
    shutil.copytree(left, right)
    for folder, count, name in ((left, first, "left"), (right, second, "right")):
        with LogWriter(folder, signer) as writer:
            writer.append(numbered(count, name))
    return left, right, signer


@pytest.mark.parametrize(("common", "first", "second"), [(3, 1, 1), (3, 1, 2), (3, 2, 600), (0, 1, 5), (256, 1, 300)])
def test_a_fork_is_seen_and_proved(tmp_path: Path, common: int, first: int, second: int) -> None:
    left, right, signer = forked(tmp_path, common, first, second)
    state = tmp_path / "state"
    monitor(FolderSource(left), signer.key, state)
    remembered = state.read_bytes()
    for _ in range(2):  # it stays forked
        with pytest.raises(ForkError, match="evidence"):
            monitor(FolderSource(right), signer.key, state)
    assert state.read_bytes() == remembered
    evidence = (tmp_path / "state.evidence").read_bytes()
    assert evidence == remembered + b"\n" + (right / "checkpoint").read_bytes()
    monitor(FolderSource(left), signer.key, state)


def test_two_signed_roots_of_one_size_need_no_tiles_to_be_a_fork() -> None:
    roots = [mth(numbered(5)), mth(numbered(5, "other"))]
    first, second = (Checkpoint(ORIGIN, 5, root) for root in roots)
    with pytest.raises(ForkError, match="two different trees"):
        check_growth(MemorySource({}), first, second)


def test_a_log_that_shrinks(tmp_path: Path) -> None:
    folder, old, state = tmp_path / "log", tmp_path / "old", tmp_path / "state"
    signer = new_log(folder, numbered(10))
    shutil.copytree(folder, old)
    with LogWriter(folder, signer) as writer:
        writer.append([b"taken back later"])
    monitor(FolderSource(folder), signer.key, state)
    with pytest.raises(RollbackError, match="11 entries and now shows 10"):
        monitor(FolderSource(old), signer.key, state)


def test_a_log_of_somebody_else(tmp_path: Path) -> None:
    folder, state = tmp_path / "log", tmp_path / "state"
    signer = new_log(folder, numbered(2))
    other = NoteSigner.generate(ORIGIN)
    with pytest.raises(TrustError):
        monitor(FolderSource(folder), other.key, state)
    assert not state.exists()
    state.write_bytes(b"not a note")
    with pytest.raises(FormatError):
        monitor(FolderSource(folder), signer.key, state)
    with pytest.raises(LogDamagedError, match="no checkpoint"):
        monitor(FolderSource(tmp_path), signer.key, tmp_path / "other")


@given(st.data(), st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=60)
def test_exactly_the_prefixes_pass(data: st.DataObject, old_size: int, grown: int) -> None:
    entries = numbered(old_size + grown)
    before = entries[:old_size]
    rewritten: bool = data.draw(st.booleans())
    if before and rewritten:
        before[data.draw(st.integers(0, old_size - 1))] = b"rewritten"
    head = Checkpoint(ORIGIN, len(entries), mth(entries))
    previous = Checkpoint(ORIGIN, old_size, mth(before))
    source = MemorySource(tile_files(entries))
    if before == entries[:old_size]:
        assert check_growth(source, previous, head) == grown
    else:
        with pytest.raises(ForkError):
            check_growth(source, previous, head)


def test_entries_and_tiles_that_do_not_belong_to_the_checkpoint() -> None:
    files = tile_files(numbered(300))
    head = Checkpoint(ORIGIN, 300, mth(numbered(300)))
    swapped = {**files, "tile/entries/000": tile_files(numbered(300, "other"))["tile/entries/000"]}
    with pytest.raises(LogDamagedError):
        check_growth(MemorySource(swapped), None, head)
    check_growth(MemorySource(swapped), None, head, entries=False)
    for name in ("tile/0/001.p/44", "tile/1/000.p/1"):
        other = {**files, name: tile_files(numbered(300, "other"))[name]}
        with pytest.raises(LogDamagedError):
            check_growth(MemorySource(other), None, head, entries=False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Static files, one address that redirects, and no access log."""

    def do_GET(self) -> None:
        if self.path.startswith("/elsewhere/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/elsewhere"))
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder, and the address under which a web server shows it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_over_http(served: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = served
    state = tmp_path / "state"
    signer = new_log(folder, numbered(300))
    assert monitor(open_source(address + "/"), signer.key, state).entries_checked == 300
    with LogWriter(folder, signer) as writer:
        writer.append(numbered(5, "more"))
    assert monitor(open_source(address), signer.key, state).entries_checked == 5
    (folder / "checkpoint").write_bytes(b"x" * (2 << 20))
    with pytest.raises(FormatError, match="more than"):
        monitor(open_source(address), signer.key, state)
    (folder / "checkpoint").unlink()
    with pytest.raises(LogDamagedError, match="no checkpoint"):
        monitor(open_source(address), signer.key, state)
    with pytest.raises(OSError, match="302"):
        WebSource(address + "/elsewhere").read("checkpoint", 1000)
    with pytest.raises(OSError, match="refused"):
        WebSource("http://127.0.0.1:9").read("checkpoint", 1000)


@pytest.mark.parametrize("text", ["file:///etc", "ftp://example.com/log", "://"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(FormatError):
        open_source(text)

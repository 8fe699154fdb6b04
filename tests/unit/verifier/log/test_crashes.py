"""kill -9 at every step of an append and at random moments: the acknowledged stays, the seen is not undone."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.verifier.log.reference import mth, new_log, numbered
from verifier.log.checkpoint import Checkpoint, open_checkpoint
from verifier.log.monitor import check_growth, monitor
from verifier.log.note import NoteSigner
from verifier.log.source import FolderSource
from verifier.log.writer import NEXT, LogWriter

ROOT = Path(__file__).resolve().parents[4]
STEPS = ("fsync", "replace", "open", "mkdir", "rmdir", "unlink", "close", "write")
SECONDS = 60


def die_at(step: int) -> None:
    """From now on, count the calls into the file system and kill this process at number `step`."""
    counter = itertools.count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if next(counter) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapper

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def killed_during_append(folder: Path, signer: NoteSigner, entries: list[bytes], step: int) -> tuple[bool, bool]:
    """Append in a child process that dies at a step: (was it killed, did it acknowledge before)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        acknowledge = os.write
        try:
            writer = LogWriter(folder, signer)
            die_at(step)
            writer.append(entries)
            acknowledge(writing, b"done")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        acknowledged = pipe.read() == b"done"
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return killed, acknowledged


def head_of(folder: Path, signer: NoteSigner) -> Checkpoint:
    return open_checkpoint((folder / "checkpoint").read_bytes(), signer.key)


@pytest.mark.parametrize(("size", "more"), [(0, 1), (253, 5), pytest.param(511, 1, marks=pytest.mark.slow)])
def test_killed_at_every_step(tmp_path: Path, size: int, more: int) -> None:
    before, signer = tmp_path / "before", NoteSigner.generate("log.example/a")
    old = numbered(size)
    new = numbered(more, "new")
    new_log(before, old, signer)
    outcomes = set()
    for step in itertools.count():
        folder, state = tmp_path / "log", tmp_path / "state"
        shutil.rmtree(folder, ignore_errors=True)
        state.unlink(missing_ok=True)
        shutil.copytree(before, folder)
        monitor(FolderSource(folder), signer.key, state)
        killed, acknowledged = killed_during_append(folder, signer, new, step)
        seen = monitor(FolderSource(folder), signer.key, state).checkpoint  # readers see a whole log all the time
        with LogWriter(folder, signer) as writer:
            recovered = head_of(folder, signer)
            assert recovered.root in (mth(old), mth(old + new))
            assert recovered.size == size + more or not (acknowledged or seen.size > size)
            entries = old + (new if recovered.size > size else [])
            monitor(FolderSource(folder), signer.key, state)
            writer.append(numbered(more + 1, "other"))  # where the crash left tiles of something else
            entries += numbered(more + 1, "other")
            assert writer.receipt(recovered.size).extra == b"other 0"
        seen = monitor(FolderSource(folder), signer.key, state).checkpoint
        assert seen.root == mth(entries)
        assert check_growth(FolderSource(folder), None, seen) == len(entries)
        outcomes.add((killed, recovered.size > size))
        if not killed:
            break
    assert step > 20
    assert outcomes == {(True, False), (True, True), (False, True)}


def test_killed_while_being_created(tmp_path: Path) -> None:
    signer = NoteSigner.generate("log.example/b")
    for step in itertools.count():
        folder = tmp_path / str(step)
        child = os.fork()
        if child == 0:
            try:
                die_at(step)
                LogWriter(folder, signer, create=True)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        started = (folder / "checkpoint").exists() or (folder / NEXT).exists()
        with LogWriter(folder, signer, create=not started) as writer:
            assert writer.append([b"first"]) == range(1)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
    assert step > 5


APPENDER = """
import sys
from pathlib import Path
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter
writer = LogWriter(Path(sys.argv[1]), NoteSigner.parse(sys.stdin.readline()))
while True:
    for number in writer.append([sys.argv[2].encode()] * 7):
        print(number, flush=True)
"""


def killed_at_random(folder: Path, signer: NoteSigner, seconds: float) -> int:
    """Let another program append until it is killed; the number of the last entry that it acknowledged, or -1."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(folder), f"{seconds}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{signer.secret()}\n".encode())
    # unbuffered, or what the first line brought with it would be lost
    first = process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    rest, _ = process.communicate(timeout=SECONDS)
    return max(int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n"))


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, rounds: int) -> None:
    random_numbers = random.Random(4)
    folder, state = tmp_path / "log", tmp_path / "state"
    signer = new_log(folder)
    for _ in range(rounds):
        acknowledged = killed_at_random(folder, signer, random_numbers.uniform(0, 0.6))
        monitor(FolderSource(folder), signer.key, state)
        with LogWriter(folder, signer):
            seen = monitor(FolderSource(folder), signer.key, state)
        assert seen.checkpoint.size > acknowledged
        assert seen.checkpoint.size % 7 == 0  # all of an append or nothing


def test_nothing_is_published_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut keeps what was synced: every file before it gets its name, every name before the checkpoint."""
    signer = new_log(tmp_path, numbered(250))
    durable: set[str] = set()
    unsynced_names: set[str] = set()
    published = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        fsync(descriptor)
        durable.add(path)
        unsynced_names.difference_update({name for name in unsynced_names if os.path.dirname(name) == path})

    def watched_replace(source: Path, target: Path) -> None:
        if target.name == "checkpoint":
            assert not unsynced_names, "checkpoint.next itself must have been synced by name"
            published.append(target)
        elif target.name == NEXT:
            assert not unsynced_names, "a checkpoint must not be signed for tiles that a power cut could lose"
            assert all(str(folder) in durable for folder in (tmp_path, tmp_path / "tile", tmp_path / "tile" / "1"))
        if source.name != NEXT:
            assert str(source) in durable, "content first, then the name"
            durable.discard(str(source))
        replace(source, target)
        unsynced_names.add(str(target))

    with LogWriter(tmp_path, signer) as writer:
        monkeypatch.setattr(os, "fsync", watched_fsync)
        monkeypatch.setattr(os, "replace", watched_replace)
        writer.append(numbered(20, "more"))
        assert not unsynced_names
    assert len(published) == 1

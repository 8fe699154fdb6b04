"""Appending: what is on disk afterwards is what the specification says, under one writer."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from circuits.errors import FormatError, TrustError
from tests.unit.verifier.log.reference import ORIGIN, mth, new_log, numbered, tile_files
from verifier.log.checkpoint import open_checkpoint
from verifier.log.errors import LogBusyError, LogDamagedError
from verifier.log.merkle import EMPTY_ROOT
from verifier.log.note import NoteSigner
from verifier.log.writer import NEXT, LogWriter

ROOT = Path(__file__).resolve().parents[4]


def published(folder: Path) -> dict[str, bytes]:
    """The tile files of a log, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "tile").rglob("*")) if p.is_file()}


def test_a_new_log_is_empty_and_signed(tmp_path: Path) -> None:
    signer = new_log(tmp_path / "a" / "log")
    head = open_checkpoint((tmp_path / "a" / "log" / "checkpoint").read_bytes(), signer.key)
    assert (head.origin, head.size, head.root) == (ORIGIN, 0, EMPTY_ROOT)


@pytest.mark.parametrize("steps", [[1], [256], [255, 1], [257], [100, 100, 100], [1] * 5, [300, 0, 700], [256, 256, 1]])
def test_however_entries_arrive_the_files_are_those_of_the_specification(tmp_path: Path, steps: list[int]) -> None:
    signer = new_log(tmp_path)
    entries = numbered(sum(steps))
    with LogWriter(tmp_path, signer) as writer:
        size = 0
        for step in steps:
            assert writer.append(entries[size : size + step]) == range(size, size + step)
            size += step
            head = open_checkpoint(writer.checkpoint(), signer.key)
            assert (head.size, head.root) == (size, mth(entries[:size]))
    files, wanted = published(tmp_path), tile_files(entries)
    assert {path: files[path] for path in wanted} == wanted
    # what is there besides are partial tiles of earlier checkpoints whose full tile does not exist yet
    assert all(".p/" in path and path.partition(".p/")[0] not in files for path in set(files) - set(wanted))


def test_partial_tiles_of_every_published_checkpoint_stay_until_the_full_one_is_there(tmp_path: Path) -> None:
    signer = new_log(tmp_path)
    with LogWriter(tmp_path, signer) as writer:
        writer.append(numbered(3))
        writer.append(numbered(2))
        assert {"tile/0/000.p/3", "tile/0/000.p/5", "tile/entries/000.p/3"} <= set(published(tmp_path))
        writer.append(numbered(251))
    assert set(published(tmp_path)) == {"tile/0/000", "tile/1/000.p/1", "tile/entries/000"}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    signer = new_log(tmp_path)
    with LogWriter(tmp_path, signer):
        with pytest.raises(LogBusyError):
            LogWriter(tmp_path, signer)
        script = (
            "import sys; from pathlib import Path; from verifier.log.note import NoteSigner\n"
            "from verifier.log.writer import LogWriter\n"
            "LogWriter(Path(sys.argv[1]), NoteSigner.parse(sys.stdin.read()))"
        )
        child = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            input=signer.secret(), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert child.returncode != 0
        assert "LogBusyError" in child.stderr
    LogWriter(tmp_path, signer).close()


def test_threads_share_a_writer(tmp_path: Path) -> None:
    signer = new_log(tmp_path)
    numbers: list[int] = []
    with LogWriter(tmp_path, signer) as writer:

        def work(name: int) -> None:
            for entry in numbered(5, f"thread {name}"):
                (number,) = writer.append([entry])
                assert writer.receipt(number).extra == entry
                numbers.append(number)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers) == list(range(20))


def test_a_log_is_created_once_and_opened_with_its_key(tmp_path: Path) -> None:
    signer = new_log(tmp_path, numbered(3))
    with pytest.raises(FormatError, match="already"):
        LogWriter(tmp_path, signer, create=True)
    with pytest.raises(TrustError):
        LogWriter(tmp_path, NoteSigner.generate(ORIGIN))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(FormatError, match="no log"):
            LogWriter(folder, signer)
    LogWriter(tmp_path, signer).close()


def test_entries_are_bounded(tmp_path: Path) -> None:
    signer = new_log(tmp_path)
    with LogWriter(tmp_path, signer) as writer:
        with pytest.raises(FormatError, match="digest"):
            writer.append([b"fine", b"x" * 65_536])
        assert writer.append([b"x" * 65_535, b""]) == range(2)
        for number in (-1, 2):
            with pytest.raises(IndexError):
                writer.receipt(number)


def test_damage_is_noticed_before_anything_is_signed(tmp_path: Path) -> None:
    signer = new_log(tmp_path, numbered(10))
    checkpoint = (tmp_path / "checkpoint").read_bytes()
    tile = tmp_path / "tile" / "0" / "000.p" / "10"
    good = tile.read_bytes()
    for bad in (good[:-32], good[32:] + good[:32], b""):
        tile.write_bytes(bad)
        with pytest.raises(LogDamagedError):
            LogWriter(tmp_path, signer)
    tile.write_bytes(good)
    with LogWriter(tmp_path, signer) as writer:
        tile.write_bytes(bytes(len(good)))
        with pytest.raises(LogDamagedError):
            writer.append([b"more"])
        tile.write_bytes(good)
        assert writer.append([b"more"]) == range(10, 11)
    (tmp_path / NEXT).write_bytes(checkpoint)
    with pytest.raises(LogDamagedError, match="older"):
        LogWriter(tmp_path, signer)


def test_a_failing_disk_loses_nothing(tmp_path: Path) -> None:
    """The kernel refuses to write more than 20,000 bytes to a file, as on a full disk, but to this process only."""
    signer = new_log(tmp_path, numbered(3))
    script = (
        "import resource, signal, sys; from pathlib import Path; from verifier.log.note import NoteSigner\n"
        "from verifier.log.writer import LogWriter\n"
        "writer = LogWriter(Path(sys.argv[1]), NoteSigner.parse(sys.stdin.read()))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: writer.append([b'x' * 60_000])\n"
        "except OSError: print('refused')\n"
        "print(writer.append([b'small']))"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        input=signer.secret(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.stdout.split("\n")[:2] == ["refused", "range(3, 4)"], child.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    with LogWriter(tmp_path, signer) as writer:
        assert writer.receipt(3).extra == b"small"

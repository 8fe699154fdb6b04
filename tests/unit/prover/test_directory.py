"""The owner's folder: secrets never readable by others, files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circuits.errors import FormatError
from prover.directory import SECRET_FILE, OwnerFolder, new_folder, replace_file, write_file, write_secret
from tests.unit.verifier.publics import commitment_of
from verifier.argument.commitment import Commitment
from verifier.decision import COMMITMENT_FILE

SEED = bytes(range(32))


@pytest.fixture
def commitment() -> Commitment:
    return commitment_of({"w": (4, 4)})


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The most careless umask that there is."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def owned(tmp_path: Path, commitment: Commitment) -> Path:
    write_file(tmp_path / COMMITMENT_FILE, commitment.to_bytes())
    write_secret(tmp_path, commitment, SEED)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_umask")
def test_the_secret_is_never_readable_by_others(
    tmp_path: Path, commitment: Commitment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at after every system call that could matter, under a umask of 0."""
    seen = []
    path = tmp_path / SECRET_FILE

    def watched(name: str) -> Any:
        original = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            if path.exists():
                seen.append(mode(path))
            return result

        return call

    for name in ("open", "fsync", "fdopen", "replace", "rename", "chmod"):
        monkeypatch.setattr(os, name, watched(name))
    write_secret(tmp_path, commitment, SEED)
    monkeypatch.undo()
    assert len(seen) >= 3
    assert set(seen) == {0o600}
    assert mode(path) == 0o600


@pytest.mark.usefixtures("open_umask")
def test_the_secret_in_a_folder_that_is_being_made(tmp_path: Path, commitment: Commitment) -> None:
    """A bystander who looks all the time sees the secret with mode 0600 or not at all."""
    target, done = tmp_path / "commitment", threading.Event()
    modes: set[int] = set()
    staging_modes: set[int] = set()

    def bystander() -> None:
        while not done.is_set():
            for secret in (*tmp_path.glob(f".*/{SECRET_FILE}"), *target.glob(SECRET_FILE)):
                try:
                    modes.add(mode(secret))
                    if secret.parent != target:
                        staging_modes.add(mode(secret.parent))
                except FileNotFoundError:
                    continue

    thread = threading.Thread(target=bystander)
    thread.start()
    for _ in range(20):
        with new_folder(target) as folder:
            write_secret(folder, commitment, SEED)
            for number in range(5):
                write_file(folder / str(number), bytes(1000))
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
    done.set()
    thread.join()
    assert modes <= {0o600}
    # the folder opens up just before it gets its name; what matters is closed by its own mode
    assert staging_modes <= {0o700, 0o755}


def test_the_secret_is_never_overwritten(owned: Path, commitment: Commitment) -> None:
    with pytest.raises(FileExistsError):
        write_secret(owned, commitment, SEED[::-1])
    assert OwnerFolder.open(owned).seed == SEED


def test_open(owned: Path, commitment: Commitment) -> None:
    folder = OwnerFolder.open(owned)
    assert (folder.path, folder.commitment.id, folder.seed) == (owned, commitment.id, SEED)


def secret_with(**changes: Any) -> bytes:
    identity = commitment_of({"w": (4, 4)}).id.hex()
    content = {"format": "weightproof/opening/v1", "commitment": identity, "seed": SEED.hex(), **changes}
    return json.dumps({key: value for key, value in content.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"seed"',
        b"\xff\xfe",
        secret_with(seed=None),
        secret_with(seed=7),
        secret_with(seed="xy"),
        secret_with(seed="00" * 31),
        secret_with(commitment=None),
        secret_with(commitment="00" * 32),
        secret_with(commitment=[]),
        secret_with(format=None),
        secret_with(format="weightproof/opening/v2"),
        secret_with() + b" " * 5000 + b"x",
        secret_with(padding="x" * 5000),
    ],
)
def test_a_damaged_or_foreign_secret(owned: Path, content: bytes) -> None:
    (owned / SECRET_FILE).write_bytes(content)
    if content.endswith(b" x"):
        assert OwnerFolder.open(owned).seed == SEED  # only the first 4,096 bytes are looked at
        return
    with pytest.raises(FormatError):
        OwnerFolder.open(owned)


def test_a_missing_secret(owned: Path) -> None:
    (owned / SECRET_FILE).unlink()
    with pytest.raises(FormatError, match="only the owner's folder has it"):
        OwnerFolder.open(owned)
    (owned / COMMITMENT_FILE).unlink()
    with pytest.raises(FormatError, match="commit"):
        OwnerFolder.open(owned)


def test_the_secret_of_another_commitment(owned: Path) -> None:
    (owned / COMMITMENT_FILE).write_bytes(commitment_of({"v": (4, 4)}).to_bytes())
    with pytest.raises(FormatError, match="another commitment"):
        OwnerFolder.open(owned)


# ---------------------------------------------------------------- replace_file


def test_replace_file(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    for data in (b"first", b"second, longer", b""):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert mode(path) == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_replace_file_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(b"old")

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(FormatError if isinstance(error, OSError) else type(error)):
        replace_file(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_file_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "missing" / "bundle", tmp_path / "file" / "bundle", tmp_path):
        with pytest.raises(FormatError, match="cannot write"):
            replace_file(target, b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


# ---------------------------------------------------------------- new_folder


def test_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "commitment"
    with new_folder(target) as folder:
        (folder / "a").write_bytes(b"a")
        assert not target.exists()
        assert mode(folder) == 0o700
    assert [path.name for path in target.iterdir()] == ["a"]
    assert mode(target) == 0o755
    assert list(target.parent.iterdir()) == [target]


def test_new_folder_takes_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "commitment"
    target.mkdir()
    with new_folder(target) as folder:
        (folder / "a").write_bytes(b"a")
    assert (target / "a").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError(), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
        (FormatError("named"), FormatError),
        (OSError(28, "No space left on device"), FormatError),
    ],
)
def test_new_folder_that_fails_leaves_nothing(tmp_path: Path, error: BaseException, shown: type[BaseException]) -> None:
    target = tmp_path / "commitment"
    with pytest.raises(shown), new_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / SECRET_FILE).write_bytes(b"secret")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_new_folder_does_not_take_what_appeared_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "commitment"
    with pytest.raises(FormatError, match="cannot write"), new_folder(target) as folder:
        (folder / "a").write_bytes(b"a")
        target.mkdir()
        (target / "theirs").write_bytes(b"theirs")
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_new_folder_refuses_what_exists(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_bytes(b"kept")
    for target in ("file", "full", "file/below"):
        with pytest.raises(FormatError), new_folder(tmp_path / target):
            pytest.fail("entered")
    assert len(list(tmp_path.rglob("*"))) == 3


def test_two_at_once(tmp_path: Path) -> None:
    """Both are staged; the first to finish gets the name, the other an error."""
    target = tmp_path / "commitment"
    with pytest.raises(FormatError), new_folder(target) as late:
        (late / "late").write_bytes(b"")
        with new_folder(target) as early:
            (early / "early").write_bytes(b"")
        assert [path.name for path in target.iterdir()] == ["early"]
    assert [path.name for path in target.iterdir()] == ["early"]
    assert list(tmp_path.iterdir()) == [target]

"""Watched folders: what appears or changes becomes jobs, once it no longer changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.service.models import checkpoint_digest, open_allowed
from prover.service.settings import Watch
from prover.service.watcher import Watcher
from tests.end_to_end.models import small_tensors, write_safetensors
from verifier.service.database import Database
from verifier.service.jobs import Job, JobQueue

POLICIES = (f"policies/{'1' * 64}", f"policies/{'2' * 64}")


class Folder:
    """A watched folder with its queue."""

    def __init__(self, place: Path) -> None:
        self.models, self.memory = place / "models", place / "memory.json"
        self.models.mkdir()
        self.database = Database(f"sqlite:///{place / 'jobs.db'}")
        self.queue = JobQueue(self.database)
        self.watcher = self.again()

    def again(self) -> Watcher:
        """Another watcher of the folder, as after a restart."""
        return Watcher(Watch(folder=self.models, policies=POLICIES), [self.models], self.queue, self.memory)

    def looks(self, times: int = 2) -> int:
        """Look several times; the number of new jobs."""
        return sum(self.watcher.scan() for _ in range(times))

    def jobs(self) -> list[Job]:
        return self.queue.list(limit=1000)

    def write(self, name: str = "model.safetensors", seed: int = 1) -> Path:
        return write_safetensors(self.models / name, small_tensors(seed))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.database.close()


def test_a_new_model_becomes_a_job_for_each_policy(watched: Folder) -> None:
    path = watched.write()
    assert watched.looks() == 2
    digest = checkpoint_digest(open_allowed(str(path), [watched.models])[1])
    found = {(job.kind, job.payload["model"], job.payload["policy"], job.payload["digest"]) for job in watched.jobs()}
    assert found == {("submit", str(path), policy, digest) for policy in POLICIES}
    assert watched.looks(5) == 0


def test_a_model_that_is_still_written_waits(watched: Folder) -> None:
    """Between any two looks something changed, or it cannot be read yet."""
    path = watched.write()
    whole = path.read_bytes()
    for size in range(0, len(whole), 500):
        path.write_bytes(whole[:size])
        assert watched.looks(1) == 0
    path.write_bytes(whole)
    assert watched.looks(1) == 0
    assert watched.looks(1) == 2


def test_a_changed_model_is_submitted_again(watched: Folder) -> None:
    watched.write()
    assert watched.looks() == 2
    watched.write(seed=2)
    assert watched.looks() == 2
    assert len({job.payload["digest"] for job in watched.jobs()}) == 2


def test_a_change_that_keeps_size_and_time_is_seen(watched: Folder) -> None:
    path = watched.write()
    assert watched.looks() == 2
    status = path.stat()
    watched.write("new.tmp", seed=2).rename(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size and path.stat().st_mtime_ns == status.st_mtime_ns
    assert watched.looks() == 2


def test_the_same_model_written_again_is_no_change(watched: Folder) -> None:
    watched.write()
    assert watched.looks() == 2
    watched.write()
    assert watched.looks() == 0


def test_a_restart_makes_no_second_job_and_reads_nothing_again(
    watched: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write()
    assert watched.looks() == 2
    watched.watcher = watched.again()

    def read(checkpoint: object) -> str:
        raise AssertionError("an unchanged model was read again")

    monkeypatch.setattr("prover.service.watcher.checkpoint_digest", read)
    watched.looks()
    assert len(watched.jobs()) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"x": 1}', b'{"x": {"signature": [1], "digest": 2}}'])
def test_a_damaged_memory_is_forgotten(watched: Folder, content: bytes) -> None:
    watched.write()
    watched.looks()
    watched.memory.write_bytes(content)
    watched.watcher = watched.again()
    watched.looks()
    assert len(watched.jobs()) == 2


def test_folders_and_shards_are_one_model(watched: Folder) -> None:
    """An index stands for its shards, whether in a folder of its own or beside others."""
    for place in (watched.models, watched.models / "nested"):
        place.mkdir(exist_ok=True)
        tensors = small_tensors()
        for name, values in tensors.items():
            write_safetensors(place / f"{name}.safetensors", {name: values})
        index = {"weight_map": {name: f"{name}.safetensors" for name in tensors}}
        (place / "big.safetensors.index.json").write_text(json.dumps(index))
    watched.looks()
    found = {Path(job.payload["model"]).relative_to(watched.models) for job in watched.jobs()}
    assert found == {Path("big.safetensors.index.json"), Path("nested")}


def test_what_is_no_model_is_passed_over(watched: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = write_safetensors(outside / "model.safetensors", small_tensors())
    (watched.models / "link.safetensors").symlink_to(secret)
    (watched.models / "linked").symlink_to(outside)
    (watched.models / "README.md").write_text("hello")
    (watched.models / "empty").mkdir()
    (watched.models / ".hidden.safetensors").write_bytes(secret.read_bytes())
    os.mkfifo(watched.models / "pipe.safetensors")
    (watched.models / "broken.safetensors").write_bytes(b"x")
    assert watched.looks(3) == 0
    watched.write()
    assert watched.looks() == 2


def test_a_folder_that_goes_away_and_comes_back(watched: Folder) -> None:
    watched.write()
    watched.models.rename(watched.models.with_name("away"))
    assert watched.looks() == 0
    watched.models.with_name("away").rename(watched.models)
    assert watched.looks() == 2

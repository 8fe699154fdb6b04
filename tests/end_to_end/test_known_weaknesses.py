"""What a user meets today and should not: each test says what ought to happen, and turns red once it does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from prover.directory import OwnerFolder
from tests.end_to_end.commands import ACCEPTED, MALFORMED, REJECTED, command_line, environment, prover
from tests.end_to_end.conftest import Audited
from tests.end_to_end.models import left_behind, norms, small_tensors, write_policy, write_safetensors


def run_without_a_reader(*arguments: str | Path) -> int:
    """The exit code of a prover command whose stdout nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        line = command_line("prover.cli", arguments)
        return subprocess.run(
            line, stdout=writing, stderr=subprocess.DEVNULL, env=environment(), check=False
        ).returncode
    finally:
        os.close(writing)


def test_a_broken_pipe_never_says_accepted(small: Audited, tmp_path: Path) -> None:
    other = write_safetensors(tmp_path / "other.safetensors", small_tensors(seed=2))
    low = write_policy(tmp_path / "low.yaml", norms("1"))
    assert run_without_a_reader("reproduce", small.folder, other) != ACCEPTED
    assert run_without_a_reader("measure", small.model, "--policy", low) != ACCEPTED


def test_an_audit_that_cannot_be_written_costs_nothing(small: Audited, tmp_path: Path) -> None:
    folder = tmp_path / "commitment"
    shutil.copytree(small.folder, folder)
    before = OwnerFolder.open(folder).ledger.remaining()
    out = tmp_path / "no" / "such" / "folder" / "bundle"
    prover("audit", folder, "--model", small.model, "--policy", small.policy, "--out", out).clean(MALFORMED)
    assert OwnerFolder.open(folder).ledger.remaining() == before


def test_a_failed_commit_leaves_no_parents(tmp_path: Path) -> None:
    model = write_safetensors(tmp_path / "model.safetensors", {"w": np.array([np.nan], np.float32)})
    before = sorted(tmp_path.rglob("*"))
    prover("commit", model, "--out", tmp_path / "new" / "folder" / "commitment").clean(MALFORMED)
    assert left_behind(tmp_path, before) == []


def test_a_renamed_checkpoint_is_still_the_same(small: Audited, tmp_path: Path) -> None:
    """`reproduce` and `audit` say of a renamed copy that it is not the committed model, without a hint why."""
    copy = tmp_path / f"renamed{small.model.suffix}"
    shutil.copy(small.model, copy)
    result = prover("reproduce", small.folder, copy)
    assert result.code == ACCEPTED or (result.code == REJECTED and small.model.name in result.out + result.err)

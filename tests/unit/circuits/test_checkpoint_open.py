"""Finding the reader for a path, and what every checkpoint promises whatever its format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from circuits.checkpoint import Checkpoint, TensorSource, open_checkpoint
from circuits.checkpoint.base import MAX_FLOAT_TENSORS
from circuits.errors import FormatError


def source(name: str, shape: tuple[int, ...] = (1,), dtype: str = "float32") -> TensorSource:
    return TensorSource(name, shape, dtype, lambda: np.zeros(shape, dtype=dtype))


def test_paths_that_hold_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (
        tmp_path / "missing.safetensors",
        tmp_path / "notes.txt",
        tmp_path,
        tmp_path / "a.pt",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(FormatError):
            open_checkpoint(path)


def test_a_folder_with_two_checkpoints_is_ambiguous(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    assert len(open_checkpoint(str(tmp_path))) == 1
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FormatError, match="name the one checkpoint"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("ending", ["safetensors", "onnx", "safetensors.index.json"])
def test_a_pipe_or_folder_is_refused_without_hanging(tmp_path: Path, ending: str) -> None:
    pipe = tmp_path / f"pipe.{ending}"
    os.mkfifo(pipe)
    with pytest.raises(FormatError, match="not a regular file"):
        open_checkpoint(pipe)
    folder = tmp_path / f"folder.{ending}"
    folder.mkdir()
    with pytest.raises(FormatError):
        open_checkpoint(folder)


def test_tensors_are_sorted_by_the_bytes_of_their_names() -> None:
    names = ["b", "\U0001f600", "\uffee", "a.10", "a.9", "B"]
    checkpoint = Checkpoint(tuple(map(source, names)), {}, {})
    assert [found.name for found in checkpoint] == sorted(names, key=str.encode)


def test_too_much_of_anything_is_refused() -> None:
    many = tuple(source(f"t{index}") for index in range(MAX_FLOAT_TENSORS))
    assert len(Checkpoint(many, {}, {})) == MAX_FLOAT_TENSORS
    with pytest.raises(FormatError, match="131073 float tensors"):
        Checkpoint((*many, source("u")), {}, {})
    with pytest.raises(FormatError, match="more than 262144 tensors"):
        Checkpoint(many, {f"u{index}": "t0" for index in range(MAX_FLOAT_TENSORS + 1)}, {})
    with pytest.raises(FormatError, match="float entries"):
        Checkpoint((source("a", (2**30,)), source("b", (2**30,))), {}, {})
    assert len(Checkpoint((source("a", (2**30,)), source("b", (2**31,), "int8")), {}, {})) == 2


def test_names_are_unique_and_tied_names_lead_somewhere() -> None:
    with pytest.raises(FormatError, match="two tensors are named 'a'"):
        Checkpoint((source("a"), source("a")), {}, {})
    for tied in ({"b": "c"}, {"a": "a"}, {"": "a"}):
        with pytest.raises(FormatError):
            Checkpoint((source("a"),), tied, {})


def test_a_loader_that_returns_something_else_is_an_error() -> None:
    with pytest.raises(FormatError, match="has changed"):
        TensorSource("a", (2,), "float32", lambda: np.zeros(3, np.float32)).load()
    with pytest.raises(FormatError, match="not one of"):
        source("a", dtype="complex64")

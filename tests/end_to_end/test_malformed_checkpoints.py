"""`commit` on checkpoints that are damaged or hostile: a named error, bounded memory, and nothing left behind."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.commands import MALFORMED, UNAVAILABLE, Result, command_line, environment, prover
from tests.end_to_end.models import left_behind, safetensors_bytes, small_tensors, write_safetensors

MEMORY = 2 << 30
"""No refusal needs a gigabyte; an interpreter with the compiled kernels has about 200 MB."""

Maker = Callable[[Path], Path]


def commit_fails(model: Path, code: int = MALFORMED, out: Path | None = None, **options: Any) -> Result:
    """`commit` ends with `code`, names its error, and leaves neither the folder nor a staging folder."""
    before = sorted(model.parent.rglob("*"))
    target = out or model.parent / "commitment"
    result = prover("commit", model, "--out", target, "--json", **options).clean(code)
    assert result.json()["verdict"] == {MALFORMED: "malformed"}.get(code, "error")
    assert result.json()["reason"] in result.err
    assert result.peak_bytes < MEMORY
    assert left_behind(model.parent, before) == []
    return result


def made(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def tensors(**values: Any) -> Maker:
    """A safetensors file with these tensors."""
    return lambda folder: write_safetensors(folder / "model.safetensors", values)


def with_header(header: dict[str, Any], body: bytes = bytes(64)) -> Maker:
    return made("model.safetensors", safetensors_bytes(header, body))


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def good_bytes() -> bytes:
    header = {"w": entry([4, 4], 0, 64)}
    return safetensors_bytes(header, np.ones(16, "<f4").tobytes())


def special(value: float) -> Any:
    values = np.ones((300, 300), np.float32)
    values[299, 299] = value
    return values


class Payload:
    """Pickled as a call: reading it naively would make a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.witness),))


def hostile_pickle(folder: Path) -> Path:
    path = folder / "model.pt"
    path.write_bytes(pickle.dumps({"w": Payload(folder / "executed")}))
    return path


def hostile_archive(folder: Path) -> Path:
    """The same inside an archive as torch.save writes it."""
    import torch

    path = folder / "model.pt"
    torch.save({"w": Payload(folder / "executed")}, path)
    return path


def empty_folder(folder: Path) -> Path:
    (folder / "model").mkdir()
    return folder / "model"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "model.safetensors")
    return folder / "model.safetensors"


def onnx_of_nothing(folder: Path) -> Path:
    import onnx

    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    return folder / "model.onnx"


def index_without_shards(folder: Path) -> Path:
    return made("model.safetensors.index.json", b'{"weight_map": {"w": "model-1.safetensors"}}')(folder)


CASES: dict[str, tuple[Maker, str]] = {
    "empty file": (made("model.safetensors", b""), "too short"),
    "truncated data": (made("model.safetensors", good_bytes()[:-1]), "truncated"),
    "truncated header": (made("model.safetensors", good_bytes()[:20]), "truncated"),
    "trailing data": (made("model.safetensors", good_bytes() + b"\0"), "appended"),
    "header longer than the file": (made("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}"), "header"),
    "header of 2^63 bytes": (made("model.safetensors", struct.pack("<Q", 1 << 63) + b"{}"), "header"),
    "header that is no JSON": (made("model.safetensors", struct.pack("<Q", 4) + b"\xff{}}"), "JSON"),
    "deep header": (made("model.safetensors", struct.pack("<Q", 100_000) + b"[" * 100_000), "JSON"),
    "shape lies": (with_header({"w": entry([4, 5], 0, 64)}), "do not span"),
    "overlap": (with_header({"a": entry([8], 0, 32), "b": entry([12], 16, 64)}), "overlap"),
    "gap": (with_header({"a": entry([4], 0, 16), "b": entry([8], 32, 64)}), "gaps"),
    "negative offset": (with_header({"w": entry([4, 5], -16, 64)}), "data_offsets"),
    "huge shape": (with_header({"w": entry([1 << 39, 1 << 39], 0, 64)}), "2^40"),
    "negative shape": (with_header({"w": entry([-4, -4], 0, 64)}), "dimensions"),
    "unknown type": (with_header({"w": entry([64], 0, 64, "F8_E5M2")}), "F8_E5M2"),
    "no tensors": (with_header({}, b""), "no tensor"),
    "only integers": (with_header({"w": entry([8], 0, 64, "I64")}), "no float tensor"),
    "zero-size tensor": (with_header({"w": entry([16], 0, 64), "z": entry([0, 4], 64, 64)}), "zero size"),
    "nine dimensions": (with_header({"w": entry([1] * 8 + [16], 0, 64)}), "at most 8"),
    "control characters in a name": (with_header({"w\n\x1b[2J": entry([16], 0, 64)}), "control"),
    "NaN": (tensors(fine=special(1), broken=special(float("nan"))), "broken"),
    "infinity": (tensors(fine=special(1), broken=special(float("-inf"))), "broken"),
    "too large": (tensors(w=np.array([1e300])), "2^55"),
    "unknown ending": (made("model.gguf", b"GGUF"), "no reader"),
    "empty folder": (empty_folder, "neither model.safetensors"),
    "missing": (lambda folder: folder / "no.safetensors", "cannot be read"),
    "pipe": (pipe, "regular file"),
    "index without shards": (index_without_shards, "cannot be read"),
    "index of another file": (
        made("model.safetensors.index.json", b'{"weight_map": {"w": "../../model.safetensors"}}'),
        "plain file name",
    ),
    "ONNX rubbish": (made("model.onnx", bytes(range(256)) * 10), "model.onnx"),
    "ONNX without weights": (onnx_of_nothing, "tensor"),
    "pickle": (hostile_pickle, "zip archive"),
    "pickle in an archive": (hostile_archive, "without running its code"),
    "truncated archive": (made("model.pt", b"PK\x03\x04" + bytes(100)), "zip archive"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_checkpoint(case: str, tmp_path: Path) -> None:
    make, message = CASES[case]
    result = commit_fails(make(tmp_path))
    assert message in result.err
    assert not (tmp_path / "executed").exists()


def million_tensors(count: int, padding: int) -> bytes:
    """A true safetensors file of that many one-entry tensors."""
    names = (
        f'"{i:0{padding}x}":{{"dtype":"F32","shape":[],"data_offsets":[{4 * i},{4 * i + 4}]}}' for i in range(count)
    )
    header = ("{" + ",".join(names) + "}").encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * count)


def test_a_million_tiny_tensors(tmp_path: Path) -> None:
    """A header of less than 100 MB, the limit of the format, with more tensors than any model has."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(million_tensors(1_100_000, 5))
    assert "at most 2^18 tensors" in commit_fails(path).err


@pytest.mark.slow
def test_three_million_tiny_tensors(tmp_path: Path) -> None:
    """The header alone exceeds the format's limit; as ONNX, the scan before parsing refuses."""
    import onnx

    path = tmp_path / "model.safetensors"
    path.write_bytes(million_tensors(3_000_000, 6))
    assert "header" in commit_fails(path).err
    path.unlink()
    tensor = onnx.TensorProto(data_type=1, raw_data=bytes(4), name="w").SerializeToString()
    field = bytes([0x2A, len(tensor)]) + tensor
    graph = field * 3_000_000
    size, length = len(graph), bytearray()
    while size:
        length.append(size & 0x7F | (0x80 if size >> 7 else 0))
        size >>= 7
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08\x3a" + bytes(length) + graph)
    assert "fields" in commit_fails(path).err


def test_targets_that_cannot_be_made(tmp_path: Path) -> None:
    """Below a file, onto a file, into a folder that holds something, into a file system without folders."""
    model = write_safetensors(tmp_path / "model.safetensors", small_tensors())
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    for target in ("file", "file/below", "full"):
        assert str(tmp_path / target) in commit_fails(model, out=tmp_path / target).err
    assert "cannot make" in commit_fails(model, out=Path("/proc/weightproof")).err
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "kept").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable or unreadable for root")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    model = write_safetensors(tmp_path / "model.safetensors", small_tensors())
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "Permission denied" in commit_fails(model, out=closed / "commitment").err
    model.chmod(0)
    assert "cannot be read" in commit_fails(model).err


def test_a_full_disk(tmp_path: Path) -> None:
    """No file may exceed 64 KB, so the ledger fits and the validity proof does not: its folder disappears with its
    secret."""
    model = write_safetensors(tmp_path / "model.safetensors", small_tensors())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    result = commit_fails(model, before=limit)
    assert "cannot write" in result.err


def test_too_little_memory(tmp_path: Path) -> None:
    """A header that announces more than memory holds costs nothing, since tensors are mapped; where memory does run
    out, the command says so and is clean."""
    model = write_safetensors(tmp_path / "model.safetensors", {"w": np.ones((4096, 4096), np.float32)})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20))

    before = sorted(tmp_path.rglob("*"))
    result = prover("commit", model, "--out", tmp_path / "commitment", before=limit)
    if result.code == 0:
        pytest.skip("this system does not limit memory")
    assert result.clean(UNAVAILABLE).err.startswith("error: MemoryError")
    assert left_behind(tmp_path, before) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_an_interrupted_commit_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped while the model is being committed: neither folder nor staging folder, in which the secret lies."""
    model = write_safetensors(tmp_path / "model.safetensors", {"w": np.ones((2048, 2048), np.float32)})
    before = sorted(tmp_path.rglob("*"))
    line = command_line("prover.cli", ("commit", model, "--out", tmp_path / "commitment"))

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell are started to ignore it

    process = subprocess.Popen(line, env=environment(), stderr=subprocess.PIPE, preexec_fn=heed)
    deadline = time.monotonic() + 60
    while not left_behind(tmp_path, before) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode not in (0, -number), err
    assert b"Traceback" not in err
    assert left_behind(tmp_path, before) == []

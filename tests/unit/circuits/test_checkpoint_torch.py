"""Reading PyTorch files: agreement with torch, tied tensors, and refusal of code, bombs and damage."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.errors import FormatError
from circuits.fixedpoint import magnitude
from circuits.manifest import Manifest
from prover import checkpoints
from prover.checkpoints import open_checkpoint

torch = pytest.importorskip("torch")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(state: object, name: str = "model.pt", **options: Any) -> Path:
        torch.save(state, tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "pytorch_model.bin"])
def test_all_types_are_read(save: Callable[..., Path], name: str) -> None:
    state = {
        "bf16": torch.linspace(-3, 3, 12, dtype=torch.bfloat16).reshape(2, 1, 3, 1, 2),
        "f16": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "f32": torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)),
        "f64": torch.tensor(0.1, dtype=torch.float64),
        "ids": torch.arange(4),
        "mask": torch.tensor([True, False]),
    }
    checkpoint = open_checkpoint(save(state, name))
    assert [source.name for source in checkpoint] == sorted(state)
    for source in checkpoint:
        values = source.load()
        assert values.shape == tuple(state[source.name].shape)
        assert values.astype(np.float64).tolist() == state[source.name].double().tolist()
    assert list(checkpoint.file_digests()) == [name]


def test_a_module_with_tied_weights(save: Callable[..., Path]) -> None:
    class Tied(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(5, 3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    checkpoint = open_checkpoint(save(Tied().state_dict()))
    assert [source.name for source in checkpoint] == ["embed.weight"]
    assert checkpoint.tied == {"head.weight": "embed.weight"}
    assert Manifest.from_checkpoint(checkpoint).tied == {"head.weight": "embed.weight"}


def test_parts_of_one_storage_are_tensors_of_their_own(save: Callable[..., Path]) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    checkpoint = open_checkpoint(save({"a": whole, "b": whole[1:], "c": whole.T, "d": whole[:, 1], "e": whole[1:]}))
    assert {source.name: source.load().tolist() for source in checkpoint} == {
        "a": whole.tolist(),
        "b": whole[1:].tolist(),
        "c": whole.T.tolist(),
        "d": whole[:, 1].tolist(),
    }
    assert checkpoint.tied == {"e": "b"}


def test_other_formats_go_to_circuits(shared_data: Path) -> None:
    assert len(open_checkpoint(shared_data / "stories260k")) == 47


class Evil:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_pickle_that_executes_code_is_refused(save: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "written"
    for state in (Evil(target), {"w": torch.ones(2), "x": Evil(target)}):
        with pytest.raises(FormatError, match="without running its code"):
            open_checkpoint(save(state))
    plain = tmp_path / "plain.bin"
    plain.write_bytes(pickle.dumps(Evil(target)))
    with pytest.raises(FormatError, match="not a zip archive"):
        open_checkpoint(plain)
    assert not target.exists()


REFUSED: dict[str, Callable[[], object]] = {
    "a module": lambda: torch.nn.Linear(2, 2),
    "a tensor": lambda: torch.ones(2),
    "a list": lambda: [torch.ones(2)],
    "nothing": dict,
    "nested": lambda: {"state_dict": {"w": torch.ones(2)}},
    "a number beside": lambda: {"w": torch.ones(2), "epoch": 3},
    "a name that is a number": lambda: {0: torch.ones(2)},
    "a control character": lambda: {"a\n": torch.ones(2)},
    "zero size": lambda: {"w": torch.ones(2), "x": torch.ones(0)},
    "no float tensor": lambda: {"ids": torch.arange(3)},
    "complex": lambda: {"w": torch.ones(2, dtype=torch.complex64)},
    "an 8-bit float": lambda: {"w": torch.ones(2).to(torch.float8_e4m3fn)},
    "sparse": lambda: {"w": torch.eye(3).to_sparse()},
    "quantised": lambda: {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
    "without data": lambda: {"w": torch.ones(2, device="meta")},
    "negated lazily": lambda: {"w": torch.ones(2, dtype=torch.complex64).conj().imag},
    "expanded to a terabyte": lambda: {"w": torch.ones(1).expand(2**38)},
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_plain_state_dictionary_is_refused(save: Callable[..., Path], make: Callable[[], object]) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(save(make()))


def test_files_from_before_pytorch_1_6_are_refused(save: Callable[..., Path]) -> None:
    with pytest.raises(FormatError, match=r"before PyTorch 1\.6"):
        open_checkpoint(save({"w": torch.ones(2)}, _use_new_zipfile_serialization=False))


def rewritten(data: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with every entry passed through `change`."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", compression) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return out.getvalue()


def no_change(name: str, data: bytes) -> bytes:
    return data


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "the end missing": lambda data: data[:-30],
    "an end record only": lambda data: data[-22:],
    "two sizes of the directory": lambda data: data[:-10] + b"\xfe\xff\xff\xff" + data[-6:],
    "a huge directory announced": lambda data: (
        data[:-58] + (2**40).to_bytes(8, "little") + data[-50:-10] + b"\xff\xff\xff\xff" + data[-6:]
    ),
    "a comment": lambda data: data[:-2] + b"\x01\x00x",
    "no 64-bit end record": lambda data: data[:-98] + b"none" + data[-94:],
    "compressed": lambda data: rewritten(data, no_change, zipfile.ZIP_DEFLATED),
    "no pickle": lambda data: rewritten(data, lambda name, entry: b"" if name.endswith("data.pkl") else entry),
    "storage missing its data": lambda data: rewritten(data, lambda name, entry: entry if "pkl" in name else b""),
    "a pickle too large": lambda data: rewritten(
        data, lambda name, entry: entry + b"\0" * checkpoints.MAX_PICKLE_BYTES if name.endswith("pkl") else entry
    ),
    "another shape in the pickle": lambda data: rewritten(
        data, lambda _, entry: entry.replace(b"M\xe8\x03", b"M\xff\xff")
    ),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_files_are_refused(save: Callable[..., Path], damage: Callable[[bytes], bytes]) -> None:
    path = save({"w": torch.arange(1000.0)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError):
        open_checkpoint(path)


def test_a_large_file_is_mapped_not_read(save: Callable[..., Path]) -> None:
    """64 MB of weights; the resident anonymous memory of the process grows by little."""
    path = save({"w": torch.ones(2**24)})

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

    before = anonymous()
    (source,) = open_checkpoint(path).sources
    assert magnitude(source.load(), source.name) == 1
    assert anonymous() - before < 2**25

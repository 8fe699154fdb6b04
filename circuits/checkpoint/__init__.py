"""Checkpoints on disk, read tensor by tensor without torch and without running anything that they contain.

`open_checkpoint` takes a `.safetensors` file, a `*.safetensors.index.json` of shards, an `.onnx` model, or a folder
that holds exactly one of the first two. PyTorch files are read by `prover.checkpoints`, which needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from circuits.checkpoint.base import DTYPES, FLOAT_DTYPES, Checkpoint, TensorSource
from circuits.checkpoint.onnx_reader import read_onnx
from circuits.checkpoint.safetensors_reader import read_safetensors, read_sharded_safetensors
from circuits.errors import FormatError

__all__ = ["DTYPES", "FLOAT_DTYPES", "READERS", "Checkpoint", "Reader", "TensorSource", "open_checkpoint"]

Reader = Callable[[Path], Checkpoint]

READERS: Mapping[str, Reader] = {
    ".safetensors": read_safetensors,
    ".index.json": read_sharded_safetensors,
    ".onnx": read_onnx,
}
"""Ending of the file name (lower case) -> reader."""


def open_checkpoint(path: str | Path, readers: Mapping[str, Reader] = READERS) -> Checkpoint:
    """Open the checkpoint at `path` with the reader for its ending; a folder is searched for safetensors.

    Only headers are read here; the numbers are read by `TensorSource.load`, one tensor at a time.

    Raises:
        FormatError: the path is missing or unreadable, has an ending that no reader takes, or the file is malformed.
    """
    location = Path(path)
    try:
        if location.is_dir():
            location = _file_in_folder(location)
        reader = next((reader for ending, reader in readers.items() if location.name.lower().endswith(ending)), None)
        if reader is None:
            raise FormatError(
                f"{location.name}: no reader for this ending; known here: {', '.join(readers)}"
                " (PyTorch files are read by the prover package, which brings torch)"
            )
        return reader(location)
    except OSError as error:
        raise FormatError(f"{location}: cannot be read ({error}); check the path and permissions") from error


def _file_in_folder(folder: Path) -> Path:
    """The one checkpoint of a folder: model.safetensors or the only *.safetensors.index.json."""
    found = sorted(folder.glob("*.safetensors.index.json"))
    if (folder / "model.safetensors").exists():
        found.append(folder / "model.safetensors")
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "neither model.safetensors nor *.safetensors.index.json"
        raise FormatError(f"{folder}: the folder holds {names}; name the one checkpoint file to read")
    return found[0]

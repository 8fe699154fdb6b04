"""Which checkpoints the daemon may read: those below the folders of its configuration, wherever links lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from circuits.checkpoint.base import Checkpoint
from circuits.errors import FormatError
from prover.checkpoints import open_checkpoint
from verifier.attestation.statement import model_digest
from verifier.service.errors import AccessError, NotFoundError

MAX_PATH = 4096


def allowed_path(text: str, folders: Sequence[Path]) -> Path:
    """The place that a path means, links followed, if it lies below an allowed folder and exists.

    What lies outside gets the same answer whether it exists or not.

    Raises AccessError (outside), NotFoundError (not there), FormatError (no path).
    """
    if not text or len(text) > MAX_PATH or "\0" in text or not Path(text).is_absolute():
        raise FormatError(f"a model is named by its whole path, of at most {MAX_PATH} characters")
    try:
        place = Path(text).resolve()
    except (OSError, RuntimeError):  # links in a circle
        raise FormatError("the path of the model cannot be followed; are its links sound?") from None
    require_allowed([place], folders)
    if not place.exists():
        raise NotFoundError(f"there is no {place.name} in its folder")
    return place


def require_allowed(paths: Iterable[Path], folders: Sequence[Path]) -> None:
    """Raises AccessError unless every path, links followed, lies below one of the folders."""
    roots = [folder.resolve() for folder in folders]
    for path in paths:
        place = path.resolve()
        if not any(place != root and place.is_relative_to(root) for root in roots):
            raise AccessError("the model is not below a folder that the configuration allows (`models`)")


def open_allowed(text: str, folders: Sequence[Path]) -> tuple[Path, Checkpoint]:
    """Open a checkpoint all of whose files are allowed.

    Raises AccessError, NotFoundError, FormatError.
    """
    place = allowed_path(text, folders)
    checkpoint = open_checkpoint(place)
    require_allowed(checkpoint.paths.values(), folders)
    return place, checkpoint


def checkpoint_digest(checkpoint: Checkpoint) -> str:
    """The OpenSSF Model Signing digest of a checkpoint's files, hex; reads all of them."""
    return model_digest(checkpoint.file_digests())

"""The owner's folder of a commitment: commitment.json and validity.proof are public; opening.secret and the ledger
are not."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import BudgetError, FormatError
from prover.argument.randomness import SEED_BYTES
from prover.ledger import LEDGER_FILE, Ledger
from verifier.argument.commitment import Commitment
from verifier.decision import COMMITMENT_FILE

SECRET_FILE = "opening.secret"
_FORMAT = "weightproof/opening/v1"


@dataclass(frozen=True)
class OwnerFolder:
    """An existing commitment with its secret."""

    path: Path
    commitment: Commitment
    seed: bytes

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises BudgetError if it is missing, another commitment's, or allows more than the hiding
        does."""
        ledger = Ledger(self.path / LEDGER_FILE, self.commitment.id)
        parameters = self.commitment.parameters
        if ledger.proofs > min(parameters.proofs, parameters.hiding // parameters.queries - 2):
            raise BudgetError(f"the ledger of {self.path} allows more proofs than the commitment hides; recommit")
        return ledger

    @staticmethod
    def open(path: Path) -> OwnerFolder:
        """Raises FormatError if a file is missing, malformed or another commitment's."""
        commitment = Commitment.read(path / COMMITMENT_FILE)
        secret = path / SECRET_FILE
        try:
            content = json.loads(secret.read_bytes()[:4096])
            seed = bytes.fromhex(content["seed"])
            identity = content["commitment"]
        except OSError as error:
            raise FormatError(f"cannot read {secret}: {error.strerror}; only the owner's folder has it") from None
        except (ValueError, KeyError, TypeError):
            raise FormatError(f"{secret} is damaged; without it the commitment cannot be opened: recommit") from None
        if identity != commitment.id.hex() or len(seed) != SEED_BYTES or content.get("format") != _FORMAT:
            raise FormatError(f"{secret} belongs to another commitment or format")
        return OwnerFolder(path, commitment, seed)


def write_secret(folder: Path, commitment: Commitment, seed: bytes) -> None:
    """opening.secret with mode 0600 from its first byte."""
    content = {"format": _FORMAT, "commitment": commitment.id.hex(), "seed": seed.hex()}
    write_file(folder / SECRET_FILE, json.dumps(content, sort_keys=True).encode() + b"\n", 0o600)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a new file and sync it to disk."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all. Raises FormatError if the place cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise FormatError(f"cannot write {path}: {error.strerror}") from None


def require_writable(path: Path) -> None:
    """Raises FormatError unless a file could be written at `path`; asked before anything is spent on its content."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
        if path.is_dir():
            raise FormatError(f"cannot write {path}: it is a folder")
    except OSError as error:
        raise FormatError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that appears at `target` complete or not at all; `target` must not exist, or be empty.

    Raises FormatError if it holds something or cannot be made.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise FormatError(f"{target} exists and is not an empty folder; choose another with --out")
        made = [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise FormatError(f"cannot make {target}: {error.strerror}") from None
    try:
        yield staging
        os.chmod(staging, 0o755)
        os.rename(staging, target)
    except OSError as error:
        raise FormatError(f"cannot write {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()

"""What leaves the machine: of one job one bundle, the one whose digest the opening ledger has recorded.

A proof is made in memory. Its bundle is first written under a hidden name, then its digest becomes the outcome of the
job's share in the ledger, then it gets its name; only a bundle whose digest is the outcome is ever sent or shown. So
wherever the process is killed,

- before the outcome is recorded, nobody has seen an opened position of this attempt: the next attempt makes a new proof
  from fresh randomness on the same share, or finishes recording the bundle that lies there whole;
- afterwards the bundle is on disk and is sent again; no second proof is ever made on this share.

The positions that others see are therefore those of at most one bundle for every share of the ledger, which is all that
zero knowledge asks of the budget (protocol.md, section 3). A refusal is an outcome as well: it told something, so it
keeps its share (docs/adr/0005), and no later attempt may turn it into a proof.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import BudgetError, StatementError, WeightproofError
from prover.argument.engine import FalseStatementError
from prover.argument.prove import ProverFaultError
from prover.certificates.base import CertificateError
from prover.directory import write_file
from prover.ledger import Ledger
from verifier.service.blobs import sync_folder

MAX_REASON = 2000
_BUNDLE, _REFUSED = "bundle", "refused"
_ENDING = ".bundle"
_REFUSALS: dict[str, type[WeightproofError]] = {
    kind.__name__: kind for kind in (FalseStatementError, CertificateError, ProverFaultError)
}


@dataclass(frozen=True)
class Release:
    """The one bundle of a job: where it lies, and the share that it spends.

    Attributes:
        key: the job's key in the ledger.
    """

    folder: Path
    ledger: Ledger
    key: str

    def earlier(self) -> Path | None:
        """The bundle that an earlier attempt made, None if a proof is still to be made.

        Raises the refusal that an earlier attempt met; BudgetError if the bundle is lost.
        """
        outcome = self.ledger.outcome(self.key)
        if outcome is None:
            staged = self._staged()
            return None if staged is None or not self.ledger.reserved(self.key) else self._publish(staged)
        kind, _, text = outcome.partition(" ")
        if kind == _REFUSED:
            name, _, reason = text.partition(": ")
            raise _REFUSALS.get(name, StatementError)(reason)
        place = self.folder / f"{text}{_ENDING}"
        hidden = self._hidden(text)
        if hidden.exists() and not place.exists():
            self._show(hidden, place)
        if not place.exists() or digest(place) != text:
            raise BudgetError(
                f"the bundle {text} of this job is lost or damaged, and its share is spent; ask for a new job"
            )
        return place

    def seal(self, bundle: bytes) -> Path:
        """Record and show a bundle, from now on the only one of this job; if another attempt was first, that one's.

        Raises BudgetError if no share was taken for it, or the refusal that the other attempt met.
        """
        hidden = self._hidden(hashlib.sha256(bundle).hexdigest())
        write_file(hidden, bundle, 0o600)
        sync_folder(self.folder)
        try:
            return self._publish(hidden)
        except BudgetError:
            hidden.unlink(missing_ok=True)
            earlier = self.earlier()
            if earlier is None:
                raise
            return earlier

    def refuse(self, error: WeightproofError) -> None:
        """Record that no proof was made, if a share was taken for it. Raises BudgetError."""
        if self.ledger.reserved(self.key) and self.ledger.outcome(self.key) is None:
            self.ledger.settle(self.key, f"{_REFUSED} {type(error).__name__}: {error}"[:MAX_REASON])

    def _publish(self, hidden: Path) -> Path:
        name = hidden.name.removeprefix(".").removesuffix(_ENDING)
        self.ledger.settle(self.key, f"{_BUNDLE} {name}")
        place = self.folder / f"{name}{_ENDING}"
        self._show(hidden, place)
        for other in self.folder.glob(f".*{_ENDING}"):  # none of them can become the outcome any more
            other.unlink(missing_ok=True)
        return place

    def _staged(self) -> Path | None:
        """A hidden bundle that was written whole."""
        found = sorted(self.folder.glob(f".*{_ENDING}"))
        return next((path for path in found if path.name == f".{digest(path)}{_ENDING}"), None)

    def _hidden(self, name: str) -> Path:
        return self.folder / f".{name}{_ENDING}"

    def _show(self, hidden: Path, place: Path) -> None:
        try:
            os.rename(hidden, place)
        except FileNotFoundError:
            if not place.exists():
                raise
        sync_folder(self.folder)


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

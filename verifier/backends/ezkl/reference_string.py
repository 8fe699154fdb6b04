"""Structured reference strings: powers of a secret that nobody may know, on which ezkl's soundness rests.

Whoever knows the secret can prove anything. So a string comes from a public ceremony, of which one honest participant
is enough, or the regulator makes one for its own use: then proofs convince that regulator only, and reports and
attestations say `designated`. The owner never makes one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from verifier.backends.ezkl.bn254 import BASE_FIELD, COORDINATE_BYTES, POINT_BYTES
from verifier.backends.ezkl.errors import ReferenceStringError
from verifier.backends.ezkl.process import Job, Limits

MAX_LOG_ROWS = 22
DESIGNATED = "designated"
HEADER_BYTES, _TAIL = 4, 256
"""Halo2's raw serialisation: u32 k, 2^k points in two bases, two points of the other group."""


@dataclass(frozen=True)
class ReferenceString:
    """A file, and what is known about who made it.

    Attributes:
        sha256: hex digest of the file.
        log_rows: it serves circuits of up to 2^log_rows rows.
        origin: the name of a ceremony, or `designated`.
    """

    path: Path
    sha256: str
    log_rows: int
    origin: str

    @staticmethod
    def open(path: Path, ceremony: str | None = None) -> ReferenceString:
        """Read a file. Without the name of a ceremony it counts as made by whoever verifies.

        *Soundness*: that the file is what the ceremony published is for the caller to compare, by its digest.

        Raises ReferenceStringError if it cannot be read, has no reference string's size, or its secret is 0 or a root
        of unity of a circuit's domain.
        """
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                log_rows = int.from_bytes(file.read(HEADER_BYTES), "little")
                if not 4 <= log_rows <= MAX_LOG_ROWS or size != HEADER_BYTES + 2 * (POINT_BYTES << log_rows) + _TAIL:
                    raise ReferenceStringError(f"{path} is no reference string of ezkl, or is truncated")
                _require_no_root_of_unity(path, file, log_rows)
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ReferenceStringError(f"cannot read the reference string {path}: {error.strerror}") from None
        return ReferenceString(path, digest, log_rows, ceremony or DESIGNATED)

    @property
    def designated(self) -> bool:
        """Was it made by the verifier for its own use?"""
        return self.origin == DESIGNATED

    def describe(self) -> dict[str, str]:
        """For reports."""
        return {"sha256": self.sha256, "origin": self.origin}


def _require_no_root_of_unity(path: Path, file: BinaryIO, log_rows: int) -> None:
    """Refuse a secret s with s^(2^j) = 1 or s^(2^j) = -1 for some j < log_rows, and s = 0.

    At a root of unity all but one of the Lagrange polynomials vanish: every commitment would be one cell of its column
    times a generator, without any blind, and whoever made the string could read that cell by trying all weights. The
    powers that a circuit of 2^k rows uses are those below 2^k, so one comparison for each k suffices: proofs verify
    under true powers only.

    Raises ReferenceStringError.
    """

    def coordinate(index: int) -> int:
        file.seek(HEADER_BYTES + POINT_BYTES * index)
        return int.from_bytes(file.read(COORDINATE_BYTES), "little")

    first = coordinate(0)
    for level in range(log_rows):
        power = coordinate(1 << level)
        # a point and its negative share the coordinate; 0 stands for the neutral element
        if power in (0, first) or power >= BASE_FIELD:
            raise ReferenceStringError(
                f"{path} is no honest reference string: its secret is 0 or a root of unity, and commitments under it"
                " would show single weights; get one from a public ceremony"
            )


def generate(path: Path, log_rows: int, limits: Limits | None = None) -> ReferenceString:
    """Make a reference string for one's own use, from the operating system's randomness.

    Raises ReferenceStringError if the file exists or the size is not supported, EzklMissingError, EzklFailedError.
    """
    if not 4 <= log_rows <= MAX_LOG_ROWS:
        raise ReferenceStringError(f"a reference string is made for 2^4 to 2^{MAX_LOG_ROWS} rows")
    if path.exists():
        raise ReferenceStringError(f"{path} exists; a reference string is never overwritten, choose another name")
    part = path.with_name(f".{path.name}.part")
    try:
        Job(limits or Limits()).add("gen_srs", path=part.absolute(), log_rows=log_rows).run()
        os.replace(part, path)
    except OSError as error:
        raise ReferenceStringError(f"cannot write {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return ReferenceString.open(path)

"""Are both bases of a reference string about one secret? For owners, who commit to weights under somebody's string.

A string holds points G_j for the powers of its secret, and L_i for its Lagrange polynomials. A commitment to a column
is the sum of its cells times L_i. If some L_i were another point, proofs would fail unless cell i is 0: whoever made
the string would learn from the failure. Here, for random r, sum_i r_i L_i is compared with sum_j c_j G_j, where c are
the coefficients of the polynomial with values r: equal for a wrong basis with probability 2^-128. ezkl adds up the
points: it is given the file as it is, and a copy with G in the place of L. Wrong powers need no check: no proof
verifies under them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from verifier.backends.ezkl.bn254 import (
    POINT_BYTES,
    Point,
    add,
    interpolated,
    is_stored_point,
    multiple,
    negative,
    stored_point,
)
from verifier.backends.ezkl.circuit import FIELD
from verifier.backends.ezkl.errors import EzklFailedError, ReferenceStringError
from verifier.backends.ezkl.inputs import element
from verifier.backends.ezkl.keys import KEY, SETTINGS, Keys
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import HEADER_BYTES, ReferenceString

SCALAR_BITS = 128
OWN_ROWS = 16
"""The last rows are added up here: ezkl commits to vectors that leave some rows for blinding."""
ONES = 6
"""Rows at the end that ezkl takes to be 1."""


def require_consistent(reference: ReferenceString, keys: Keys, limits: Limits, cache: Path | None = None) -> None:
    """Refuse a string whose second basis is not that of its first; in `cache` it is noted which strings were checked.

    Takes seconds for 2^18 rows. Keys of any circuit serve.

    Raises ReferenceStringError, EzklMissingError, EzklFailedError.
    """
    note = cache / f"{reference.sha256}.consistent" if cache is not None else None
    if note is not None and note.exists():
        return
    data, size = reference.path.read_bytes(), 1 << reference.log_rows
    if hashlib.sha256(data).hexdigest() != reference.sha256:
        raise ReferenceStringError(f"{reference.path} was changed while it was in use; start again")
    for at in range(HEADER_BYTES, HEADER_BYTES + 2 * size * POINT_BYTES, POINT_BYTES):
        if not is_stored_point(data, at):
            raise ReferenceStringError(f"{reference.path} holds points that are on no curve; get an honest one")
    values = [secrets.randbits(SCALAR_BITS) for _ in range(size)]
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        swapped = Path(name) / "swapped"
        first = data[HEADER_BYTES : HEADER_BYTES + size * POINT_BYTES]
        swapped.write_bytes(data[:HEADER_BYTES] + first + first + data[HEADER_BYTES + 2 * size * POINT_BYTES :])
        lagrange = _combination(reference.path, data, HEADER_BYTES + size * POINT_BYTES, values, keys, limits)
        powers = _combination(swapped, data, HEADER_BYTES, interpolated(values), keys, limits)
    if lagrange != powers:
        raise ReferenceStringError(
            f"the two bases of {reference.path} do not belong together: failures under it would show single weights;"
            " get one from a public ceremony"
        )
    if note is not None:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


def _combination(file: Path, data: bytes, start: int, scalars: Sequence[int], keys: Keys, limits: Limits) -> Point:
    """The sum of the points of a basis times scalars; `file` has that basis in the place of its second."""
    size = len(scalars)
    points = [stored_point(data, start + POINT_BYTES * row) for row in range(size - OWN_ROWS, size)]
    total = _committed(file, scalars[: size - OWN_ROWS], keys, limits)
    for point in points[-ONES:]:
        total = add(total, negative(point))
    for scalar, point in zip(scalars[-OWN_ROWS:], points, strict=True):
        total = add(total, multiple(scalar % FIELD, point))
    return total


def _committed(file: Path, scalars: Sequence[int], keys: Keys, limits: Limits) -> Point:
    """What ezkl commits to a vector with."""
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        message, found = Path(name) / "message.json", Path(name) / "points.json"
        message.write_text(json.dumps([element(scalar) for scalar in scalars]))
        Job(limits).add(
            "kzg_commit",
            message=message,
            vk=keys.path(KEY),
            settings=keys.path(SETTINGS),
            srs=file.absolute(),
            output=found,
        ).run()
        points = json.loads(found.read_bytes())
    if len(points) != 1:
        raise EzklFailedError("ezkl commits to a vector with several points: this version is not supported")
    x, y = (int.from_bytes(bytes.fromhex(text), "little") for text in points[0])
    return x, y

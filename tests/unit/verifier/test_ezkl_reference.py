"""Reference strings whose second basis is not that of their powers are refused before an owner commits under them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.bn254 import lagrange_points
from tests.support.ezkl import LIMITS, Owner, matrix, needs_ezkl, policy
from verifier.backends.ezkl.bn254 import (
    BASE_FIELD,
    POINT_BYTES,
    add,
    interpolated,
    is_stored_point,
    multiple,
    negative,
    stored_point,
)
from verifier.backends.ezkl.circuit import FIELD
from verifier.backends.ezkl.errors import ReferenceStringError
from verifier.backends.ezkl.keys import Keys, derived
from verifier.backends.ezkl.reference_check import require_consistent
from verifier.backends.ezkl.reference_string import HEADER_BYTES, ReferenceString, generate

LOG_ROWS = 9
ROWS = 1 << LOG_ROWS
ASKED = policy('check: frobenius-norm, tensors: "*", at_most: "7"')


def test_points_add_up_in_a_group() -> None:
    one = (1, 2)
    assert multiple(FIELD, one) is None
    assert add(multiple(5, one), negative(multiple(3, one))) == add(one, one) == multiple(2, one)
    assert add(one, negative(one)) is None
    assert add(None, one) == one == add(one, None)


def test_polynomials_take_their_values_back() -> None:
    values = [pow(3, i, FIELD) for i in range(16)]
    coefficients = interpolated(values)
    root = pow(7, (FIELD - 1) // 16, FIELD)
    for row, value in enumerate(values):
        assert sum(c * pow(root, row * j, FIELD) for j, c in enumerate(coefficients)) % FIELD == value
    assert interpolated([5]) == [5]


def test_stored_points_lie_on_the_curve_in_one_form() -> None:
    shift = (1 << 256) % BASE_FIELD
    x, y = shift, 2 * shift % BASE_FIELD
    stored = x.to_bytes(32, "little") + y.to_bytes(32, "little")
    assert is_stored_point(stored, 0)
    assert stored_point(stored, 0) == (1, 2)
    assert is_stored_point(bytes(64), 0)
    assert stored_point(bytes(64), 0) is None
    for forged in (
        stored[:32] + x.to_bytes(32, "little"),
        (x + BASE_FIELD).to_bytes(32, "little") + stored[32:],
        stored[:32] + bytes(32),
    ):
        assert not is_stored_point(forged, 0)


@dataclass
class Made:
    """An honest string, and keys of some circuit under it."""

    reference: ReferenceString
    keys: Keys

    def forged(self, path: Path, edit: dict[int, bytes]) -> ReferenceString:
        """The same string with other bytes for some points."""
        data = bytearray(self.reference.path.read_bytes())
        for index, point in edit.items():
            at = HEADER_BYTES + POINT_BYTES * index
            data[at : at + POINT_BYTES] = point
        path.write_bytes(data)
        return ReferenceString.open(path)

    def point(self, index: int) -> bytes:
        at = HEADER_BYTES + POINT_BYTES * index
        return self.reference.path.read_bytes()[at : at + POINT_BYTES]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("reference")
    reference = generate(folder / "srs", LOG_ROWS)
    owner = Owner.of(folder / "model", {"weight": matrix()}, reference)
    with derived(owner.statement(ASKED, linked=False).circuit, reference, LIMITS, proving=False) as keys:
        yield Made(reference, keys)


@needs_ezkl
def test_an_honest_string_is_accepted_and_checked_once(made: Made, tmp_path: Path) -> None:
    require_consistent(made.reference, made.keys, LIMITS, tmp_path / "cache")
    # nothing is read again
    require_consistent(replace(made.reference, path=tmp_path / "gone"), made.keys, LIMITS, tmp_path / "cache")
    assert lagrange_points(made.reference.path)[0] is not None


@needs_ezkl
@pytest.mark.parametrize("row", [0, 100, ROWS - 17, ROWS - 16, ROWS - 7, ROWS - 6, ROWS - 1])
def test_one_wrong_point_is_noticed_in_every_row(made: Made, tmp_path: Path, row: int) -> None:
    """Whether ezkl adds it up or we do."""
    forged = made.forged(tmp_path / "forged", {ROWS + row: made.point(ROWS + (row + 1) % ROWS)})
    with pytest.raises(ReferenceStringError, match="do not belong together"):
        require_consistent(forged, made.keys, LIMITS)


@needs_ezkl
@pytest.mark.parametrize("index", [3, ROWS - 1, ROWS + 5])
def test_neutral_points_other_powers_and_points_off_the_curve_are_noticed(
    made: Made, tmp_path: Path, index: int
) -> None:
    off = made.point(index)[:32] + bytes(32)
    for point, reason in ((bytes(64), "together"), (made.point(0), "together"), (off, "on no curve")):
        forged = made.forged(tmp_path / "forged", {index: point})
        with pytest.raises(ReferenceStringError, match=reason):
            require_consistent(forged, made.keys, LIMITS)


@needs_ezkl
def test_another_file_than_was_opened_is_noticed(made: Made, tmp_path: Path) -> None:
    """The note in the cache is about these bytes."""
    other = replace(made.reference, path=generate(tmp_path / "other", LOG_ROWS).path)
    with pytest.raises(ReferenceStringError, match="was changed"):
        require_consistent(other, made.keys, LIMITS, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@needs_ezkl
def test_an_owner_proves_nothing_under_such_a_string(made: Made, tmp_path: Path) -> None:
    """The forged row is that of a digit: whether the proof fails would tell if it is 0."""
    forged = made.forged(tmp_path / "forged", {ROWS: bytes(64)})
    owner = Owner.of(tmp_path / "model", {"weight": matrix()}, forged)
    with pytest.raises(ReferenceStringError, match="do not belong together"):
        owner.audit(ASKED, linked=False)

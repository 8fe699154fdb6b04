"""The commitment id binds every part, and commitment.json has exactly one form."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuits.errors import FormatError
from circuits.manifest import ExcludedEntry, Manifest
from tests.unit.verifier.publics import commitment_of, manifest_of
from verifier.argument.commitment import MAX_COMMITMENT_BYTES, Commitment
from verifier.argument.engine import LABEL_MODEL

COMMITMENT = commitment_of({"a.weight": (6, 7), "b.weight": (300, 300)}, {"b.weight": 12})
DATA = COMMITMENT.to_bytes()


def other_manifest(**changes: Any) -> Commitment:
    return replace(COMMITMENT, manifest=replace(COMMITMENT.manifest, **changes))


def other_parameters(**changes: Any) -> Commitment:
    return replace(COMMITMENT, parameters=replace(COMMITMENT.parameters, **changes))


def first_tensor(**changes: Any) -> Commitment:
    tensors = COMMITMENT.manifest.tensors
    return other_manifest(tensors=(replace(tensors[0], **changes), *tensors[1:]))


EXCLUDED = ExcludedEntry("ids", (3,), "int64", "00" * 32)

OTHERS: dict[str, Commitment] = {
    "root": replace(COMMITMENT, root=bytes(32)),
    "one bit of the root": replace(COMMITMENT, root=bytes([1]) + COMMITMENT.root[1:]),
    "proofs promised": other_parameters(proofs=COMMITMENT.parameters.proofs + 1),
    "target": other_parameters(target_bits=127),
    "row length": other_parameters(log_columns=COMMITMENT.parameters.log_columns + 1),
    "hiding": other_parameters(hiding=COMMITMENT.parameters.hiding + 1),
    "queries": other_parameters(queries=COMMITMENT.parameters.queries - 1),
    "levels": other_parameters(levels=COMMITMENT.parameters.levels[:-1]),
    "name": first_tensor(name="a.bias"),
    "shape": first_tensor(shape=(7, 6)),
    "flattened shape": first_tensor(shape=(42,)),
    "dtype": first_tensor(dtype="float64"),
    "scale and so rounding bound": first_tensor(scale=9),
    "excluded tensor": other_manifest(excluded=(EXCLUDED,)),
    "another excluded tensor": other_manifest(excluded=(replace(EXCLUDED, sha256="01" * 32),)),
    "tied name": other_manifest(tied={"c.weight": "a.weight"}),
    "another tied name": other_manifest(tied={"c.weight": "b.weight"}),
    "file": other_manifest(files={"model.safetensors": "00" * 32}),
    "file name": other_manifest(files={"model2.safetensors": "00" * 32}),
    "file digest": other_manifest(files={"model.safetensors": "00" * 31 + "01"}),
}


def test_the_id_by_definition() -> None:
    """H(20 || version || parameter bytes || manifest bytes || root), each behind its u64 length."""
    parts = (
        b"weightproof/1",
        COMMITMENT.parameters.to_bytes(),
        COMMITMENT.manifest.to_bytes(),
        COMMITMENT.root,
    )
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert COMMITMENT.id == hashlib.sha256(b"\x20" + framed).digest()


@pytest.mark.parametrize("part", OTHERS)
def test_every_part_is_in_the_id(part: str) -> None:
    assert OTHERS[part].id != COMMITMENT.id


def test_all_ids_differ() -> None:
    assert len({commitment.id for commitment in OTHERS.values()}) == len(OTHERS)


def test_bytes_and_back() -> None:
    for commitment in (COMMITMENT, *OTHERS.values()):
        again = Commitment.from_bytes(commitment.to_bytes())
        assert again == commitment
        assert (again.id, again.to_bytes()) == (commitment.id, commitment.to_bytes())


def test_names_that_are_not_ascii() -> None:
    commitment = replace(COMMITMENT, manifest=manifest_of({"schicht.größe": (3, 3), "層.重み": (2,)}))
    assert Commitment.from_bytes(commitment.to_bytes()) == commitment


def edited(edit: Callable[[dict[str, Any]], Any], **style: Any) -> bytes:
    """commitment.json after a change to its content, otherwise in canonical form."""
    content = json.loads(DATA)
    edit(content)
    options = {"sort_keys": True, "indent": 1, "ensure_ascii": False, **style}
    return json.dumps(content, **options).encode() + b"\n"


def nothing(content: dict[str, Any]) -> None:
    """No change."""


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": DATA.replace(b"a.weight", b"\xff.weight"),
    "UTF-16": DATA.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + DATA,
    "a list": b"[]\n",
    "a number": b"1e999\n",
    "deep": b'{"a":' * 100_000,
    "compact": edited(nothing, indent=None),
    "escapes": edited(lambda c: c["manifest"]["tensors"][0].update(name="ü"), ensure_ascii=True),
    "other order": edited(nothing, sort_keys=False).replace(b'{\n "id"', b'{\n  "id"'),
    "no newline": DATA[:-1],
    "two newlines": DATA + b"\n",
    "duplicate key": DATA.replace(b'"protocol"', b'"protocol": "weightproof/1",\n "protocol"'),
    "extra key": edited(lambda c: c.update(extra=1)),
    "missing key": edited(lambda c: c.pop("root")),
    "other protocol": edited(lambda c: c.update(protocol="weightproof/2")),
    "protocol of another type": edited(lambda c: c.update(protocol=["weightproof/1"])),
    "id of another": edited(lambda c: c.update(id="00" * 32)),
    "id in capitals": edited(lambda c: c.update(id=c["id"].upper())),
    "root in capitals": edited(lambda c: c.update(root=c["root"].upper())),
    "root with spaces": edited(lambda c: c.update(root=" " * 32 + c["root"][:32])),
    "short root": edited(lambda c: c.update(root=c["root"][:62])),
    "root not hex": edited(lambda c: c.update(root="g" * 64)),
    "root a number": edited(lambda c: c.update(root=7)),
    "parameters a list": edited(lambda c: c.update(parameters=[])),
    "float parameter": edited(lambda c: c["parameters"].update(queries=400.0)),
    "boolean parameter": edited(lambda c: c["parameters"].update(proofs=True)),
    "negative parameter": edited(lambda c: c["parameters"].update(hiding=-1)),
    "manifest missing": edited(lambda c: c.update(manifest=None)),
    "manifest without tensors": edited(lambda c: c["manifest"].update(tensors=[])),
    "wrong rounding bound": edited(lambda c: c["manifest"]["tensors"][0].update(rounding_bound="1/4")),
    "wrong group": edited(lambda c: c["manifest"]["tensors"][0].update(group=0)),
    "wrong group size": edited(lambda c: c["manifest"]["groups"][0].update(entries=1)),
    "NaN": DATA.replace(b'"group": 0', b'"group": NaN'),
    "unsorted tensors": edited(lambda c: c["manifest"]["tensors"].reverse()),
    "lone surrogate": edited(lambda c: c["manifest"]["tensors"][0].update(name="x")).replace(b'"x"', b'"\\ud800"'),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    with pytest.raises(FormatError):
        Commitment.from_bytes(MALFORMED[case])


def test_a_consistent_lie_is_another_commitment() -> None:
    """Content changed and the id recomputed: well formed, and another id, so that no proof fits."""
    lie = first_tensor(scale=11)
    assert Commitment.from_bytes(lie.to_bytes()).id != COMMITMENT.id


def test_reading_files(tmp_path: Path) -> None:
    path = tmp_path / "commitment.json"
    with pytest.raises(FormatError, match="cannot read"):
        Commitment.read(path)
    with pytest.raises(FormatError, match="cannot read"):
        Commitment.read(tmp_path)
    path.write_bytes(DATA)
    assert Commitment.read(path) == COMMITMENT
    with path.open("wb") as file:
        file.truncate(MAX_COMMITMENT_BYTES + 1)
    with pytest.raises(FormatError, match="more than"):
        Commitment.read(path)
    with pytest.raises(FormatError, match="larger than any"):
        Commitment.from_bytes(bytes(MAX_COMMITMENT_BYTES + 1))
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="regular file"):
        Commitment.read(path)


def test_parsing_is_bounded() -> None:
    """Millions of empty lists would take gigabytes: they are counted before they are parsed."""
    data = edited(lambda c: c.update(manifest=None)).replace(b"null", b"[" + b"[]," * 5_000_000 + b"1]")
    tracemalloc.start()
    with pytest.raises(FormatError, match="elements"):
        Commitment.from_bytes(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_oracle_and_the_layout() -> None:
    oracle = COMMITMENT.oracle()
    cells = COMMITMENT.layout.entries
    assert cells == 42 + 90_000 + 2 * 65_536
    assert oracle.rows == COMMITMENT.rows == -(-cells // COMMITMENT.parameters.columns)
    assert (oracle.label, oracle.words, oracle.root, oracle.salted) == (LABEL_MODEL, oracle.rows, COMMITMENT.root, True)
    assert COMMITMENT.oracle() is not oracle


def test_a_manifest_alone_is_strict_too() -> None:
    """What the commitment embeds is read by the manifest's own rules."""
    with pytest.raises(FormatError):
        Manifest.from_bytes(COMMITMENT.manifest.to_bytes() + b"\n")

"""Groups 2, 3, 30: bytes of any kind end in an error of ours, in bounded memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from circuits.errors import FormatError, WeightproofError
from circuits.policy import Policy
from tests.soundness.conftest import Honest, honest
from tests.support.cheating import rejects
from tests.support.model import SMALL, manifest
from tests.support.toy import MICRO, NONCE, Toy, ToyCommitment
from verifier.argument.commitment import Commitment
from verifier.argument.derive import derive
from verifier.argument.errors import MerkleError, ProofFormatError
from verifier.argument.field import P
from verifier.argument.parameters import Parameters
from verifier.argument.statement import MAX_PROOF_BYTES, verify
from verifier.argument.validity import Validity
from verifier.bundle import MAGIC, Bundle

CASE: list[Honest] = []


def case() -> Honest:
    if not CASE:
        CASE.append(honest(MICRO, 128))
    return CASE[0]


def refused(proof: bytes) -> None:
    with pytest.raises(WeightproofError):
        verify(case().statement, proof, NONCE, minimum_bits=1)


@given(st.binary(max_size=4096))
@example(b"")
@settings(max_examples=60)
def test_random_bytes(proof: bytes) -> None:
    """Groups 2, 30: of any length."""
    refused(proof)


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_random_bytes_of_the_right_length(seed: int) -> None:
    """Groups 3, 30: canonical field elements or not."""
    size = len(case().proof)
    refused(random.Random(seed).randbytes(size))
    words = random.Random(seed)
    refused(b"".join(words.randrange(P).to_bytes(8, "little") for _ in range(size // 8)))


@given(st.data())
@settings(max_examples=120)
def test_an_honest_proof_with_pieces_replaced(data: st.DataObject) -> None:
    """Groups 2, 3, 30: cut, doubled, moved, overwritten."""
    proof = bytearray(case().proof)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(proof)))
        stop = data.draw(st.integers(start, min(len(proof), start + 200)))
        proof[start:stop] = data.draw(st.binary(max_size=200))
    if bytes(proof) != case().proof:
        refused(bytes(proof))


def test_zeros_and_ones() -> None:
    """Group 30: the extremes of every field element."""
    size = len(case().proof)
    rejects(MerkleError, case().statement, bytes(size))
    rejects(ProofFormatError, case().statement, b"\xff" * size)
    rejects(MerkleError, case().statement, (P - 1).to_bytes(8, "little") * (size // 8))


def test_a_proof_larger_than_any() -> None:
    """Group 30: refused before it is looked at."""
    rejects(ProofFormatError, case().statement, bytes(MAX_PROOF_BYTES + 1))


def test_a_statement_about_a_huge_commitment() -> None:
    """Group 30: parameters for 2^32 entries and a proof of a few bytes: the verifier allocates for the proof that is
    there, not for the one that is announced."""
    parameters = derive(1 << 32, 64)
    statement = Toy(ToyCommitment(parameters, bytes(32), 64), 0)
    for proof in (b"", bytes(100_000)):
        tracemalloc.start()
        with pytest.raises(ProofFormatError):
            verify(statement, proof, NONCE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 32 << 20


GOOD = Commitment(SMALL, manifest({"a.weight": (3, 5), "b.bias": (7,)}), bytes(range(32)))
HOSTILE_VALUES: list[Any] = [None, 1, 1.5, -1, True, "x", [], {}, 2**40, 10**400, "\u0000", "é", float("nan")]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, inner in items for p in ((*path, key), *paths(inner, (*path, key)))]


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=repr)
def test_a_commitment_with_one_field_replaced(value: Any) -> None:
    """Groups 4, 30: every field of commitment.json, of the manifest and of the parameters. None may change under the
    same id, and none crashes the reader."""
    assert Commitment.from_bytes(GOOD.to_bytes()) == GOOD
    for path in paths(json.loads(GOOD.to_bytes())):
        document = json.loads(GOOD.to_bytes())
        place = document
        for key in path[:-1]:
            place = place[key]
        if type(place[path[-1]]) is type(value) and place[path[-1]] == value:
            continue
        place[path[-1]] = value
        data = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"
        with pytest.raises(WeightproofError):
            Commitment.from_bytes(data)


@given(st.data())
@settings(max_examples=100)
def test_a_commitment_of_damaged_bytes(data: st.DataObject) -> None:
    """Group 30: commitment.json with pieces replaced."""
    text = bytearray(GOOD.to_bytes())
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 40)))
    text[start:stop] = data.draw(st.binary(max_size=40) | st.sampled_from([b"NaN", b"9" * 5000, b"\\ud800", b'"id":']))
    if bytes(text) != GOOD.to_bytes():
        with pytest.raises(WeightproofError):
            Commitment.from_bytes(bytes(text))


@pytest.mark.parametrize("depth", [10, 500, 995, 1100, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_json(depth: int, opening: str) -> None:
    """Group 30: recursion ends in an error."""
    body = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    for field in ("manifest", "parameters", "root", "id"):
        text = json.dumps({**json.loads(GOOD.to_bytes()), field: "@"}).replace('"@"', body)
        with pytest.raises(FormatError):
            Commitment.from_bytes(text.encode())


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_a_damaged_bundle(data: bytes) -> None:
    """Group 30: announced lengths are checked against the bytes that are there."""
    for text in (data, MAGIC + data, MAGIC + bytes(64) + data):
        try:
            assert Bundle.from_bytes(text).to_bytes() == text
        except WeightproofError:
            continue


@pytest.mark.parametrize("value", [-1, 2**40, 1.0, "1", None, True, [1]])
@pytest.mark.parametrize("name", ["hiding", "log_columns", "proofs", "queries", "target_bits", "levels"])
def test_parameters_of_another_type(name: str, value: Any) -> None:
    """Group 30: parameters are integers in range, or an error."""
    with pytest.raises(FormatError):
        Parameters.from_json({**SMALL.to_json(), name: value})
    assert Parameters.from_json(SMALL.to_json()) == SMALL


@pytest.mark.parametrize(
    "value",
    [
        b"2001-01-01",
        b"!!binary aaaa",
        b"&a [*a]",
        b"!!python/object:os.system x",
        b"!!int x",
        b"!!float x",
        b"!!timestamp x",
        b"!!set {a}",
        b".nan",
        b"9" * 5000,
        b"1:2:3",
        b"[" * 5000,
        b"\xff",
        b"{? [a]: b}",
    ],
)
def test_a_hostile_policy(value: bytes) -> None:
    """Group 30: YAML of every kind where a string belongs."""
    for text in (b"policy: " + value, b"policy: weightproof/policy/v1\nname: x\nchecks: " + value, value):
        with pytest.raises(WeightproofError):
            Policy.from_bytes(text)


@pytest.mark.parametrize("proof", [b"", bytes(1000), bytes(100_000)])
def test_a_validity_proof_of_zeros(proof: bytes) -> None:
    """Group 30: the real validity statement on a real commitment."""
    with pytest.raises(WeightproofError):
        verify(Validity(GOOD), proof, minimum_bits=1)

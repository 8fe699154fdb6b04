"""Every byte of what an owner sends counts: no changed, cut, extended or spliced file is accepted, and nothing crashes.

The network is a real one and the level is the full 128 bits. `decide` is what the command `verify` calls.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from circuits.errors import FormatError, StatementError, VerificationError, WeightproofError
from circuits.policy import Policy
from tests.end_to_end.commands import ACCEPTED, MALFORMED, REJECTED, prover, verifier
from tests.end_to_end.conftest import Audited
from tests.end_to_end.models import changed, norms, policy_text
from verifier.argument.audit import Audit
from verifier.argument.commitment import Commitment
from verifier.argument.engine import VerifyingEngine
from verifier.argument.opening import finish
from verifier.argument.statement import Statement, dry_run, open_transcript, oracles, verify
from verifier.argument.transcript import Kind
from verifier.argument.validity import Validity
from verifier.bundle import MAGIC, Bundle
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE, decide

SEED = 20_251_120
THOROUGH = pytest.mark.slow
REFUSALS = (FormatError, VerificationError)
"""Malformed (exit 3) or rejected (exit 1)."""

Message = tuple[Kind, int, int]


class RecordingEngine(VerifyingEngine):
    """A verifier that remembers where in the proof each message lies."""

    def __init__(self, statement: Statement, nonce: bytes, proof: bytes) -> None:
        pads = dry_run(statement).pads
        super().__init__(statement.parameters, open_transcript(statement, nonce), oracles(statement), pads, proof)
        self.messages: list[Message] = []

    def _exchange(self, kind: Kind, size: int, data: bytes | None) -> bytes:
        self.messages.append((kind, self._offset, size))
        return super()._exchange(kind, size, data)


def messages(statement: Statement, nonce: bytes, proof: bytes) -> list[Message]:
    """The messages of an accepted proof: kind, offset, size. They cover it without gaps."""
    engine = RecordingEngine(statement, nonce, proof)
    statement.script(engine)
    finish(engine)
    engine.require_end()
    ends = [offset + size for _, offset, size in engine.messages]
    assert [offset for _, offset, _ in engine.messages] == [0, *ends[:-1]]
    assert ends[-1] == len(proof)
    return engine.messages


def sample(found: list[Message], count: int) -> Iterator[tuple[int, int]]:
    """`count` positions with the bits to flip there. First each long message (roots, vectors, openings) at both ends
    and in the middle, then uniform ones."""
    print(f"seed {SEED}")
    random_source = random.Random(SEED)
    regions = [(offset, size) for kind, offset, size in found if kind not in (Kind.MASKED, Kind.CLEAR)]
    short = [(offset, size) for kind, offset, size in found if kind in (Kind.MASKED, Kind.CLEAR)]
    regions += [short[0], short[-1], *random_source.sample(short, 10)]
    fixed = [position for offset, size in regions for position in (offset, offset + size // 2, offset + size - 1)]
    assert len(fixed) < count
    end = found[-1][1] + found[-1][2]
    for position in fixed + [random_source.randrange(end) for _ in range(count - len(fixed))]:
        yield position, 1 << random_source.randrange(8)


@pytest.fixture(scope="module")
def policy(small: Audited) -> Policy:
    return Policy.read(small.policy)


@pytest.fixture(scope="module")
def commitment(small: Audited) -> Commitment:
    return Commitment.read(small.folder / COMMITMENT_FILE)


@pytest.fixture(scope="module")
def statement(policy: Policy, commitment: Commitment) -> Audit:
    return Audit(policy, commitment)


@pytest.fixture(scope="module")
def bundle(small: Audited) -> Bundle:
    return Bundle.read(small.bundle)


@pytest.fixture
def copy(small: Audited, tmp_path: Path) -> Path:
    """The commitment's public files, to be changed."""
    for name in (COMMITMENT_FILE, VALIDITY_FILE):
        shutil.copy(small.folder / name, tmp_path)
    return tmp_path


def refused(folder: Path, data: bytes, policy: Policy) -> type[WeightproofError]:
    """Deciding on these bundle bytes, by a verifier who handed out no nonce, ends in an error of an expected kind:
    which one. A nonce of an impossible length is a StatementError, rejected too."""
    with pytest.raises((*REFUSALS, StatementError)) as caught:
        decide(folder, Bundle.from_bytes(data), policy, None)
        pytest.fail("accepted")
    return caught.type


def test_the_honest_bundle_is_accepted(small: Audited, bundle: Bundle, policy: Policy) -> None:
    data = small.bundle.read_bytes()
    assert bundle.to_bytes() == data
    decide(small.folder, Bundle.from_bytes(data), policy, small.nonce)
    decide(small.folder, Bundle.from_bytes(data), policy, None)


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=THOROUGH)])
def test_bytes_of_the_header(small: Audited, bundle: Bundle, policy: Policy, step: int) -> None:
    """Every byte, or every fourth. Also where the verifier handed out no nonce: the bundle's own is bound by the
    proof."""
    data = small.bundle.read_bytes()
    header = len(data) - len(bundle.proof)
    assert header == len(MAGIC) + 32 + 32 + 2 + len(small.nonce) + 4
    random_source = random.Random(SEED)
    for position in range(0, header, step):
        refused(small.folder, changed(data, position, 1 << random_source.randrange(8)), policy)


@pytest.mark.parametrize("count", [90, pytest.param(300, marks=THOROUGH)])
def test_bytes_of_every_region_of_the_proof(small: Audited, bundle: Bundle, statement: Audit, count: int) -> None:
    """The statement's half of `decide`: the other half, validity, does not look at the bundle."""
    found = messages(statement, small.nonce, bundle.proof)
    assert {kind for kind, _, _ in found} == {Kind.ROOT, Kind.MASKED, Kind.CLEAR, Kind.VECTOR, Kind.OPENED}
    for position, mask in sample(found, count):
        with pytest.raises(REFUSALS):
            verify(statement, changed(bundle.proof, position, mask), bundle.nonce)
            pytest.fail(f"accepted with byte {position} changed by {mask}")


@pytest.mark.parametrize("count", [70, pytest.param(300, marks=THOROUGH)])
def test_bytes_of_the_validity_proof(small: Audited, commitment: Commitment, count: int) -> None:
    proof = (small.folder / VALIDITY_FILE).read_bytes()
    validity = Validity(commitment)
    for position, mask in sample(messages(validity, b"", proof), count):
        with pytest.raises(REFUSALS):
            verify(validity, changed(proof, position, mask))
            pytest.fail(f"accepted with byte {position} changed by {mask}")


def test_a_changed_validity_proof_refuses_a_good_bundle(copy: Path, bundle: Bundle, policy: Policy) -> None:
    """The same through `decide`: a bundle counts only with a valid commitment."""
    proof = (copy / VALIDITY_FILE).read_bytes()
    for position in (0, len(proof) // 2, len(proof) - 1):
        (copy / VALIDITY_FILE).write_bytes(changed(proof, position))
        with pytest.raises(REFUSALS):
            decide(copy, bundle, policy, None)


def test_every_byte_of_the_commitment(small: Audited) -> None:
    """commitment.json binds itself: any changed byte makes it malformed, so no proof is even looked at."""
    data = (small.folder / COMMITMENT_FILE).read_bytes()
    random_source = random.Random(SEED)
    for position in range(len(data)):
        with pytest.raises(FormatError):
            Commitment.from_bytes(changed(data, position, 1 << random_source.randrange(8)))
            pytest.fail(f"accepted with byte {position} changed")


@pytest.mark.parametrize("name", [COMMITMENT_FILE, VALIDITY_FILE])
def test_cut_and_extended_public_files(name: str, copy: Path, bundle: Bundle, policy: Policy) -> None:
    data = (copy / name).read_bytes()
    cut = [data[:size] for size in (0, 1, len(data) // 2, len(data) - 1)]
    for other in (*cut, data + b"\0", data + b"\n", data + data, b" " + data):
        (copy / name).write_bytes(other)
        with pytest.raises(REFUSALS):
            decide(copy, bundle, policy, None)
    (copy / name).unlink()
    with pytest.raises(FormatError):
        decide(copy, bundle, policy, None)


def test_a_cut_or_extended_bundle(small: Audited, bundle: Bundle, policy: Policy) -> None:
    data = small.bundle.read_bytes()
    header = len(data) - len(bundle.proof)
    starts = [0, 1, len(MAGIC) - 1, len(MAGIC), header - 1, header, header + 1]
    for size in (*starts, len(data) // 2, len(data) - 24, len(data) - 1):
        assert issubclass(refused(small.folder, data[:size], policy), FormatError), size
    for tail in (b"\0", b"\n", bytes(24), data, bundle.proof):
        assert issubclass(refused(small.folder, data + tail, policy), FormatError)


def test_announced_lengths(small: Audited, bundle: Bundle, policy: Policy) -> None:
    """The header's two lengths, nonce and disclosed integers, set to every kind of lie."""
    data = small.bundle.read_bytes()
    nonce_length = len(MAGIC) + 64
    count = nonce_length + 2 + len(small.nonce)
    for value in (0, 15, 16, 31, 33, 256, 257, 0xFFFF):
        refused(small.folder, data[:nonce_length] + value.to_bytes(2, "little") + data[nonce_length + 2 :], policy)
    for value in (1, 2, 3, 1 << 20, (1 << 20) + 1, 0xFFFFFFFF):
        refused(small.folder, data[:count] + value.to_bytes(4, "little") + data[count + 4 :], policy)
    refused(small.folder, replace(bundle, disclosed=(0,)).to_bytes(), policy)
    refused(small.folder, replace(bundle, nonce=b"").to_bytes(), policy)


def test_spliced_bundles(small: Audited, bundle: Bundle, policy: Policy, tmp_path: Path) -> None:
    """Header and proof of two honest bundles: of another policy, nonce and commitment to the same model."""
    path = tmp_path / "other.yaml"
    path.write_text(policy_text(norms("1000"), norms("3000", over="together")))
    other_policy = Policy.read(path)
    folder = tmp_path / "again"
    prover("commit", small.model, "--out", folder, "--proofs", "4").clean(ACCEPTED)
    makers = {
        "policy": (small.folder, path, small.nonce),
        "nonce": (small.folder, small.policy, small.nonce[::-1]),
        "commitment": (folder, small.policy, small.nonce),
    }
    for part, (where, policy_file, nonce) in makers.items():
        out = tmp_path / part
        options = ("--model", small.model, "--policy", policy_file, "--nonce", nonce.hex(), "--out", out)
        prover("audit", where, *options).clean(ACCEPTED)
        other = Bundle.read(out)
        own_policy = other_policy if part == "policy" else policy
        decide(where, other, own_policy, nonce)
        # its header with this proof, its proof with this header, and this bundle shown for what it is not
        with pytest.raises(REFUSALS):
            decide(where, replace(other, proof=bundle.proof), own_policy, nonce)
        with pytest.raises(REFUSALS):
            decide(small.folder, replace(bundle, proof=other.proof), policy, small.nonce)
        with pytest.raises(VerificationError):
            decide(where, bundle, own_policy, nonce)


def test_the_command_says_malformed_or_rejected(small: Audited, bundle: Bundle, tmp_path: Path) -> None:
    """Exit codes of the command on the same kinds of file."""
    data = small.bundle.read_bytes()
    bad = tmp_path / "bad.bundle"
    cases = [
        (b"", MALFORMED),
        (data[:-1], MALFORMED),
        (data + b"\0", MALFORMED),
        (changed(data, 0), MALFORMED),
        (changed(data, len(MAGIC)), REJECTED),
        (changed(data, len(data) - 1), REJECTED),
    ]
    for content, code in cases:
        bad.write_bytes(content)
        result = verifier("verify", small.folder, bad, "--policy", small.policy, "--json").clean(code)
        assert result.json()["verdict"] == {MALFORMED: "malformed", REJECTED: "rejected"}[code]
    verifier("verify", small.folder, tmp_path, "--policy", small.policy).clean(MALFORMED)

"""Real networks through both proof systems: one policy, the same verdicts; and the commands that do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from circuits.errors import StatementError
from circuits.policy import Policy
from prover.argument.engine import FalseStatementError
from prover.audit import audit_model
from prover.backends.estimate import estimate
from prover.progress import Progress
from tests.checks.models import write
from tests.end_to_end.commands import ACCEPTED, MALFORMED, REJECTED, TRUST, USAGE, prover, verifier
from tests.support.ezkl import KERNELS, NONCE, Owner, matrix, needs_ezkl, policy
from verifier.backends.ezkl.errors import EzklStatementError
from verifier.backends.ezkl.reference_string import ReferenceString, generate
from verifier.decision import decide

pytestmark = needs_ezkl


def test_the_commands(tmp_path: Path) -> None:
    """The regulator makes a reference string, the owner proves under it, the regulator verifies."""
    model = write(tmp_path / "m.safetensors", {"weight": matrix()})
    asked = tmp_path / "policy.yaml"
    asked.write_text(
        'policy: weightproof/policy/v1\nname: small\nchecks:\n  - {check: max-abs, tensors: "*", at_most: "3"}\n'
    )
    folder, bundle, srs = tmp_path / "commitment", tmp_path / "bundle", tmp_path / "srs"
    common = ("--policy", asked, "--backend", "ezkl")
    prover("commit", model, "--out", folder, "--proofs", "4").clean(ACCEPTED)
    verifier("srs", srs, "--log-rows", "10").clean(ACCEPTED)
    assert "ezkl would need about" in prover("measure", model, *common).clean(ACCEPTED).err
    prover("measure", model, *common, "--ezkl-seconds", "1", "--ezkl-memory", "1").clean(ACCEPTED)
    proving = ("audit", folder, "--model", model, *common, "--out", bundle)
    prover(*proving).clean(USAGE)
    prover(*proving, "--srs", asked).clean(TRUST)
    prover(*proving, "--srs", srs, "--nonce", NONCE.hex()).clean(ACCEPTED)
    checking = ("verify", folder, bundle, *common, "--srs", srs, "--nonce", NONCE.hex())
    text = verifier(*checking).clean(ACCEPTED).out
    assert "linked: both commitments" in text
    assert "made by you: it convinces nobody else" in text
    report = verifier(*checking, "--ceremony", "perpetual powers of tau", "--json").clean(ACCEPTED).json()
    assert report["reference_string"]["origin"] == "perpetual powers of tau"
    verifier("verify", folder, bundle, "--policy", asked, "--nonce", NONCE.hex()).clean(MALFORMED)
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"?")
    assert "LinkError" in verifier(*checking).clean(REJECTED).err


class Strings:
    """Reference strings of the lengths that circuits ask for, each made once: longer ones cost time in every step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[int, ReferenceString] = {}

    def of(self, log_rows: int) -> ReferenceString:
        if log_rows not in self._made:
            self._made[log_rows] = generate(self._folder / f"{log_rows}.srs", log_rows)
        return self._made[log_rows]


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Strings:
    return Strings(tmp_path_factory.mktemp("srs"))


def three_checks(tensor: str, norm: str, largest: str, sigma: str) -> list[Policy]:
    """The same thresholds as one policy each."""
    return [
        policy(f'check: frobenius-norm, tensors: "{tensor}", at_most: "{norm}"'),
        policy(f'check: max-abs, tensors: "{tensor}", at_most: "{largest}"'),
        policy(f'check: spectral-norm, tensors: "{tensor}", at_most: "{sigma}"'),
    ]


def native_verdict(owner: Owner, asked: Policy) -> bool:
    """Accepted by the native argument?"""
    try:
        bundle = audit_model(owner.opened, asked, NONCE, KERNELS, Progress.silent())
    except (FalseStatementError, StatementError):
        return False
    decide(owner.folder, bundle, asked, NONCE)
    return True


def ezkl_verdict(owner: Owner, strings: Strings, asked: Policy, linked: bool) -> bool:
    """Accepted by ezkl?"""
    height = estimate(owner.statement(asked, linked=linked).circuit).log_rows
    party = replace(owner, reference=strings.of(height))
    try:
        bundle = party.audit(asked, linked=linked)
    except EzklStatementError:
        raise  # it does not fit, which is no verdict
    except (FalseStatementError, StatementError):
        return False
    return party.decide(bundle, asked).linked is linked


def agree(owner: Owner, strings: Strings, policies: list[Policy], expected: bool, linked: bool) -> None:
    for asked in policies:
        assert native_verdict(owner, asked) is expected
        assert ezkl_verdict(owner, strings, asked, linked) is expected


def collision_avoidance(shared_data: Path, folder: Path, strings: Strings) -> Owner:
    """An ACAS Xu network, committed as a whole."""
    return Owner.of(folder / "acasxu", shared_data / "acasxu" / "ACASXU_run2a_1_1_batch_2000.onnx", strings.of(9))


@pytest.mark.slow
def test_the_first_layer_of_a_collision_avoidance_network_has_the_same_verdicts(
    shared_data: Path, tmp_path: Path, strings: Strings
) -> None:
    """5 x 50, in seconds; ezkl's proofs are linked to the commitment of the whole network."""
    owner = collision_avoidance(shared_data, tmp_path, strings)
    layer = "Operation_1_MatMul_W"
    agree(owner, strings, three_checks(layer, "10", "4", "7"), True, linked=True)
    agree(owner, strings, three_checks(layer, "1", "0.1", "0.5"), False, linked=True)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_whole_collision_avoidance_network_has_the_same_verdicts(
    shared_data: Path, tmp_path: Path, strings: Strings
) -> None:
    """All 13,305 weights and biases: norms and largest entries of every tensor in one proof each."""
    owner = collision_avoidance(shared_data, tmp_path, strings)
    agree(owner, strings, three_checks("*", "70", "21", "1")[:2], True, linked=True)
    agree(owner, strings, three_checks("*", "60", "20", "1")[:2], False, linked=True)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_hidden_layer_of_a_collision_avoidance_network_has_the_same_verdicts(
    shared_data: Path, tmp_path: Path, strings: Strings
) -> None:
    """50 x 50, in minutes."""
    owner = collision_avoidance(shared_data, tmp_path, strings)
    layer = "Operation_2_MatMul_W"
    agree(owner, strings, three_checks(layer, "39", "9", "17"), True, linked=True)
    agree(owner, strings, three_checks(layer, "1", "0.1", "0.5"), False, linked=True)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_layer_of_a_language_model_has_the_same_verdicts(shared_data: Path, tmp_path: Path, strings: Strings) -> None:
    """A 64 x 64 attention matrix of stories260K."""
    weights = load_file(shared_data / "stories260k" / "model.safetensors")
    name = "model.layers.0.self_attn.o_proj.weight"
    assert weights[name].shape == (64, 64)
    owner = Owner.of(tmp_path / "stories", {name: weights[name]}, strings.of(9))
    agree(owner, strings, three_checks(name, "5", "0.6", "2"), True, linked=False)
    agree(owner, strings, three_checks(name, "1", "0.1", "0.5"), False, linked=False)

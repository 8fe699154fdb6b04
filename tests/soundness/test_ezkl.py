"""Attacks on the verifier of ezkl proofs: every tampered part is rejected with its own reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuits.errors import VerificationError
from circuits.policy import Policy
from circuits.program import Integers, Value, Weight
from prover.argument.prove import prove
from prover.backends.ezkl import prove_witness
from tests.support.ezkl import KERNELS, NONCE, Owner, matrix, needs_ezkl, policy, with_byte
from tests.unit.verifier.attestation.examples import DATES, REGULATOR
from verifier.argument.field import K, P
from verifier.attestation.issue import model_audit
from verifier.attestation.predicate import MODEL_AUDIT_OTHER_SYSTEM, ModelAudit
from verifier.backends.ezkl import verification
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.circuit import FIELD, Comparison
from verifier.backends.ezkl.decision import PROOF_SYSTEM, decide_ezkl
from verifier.backends.ezkl.errors import (
    CircuitMismatchError,
    EzklFailedError,
    EzklLimitError,
    EzklProofError,
    LinkError,
    ReferenceStringError,
    SuppliedKeyError,
)
from verifier.backends.ezkl.inputs import (
    INPUT,
    WITNESS,
    Hidden,
    commitments,
    conditions_of,
    element,
    evaluate,
    write_inputs,
)
from verifier.backends.ezkl.keys import KEY, SETTINGS, Keys, derived
from verifier.backends.ezkl.link import COORDINATES, MASK, LinkStatement
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import ReferenceString, generate
from verifier.backends.ezkl.verification import EzklStatement

pytestmark = needs_ezkl
ASKED = policy('check: frobenius-norm, tensors: "*", at_most: "8"')
TIGHT = policy('check: frobenius-norm, tensors: "*", at_most: "2"')


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceString:
    """A regulator's own, for circuits of up to 2^10 rows."""
    return generate(tmp_path_factory.mktemp("srs") / "srs", 10)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory, reference: ReferenceString) -> Owner:
    return Owner.of(tmp_path_factory.mktemp("ezkl") / "model", {"weight": matrix()}, reference)


@pytest.fixture(scope="module")
def bundle(owner: Owner) -> EzklBundle:
    return owner.audit(ASKED)


def lift(value: int) -> int:
    """A field element as a signed integer."""
    return value if value <= P // 2 else value - P


def native_side(owner: Owner, mask: K) -> Callable[[LinkStatement], bytes]:
    """The native proof of a link for the owner's own weights."""

    def run(side: LinkStatement) -> bytes:
        witness = {MASK: np.array([lift(m) for m in mask], np.int64)}
        return prove(side, KERNELS, [owner.opened.model.data], witness, NONCE)

    return run


def test_an_honest_bundle_is_accepted_and_says_what_it_rests_on(owner: Owner, bundle: EzklBundle) -> None:
    report = owner.decide(EzklBundle.from_bytes(bundle.to_bytes()), ASKED).report()
    assert report["verdict"] == "accepted"
    assert report["linked"] is True
    assert report["reference_string"] == {"sha256": owner.reference.sha256, "origin": "designated"}
    assert len(bundle.proof) < 8_000


def test_an_attestation_of_it_says_the_same(owner: Owner, bundle: EzklBundle) -> None:
    audit = model_audit(owner.decide(bundle, ASKED).report(), REGULATOR, DATES, {})
    assert audit.proof_system == PROOF_SYSTEM
    assert audit.linked
    assert audit.reference_string is not None
    assert audit.reference_string.designated
    assert audit.commitment == owner.opened.model.commitment.id.hex()
    assert ModelAudit.from_json(audit.to_json(), MODEL_AUDIT_OTHER_SYSTEM) == audit


def test_without_the_link_it_is_refused_or_the_report_says_so(owner: Owner) -> None:
    unlinked = owner.audit(ASKED, linked=False)
    with pytest.raises(LinkError, match="not linked"):
        decide_ezkl(owner.folder, unlinked, ASKED, NONCE, replace(owner.verifying, allow_unlinked=False))
    decision = owner.decide(unlinked, ASKED)
    assert decision.report()["linked"] is False
    assert "not linked" in decision.report()["link"]


@pytest.mark.parametrize("position", [0, 40, 130, -1])
def test_a_changed_byte_of_the_proof_is_rejected(owner: Owner, bundle: EzklBundle, position: int) -> None:
    changed = with_byte(bundle.proof, position % len(bundle.proof))
    # a change of the first commitment's coordinate changes the link's challenges
    with pytest.raises((EzklProofError, LinkError)):
        owner.decide(replace(bundle, proof=changed), ASKED)


def test_proofs_of_wrong_length_are_rejected(owner: Owner, bundle: EzklBundle) -> None:
    for proof in (b"", bundle.proof[:100], bundle.proof[:-32]):
        with pytest.raises(EzklProofError):
            owner.decide(replace(bundle, proof=proof), ASKED)


def test_bytes_after_the_proof_are_rejected(owner: Owner, bundle: EzklBundle) -> None:
    """ezkl itself ignores them."""
    for extra in (b"\0", bytes(64)):
        with pytest.raises(EzklProofError, match="trailing"):
            owner.decide(replace(bundle, proof=bundle.proof + extra), ASKED)


@pytest.mark.parametrize(
    ("field", "error"),
    [("key", SuppliedKeyError), ("settings", SuppliedKeyError), ("reference", ReferenceStringError)],
)
def test_other_digests_than_the_verifiers_own_are_rejected(
    owner: Owner, bundle: EzklBundle, field: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        owner.decide(replace(bundle, **{field: bytes(32)}), ASKED)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", [KEY, SETTINGS])
def test_kept_keys_and_settings_that_were_altered_are_rejected(
    owner: Owner, bundle: EzklBundle, name: str, tmp_path: Path
) -> None:
    owner.decide(bundle, ASKED)
    copied = Owner(tmp_path / "model", owner.opened, owner.reference, owner.limits)
    shutil.copytree(owner.folder, copied.folder)
    copied.decide(bundle, ASKED)
    for path in (copied.folder / "verifier-keys").glob(f"*/{name}"):
        data = path.read_bytes()
        path.write_bytes(with_byte(data, len(data) // 2))
    with pytest.raises(SuppliedKeyError):
        copied.decide(bundle, ASKED)


@pytest.mark.slow
def test_another_reference_string_is_rejected(owner: Owner, bundle: EzklBundle, tmp_path: Path) -> None:
    """Also if the owner claims that its proof was made under the verifier's."""
    other = replace(owner, reference=generate(tmp_path / "srs", 10))
    with pytest.raises(ReferenceStringError):
        other.decide(bundle, ASKED)
    with pytest.raises(SuppliedKeyError):
        other.decide(replace(bundle, reference=bytes.fromhex(other.reference.sha256)), ASKED)


def test_another_nonce_or_policy_is_rejected(owner: Owner, bundle: EzklBundle) -> None:
    other = bytes(range(1, 17))
    with pytest.raises(VerificationError, match="another nonce"):
        owner.decide(bundle, ASKED, other)
    # relabelled: the context is part of what was proved
    with pytest.raises(LinkError):
        owner.decide(replace(bundle, nonce=other), ASKED, other)
    with pytest.raises(VerificationError, match="another policy"):
        owner.decide(bundle, TIGHT)


Edit = Callable[[list[int], list[int]], None]


def cheat(
    owner: Owner,
    hidden: Hidden,
    folder: Path,
    asked: Policy = ASKED,
    link: tuple[list[int], list[int]] | None = None,
    edit: Edit | None = None,
    challenge: list[int] | None = None,
) -> bytes:
    """ezkl's proof of whatever the hidden vectors are, honest or not; a cheat may use a challenge of its own."""
    public, quotient = link or ([], [])
    statement = owner.statement(asked, linked=link is not None)
    circuit, context = statement.circuit, statement.context(NONCE)
    vectors = [hidden.weights(), hidden.advice(quotient)]
    if edit is not None:
        edit(*vectors)
    with derived(circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        if challenge is None:
            challenge = drawn(owner, statement, vectors, folder, keys)
        write_inputs(folder / INPUT, [*vectors, circuit.public(context, challenge, public)])
        evaluate(folder, keys, owner.limits)
        return prove_witness(folder, keys, owner.run)


def drawn(owner: Owner, statement: EzklStatement, vectors: list[list[int]], folder: Path, keys: Keys) -> list[int]:
    """The challenge that the verifier draws for these vectors."""
    blank = [0] * statement.circuit.public_cells
    write_inputs(folder / INPUT, [*vectors, blank])
    points = commitments(folder, keys, owner.reference, owner.limits)
    return statement.challenge(NONCE, points)


def unlinked_bundle(owner: Owner, proof: bytes) -> EzklBundle:
    return replace(owner.audit(ASKED, linked=False), proof=proof)


@pytest.mark.slow
@pytest.mark.parametrize("value", [1 << 15, -(1 << 15) - 1, (1 << 16) + 5])
def test_a_weight_out_of_range_is_rejected(owner: Owner, tmp_path: Path, value: int) -> None:
    """One weight outside [-2^15, 2^15), everything else as it was."""
    hidden = owner.hidden(ASKED, linked=False)
    weights = hidden.matrices()[0].copy()
    weights[0, 0] = value
    proof = cheat(owner, instead(hidden, weights), tmp_path)
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


def instead(hidden: Hidden, weights: Integers, advice: Callable[[Value], Integers] | None = None) -> Hidden:
    """The same attempt with other weights, and other advice for them."""
    own = hidden.value if advice is None else advice
    return replace(hidden, value=lambda value: weights if isinstance(value, Weight) else own(value))


def test_digits_that_are_no_digits_are_rejected(owner: Owner, tmp_path: Path) -> None:
    """The same weight from 256 more in its low digit: every other equation holds."""

    def edit(weights: list[int], advice: list[int]) -> None:
        weights[0] += 256
        weights[1] -= 1

    proof = cheat(owner, owner.hidden(ASKED, linked=False), tmp_path, edit=edit)
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


@pytest.mark.slow
def test_multiplicities_fitted_to_a_known_point_are_rejected(owner: Owner, tmp_path: Path) -> None:
    """They solve the equation, but the verifier draws another point after them; an own point is no public input."""
    statement, hidden = owner.statement(ASKED, linked=False), owner.hidden(ASKED, linked=False)
    circuit = statement.circuit
    weights, advice = hidden.weights(), hidden.advice([])
    weights[0] += 256
    weights[1] -= 1
    with derived(circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        challenge = drawn(owner, statement, [weights, advice], tmp_path, keys)
    product = 1
    for digit in (*weights[: circuit.weight_digits], *advice[: circuit.advice_digits]):
        product = product * (challenge[0] + digit) % FIELD
    left = conditions_of(circuit, hidden.value, (weights, advice), challenge)[0]
    fitted = left * pow(product * challenge[1], -1, FIELD)

    def edit(first: list[int], second: list[int]) -> None:
        first[:2] = weights[:2]
        second[circuit.advice_digits] += fitted

    for own in (challenge, None):
        proof = cheat(owner, hidden, tmp_path, edit=edit, challenge=own)
        with pytest.raises(EzklProofError):
            owner.decide(unlinked_bundle(owner, proof), ASKED)


OUTLIERS = policy('check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"')


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 256])
def test_a_forged_comparison_is_rejected(owner: Owner, tmp_path: Path, step: int) -> None:
    """A weight that counts for less than one, or on the other side of the threshold; multiplicities fit the digits."""
    hidden = owner.hidden(OUTLIERS, linked=False)
    circuit = owner.statement(OUTLIERS, linked=False).circuit
    start = 0
    for one in circuit.advice:
        if isinstance(one.source, Comparison):
            break
        start += one.cells * one.digits

    def edit(weights: list[int], advice: list[int]) -> None:
        at, count = start + (step == 256), circuit.advice_digits
        advice[at] = advice[at] + step if advice[at] + step < 256 or step == 256 else advice[at] - step
        every = [*weights[: circuit.weight_digits], *advice[:count]]
        advice[count : count + 256] = [every.count(t) for t in range(256)]

    proof = cheat(owner, hidden, tmp_path, asked=OUTLIERS, edit=edit)
    honest = owner.audit(OUTLIERS, linked=False)
    with pytest.raises(EzklProofError):
        owner.decide(replace(honest, proof=proof), OUTLIERS)


def test_a_tampered_certificate_is_rejected(owner: Owner, tmp_path: Path) -> None:
    """The slack of the comparison is one too large."""
    hidden = owner.hidden(ASKED, linked=False)
    wrong = instead(hidden, hidden.matrices()[0], lambda value: hidden.value(value) + 1)
    proof = cheat(owner, wrong, tmp_path)
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


@pytest.mark.slow
def test_a_tampered_witness_file_is_rejected(owner: Owner, tmp_path: Path) -> None:
    """The witness claims the output that the verifier wants to see, for weights that do not have it."""
    statement = owner.statement(ASKED, linked=False)
    hidden = owner.hidden(ASKED, linked=False)
    false = instead(hidden, np.full((4, 4), 32_000))
    with derived(statement.circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        challenge = drawn(owner, statement, [false.weights(), false.advice([])], tmp_path, keys)
        public = statement.circuit.public(statement.context(NONCE), challenge, [])
        write_inputs(tmp_path / INPUT, [false.weights(), false.advice([]), public])
        evaluate(tmp_path, keys, owner.limits)
        claimed = json.loads((tmp_path / WITNESS).read_text())
        own = statement.circuit.instances(statement.context(NONCE), challenge, [], [])
        claimed["outputs"] = [[element(cell) for cell in own]]
        (tmp_path / WITNESS).write_text(json.dumps(claimed))
        try:
            proof = prove_witness(tmp_path, keys, owner.run)
        except EzklFailedError:
            return
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


# The link


def link_to(owner: Owner, hidden: Hidden, folder: Path) -> tuple[LinkStatement, bytes]:
    """The native side for the owner's own weights, after ezkl committed to `hidden`."""
    statement = owner.statement(ASKED)
    circuit = statement.circuit
    with derived(circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        blank = [0] * circuit.public_cells
        write_inputs(folder / INPUT, [hidden.weights(), hidden.advice([0] * COORDINATES), blank])
        point = commitments(folder, keys, owner.reference, owner.limits)[0]
    own = owner.opened.model.integers.matrix("weight").astype(np.int64)
    side = statement.link(NONCE, point, instead(hidden, own).answer)
    return side, native_side(owner, hidden.mask)(side)


def closest(hidden: Hidden, side: LinkStatement) -> tuple[list[int], list[int]]:
    """The public cells of the link, and quotients as good as they get."""
    ((coefficients, total),) = side.opened
    found = coefficients.combination(hidden.matrices())
    return coefficients.public(total), [(c + m - t) // P for c, m, t in zip(found, hidden.mask, total, strict=True)]


def test_other_weights_on_the_two_sides_are_rejected(owner: Owner, bundle: EzklBundle, tmp_path: Path) -> None:
    """One weight differs by one unit."""
    honest = owner.hidden(ASKED)
    other = honest.matrices()[0].copy()
    other[1, 2] -= np.sign(other[1, 2])
    hidden = instead(honest, other, slack_for(honest, other))
    side, native = link_to(owner, hidden, tmp_path)
    link, quotient = closest(hidden, side)
    proof = cheat(owner, hidden, tmp_path, link=(link, quotient))
    with pytest.raises(EzklProofError):
        owner.decide(replace(bundle, proof=proof, link=native), ASKED)


def slack_for(honest: Hidden, weights: Integers) -> Callable[[Value], Integers]:
    """The slack of the norm for other weights: the circuit's own statement holds."""
    own = honest.matrices()[0]
    return lambda value: honest.value(value) + int((own**2).sum() - (weights**2).sum())


@pytest.mark.slow
def test_a_mask_chosen_after_the_challenge_is_rejected(owner: Owner, bundle: EzklBundle, tmp_path: Path) -> None:
    """The mask on ezkl's side makes up for other weights, but then the commitment is not the one that was absorbed."""
    honest = owner.hidden(ASKED)
    other = honest.matrices()[0].copy()
    other[1, 2] -= np.sign(other[1, 2])
    hidden = instead(honest, other, slack_for(honest, other))
    side, native = link_to(owner, hidden, tmp_path)
    ((coefficients, total),) = side.opened
    c0, c1, c2 = (c % P for c in coefficients.combination([other]))
    late = replace(hidden, mask=total - K((c0, c1, c2)))
    link, quotient = closest(late, side)
    proof = cheat(owner, late, tmp_path, link=(link, quotient))
    with pytest.raises(LinkError):
        owner.decide(replace(bundle, proof=proof, link=native), ASKED)


@pytest.mark.slow
def test_a_link_of_another_attempt_is_rejected(owner: Owner, bundle: EzklBundle) -> None:
    with pytest.raises(LinkError):
        owner.decide(replace(bundle, link=owner.audit(ASKED).link), ASKED)


def test_a_changed_link_is_rejected(owner: Owner, bundle: EzklBundle) -> None:
    for position in (0, 64, 100, len(bundle.link) - 1):
        with pytest.raises(LinkError):
            owner.decide(replace(bundle, link=with_byte(bundle.link, position)), ASKED)


def test_a_link_cannot_be_dropped_to_get_the_same_report(owner: Owner, bundle: EzklBundle) -> None:
    """Linked and unlinked are two circuits with two keys."""
    with pytest.raises((SuppliedKeyError, EzklProofError)):
        owner.decide(replace(bundle, link=b""), ASKED)


def test_disclosed_integers_that_nobody_asked_for_are_rejected(owner: Owner, bundle: EzklBundle) -> None:
    """They would stand where the last condition must be 0."""
    with pytest.raises(VerificationError, match="another number of values"):
        owner.decide(replace(bundle, disclosed=(5,)), ASKED)


def test_a_proof_about_other_commitments_than_were_computed_does_not_leave(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier would draw another point."""
    monkeypatch.setattr("prover.backends.ezkl.ezkl_commitments", lambda circuit, proof: (bytes(64), bytes(64)))
    with pytest.raises(EzklFailedError, match="other commitments"):
        owner.audit(ASKED, linked=False)


def test_a_verifier_compares_the_circuit_before_it_accepts_and_has_one_deadline(
    owner: Owner, bundle: EzklBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under keys that nobody compared yet."""
    seen = list[Limits]()

    def refuse(*arguments: object) -> None:
        seen.extend(one for one in arguments if isinstance(one, Limits))
        raise CircuitMismatchError("another circuit")

    monkeypatch.setattr(verification, "check_circuit", refuse)
    cold = replace(owner.verifying, cache=tmp_path / "keys")
    with pytest.raises(CircuitMismatchError):
        decide_ezkl(owner.folder, bundle, ASKED, NONCE, cold)
    assert [limits.deadline is not None for limits in seen] == [True]


def test_limits_are_kept(owner: Owner) -> None:
    """Time that does not suffice is no verdict about the proof."""
    with pytest.raises(EzklLimitError, match="stopped after"):
        replace(owner, limits=Limits(0.05, 8 << 30)).decide(owner.audit(ASKED, linked=False), ASKED)

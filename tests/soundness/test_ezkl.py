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
from circuits.program import Advice, Integers
from prover.argument.prove import prove
from prover.backends.ezkl import prove_witness
from tests.support.ezkl import KERNELS, NONCE, Owner, matrix, needs_ezkl, policy, with_byte
from tests.unit.verifier.attestation.examples import DATES, REGULATOR
from verifier.argument.field import K, P
from verifier.attestation.issue import model_audit
from verifier.attestation.predicate import MODEL_AUDIT_OTHER_SYSTEM, ModelAudit
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.decision import PROOF_SYSTEM, decide_ezkl
from verifier.backends.ezkl.errors import (
    EzklFailedError,
    EzklLimitError,
    EzklProofError,
    LinkError,
    ReferenceStringError,
    SuppliedKeyError,
)
from verifier.backends.ezkl.inputs import Hidden, evaluate
from verifier.backends.ezkl.keys import KEY, SETTINGS, derived
from verifier.backends.ezkl.link import COORDINATES, MASK, LinkStatement
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import ReferenceString, generate

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
    assert len(bundle.proof) < 16_000


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


def cheat(owner: Owner, hidden: Hidden, link: list[int], quotient: list[int], folder: Path, linked: bool) -> bytes:
    """ezkl's proof of whatever the hidden vectors are, honest outputs or not."""
    statement = owner.statement(ASKED, linked=linked)
    with derived(statement.circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        hidden.write(folder / "input.json", statement.context(NONCE), link, quotient)
        evaluate(folder, keys, owner.reference, owner.limits)
        return prove_witness(folder, keys, owner.run)


def unlinked_bundle(owner: Owner, proof: bytes) -> EzklBundle:
    return replace(owner.audit(ASKED, linked=False), proof=proof)


@pytest.mark.slow
@pytest.mark.parametrize("value", [1 << 15, -(1 << 15) - 1, (1 << 16) + 5])
def test_a_weight_out_of_range_is_rejected(owner: Owner, tmp_path: Path, value: int) -> None:
    """One weight outside [-2^15, 2^15), everything else as it was: ezkl cannot prove it, or the verifier refuses it."""
    hidden = owner.hidden(ASKED, linked=False)
    weights = hidden.weight("weight").copy()
    weights[0, 0] = value
    try:
        proof = cheat(owner, replace(hidden, weight=lambda name: weights), [], [], tmp_path, linked=False)
    except EzklFailedError:
        return
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


def test_a_tampered_certificate_is_rejected(owner: Owner, tmp_path: Path) -> None:
    """The slack of the comparison is one too large."""
    hidden = owner.hidden(ASKED, linked=False)
    wrong = replace(hidden, advice=lambda advice: hidden.advice(advice) + 1)
    proof = cheat(owner, wrong, [], [], tmp_path, linked=False)
    with pytest.raises(EzklProofError):
        owner.decide(unlinked_bundle(owner, proof), ASKED)


@pytest.mark.slow
def test_a_tampered_witness_file_is_rejected(owner: Owner, tmp_path: Path) -> None:
    """The witness claims the output that the verifier wants to see, for weights that do not have it."""
    statement = owner.statement(ASKED, linked=False)
    hidden = owner.hidden(ASKED, linked=False)
    big = np.full((4, 4), 32_000)
    with derived(statement.circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        replace(hidden, weight=lambda name: big).write(tmp_path / "input.json", statement.context(NONCE), [], [])
        evaluate(tmp_path, keys, owner.reference, owner.limits)
        claimed = json.loads((tmp_path / "witness.json").read_text())
        hidden.write(tmp_path / "input.json", statement.context(NONCE), [], [])
        evaluate(tmp_path, keys, owner.reference, owner.limits)
        claimed["outputs"] = json.loads((tmp_path / "witness.json").read_text())["outputs"]
        (tmp_path / "witness.json").write_text(json.dumps(claimed))
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
    with derived(statement.circuit, owner.reference, owner.limits, proving=True, cache=owner.run.cache) as keys:
        blank = [0] * statement.circuit.link_cells
        hidden.write(folder / "input.json", statement.context(NONCE), blank, [0] * COORDINATES)
        _, point = evaluate(folder, keys, owner.reference, owner.limits)
    own = owner.opened.model.integers.matrix("weight").astype(np.int64)
    side = statement.link(NONCE, point, replace(hidden, weight=lambda name: own).answer)
    return side, native_side(owner, hidden.mask)(side)


def closest(hidden: Hidden, side: LinkStatement) -> tuple[list[int], list[int]]:
    """The public cells of the link, and quotients as good as they get."""
    ((coefficients, total),) = side.opened
    found = coefficients.combination(hidden.matrices())
    return coefficients.public(total), [(c + m - t) // P for c, m, t in zip(found, hidden.mask, total, strict=True)]


def test_other_weights_on_the_two_sides_are_rejected(owner: Owner, bundle: EzklBundle, tmp_path: Path) -> None:
    """One weight differs by one unit."""
    honest = owner.hidden(ASKED)
    other = honest.weight("weight").copy()
    other[1, 2] -= np.sign(other[1, 2])
    hidden = replace(honest, weight=lambda name: other, advice=slack_for(honest, other))
    side, native = link_to(owner, hidden, tmp_path)
    link, quotient = closest(hidden, side)
    proof = cheat(owner, hidden, link, quotient, tmp_path, linked=True)
    with pytest.raises(EzklProofError):
        owner.decide(replace(bundle, proof=proof, link=native), ASKED)


def slack_for(honest: Hidden, weights: Integers) -> Callable[[Advice], Integers]:
    """The slack of the norm for other weights: the circuit's own statement holds."""
    own = honest.weight("weight")
    return lambda advice: honest.advice(advice) + int((own**2).sum() - (weights**2).sum())


@pytest.mark.slow
def test_a_mask_chosen_after_the_challenge_is_rejected(owner: Owner, bundle: EzklBundle, tmp_path: Path) -> None:
    """The mask on ezkl's side makes up for other weights, but then the commitment is not the one that was absorbed."""
    honest = owner.hidden(ASKED)
    other = honest.weight("weight").copy()
    other[1, 2] -= np.sign(other[1, 2])
    hidden = replace(honest, weight=lambda name: other, advice=slack_for(honest, other))
    side, native = link_to(owner, hidden, tmp_path)
    ((coefficients, total),) = side.opened
    c0, c1, c2 = (c % P for c in coefficients.combination([other]))
    late = replace(hidden, mask=total - K((c0, c1, c2)))
    link, quotient = closest(late, side)
    proof = cheat(owner, late, link, quotient, tmp_path, linked=True)
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


def test_limits_are_kept(owner: Owner) -> None:
    """Time that does not suffice is no verdict about the proof."""
    with pytest.raises(EzklLimitError, match="stopped after"):
        replace(owner, limits=Limits(0.05, 8 << 30)).decide(owner.audit(ASKED, linked=False), ASKED)

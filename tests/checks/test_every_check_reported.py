"""Every check as a verifier reports it: the tensors of each statement, their number, and what is disclosed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuits.errors import PolicyError, VerificationError
from circuits.evaluate import check as failing
from tests.checks.proof_cases import (
    CASES,
    DISCLOSURES,
    NEVER_DISCLOSED,
    Boundaries,
    Case,
    Comparison,
    checks_of_policies,
)
from tests.checks.proved_models import World
from tests.checks.spectra_support import BITS, NONCE
from verifier.argument.derive import derive
from verifier.argument.parameters import TARGET_BITS
from verifier.argument.statement import verify
from verifier.bundle import Bundle
from verifier.decision import BaseFiles, decide

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_disclosure = pytest.mark.parametrize("check", sorted(DISCLOSURES))


# ---------------------------------------------------------------- which tensors


def test_all_checks_in_one_bundle_and_what_the_report_says_of_each(boundaries: Boundaries, tmp_path: Path) -> None:
    """All checks just inside and one disclosure, with the parameters that `weightproof-prover commit` derives, decided
    from files only, as a regulator has them: folders of commitments, a public base file, a bundle, a policy."""
    world = World.of(tmp_path, derive(boundaries.world.own.commitment.layout.entries, 1))
    disclosed = {"check": "row-norms", **DISCLOSURES["row-norms"], "disclose": True}
    checks = [*(boundaries[case].inside for case in CASES), disclosed]
    models, policy = world.models(checks), world.policy(checks)
    bundle = models.audited(policy)
    folders = dict(zip(("own", *models.names), models.publish(tmp_path), strict=True))
    bases = BaseFiles({name: folders[name] for name in models.names}, models.files)
    received = Bundle.from_bytes(bundle.to_bytes())
    report = decide(folders["own"], received, policy, NONCE, bases=bases).report()
    assert [claim["check"] for claim in report["claims"]] == [check["check"] for check in checks]
    tensors = [[one["tensors"] for one in claim["statements"]] for claim in report["claims"]]
    assert tensors == [*(case.statements for case in CASES), [["embed.weight"]]]
    for claim in report["claims"]:
        assert [one["about"] for one in claim["statements"]] == claim["about"]
    assert report["disclosed"] == [str(value) for value in bundle.disclosed] == ["26", "26"]
    # every proof reaches the target by itself; the errors of the four commitments and the audit add up
    assert float(report["security"]["round_by_round_bits"]) >= TARGET_BITS
    for wrong in ({"disclosed": (26, 25)}, {"disclosed": (26,)}, {"nonce": NONCE[::-1]}):
        with pytest.raises(VerificationError):
            decide(folders["own"], replace(received, **wrong), policy, NONCE, bases=bases)


@every_case
def test_the_number_of_tensors_can_be_pinned(case: Case | Comparison, boundaries: Boundaries) -> None:
    """Owner and verifier both refuse a policy that is about more or fewer tensors of the audited model than it says.
    Tensors of a base do not count."""
    world, inside = boundaries.world, boundaries[case].inside
    models, number = world.models([inside]), len(case.tensors)
    pinned = world.policy([{**inside, "count": number}])
    assert all(row.passed for row in models.measured(pinned).rows)
    assert models.statement(pinned).statements.program.zeros
    for wrong in {number - 1, number + 1} - {0}:
        policy = world.policy([{**inside, "count": wrong}])
        message = rf"check 1 \({case.check}\) is about {number} tensors of this model, not {wrong}"
        for refuse in (models.measured, models.audited, lambda asked: models.statement(asked).canonical()):
            with pytest.raises(PolicyError, match=message):
                refuse(policy)


# ---------------------------------------------------------------- what is disclosed


def test_the_disclosures_cover_every_check_that_can_publish_a_value() -> None:
    able = {name for name, check in checks_of_policies().items() if "disclose" in check.model_fields}
    assert able == DISCLOSURES.keys() | NEVER_DISCLOSED


@pytest.mark.parametrize("check", sorted(NEVER_DISCLOSED))
def test_what_is_no_integer_cannot_be_asked_for(check: str, boundaries: Boundaries) -> None:
    case = next(case for case in CASES if case.check == check)
    with pytest.raises(PolicyError, match="cannot be disclosed"):
        boundaries.world.policy([{**boundaries[case].inside, "disclose": True}])


@every_disclosure
def test_a_disclosed_value_off_by_one_is_rejected(check: str, boundaries: Boundaries) -> None:
    """Every published integer in turn: in the honest proof, and in one that argues for the false value throughout."""
    world, asked = boundaries.world, {"check": check, **DISCLOSURES[check], "disclose": True}
    models, policy = world.models([asked]), world.policy([asked])
    bundle = models.audited(policy)
    assert bundle.disclosed
    verify(models.statement(policy, bundle.disclosed), bundle.proof, NONCE, minimum_bits=BITS)
    certificates = models.measured(policy).certificates
    for number in range(len(bundle.disclosed)):
        step = -1 if number % 2 else 1
        values = tuple(value + step * (index == number) for index, value in enumerate(bundle.disclosed))
        false = models.statement(policy, values)
        for proof in (bundle.proof, models.forge(false, certificates)):
            with pytest.raises(VerificationError):
                verify(false, proof, NONCE, minimum_bits=BITS)


@pytest.mark.parametrize("check", ["max-abs", "quantile"])
@pytest.mark.parametrize("step", [-1, 1])
def test_a_disclosed_value_that_its_certificate_agrees_with(check: str, step: int, boundaries: Boundaries) -> None:
    """Where the prover's own numbers give the published value, both may be off by one together: the counts are not."""
    world, asked = boundaries.world, {"check": check, **DISCLOSURES[check], "disclose": True}
    models, policy = world.models([asked]), world.policy([asked])
    ((name, bits),) = models.measured(policy).certificates.items()
    value = int(bits.sum()) + step
    false = models.statement(policy, (value,))
    advice = {name: (np.arange(bits.size) < value).astype(np.int64)}
    evaluation = models.evaluate(false, advice)
    assert failing(false.statements.program, evaluation)
    assert [int(evaluation[atom]) for atom in false.statements.published.values()] == [value]
    with pytest.raises(VerificationError):
        verify(false, models.forge(false, advice), NONCE, minimum_bits=BITS)

"""Spectral checks as proofs: accepted just inside the threshold; just outside no prover gets them accepted, and no
certificate with a wrong entry is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from circuits.checks.base import Check
from circuits.errors import StatementError
from circuits.evaluate import check
from prover.certificates.base import Integers
from tests.checks.models import decimal
from tests.checks.spectra_support import (
    SINGLE,
    Case,
    Owner,
    ablation,
    certificates,
    certify,
    common_edit,
    force,
    in_range,
    single,
    singular_values,
    statement,
)
from verifier.argument.audit import Audit

SHAPES = {"spectral-norm at_most": (9, 14), "spectral-norm at_least": (11, 6), "stable-rank": (12, 7)}


def case_of(name: str, folder: Path) -> tuple[Case, Owner]:
    """A small model and its owner."""
    if name == "no-ablated-direction":
        case = ablation(8)
    elif name == "windows":
        case = ablation(6, layers=3, windows=2)
    elif name == "committed base":
        case = common_edit(8, 0.5, {"commitment": "base"})
    elif name == "public base":
        case = common_edit(8, 0.5, {"commitment": "base"})
        owner = Owner.of(folder, case.tensors, case.base, public=True)
        (digest,) = owner.bases.public
        return common_edit(8, 0.5, {"file_sha256": digest}), owner
    else:
        case = single(name, SHAPES.get(name, (7, 10)))
    return case, Owner.of(folder, case.tensors, case.base)


NAMES = (*SINGLE, "no-ablated-direction", "windows", "committed base", "public base")


class Situation:
    """A model with the checks on either side of the boundary."""

    def __init__(self, case: Case, owner: Owner) -> None:
        self.case, self.owner = case, owner
        inside, outside = case.boundary(owner.setting)
        self.inside, self.outside = case.make(inside), case.make(outside)

    def honest(self, audit: Audit) -> dict[str, Integers]:
        return certificates(audit, lambda one, certifier: certifier(one, self.owner.setting.access))


@pytest.fixture(scope="module", params=NAMES)
def situation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Situation:
    return Situation(*case_of(request.param, tmp_path_factory.mktemp("model")))


def forced(owner: Owner, audit: Audit) -> dict[str, Integers]:
    """The advice of a prover who ignores refusals."""
    return certificates(audit, lambda one, certifier: force(certifier, one, owner.setting.access))


def test_just_inside_is_proved_and_just_outside_is_refused(situation: Situation) -> None:
    situation.owner.shows([situation.inside])
    rows = certify(situation.owner.setting, situation.outside)
    assert [row for _, row in rows if not row.passed]
    assert all(not row.advice for _, row in rows if not row.passed)


def test_ignoring_the_refusal_convinces_nobody(situation: Situation) -> None:
    """Forced certificates fail outside; and so do those that would do inside. A certificate is no proof: the forger
    finds one inside, and then it is a good one."""
    owner = situation.owner
    outside, inside = owner.audit([situation.outside]), owner.audit([situation.inside])
    assert not owner.convinces(outside, forced(owner, outside))
    assert not owner.convinces(outside, in_range(outside, situation.honest(inside)))
    loose = owner.audit([situation.case.make(situation.case.loose or situation.case.threshold(1.0))])
    assert owner.convinces(loose, forced(owner, loose))


CHANGES: dict[str, Callable[[int, int, int], int]] = {
    "one more": lambda x, low, high: x + 1 if x < high else x - 1,
    "negated": lambda x, low, high: -x if x else 1,
    "the least": lambda x, low, high: low,
    "the largest": lambda x, low, high: high,
}


def test_every_wrong_entry_is_noticed(situation: Situation) -> None:
    """Of every certificate tensor, several entries are changed in several ways; the program fails, or, for a witness
    vector and its like, which need not be one certain vector, what is left is a certificate as good."""
    owner = situation.owner
    audit = owner.audit([situation.inside])
    honest = situation.honest(audit)
    ranges = {atom.name: (atom.low, atom.high) for atom in audit.compiled.advice}
    rng = np.random.default_rng(3)
    noticed, worst = 0, None
    for name, array in honest.items():
        for change in CHANGES.values():
            wrong = np.array(array)
            index = tuple(int(rng.integers(size)) for size in wrong.shape)
            wrong[index] = change(int(wrong[index]), *ranges[name])
            if (wrong == array).all() or not -(1 << 62) < wrong[index] < 1 << 62:
                continue
            advice = {**honest, name: wrong}
            try:
                failing = check(audit.statements.program, owner.evaluate(audit, advice))
            except StatementError:
                failing = ["outside its range"]
            if failing == ["outside its range"]:
                noticed += 1
            elif failing:
                noticed, worst = noticed + 1, advice
            else:
                assert name.endswith("witness"), (name, index)
    assert noticed >= 2
    assert worst is not None
    assert not owner.convinces(audit, worst)


def test_all_checks_in_one_proof(tmp_path: Path) -> None:
    """One policy, one proof; one false statement among many true ones spoils it."""
    case, direction = common_edit(8, 0.5, {"commitment": "base"}), ablation(8)
    owner = Owner.of(tmp_path, case.tensors, case.base)
    tops = [singular_values(w)[0] for name, w in case.tensors.items() if ".o." in name]
    writers: list[Check] = [
        statement("spectral-norm", tensors="layers.*.o.weight", at_least=decimal(min(tops) * 0.9, 3)),
        statement("stable-rank", tensors="layers.*.down.weight", at_least="1.5"),
        statement("smallest-singular-value", tensors="layers.*.down.weight", at_least="0.1", norm_at_most="20"),
        direction.make(direction.value / 1000),
        case.make(0.99),
    ]
    true = statement("spectral-norm", tensors="layers.*.o.weight", at_most=decimal(max(tops) * 1.01, 3))
    false = statement("spectral-norm", tensors="layers.*.o.weight", at_most=decimal(max(tops) * 0.99, 3))
    owner.shows([*writers, true])
    audit = owner.audit([*writers, false])
    assert not owner.convinces(audit, forced(owner, audit))

"""Every check as a proof: the strongest threshold that is certified is proved and accepted, the next one is refused
for what it is, and a prover who ignores the refusal convinces nobody.

Inside and outside are neighbours on a grid of decimals (10^-7; one row for counts; one unit of one weight for
same-except). How far both may lie from the measured value, by what rounding and certificate cost, is in the table.
"""

from __future__ import annotations

import pytest

from circuits.errors import VerificationError
from circuits.evaluate import check as failing
from prover.argument.engine import FalseStatementError
from prover.audit import require_passed
from prover.certificates.base import CertificateError
from prover.certificates.registry import CERTIFIERS
from tests.checks.proof_cases import CASES, Boundaries, Case, Comparison, checks_of_policies, thresholds_of
from tests.checks.spectra_support import BITS, NONCE, in_range
from verifier.argument.audit import Audit
from verifier.argument.statement import verify

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_check = pytest.mark.parametrize("check", sorted(CERTIFIERS))


def rejects(statement: Audit, proof: bytes) -> None:
    with pytest.raises(VerificationError):
        verify(statement, proof, NONCE, minimum_bits=BITS)


def test_the_table_covers_every_check_and_every_threshold() -> None:
    """A new check, or a new threshold of one, fails here until it has a case."""
    covered: dict[str, set[str]] = {}
    for case in CASES:
        covered.setdefault(case.check, set()).add(case.key)
    checks = checks_of_policies()
    assert checks.keys() == CERTIFIERS.keys()
    assert covered == {name: thresholds_of(check) for name, check in checks.items()}
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case, Case)], ids=lambda case: case.name)
def test_both_sides_are_as_close_to_the_value_as_the_check_allows(case: Case, boundaries: Boundaries) -> None:
    numbers = boundaries[case].numbers
    assert numbers is not None
    value, inside, outside = numbers
    step = 10.0**-case.places
    assert abs(inside - outside) == pytest.approx(step)
    assert abs(inside - value) <= case.margin * abs(value) + step


@every_check
def test_just_inside_is_proved_and_accepted(check: str, boundaries: Boundaries) -> None:
    """All statements of a check in one proof, each at the last threshold that is certified."""
    inside = [boundaries[case].inside for case in CASES if case.check == check]
    models, policy = boundaries.world.models(inside), boundaries.world.policy(inside)
    bundle = models.audited(policy)
    verify(models.statement(policy, bundle.disclosed), bundle.proof, NONCE, minimum_bits=BITS)


@every_case
def test_just_outside_is_refused_for_what_it_is(case: Case | Comparison, boundaries: Boundaries) -> None:
    """What does not hold is called false; what holds by less than its margin is called a certificate that failed, and
    never false."""
    world, sides = boundaries.world, boundaries[case]
    models = world.models([sides.outside])
    with pytest.raises(FalseStatementError, match=f"^{case.check} of .* does not hold") as false:
        models.audited(world.policy([sides.beyond]))
    assert not isinstance(false.value, CertificateError)
    if sides.outside != sides.beyond:
        certified = models.measured(world.policy([sides.outside]))
        assert [row.passed for row in certified.rows] == [None]
        with pytest.raises(CertificateError, match=f"^{case.check} of ") as missed:
            require_passed(certified)
        assert not isinstance(missed.value, FalseStatementError)


@every_case
def test_who_ignores_the_refusal_is_rejected(case: Case | Comparison, boundaries: Boundaries) -> None:
    """The certificate of the neighbour inside is bent into range, conditions that fail are not looked at, and the proof
    is not verified before it leaves."""
    world, sides = boundaries.world, boundaries[case]
    near, models = world.models([sides.inside]), world.models([sides.outside])
    certificates = near.measured(world.policy([sides.inside])).certificates
    true, false = near.statement(world.policy([sides.inside])), models.statement(world.policy([sides.outside]))
    assert not failing(true.statements.program, near.evaluate(true, in_range(true, certificates)))
    bent = in_range(false, certificates)
    assert failing(false.statements.program, models.evaluate(false, bent))
    rejects(false, models.forge(false, bent))


@every_case
def test_who_proves_the_neighbour_instead_is_rejected(case: Case | Comparison, boundaries: Boundaries) -> None:
    """A flawless run of the protocol for the statement inside, under the transcript of the one outside."""
    world, sides = boundaries.world, boundaries[case]
    near, models = world.models([sides.inside]), world.models([sides.outside])
    true, false = near.statement(world.policy([sides.inside])), models.statement(world.policy([sides.outside]))
    values = near.evaluate(true, near.measured(true.policy).certificates)
    rejects(false, models.disguise(false, true, values))

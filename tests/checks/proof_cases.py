"""Every check of a policy with a threshold that holds and one that does not, for the small transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, get_args

from circuits.checks.base import Check
from circuits.policy import AnyCheck
from prover.audit import Measured
from tests.checks.models import decimal
from tests.checks.proved_models import World
from tests.checks.small_transformer import ADAPTED, EDITED, TENSORS, UNCHANGED

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Sides:
    """One check in three strengths.

    Attributes:
        inside: certified.
        outside: the next stronger one, not certified. The property itself may still hold, by less than its margin.
        beyond: the property does not hold by what is measured; `outside` itself if there is nothing in between.
        numbers: what is measured and the thresholds of `inside` and `outside`, where the check has such numbers.
    """

    inside: Parameters
    outside: Parameters
    beyond: Parameters
    numbers: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Case:
    """A check with its threshold `key` left open.

    Attributes:
        holds: a threshold that holds.
        fails: one that does not.
        margin: what rounding and certificate may cost: the last threshold that is certified is this close to the
            measured value, relatively; 0 where they cost nothing, as for counts.
        tensors: of the audited model, that its one statement is about.
        places: thresholds are multiples of 10^-places; counts, written as integers, if 0.
    """

    check: str
    key: str
    holds: str
    fails: str
    margin: float
    tensors: tuple[str, ...] = TENSORS
    parameters: Parameters = field(default_factory=dict)
    places: int = 7

    @property
    def name(self) -> str:
        """For test ids."""
        words = [str(self.parameters[key]) for key in ("norm", "deviations") if key in self.parameters]
        return " ".join([self.check, *words, self.key])

    @property
    def statements(self) -> list[list[str]]:
        """The tensors of every statement, as a report lists them."""
        return [list(self.tensors)]

    @property
    def above(self) -> bool:
        """Do larger thresholds hold more easily?"""
        return self.key.startswith("at_most")

    def at(self, units: int) -> Parameters:
        """The check with a threshold in units of 10^-places."""
        threshold = decimal(Fraction(units, 10**self.places), self.places) if self.places else units
        return {"check": self.check, **self.parameters, self.key: threshold}

    def units(self, threshold: str | float) -> int:
        """The nearest multiple of 10^-places."""
        return round(Fraction(threshold) * Fraction(10) ** self.places)

    def sides(self, world: World) -> Sides:
        """By bisection: the last threshold that is certified and its neighbour, which is not."""
        inside, outside = self.units(self.holds), self.units(self.fails)
        assert measure(world, self.at(inside)).passed is True
        refused = measure(world, self.at(outside))
        assert refused.passed is False
        value = float(refused.value.split()[-1])
        while abs(inside - outside) > 1:
            middle = (inside + outside) // 2
            if measure(world, self.at(middle)).passed:
                inside = middle
            else:
                outside = middle
        # beyond the margin, and beyond the six digits that are measured
        beyond = self.units(value + abs(value) * (-1e-5 if self.above else 1e-5)) if self.margin else outside
        numbers = (value, inside / 10**self.places, outside / 10**self.places)
        return Sides(self.at(inside), self.at(outside), self.at(beyond), numbers)


@dataclass(frozen=True)
class Comparison:
    """same-except, against a base model that is the same, and one with one weight a unit further away."""

    same: str
    other: str
    tensors: tuple[str, ...]
    check: str = "same-except"
    key: str = "base"

    @property
    def name(self) -> str:
        return f"{self.check} {self.same}"

    @property
    def statements(self) -> list[list[str]]:
        return [[name] for name in self.tensors]

    def against(self, base: str) -> Parameters:
        """The check that excepts everything but `tensors`."""
        excepted = [name for name in TENSORS if name not in self.tensors]
        return {"check": self.check, "base": base, "except": excepted, "within": "0.001"}

    def sides(self, world: World) -> Sides:
        """Nothing is searched for."""
        other = self.against(self.other)
        return Sides(self.against(self.same), other, other)


class Boundaries:
    """The sides of every case for one world, searched for once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._known: dict[str, Sides] = {}

    def __getitem__(self, case: Case | Comparison) -> Sides:
        if case.name not in self._known:
            self._known[case.name] = case.sides(self.world)
        return self._known[case.name]


def measure(world: World, check: Mapping[str, Any]) -> Measured:
    """The one statement of a check."""
    (row,) = world.models([check]).measured(world.policy([check])).rows
    return row


def checks_of_policies() -> dict[str, type[Check]]:
    """Every check that a policy may ask for, by its name."""
    union, _ = get_args(AnyCheck)
    return {get_args(check.model_fields["check"].annotation)[0]: check for check in get_args(union)}


def thresholds_of(check: type[Check]) -> set[str]:
    """The parameters that decide whether a check holds: bounds, and for same-except the base itself."""
    found = {name for name in check.model_fields if "at_most" in name or "at_least" in name} - PRECISION
    return found or {"base"}


PRECISION = {"norm_at_most"}
"""An estimate that fixes the precision of a certificate and is not proved."""

EMBEDDING, HEAD, WRITER = "embed.weight", "head.weight", "layers.0.o.weight"
TOGETHER = {"tensors": "*", "over": "together"}
WRITERS = (
    {"tensors": "layers.*.o.weight", "residual_axis": 0},
    {"tensors": "layers.*.down.weight", "residual_axis": 1},
)
DIRECTION = {
    "group": [{"tensors": WRITER, "residual_axis": 0}],
    "direction": ["0.5", "-0.25", "1", "0", "0.125", "-1", "0.75", "0.3"],
}
LOGITS = {"unembedding": HEAD, "gamma": "norm.weight", "beta": "norm.bias", "bias": "head.bias"}
LOGIT_TENSORS = ("head.bias", HEAD, "norm.bias", "norm.weight")
EMBEDDED = {"tensors": EMBEDDING}
CENSUS = {"tensors": EMBEDDING, "count_below": "1.4"}
CHANGE = {"tensors": WRITER, "base": "base"}
MERGED = {"tensors": ADAPTED, "base": "base", "rank": 2}
EDIT = {"group": list(WRITERS), "base": "base"}


def of(check: str, key: str, holds: str, fails: str, margin: float, *tensors: str, **more: Any) -> Case:
    """A case; all tensors unless some are named."""
    places = more.pop("places", 7)
    return Case(check, key, holds, fails, margin, tensors or TENSORS, more, places)


CASES: tuple[Case | Comparison, ...] = (
    of("change-budget", "at_most", "1", "0.9", 1e-4, WRITER, **CHANGE, norm="max"),
    of("change-budget", "at_most", "2.2", "2", 5e-4, WRITER, **CHANGE, norm="frobenius"),
    of("change-budget", "at_most", "2", "1.8", 5e-4, WRITER, **CHANGE, norm="spectral"),
    of("direction-write-bound", "at_most", "2.7", "2.5", 2e-4, WRITER, **DIRECTION),
    of("direction-write-bound", "at_least", "2.4", "2.6", 2e-4, WRITER, **DIRECTION),
    of("entropy", "at_most", "4.6", "4.3", 3e-3, **TOGETHER, bin_width="0.0625"),
    of("entropy", "at_least", "4.2", "4.5", 3e-3, **TOGETHER, bin_width="0.0625"),
    of("frobenius-norm", "at_most", "19", "18", 2e-4, **TOGETHER),
    of("kurtosis", "at_most", "6.2", "5.9", 2e-3, **TOGETHER),
    of("kurtosis", "at_least", "4", "6", 2e-3, EMBEDDING, **EMBEDDED),
    of("logit-bound", "at_most", "4", "3.3", 1e-3, *LOGIT_TENSORS, **LOGITS, norm="layernorm"),
    of("logit-bound", "at_most", "4", "2", 2e-4, HEAD, unembedding=HEAD, norm="rmsnorm"),
    of("low-rank-change", "at_most", "0.2", "0.14", 2e-2, ADAPTED, **MERGED, norm="frobenius"),
    of("low-rank-change", "at_most", "0.04", "0.025", 2e-2, ADAPTED, **MERGED, norm="max"),
    of("max-abs", "at_most", "1.9", "1.8", 3e-5, **TOGETHER),
    of("max-abs", "at_least", "1.8", "1.9", 3e-5, **TOGETHER),
    of("mean", "at_most", "0.11", "0.1", 5e-4, **TOGETHER),
    of("mean", "at_least", "0.1", "0.11", 5e-4, **TOGETHER),
    of("no-ablated-direction", "at_least", "0.01", "0.03", 1e-1, *EDITED, group=list(WRITERS), precision_bits=12),
    of("no-single-direction-edit", "at_most", "0.95", "0.8", 2e-2, *EDITED, **EDIT, norm_at_least="1.5"),
    of("no-single-direction-edit", "norm_at_least", "1.5", "2.2", 5e-4, *EDITED, **EDIT, at_most="0.99"),
    of("outlier-fraction", "at_most", "0.07", "0.05", 0, **TOGETHER, tau="0.7"),
    of("outlier-fraction", "at_least", "0.05", "0.07", 0, **TOGETHER, tau="0.7"),
    of("outlier-fraction", "at_most", "0.07", "0.05", 0, **TOGETHER, deviations="2"),
    of("outlier-fraction", "at_least", "0.05", "0.07", 0, **TOGETHER, deviations="2"),
    of("quantile", "at_most", "0.6", "0.5", 1e-4, **TOGETHER, level="0.9"),
    of("quantile", "at_least", "0.5", "0.6", 1e-4, **TOGETHER, level="0.9"),
    of("row-norms", "at_most", "2.6", "2.4", 3e-4, EMBEDDING, **EMBEDDED),
    of("row-norms", "at_least", "0.8", "1", 3e-4, EMBEDDING, **EMBEDDED),
    of("row-norms", "at_most_rows", "60", "0", 0, EMBEDDING, **CENSUS, places=0),
    of("row-norms", "at_least_rows", "0", "60", 0, EMBEDDING, **CENSUS, places=0),
    Comparison("base", "one-unit-off", UNCHANGED),
    Comparison("base-file", "one-unit-off-file", UNCHANGED),
    Comparison("coarse", "coarse-and-off", (EMBEDDING,)),
    of("skewness", "at_most", "-0.2", "-0.3", 5e-3, **TOGETHER),
    of("skewness", "at_least", "-0.3", "-0.2", 5e-3, **TOGETHER),
    of("smallest-singular-value", "at_least", "0.8", "0.9", 2e-3, EMBEDDING, **EMBEDDED, norm_at_most="8"),
    of("sparsity", "at_most", "0.3", "0.25", 0, **TOGETHER, tau="0.1"),
    of("sparsity", "at_least", "0.25", "0.3", 0, **TOGETHER, tau="0.1"),
    of("spectral-norm", "at_most", "7.6", "7.4", 3e-4, EMBEDDING, **EMBEDDED),
    of("spectral-norm", "at_least", "7.4", "7.6", 3e-4, EMBEDDING, **EMBEDDED),
    of("stable-rank", "at_least", "3", "4", 1e-2, HEAD, tensors=HEAD),
    of("variance", "at_most", "0.13", "0.12", 3e-4, **TOGETHER),
    of("variance", "at_least", "0.12", "0.13", 3e-4, **TOGETHER),
)
"""Margins are those of rounding, 2^-15 a weight (twice that for a change) and so 2^-15 sqrt(n) for a norm of n weights,
and on top of it: the chords of entropy; rounded roots of higher moments; the slack of certificates of positivity;
rounded factors of a change of low rank; 1 % in the normalisation of changes and writers, and for writers the split of
their margin; sixteenths of a stable rank."""

DISCLOSURES: dict[str, Parameters] = {
    "kurtosis": TOGETHER,
    "max-abs": TOGETHER,
    "mean": TOGETHER,
    "outlier-fraction": {**TOGETHER, "tau": "0.7"},
    "quantile": {**TOGETHER, "level": "0.9"},
    "row-norms": CENSUS,
    "skewness": TOGETHER,
    "sparsity": {**TOGETHER, "tau": "0.1"},
    "variance": TOGETHER,
}
"""What the checks that can publish a value are asked for."""

NEVER_DISCLOSED = {"entropy"}
"""It inherits the parameter and refuses it: an entropy is no integer."""

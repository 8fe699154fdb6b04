"""What the checks on histograms share: which weights are counted, thresholds in integer units, statements in pairs.

In units of 2^-F a weight x and its committed integer t satisfy |x - t| <= 1/2; a population is a set of weights of one
scale F. Its histogram is the sum of the exact histograms of whole groups, which validity has proved, and of fresh ones
of the tensors that share a group with others. Every check states its claim about the real weights x and derives in its
docstring what the counts of t must satisfy for it. Source: statements.md, sections 1 and 3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.disclosed import Disclosure
from circuits.checks.histogram_arithmetic import VALUES, Work
from circuits.errors import PolicyError, StatementError
from circuits.manifest import TensorEntry
from circuits.rationals import decimal

SMALLEST_DISCLOSURE = 1_000
"""Statistics of fewer weights are not published: a few of them determine single weights."""


@dataclass(frozen=True)
class Population:
    """The weights of one statement.

    Attributes:
        label: for reports.
        scale: F of every tensor.
        entries: how many weights.
        groups: (number, size) of the histogram groups that lie wholly inside.
        loose: the other tensors; each gets a fresh histogram, which costs its entries and 65,536 cells.
    """

    label: str
    scale: int
    entries: int
    groups: tuple[tuple[int, int], ...]
    loose: tuple[TensorEntry, ...]

    @staticmethod
    def of(context: Context, tensors: Sequence[TensorEntry], check: str) -> Population:
        """The population of these tensors. Raises StatementError if they have several scales."""
        label = tensors[0].name if len(tensors) == 1 else f"{len(tensors)} tensors together"
        scales = sorted({tensor.scale for tensor in tensors})
        if len(scales) > 1:
            raise StatementError(
                f"{check} of {label}: the tensors have scales {', '.join(map(str, scales))}, and integers of different"
                " scales cannot be counted in one histogram; use over: each, or commit with one scale"
            )
        whole = [number for number in dict.fromkeys(t.group for t in tensors) if _is_whole(context, tensors, number)]
        sizes = tuple((number, context.manifest.groups[number].entries) for number in whole)
        loose = tuple(tensor for tensor in tensors if tensor.group not in whole)
        return Population(label, scales[0], sum(tensor.entries for tensor in tensors), sizes, loose)

    def units(self, value: Fraction) -> Fraction:
        """A length in units of 2^-F."""
        return value * Fraction(2) ** self.scale

    def histogram(self, g: GraphBuilder) -> Tensor:
        """The counts of the population, shape (65536,)."""
        parts = [g.histogram(number, size) for number, size in self.groups]
        parts += [g.histogram_of(g.weight(tensor.name, tensor.matrix_shape)) for tensor in self.loose]
        total = parts[0]
        for part in parts[1:]:
            total = g.add(total, part)
        return total


def _is_whole(context: Context, tensors: Sequence[TensorEntry], number: int) -> bool:
    return context.whole_groups([tensor for tensor in tensors if tensor.group == number]) is not None


@dataclass(frozen=True)
class Statement:
    """One claim on a population.

    Attributes:
        name: of the graph.
        build: writes it.
        needed: the limit after tightening, as text; empty where it depends on the weights (`Work.needed`).
    """

    name: str
    build: Callable[[Work], None]
    needed: str = ""

    def work(
        self, population: Population, version: int, clear: np.ndarray[tuple[int], np.dtype[np.int64]] | None
    ) -> Work:
        """The graph, and with the owner's counts the certificate."""
        g = GraphBuilder(self.name, version)
        work = Work(g, population.histogram(g), population.entries, clear)
        self.build(work)
        return work


@dataclass(frozen=True)
class HistogramSpec:
    """What the certifier needs: the check, its statement and the weights it is about."""

    check: HistogramCheck
    population: Population
    statement: Statement


class HistogramCheck(Check):
    """A statistic of each matching tensor, or of all together, against at_most and at_least, or published."""

    tensors: str = Field(min_length=1, max_length=600)
    over: Literal["each", "together"] = "each"
    at_most: str | None = None
    at_least: str | None = None
    disclose: bool = False

    @property
    @abstractmethod
    def metric(self) -> str:
        """The statistic as a formula."""

    @abstractmethod
    def upper(self, population: Population, limit: Fraction) -> Statement:
        """The statistic is at most `limit`."""

    @abstractmethod
    def lower(self, population: Population, limit: Fraction) -> Statement:
        """The statistic is at least `limit`."""

    @abstractmethod
    def disclosure(self, population: Population) -> Statement:
        """The statistic as integers."""

    @abstractmethod
    def read_integers(self, population: Population, values: Mapping[str, int]) -> list[Disclosure]:
        """The integers of `disclosure`, by name, in real units. Raises FormatError if no weights give them."""

    @property
    def discloses(self) -> bool:
        return self.disclose

    def read(self, instance: Instance, values: Mapping[str, tuple[int, ...]]) -> list[Disclosure]:
        spec: HistogramSpec = instance.spec
        return self.read_integers(spec.population, {name: cells[0] for name, cells in values.items()})

    def check_limit(self, name: str, limit: Fraction) -> None:
        """Refuse a threshold that the statistic cannot meaningfully have. Raises PolicyError."""

    def validate_values(self) -> None:
        limits = {name: decimal(value, name) for name in ("at_most", "at_least") if (value := getattr(self, name))}
        require(bool(limits) or self.disclose, f"{self.check} needs at_most, at_least or disclose: true")
        for name in ("at_most", "at_least"):
            if getattr(self, name) is not None:
                self.check_limit(name, decimal(getattr(self, name), name))
        if len(limits) == 2:
            require(limits["at_least"] <= limits["at_most"], f"{self.check}: at_least lies above at_most")

    def instances(self, context: Context) -> list[Instance]:
        chosen = context.select(self.tensors)
        groups = [[tensor] for tensor in chosen] if self.over == "each" else [chosen]
        return [one for group in groups for one in self._instances(Population.of(context, group, self.check))]

    def _instances(self, population: Population) -> list[Instance]:
        out = []
        if self.at_most is not None:
            statement = self.upper(population, decimal(self.at_most, "at_most"))
            out.append(self._instance(population, "<=", self.at_most, statement))
        if self.at_least is not None:
            statement = self.lower(population, decimal(self.at_least, "at_least"))
            out.append(self._instance(population, ">=", self.at_least, statement))
        if self.disclose:
            if population.entries < SMALLEST_DISCLOSURE:
                raise PolicyError(
                    f"{self.check} of {population.label}: a statistic of {population.entries} weights says too much of"
                    f" each; disclose needs at least {SMALLEST_DISCLOSURE} weights (use over: together, or a threshold)"
                )
            out.append(self._instance(population, "=", "disclosed", self.disclosure(population)))
        return out

    def _instance(self, population: Population, comparator: str, limit: str, statement: Statement) -> Instance:
        graph = statement.work(population, self.version, None).g.graph()
        spec = HistogramSpec(self, population, statement)
        return Instance(population.label, self.metric, comparator, limit, graph, spec)

    def below_rounding(self, population: Population, name: str) -> StatementError:
        """The error for a tightened threshold that would become negative."""
        return StatementError(
            f"{self.check} of {population.label}: {name} {getattr(self, name, '')} is below the rounding of 2^-"
            f"{population.scale + 1}; raise it"
        )


class NonNegativeCheck(HistogramCheck):
    """A statistic that is never negative: negative thresholds are mistakes."""

    def check_limit(self, name: str, limit: Fraction) -> None:
        require(limit >= 0, f"{name} of {self.check} must not be negative")
        require(limit > 0 or name == "at_most", f"at_least 0 says nothing about {self.check}; leave it out")


class FractionCheck(HistogramCheck):
    """A share of the weights: thresholds lie in [0, 1]."""

    def check_limit(self, name: str, limit: Fraction) -> None:
        require(0 <= limit <= 1, f"{name} of {self.check} is a share of the weights, between 0 and 1")


def within(limit: Fraction) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which cells of a histogram count integers t with |t| <= limit."""
    return np.asarray(np.abs(VALUES) <= min(math.floor(limit), 1 << 16))


HALF = Fraction(1, 2)
"""The rounding bound in units of 2^-F."""
KAPPA = Fraction(5373, 10_000)
"""At least (1/12)^(1/4): the fourth-moment norm of a centred variable on an interval of length 1, see `kurtosis`."""

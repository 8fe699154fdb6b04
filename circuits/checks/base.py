"""What every check is: parameters from the policy, statement graphs, a strength, and what it does not mean."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from circuits.checks.disclosed import Disclosure
from circuits.errors import PolicyError, StatementError
from circuits.graph import Graph
from circuits.manifest import Manifest, TensorEntry
from circuits.patterns import select


@dataclass(frozen=True)
class Context:
    """The public facts that statements are built from.

    Attributes:
        manifest: of the audited model, commitment 0.
        bases: manifests of base models by the name that the policy uses, or by the SHA-256 (hex) of a public file.
        public: of the bases that are public files, the integers of every tensor: base -> tensor -> matrix. The other
            bases are commitments 1, 2, ... in the order of `bases`.
    """

    manifest: Manifest
    bases: Mapping[str, Manifest] = field(default_factory=dict)
    public: Mapping[str, Mapping[str, npt.NDArray[np.signedinteger[Any]]]] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> dict[str, TensorEntry]:
        """Committed tensors by name, in name order."""
        return {tensor.name: tensor for tensor in self.manifest.tensors}

    def select(self, pattern: str) -> list[TensorEntry]:
        """The tensors that match, each once; tied names stand for the tensor they are tied to.

        Raises PolicyError if none does (with near misses), or if a pattern other than `*` matches an integer tensor, of
        which only a digest is committed.
        """
        excluded = {entry.name for entry in self.manifest.excluded}
        tied = self.manifest.tied
        found: dict[str, TensorEntry] = {}
        for name in select(pattern, [*self.tensors, *tied, *excluded]):
            own = tied.get(name, name)
            if own in self.tensors:
                found[own] = self.tensors[own]
            elif pattern != "*":
                raise PolicyError(f"{pattern!r} matches {name!r}, an integer tensor: nothing can be proved about it")
        if not found:
            raise PolicyError(f"{pattern!r} matches no committed tensor")
        return list(found.values())

    def whole_groups(self, tensors: Sequence[TensorEntry]) -> list[int] | None:
        """The histogram groups whose union these tensors are, or None: then no histogram speaks of exactly them."""
        members: dict[int, int] = {}
        for tensor in tensors:
            members[tensor.group] = members.get(tensor.group, 0) + tensor.entries
        groups = self.manifest.groups
        return list(members) if all(groups[g].entries == count for g, count in members.items()) else None


@dataclass(frozen=True)
class Instance:
    """One statement of a check: a graph whose assertions are proved.

    Attributes:
        label: the tensors it is about, for reports.
        metric: what is compared, in words or a formula, e.g. "|W|_F".
        comparator: "<=" or ">=".
        limit: the threshold of the policy, as text.
        graph: the statement graph; its advice inputs are the certificate.
        spec: what the certificate's numerics need besides the graph; determined by policy and manifest.
    """

    label: str
    metric: str
    comparator: str
    limit: str
    graph: Graph
    spec: Any = None


class Check(BaseModel):
    """Base of all checks. `strength` is theorem, exact or indicator."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    check: str
    count: int | None = Field(default=None, ge=1, le=1 << 17)
    """How many tensors of the model the check must be about; None does not say. A pin against tensors that were added
    or renamed to change what a pattern matches."""

    version: ClassVar[int]
    strength: ClassVar[str]
    does_not_mean: ClassVar[str]

    @property
    def discloses(self) -> bool:
        """Whether any of its statements publishes integers."""
        return False

    def read(self, instance: Instance, values: Mapping[str, tuple[int, ...]]) -> list[Disclosure]:
        """What an instance publishes, in real units, from the cells of its disclosed tensors by name, row-major.

        Raises FormatError if no weights give these integers.
        """
        raise StatementError(f"{self.check} discloses nothing")

    @abstractmethod
    def instances(self, context: Context) -> list[Instance]:
        """The statements for a model, from public facts only.

        Raises PolicyError (a pattern without a match, a value that cannot be) or StatementError (the threshold lies
        below the rounding of the fixed-point copy, or a value could overflow).
        """

    def validate_values(self) -> None:
        """Refuse parameters that cannot be parsed. Raises PolicyError."""


def require(condition: bool, message: str) -> None:
    """Raise PolicyError unless the condition holds."""
    if not condition:
        raise PolicyError(message)


def text(value: Fraction, places: int = 6) -> str:
    """A rational in decimal, truncated towards zero, for people."""
    sign = "-" if value < 0 else ""
    scaled = abs(value.numerator) * 10**places // value.denominator
    return f"{sign}{scaled // 10**places}.{scaled % 10**places:0{places}d}"

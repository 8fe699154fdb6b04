"""Certificates: the in-the-clear numerics behind a statement, and the value that is measured.

Nothing here needs trust: a wrong certificate gives a proof that is refused. Numerics run in float64 and are rounded
to the integers that the statement graph asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from circuits.checks.base import Instance
from circuits.errors import StatementError
from circuits.manifest import TensorEntry
from prover.commit import ModelIntegers

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class CertificateError(StatementError):
    """The property may hold, but its certificate failed for numerical reasons; the message says what to relax."""


@dataclass(frozen=True)
class Access:
    """The owner's view of the models of a statement: commitment 0 is the audited one, bases follow."""

    models: tuple[ModelIntegers, ...]

    def matrix(self, name: str, commitment: int = 0) -> Integers:
        """A tensor's integers as its matrix."""
        return self.models[commitment].matrix(name).astype(np.int64)

    def floats(self, tensor: TensorEntry, commitment: int = 0) -> Floats:
        """A tensor's fixed-point values as its matrix."""
        return np.ldexp(self.models[commitment].matrix(tensor.name).astype(np.float64), -tensor.scale)

    def histogram(self, group: int, commitment: int = 0) -> Integers:
        """The exact histogram of a group."""
        return self.models[commitment].histogram(group)


@dataclass(frozen=True)
class Certificate:
    """What a statement needs from the owner.

    Attributes:
        value: the measured quantity, as text.
        passed: does the property hold with the margin that rounding needs?
        needed: the limit after tightening, as text.
        advice: the certificate tensors by their names in the graph; empty if not passed.
    """

    value: str
    passed: bool
    needed: str
    advice: Mapping[str, Integers] = field(default_factory=dict)


Certifier = Callable[[Instance, Access], Certificate]

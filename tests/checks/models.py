"""Small models on disk, read as the commands read them, and single statements evaluated on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from circuits.checkpoint import open_checkpoint
from circuits.checks.base import Check, Context, Instance
from circuits.errors import StatementError
from circuits.evaluate import Evaluation, Witness, check, disclosed
from circuits.lowering import lower
from prover.argument.kernels.reference import ReferenceKernels
from prover.certificates.base import Access, Certificate, Certifier, Integers
from prover.commit import ModelIntegers, committed_cells, describe_checkpoint
from prover.progress import Progress

Array = npt.NDArray[Any]
Scales = Mapping[str, int] | int | None


def decimal(value: SupportsFloat | Fraction, places: int = 12) -> str:
    """The shortest decimal of a number rounded down to so many places, as policies write it."""
    units = floor((value if isinstance(value, Fraction) else Fraction(float(value))) * 10**places)
    text = f"{abs(units) // 10**places}.{abs(units) % 10**places:0{places}d}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def write(path: Path, tensors: Mapping[str, Array]) -> Path:
    """A safetensors file."""
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


def integers_of(path: Path, scales: Scales = None) -> ModelIntegers:
    """A checkpoint file as the owner's integers."""
    checkpoint, progress = open_checkpoint(path), Progress.silent()
    manifest, layout = describe_checkpoint(checkpoint, scales, progress)
    cells = committed_cells(checkpoint, manifest, layout, ReferenceKernels(), layout.entries, progress)
    return ModelIntegers(manifest, layout, cells)


@dataclass(frozen=True)
class Setting:
    """The public facts and the owner's view of an audited model and the committed base models."""

    context: Context
    access: Access

    @staticmethod
    def of(
        folder: Path, tensors: Mapping[str, Array], base: Mapping[str, Array] | None = None, **scales: Scales
    ) -> Setting:
        """An audited model, and the base model `base` if there is one; scales of either by `own` and `other`."""
        models = [integers_of(write(folder / "own.safetensors", tensors), scales.get("own"))]
        if base is not None:
            models.append(integers_of(write(folder / "base.safetensors", base), scales.get("other")))
        return Setting.among(models)

    @staticmethod
    def among(models: Sequence[ModelIntegers]) -> Setting:
        """The first model is audited, the others are called "base" and "other"."""
        bases = {name: model.manifest for name, model in zip(("base", "other"), models[1:], strict=False)}
        return Setting(Context(models[0].manifest, bases), Access(tuple(models)))

    def instances(self, statement: Check) -> list[Instance]:
        """The statements of a check whose parameters are valid."""
        statement.validate_values()
        return statement.instances(self.context)

    def failures(self, instance: Instance, advice: Mapping[str, Integers]) -> list[str]:
        """The conditions that the statement's program fails on, with the given certificate."""
        return evaluate(instance, self.access, advice)[0]

    def disclosed(self, instance: Instance, advice: Mapping[str, Integers]) -> dict[str, int]:
        """The disclosed integers, all of them scalars."""
        return {
            name.partition("/disclose/")[2]: int(value)
            for name, value in evaluate(instance, self.access, advice)[1].items()
        }

    def holds(self, instance: Instance, certifier: Certifier) -> bool:
        """Measured and evaluated: both must say the same where no certificate is needed, and a certificate that was
        made must be accepted."""
        certificate = certifier(instance, self.access)
        if certificate.passed:
            assert self.failures(instance, certificate.advice) == []
        elif not any(node.name.startswith("advice/") for node in instance.graph.nodes):
            assert self.refused(instance)
        return certificate.passed

    def refused(self, instance: Instance, certificate: Certificate | None = None) -> bool:
        """The program rejects the certificate (none by default), or no certificate can satisfy it."""
        try:
            return self.failures(instance, {} if certificate is None else certificate.advice) != []
        except StatementError:
            return True


def evaluate(
    instance: Instance, access: Access, advice: Mapping[str, Integers]
) -> tuple[list[str], Mapping[str, Integers]]:
    """(failed conditions, disclosed integers) of the lowered statement."""
    program = lower([instance.graph])
    certificates = {f"0/advice/{name}": value for name, value in advice.items()}
    witness = Witness(lambda c, name: access.matrix(name, c), lambda c, group: access.histogram(group, c), certificates)
    values = Evaluation(program, witness)
    return check(program, values), disclosed(program, values)

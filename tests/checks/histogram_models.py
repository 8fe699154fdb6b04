"""Small models for the checks on histograms: float tensors, their manifest and integers, and what a statement says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.checks.base import Context, Instance
from circuits.checks.entropy import Entropy
from circuits.checks.histogram_block import HistogramCheck
from circuits.checks.kurtosis import Kurtosis
from circuits.checks.max_abs import MaxAbs
from circuits.checks.mean import Mean
from circuits.checks.outlier_fraction import OutlierFraction
from circuits.checks.quantile import Quantile
from circuits.checks.skewness import Skewness
from circuits.checks.sparsity import Sparsity
from circuits.checks.variance import Variance
from circuits.errors import StatementError
from circuits.fixedpoint import choose_scales, quantise
from circuits.layout import Layout
from circuits.manifest import TABLE, Manifest, TensorEntry, assign_groups
from prover.certificates.base import Access, Integers
from prover.certificates.histogram_statistics import certify
from prover.commit import ModelIntegers
from tests.checks.models import evaluate

Floats = npt.NDArray[np.floating[Any]]

CHECKS: Mapping[str, type[HistogramCheck]] = {
    "entropy": Entropy,
    "kurtosis": Kurtosis,
    "max-abs": MaxAbs,
    "mean": Mean,
    "outlier-fraction": OutlierFraction,
    "quantile": Quantile,
    "skewness": Skewness,
    "sparsity": Sparsity,
    "variance": Variance,
}


class Model:
    """Float tensors as the owner has them, and everything public about them."""

    def __init__(self, tensors: Mapping[str, Floats], scales: Mapping[str, int] | int | None = None) -> None:
        arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
        small = sum(array.size for array in arrays.values()) < TABLE
        largest = {name: float(np.max(np.abs(array))) for name, array in arrays.items()}
        chosen = choose_scales(largest, scales, common=small)
        groups = assign_groups([array.size for array in arrays.values()], [chosen[name] for name in arrays])
        self.floats = arrays
        self.manifest = Manifest(
            tuple(
                TensorEntry(name, array.shape, str(array.dtype), chosen[name], group)
                for (name, array), group in zip(arrays.items(), groups, strict=True)
            ),
            (),
            {},
            {},
        )
        self.context = Context(self.manifest)
        layout = Layout(self.manifest)
        flat = np.zeros(layout.entries, np.int32)
        self.integers: dict[str, Integers] = {}
        for name, array in arrays.items():
            integers = quantise(array, chosen[name])
            layout.scatter(flat, name, integers)
            self.integers[name] = integers.astype(np.int64)
        for group in range(len(self.manifest.groups)):
            members = [self.integers[t.name].reshape(-1) for t in self.manifest.tensors if t.group == group]
            counts = np.bincount(np.concatenate(members) + TABLE // 2, minlength=TABLE)
            flat[layout.histogram_address(group) : layout.histogram_address(group) + TABLE] = counts
        self.access = Access((ModelIntegers(self.manifest, layout, flat),))


def holds(instance: Instance, model: Model) -> bool:
    """Is there a certificate? The graph must accept it; where none is needed it must refuse what the certifier does."""
    certificate = certify(instance, model.access)
    if certificate.passed:
        assert evaluate(instance, model.access, certificate.advice)[0] == []
    elif not any(node.name.startswith("advice/") for node in instance.graph.nodes):
        assert refused(instance, model, {})
    return certificate.passed


def refused(instance: Instance, model: Model, advice: Mapping[str, Integers]) -> bool:
    """Does the statement reject this certificate?"""
    try:
        return evaluate(instance, model.access, advice)[0] != []
    except StatementError:
        return True


def published(instance: Instance, model: Model) -> dict[str, int]:
    """What a disclosure publishes, by name."""
    failed, values = evaluate(instance, model.access, certify(instance, model.access).advice)
    assert failed == []
    return {name.removeprefix("0/disclose/"): int(value) for name, value in values.items()}


def statement(name: str, **parameters: Any) -> HistogramCheck:
    """A check by its name, over all tensors unless told, its parameters validated."""
    check = CHECKS[name](**{"check": name, "tensors": "*", **parameters})
    check.validate_values()
    return check


def only(check: HistogramCheck, model: Model) -> Instance:
    """The one statement of a check."""
    (instance,) = check.instances(model.context)
    return instance


def accepts(model: Model, name: str, **parameters: Any) -> bool:
    """Does the one statement of a check hold? No, if its threshold lies below the rounding."""
    try:
        return holds(only(statement(name, **parameters), model), model)
    except StatementError:
        return False

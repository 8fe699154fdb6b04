"""row-norms needs no advice: norms and counts are measured exactly."""

from __future__ import annotations

from math import sqrt

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.row_norms import CensusSpec, NormsSpec, row_shape
from circuits.manifest import TensorEntry
from prover.certificates.base import Access, Certificate, Integers


def certify(instance: Instance, access: Access) -> Certificate:
    """The extreme row norm against the tightened bound, or the two counts."""
    spec: NormsSpec | CensusSpec = instance.spec
    sums = row_squares(spec.tensor, spec.axis, access)
    if isinstance(spec, CensusSpec):
        return census(spec, sums)
    extreme = int(sums.min() if spec.above else sums.max())
    passed = extreme >= spec.bound if spec.above else extreme <= spec.bound
    unit = 2.0**-spec.tensor.scale
    return Certificate(f"{sqrt(extreme) * unit:.6g}", passed, f"{sqrt(spec.bound) * unit:.6g}")


def row_squares(tensor: TensorEntry, axis: int, access: Access) -> Integers:
    """S_i of every row."""
    w = access.matrix(tensor.name)
    if axis == 1:
        return np.asarray(np.einsum("ij,ij->j", w, w))
    sums = np.einsum("ij,ij->i", w, w).reshape(row_shape(tensor, 0)[0], -1)
    return np.asarray(sums.sum(axis=1))


def census(spec: CensusSpec, sums: Integers) -> Certificate:
    """The true count lies between the certain and the possible one."""
    possible = int((sums < spec.possible).sum())
    certain = possible if spec.certain is None else int((sums < spec.certain).sum())
    passed = (spec.most is None or possible <= spec.most) and (spec.least is None or certain >= spec.least)
    value = str(possible) if certain == possible else f"{certain} .. {possible}"
    return Certificate(value, passed, instance_limit(spec))


def instance_limit(spec: CensusSpec) -> str:
    """The counts that are asked for, as text."""
    if spec.most is None:
        return str(spec.least or 0)
    return str(spec.most) if spec.least is None else f"{spec.least} .. {spec.most}"

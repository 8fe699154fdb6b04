"""A small transformer for the checks of a policy, and the models that it is compared with."""

from __future__ import annotations

import numpy as np

from tests.checks.models import Array
from tests.checks.spectra_support import common_edit

WIDTH = 8
SCALE = 14
"""Every magnitude lies below 2, the largest above 1, so all tensors of the model share the scale 2^-14."""
COARSE = 12
EDITED = ("layers.0.down.weight", "layers.0.o.weight", "layers.1.down.weight", "layers.1.o.weight")
ADAPTED = "adapter.weight"
UNCHANGED = ("embed.weight", "head.bias", "head.weight", "norm.bias", "norm.weight")
TENSORS = tuple(sorted((*EDITED, ADAPTED, *UNCHANGED)))

Tensors = dict[str, Array]


def pair() -> tuple[Tensors, Tensors]:
    """The audited model and its base: one direction was removed from every writer, noise added, an adapter merged."""
    rng = np.random.default_rng(11)
    edit = common_edit(WIDTH, 0.5, {"commitment": "base"})
    assert edit.base is not None
    shared = {
        "embed.weight": rng.gamma(4.0, size=(60, 24)) * 0.12 - 0.3,
        "head.weight": rng.normal(0.05, 0.3, (40, WIDTH)),
        "head.bias": rng.normal(0, 0.3, 40),
        "norm.weight": rng.normal(1.0, 0.2, WIDTH),
        "norm.bias": rng.normal(0, 0.1, WIDTH),
    }
    base = rng.normal(0, 0.2, (20, 15))
    merged = base + 0.1 * rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15)) + 0.01 * rng.normal(size=base.shape)
    # 0.9: the edit lets one weight grow beyond 2
    own, other = ({name: 0.9 * w for name, w in tensors.items()} for tensors in (edit.tensors, edit.base))
    return float32({**own, **shared, ADAPTED: merged}), float32({**other, **shared, ADAPTED: base})


def float32(tensors: Tensors) -> Tensors:
    """Rounded to float32."""
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def one_unit_off(tensors: Tensors) -> Tensors:
    """One weight is the next integer of the fixed-point copy."""
    weight = tensors["head.weight"].copy()
    weight[3, 4] += np.float32(2.0**-SCALE)
    return {**tensors, "head.weight": weight}


def coarsened(tensors: Tensors, away: int) -> Tensors:
    """A model in units of 2^-COARSE: every weight at the nearest one, but one weight of the embedding, which is `away`
    units of 2^-SCALE from its copy; half a coarse unit (2) is still the nearest."""
    gap = 1 << (SCALE - COARSE)
    coarse = {}
    for name, tensor in tensors.items():
        units = np.rint(np.ldexp(tensor.astype(np.float64), SCALE)).astype(np.int64)
        nearest = (units + gap // 2) // gap
        if name == "embed.weight":
            row, column = np.argwhere(units % gap == away)[0]
            nearest[row, column] = units[row, column] // gap
        coarse[name] = np.ldexp(nearest.astype(np.float64), -COARSE)
    return float32(coarse)

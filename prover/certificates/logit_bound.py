"""logit-bound needs no advice: the inequality of every token is evaluated as the graph does."""

from __future__ import annotations

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.logit_bound import LogitSpec
from circuits.manifest import TensorEntry
from prover.certificates.base import Access, Certificate, Floats, Integers


def certify(instance: Instance, access: Access) -> Certificate:
    """max_t sqrt(d) |P u_t| + |c_t| of the copies against T."""
    spec: LogitSpec = instance.spec
    bounds = logit_bounds(spec, access)
    passed = holds(spec, access)
    return Certificate(f"{bounds.max():.6g}", passed, f"{float(spec.tightened):.6g}")


def logit_bounds(spec: LogitSpec, access: Access) -> Floats:
    """The bound of every token in float64."""
    w = access.floats(spec.unembedding)
    w = w if spec.token_axis == 0 else w.T
    u = w if spec.gamma is None else w * access.floats(spec.gamma)
    u = u - u.mean(axis=1, keepdims=True) if spec.centred else u
    constant = np.zeros(spec.tokens) if spec.bias is None else access.floats(spec.bias)[0]
    constant = constant if spec.beta is None else constant + w @ access.floats(spec.beta)[0]
    return np.asarray(np.sqrt(spec.width) * np.linalg.norm(u, axis=1) + np.abs(constant))


def holds(spec: LogitSpec, access: Access) -> bool:
    """R_t >= 0 and N_t - C_t <= floor(a R_t^2 / b) for every t, in integers."""
    numbers = spec.plan
    w = access.matrix(spec.unembedding.name)
    w = w if spec.token_axis == 0 else w.T
    gamma = _vector(spec.gamma, access)
    up = (1 << numbers.square_shift) - 1
    if gamma is None:
        squares = (np.einsum("tj,tj->t", w, w) + up) >> numbers.square_shift
    else:
        squares = (w * w) @ ((gamma * gamma + up) >> numbers.square_shift)
    if spec.centred:
        mean = np.abs(w.sum(axis=1) if gamma is None else w @ gamma) >> numbers.mean_shift
        a, b = numbers.mean_ratio
        squares = squares - mean * mean * a // b
    constant = np.zeros(spec.tokens, np.int64)
    beta, bias = _vector(spec.beta, access), _vector(spec.bias, access)
    if beta is not None and spec.beta is not None:
        constant = constant + _in_units(w @ beta, spec.beta.scale + spec.unembedding.scale - numbers.exponent)
    if bias is not None and spec.bias is not None:
        constant = constant + _in_units(bias, spec.bias.scale - numbers.exponent)
    room = numbers.room - np.abs(constant)
    a, b = numbers.ratio
    return bool((room >= 0).all() and (squares <= np.maximum(room, 0) ** 2 * a // b).all())


def _vector(tensor: TensorEntry | None, access: Access) -> Integers | None:
    return None if tensor is None else access.matrix(tensor.name)[0]


def _in_units(value: Integers, gap: int) -> Integers:
    """value / 2^gap, to the nearest integer."""
    return (value + (1 << (gap - 1))) >> gap if gap > 0 else value << -gap

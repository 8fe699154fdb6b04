"""float64 linear algebra with torch, on a GPU where there is one, and exact integer products."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from prover.certificates.base import Floats, Integers

SPLIT_LOG = 13
SMALL = 1000
"""Below this size one thread is faster than several that wait for each other."""


@cache
def _torch() -> Any:
    import torch

    return torch


@cache
def _device() -> str:
    return "cuda" if _torch().cuda.is_available() else "cpu"


def _tensor(array: Floats) -> Any:
    _torch().set_num_threads(1 if array.shape[0] < SMALL else max(1, len(os.sched_getaffinity(0))))
    return _torch().from_numpy(np.ascontiguousarray(array)).to(_device())


def cholesky(matrix: Floats) -> Floats | None:
    """The lower Cholesky factor, or None if the matrix is not numerically positive definite."""
    factor, info = _torch().linalg.cholesky_ex(_tensor(matrix))
    return None if int(info) else np.asarray(factor.cpu().numpy())


def eigenvalues(matrix: Floats) -> Floats:
    """All eigenvalues of a symmetric matrix, ascending."""
    return np.asarray(_torch().linalg.eigvalsh(_tensor(matrix)).cpu().numpy())


def top_eigenvector(matrix: Floats) -> Floats:
    """A unit eigenvector of the largest eigenvalue of a symmetric matrix."""
    return np.asarray(_torch().linalg.eigh(_tensor(matrix))[1][:, -1].cpu().numpy())


def gram_of(matrix: Integers, axis: int | None = None) -> Integers:
    """W W^T (axis 0) or W^T W (axis 1), the smaller without an axis; exact for |w| <= 2^15 and up to 2^22 products."""
    rows, columns = matrix.shape
    first = rows <= columns if axis is None else axis == 0
    w = matrix.astype(np.float64)
    product = w @ w.T if first else w.T @ w
    return np.rint(product).astype(np.int64)


def exact_square(factor: Integers) -> Integers:
    """L L^T exactly, for |L| <= 2^30 whose rows have squared norms below 2^62."""
    high = factor >> SPLIT_LOG
    low = factor - (high << SPLIT_LOG)
    h, l = high.astype(np.float64), low.astype(np.float64)
    cross = np.rint(h @ l.T).astype(np.int64)
    return (
        (np.rint(h @ h.T).astype(np.int64) << (2 * SPLIT_LOG))
        + ((cross + cross.T) << SPLIT_LOG)
        + np.rint(l @ l.T).astype(np.int64)
    )

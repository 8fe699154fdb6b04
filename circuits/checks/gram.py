"""Gram matrices on the smaller side of a weight matrix, and what rounding does to singular values."""

from __future__ import annotations

from fractions import Fraction

from circuits.builder import GraphBuilder, Tensor
from circuits.manifest import TensorEntry
from circuits.rationals import root_above

WEIGHT_LOG = 15


def sides(tensor: TensorEntry) -> tuple[int, int]:
    """(smaller, larger) dimension of the tensor's matrix."""
    rows, columns = tensor.matrix_shape
    return min(rows, columns), max(rows, columns)


def gram(g: GraphBuilder, tensor: TensorEntry, axis: int | None = None) -> Tensor:
    """W W^T (axis 0) or W^T W (axis 1) of the committed integers; the smaller one without an axis."""
    rows, columns = tensor.matrix_shape
    w = g.weight(tensor.name, (rows, columns))
    first = rows <= columns if axis is None else axis == 0
    return g.einsum("ik,jk->ij" if first else "ki,kj->ij", w, w)


def gram_magnitude(inner: int) -> int:
    """An upper bound of the entries of a Gram matrix over `inner` products, as interval analysis finds it."""
    return inner << (2 * WEIGHT_LOG)


def singular_margin(tensor: TensorEntry) -> Fraction:
    """Every singular value of W lies within delta * sqrt(m k) of the copy's (Weyl)."""
    return tensor.rounding_bound * root_above(Fraction(tensor.entries))

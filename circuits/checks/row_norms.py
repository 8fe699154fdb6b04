"""row-norms: the norm of every row (or column) of a matrix, and how many rows are nearly zero (the glitch-token
census).

Exact. A row of c entries has | |w_i| - |copy_i| | <= m = delta * sqrt(c), and S_i, the sum of the squares of its
integers, is 4^F |copy_i|^2. Hence, with every rounding to the stricter side:

    at_most t       every S_i <= 4^F (t - m)^2
    at_least t      every S_i >= 4^F (t + m)^2
    at_most_rows    the rows with |w_i| < tau all have S_i < 4^F (tau + m)^2: these are counted ("possibly below")
    at_least_rows   the rows with S_i < 4^F (tau - m)^2 all have |w_i| < tau: these are counted ("certainly below")

`disclose` publishes both counts: the true one lies between them. Embedding rows of tokens that training never saw are
conspicuously short: Land and Bartolo, "Fishing for Magikarp" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.disclosed import Disclosure
from circuits.errors import FormatError, PolicyError, StatementError
from circuits.manifest import TensorEntry
from circuits.rationals import decimal, root_above

LIMIT = 1 << 61


@dataclass(frozen=True)
class NormsSpec:
    """S_i <= bound (or >= bound) for every row."""

    tensor: TensorEntry
    axis: int
    bound: int
    above: bool


@dataclass(frozen=True)
class CensusSpec:
    """Rows with S_i < possible number at most `most`, those with S_i < certain at least `least`."""

    tensor: TensorEntry
    axis: int
    certain: int | None
    possible: int
    most: int | None
    least: int | None


class RowNorms(Check):
    """Bounds of |w_i| over the first axis (axis 0: rows) or the last one (axis 1: columns), and the census."""

    check: Literal["row-norms"]
    tensors: str = Field(min_length=1, max_length=600)
    axis: Literal[0, 1] = 0
    at_most: str | None = None
    at_least: str | None = None
    count_below: str | None = None
    at_most_rows: int | None = Field(default=None, ge=0)
    at_least_rows: int | None = Field(default=None, ge=0)
    disclose: bool = False

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "A short row is not known to be harmful, and rows of ordinary length do not show that every token was trained."
    )

    def validate_values(self) -> None:
        for name in ("at_most", "at_least", "count_below"):
            value = getattr(self, name)
            require(value is None or decimal(value, name) >= 0, f"{name} of row-norms must not be negative")
        census = self.at_most_rows is not None or self.at_least_rows is not None or self.disclose
        require(
            census == (self.count_below is not None),
            "row-norms: count_below goes with at_most_rows, at_least_rows or disclose, and they with count_below",
        )
        require(
            census or self.at_most is not None or self.at_least is not None,
            "row-norms needs at_most, at_least or count_below",
        )

    def instances(self, context: Context) -> list[Instance]:
        out = []
        for tensor in context.select(self.tensors):
            if len(tensor.shape) < 2:
                raise PolicyError(f"row-norms: {tensor.name} {tensor.shape} has no rows; choose matrices")
            if self.at_most is not None:
                out.append(self._norms(tensor, self.at_most, above=False))
            if self.at_least is not None:
                out.append(self._norms(tensor, self.at_least, above=True))
            if self.count_below is not None:
                out.append(self._census(tensor, self.count_below))
        return out

    @property
    def discloses(self) -> bool:
        return self.disclose

    def read(self, instance: Instance, values: Mapping[str, tuple[int, ...]]) -> list[Disclosure]:
        """The number of short rows, bracketed."""
        rows = row_shape(instance.spec.tensor, self.axis)[0]
        (few,), (many,) = values["certainly_below"], values["possibly_below"]
        if not 0 <= few <= many <= rows:
            raise FormatError(f"{few} to {many} short rows of {rows} are disclosed: ask for the proof itself")
        low, high = Fraction(few), Fraction(many)
        what = "short rows" if self.axis == 0 else "short columns"
        parameters = (("norm below", self.count_below or ""),)
        return [Disclosure(what, parameters, instance.label, low if few == many else None, low, high)]

    def _norms(self, tensor: TensorEntry, limit: str, above: bool) -> Instance:
        margin = rounding_margin(tensor, self.axis)
        square = Fraction(4) ** tensor.scale
        g = GraphBuilder("row-norms", self.version)
        sums = squares(g, tensor, self.axis)
        if above:
            bound = ceil((decimal(limit, "at_least") + margin) ** 2 * square)
            g.assert_true("norms", g.greater_or_equal(sums, min(bound, LIMIT)))
        else:
            tightened = decimal(limit, "at_most") - margin
            if tightened < 0:
                raise StatementError(f"row-norms of {tensor.name}: at_most {limit} is below the rounding; raise it")
            bound = floor(tightened**2 * square)
            g.assert_true("norms", g.less_or_equal(sums, min(bound, LIMIT)))
        spec = NormsSpec(tensor, self.axis, bound, above)
        metric = "min |w_i|" if above else "max |w_i|"
        return Instance(tensor.name, metric, ">=" if above else "<=", limit, g.graph(), spec)

    def _census(self, tensor: TensorEntry, tau: str) -> Instance:
        threshold, margin = decimal(tau, "count_below"), rounding_margin(tensor, self.axis)
        square = Fraction(4) ** tensor.scale
        certain = None
        if self.disclose or self.at_least_rows is not None:
            if threshold < margin:
                raise StatementError(f"row-norms of {tensor.name}: count_below {tau} is below the rounding; raise it")
            certain = ceil((threshold - margin) ** 2 * square)
        possible = ceil((threshold + margin) ** 2 * square)
        g = GraphBuilder("row-norms-census", self.version)
        sums = squares(g, tensor, self.axis)
        if self.at_most_rows is not None or self.disclose:
            many = count_below(g, sums, possible)
            if self.at_most_rows is not None:
                g.assert_true("at_most_rows", g.less_or_equal(many, self.at_most_rows))
            if self.disclose:
                g.disclose("possibly_below", many)
        if certain is not None:
            few = count_below(g, sums, certain)
            if self.at_least_rows is not None:
                g.assert_true("at_least_rows", g.greater_or_equal(few, self.at_least_rows))
            if self.disclose:
                g.disclose("certainly_below", few)
        spec = CensusSpec(tensor, self.axis, certain, possible, self.at_most_rows, self.at_least_rows)
        comparator, limit = self._wanted()
        return Instance(tensor.name, f"rows with |w_i| < {tau}", comparator, limit, g.graph(), spec)

    def _wanted(self) -> tuple[str, str]:
        if self.at_most_rows is not None and self.at_least_rows is not None:
            return "in", f"{self.at_least_rows} .. {self.at_most_rows}"
        if self.at_most_rows is not None:
            return "<=", str(self.at_most_rows)
        return ">=", str(self.at_least_rows or 0)


def row_shape(tensor: TensorEntry, axis: int) -> tuple[int, int]:
    """(number of rows, entries of one row): along the first axis, or along the last one."""
    rows = tensor.shape[0] if axis == 0 else tensor.shape[-1]
    return rows, tensor.entries // rows


def rounding_margin(tensor: TensorEntry, axis: int) -> Fraction:
    """| |w_i| - |copy_i| | <= delta sqrt(c) for a row of c entries."""
    return tensor.rounding_bound * root_above(Fraction(row_shape(tensor, axis)[1]))


def squares(g: GraphBuilder, tensor: TensorEntry, axis: int) -> Tensor:
    """S_i, shape (rows,): the sum of the squared integers of every row."""
    w = g.weight(tensor.name, tensor.matrix_shape)
    if axis == 1:
        return g.einsum("ij,ij->j", w, w)
    sums = g.einsum("ij,ij->i", w, w)
    rows, first = tensor.matrix_shape[0], tensor.shape[0]
    # a kernel (out, in, height, width) is stored as a matrix of out * in * height rows
    return sums if rows == first else g.reduce_sum(g.reshape(sums, (first, rows // first)), [1])


def count_below(g: GraphBuilder, sums: Tensor, bound: int) -> Tensor:
    """The number of rows with S_i < bound."""
    return g.reduce_sum(g.cast(g.less(sums, min(bound, LIMIT)), int))

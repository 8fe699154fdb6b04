"""no-ablated-direction: no direction of the residual stream has been projected out of all matrices that write to it.

lambda_min( sum_l W_l W_l^T / |W_l|_F^2 ) >= at_least over the matrices of a group, each contracted so that the
residual axis
stays, for every window of consecutive layers. An ablated direction r has r^T W_l = 0 for all l: then the value is 0.

In the graph the normalisation is advice: integers c_l with 127/128 2^k <= c_l S_l <= 129/128 2^k, S_l the integer sum
of
squares. Nothing about the norms is published. With M the stacked matrices W_l / |W_l|, and M_hat that of the copy, |M
- M_hat|
<= eta = sqrt(sum_l n_l / S_l), since |E_l|_F <= sqrt(n_l) / 2 and normalising at most doubles it. So sigma_min(M) >=
sqrt(t) follows
from lambda_min(M_hat M_hat^T) >= (1 + u) t + (1 + 1/u) eta^2 >= (sqrt(t) + eta)^2 for any u > 0, and that from
sum_l c_l (G_l - kappa n_l I) - needed I >= 0, G_l the integer Gram matrices, kappa = (129/127) (1 + 1/u),
needed = (129/128) (1 + u) t 2^k.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.gram import gram, gram_magnitude
from circuits.checks.positive import MAX_LOG, PsdPlan, assert_positive, factor_log, plan, require_size
from circuits.errors import PolicyError, StatementError
from circuits.manifest import TensorEntry
from circuits.program import rounded_high
from circuits.rationals import decimal, root_above

USUAL_ETA = Fraction(1, 128)
COARSE_LOG = 12
"""Sums of squares are rounded up or down to a multiple of 2^12 before they are multiplied."""


class Writers(BaseModel):
    """Tensors that write to the residual stream; `residual_axis` 0 if their rows are indexed by it, 1 if their
    columns."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tensors: str = Field(min_length=1, max_length=600)
    residual_axis: Literal[0, 1]


class Windows(BaseModel):
    """Every run of this many consecutive layers is checked on its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    of_layers: int = Field(ge=1, le=10_000)


@dataclass(frozen=True)
class AblationSpec:
    """The writers of one window with their axes, and the integers of the module's last inequality.

    largest_scale: the range of c_l is [1, largest_scale], by writer.
    """

    writers: tuple[tuple[TensorEntry, int], ...]
    unit_log: int
    kappa: int
    needed: int
    largest_scale: tuple[int, ...]
    sizes: PsdPlan


class NoAblatedDirection(Check):
    """The normalised sum of Gram matrices of all writers has no eigenvalue below at_least.

    `precision_bits` says how small the weights may be in fixed point: their root mean square must be at least
    2^(precision_bits - 1) units; it bounds the range of the normalisation.
    """

    check: Literal["no-ablated-direction"]
    group: tuple[Writers, ...] = Field(min_length=1, max_length=64)
    at_least: str
    windows: Windows | None = None
    precision_bits: int = Field(default=8, ge=4, le=14)

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "A reflection leaves the value unchanged and a weak edit lowers it little: no proof that nothing was edited."
    )

    def validate_values(self) -> None:
        require(decimal(self.at_least, "at_least") > 0, "at_least of no-ablated-direction must be positive")

    def instances(self, context: Context) -> list[Instance]:
        writers = self._writers(context)
        if self.windows is None:
            return [self._instance("all layers", writers)]
        layers: dict[int, list[tuple[TensorEntry, int]]] = {}
        for tensor, axis in writers:
            layers.setdefault(layer_of(tensor.name), []).append((tensor, axis))
        numbers, width = sorted(layers), self.windows.of_layers
        require(
            numbers == list(range(numbers[0], numbers[0] + len(numbers))),
            f"no-ablated-direction: the layers {numbers} have gaps; a window would bridge them",
        )
        require(len(numbers) >= width, f"no-ablated-direction: a window of {width} layers needs as many layers")
        return [
            self._instance(
                f"layers {numbers[i]} to {numbers[i + width - 1]}",
                [writer for number in numbers[i : i + width] for writer in layers[number]],
            )
            for i in range(len(numbers) - width + 1)
        ]

    def _writers(self, context: Context) -> list[tuple[TensorEntry, int]]:
        chosen: dict[str, tuple[TensorEntry, int]] = {}
        for part in self.group:
            for tensor in context.select(part.tensors):
                if tensor.name in chosen:
                    raise PolicyError(f"no-ablated-direction: {tensor.name} is matched twice in one group")
                chosen[tensor.name] = (tensor, part.residual_axis)
        sizes = {tensor.matrix_shape[axis] for tensor, axis in chosen.values()}
        require(len(sizes) == 1, f"no-ablated-direction: the residual axes have different sizes {sorted(sizes)}")
        return list(chosen.values())

    def _instance(self, label: str, writers: Sequence[tuple[TensorEntry, int]]) -> Instance:
        size = writers[0][0].matrix_shape[writers[0][1]]
        require_size(size)
        # the diagonal of the sum is at most (129/128) 2^k a writer
        unit_log = 2 * factor_log(size) - 1 - len(writers).bit_length()
        for tensor, _ in writers:
            # the largest c_l is about 2^k / (n 4^(bits - 1)); c_l times a Gram entry, over all writers, stays below
            # 2^59
            least = tensor.entries * 4 ** (self.precision_bits - 1)
            room = MAX_LOG - 2 - len(writers).bit_length() - gram_magnitude(tensor.entries // size).bit_length()
            unit_log = min(unit_log, room + least.bit_length() - 1)
        if unit_log < COARSE_LOG + 8:
            raise StatementError("no-ablated-direction: the matrices are too large; raise precision_bits")
        threshold = decimal(self.at_least, "at_least")
        u = min(max(USUAL_ETA / root_above(threshold), Fraction(1, 16)), Fraction(16))
        kappa = ceil(Fraction(129, 127) * (1 + 1 / u))
        needed = ceil(Fraction(129, 128) * (1 + u) * threshold * 2**unit_log)
        g = GraphBuilder("no-ablated-direction", self.version)
        identity = g.identity(size)
        total: Tensor | None = None
        scales, magnitude = [], needed
        for number, (tensor, axis) in enumerate(writers):
            top = max(1, (129 << (unit_log - 7)) // (tensor.entries * 4 ** (self.precision_bits - 1)))
            scales.append(rounded_high(1, top))
            scale = g.advice(f"scale/{number}", (), 1, scales[-1])
            normalise(g, scale, tensor, number, unit_log)
            part = g.mul(g.sub(gram(g, tensor, axis), g.mul(identity, kappa * tensor.entries)), scale)
            magnitude += scales[-1] * (gram_magnitude(tensor.entries // size) + kappa * tensor.entries)
            total = part if total is None else g.add(total, part)
        assert total is not None
        sizes = plan(size, (129 * len(writers)) << (unit_log - 7), 2 * magnitude)
        assert_positive(g, g.sub(total, g.mul(identity, needed + sizes.slack)), sizes, "writers")
        spec = AblationSpec(tuple(writers), unit_log, kappa, needed, tuple(scales), sizes)
        return Instance(label, "lambda_min(sum W W^T / |W|_F^2)", ">=", self.at_least, g.graph(), spec)


def normalise(g: GraphBuilder, scale: Tensor, tensor: TensorEntry, number: int, unit_log: int) -> None:
    """Assert 127/128 2^k <= c S <= 129/128 2^k, with S rounded up above and down below to a multiple of 2^12."""
    w = g.weight(tensor.name, tensor.matrix_shape)
    down = g.floor_div(g.einsum("ij,ij->", w, w), 1 << COARSE_LOG)
    low, high = 127 << (unit_log - 7 - COARSE_LOG), 129 << (unit_log - 7 - COARSE_LOG)
    g.assert_true(f"normalised/{number}/low", g.greater_or_equal(g.mul(scale, down), low))
    g.assert_true(f"normalised/{number}/high", g.less_or_equal(g.mul(scale, g.add(down, 1)), high))


def layer_of(name: str) -> int:
    """The number of the layer that a tensor belongs to: the first dotted segment that is a number
    without leading zeros.

    Raises PolicyError if there is none.
    """
    found = re.search(r"(?:^|\.)(0|[1-9][0-9]{0,8})(?:\.|$)", name)
    if found is None:
        raise PolicyError(f"no-ablated-direction: {name} names no layer; leave out windows or choose other tensors")
    return int(found.group(1))

"""logit-bound: no prompt, of whatever length, gives any token a logit beyond a threshold in absolute value.

Theorem. The unembedding reads h = gamma * n + beta, n the normalised hidden state, and z_t = w_t . h + b_t. For every
x, in exact arithmetic and with any epsilon >= 0,
    RMSNorm     n = x / sqrt(mean(x^2) + epsilon)                      has |n| <= sqrt(d)
    LayerNorm   n = (x - mean(x)) / sqrt(var(x) + epsilon)             has |n| <= sqrt(d), and n is orthogonal to ones
so with u_t = gamma * w_t, P = I for RMSNorm, P = I - 11^T / d for LayerNorm (n = P n),
    z_t = (P u_t) . n + beta . w_t + b_t,    |z_t| <= sqrt(d) |P u_t| + |beta . w_t + b_t|.

Rounding, with G, W, B = 2^15 / 2^F the largest |gamma|, |w|, |beta| of the copies: an entry of u_t moves by at most
mu = G delta_w + W delta_gamma + delta_gamma delta_w (delta_w without gamma), P u_t by mu sqrt(d), and
beta . w_t + b_t by nu = d (B delta_w + W delta_beta + delta_beta delta_w) + delta_b. Shown for the copies is
    sqrt(d) |P u_t| + |c_t| <= T = at_most - d mu - nu        for every t, in integers:
    N_t = sum_j ceil(gamma_j^2 / 2^u) w_tj^2      >= |u_t|^2 / 2^u
    C_t = floor(a' floor(|sum_j u_tj| / 2^k)^2 / b')   <= (1 . u_t)^2 / (d 2^u), 0 for RMSNorm
    R_t = max(0, floor(2^E T) - 2 - |round(2^E c_t)|)  <= 2^E (T - |c_t|), asserted to be positive before the max
    N_t - C_t <= floor(a R_t^2 / b),   a / b <= 4^(F_gamma + F_w - E) / (d 2^u).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar, Literal

from pydantic import Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checks.base import Check, Context, Instance, require
from circuits.errors import PolicyError, StatementError
from circuits.manifest import TensorEntry
from circuits.rationals import decimal

WEIGHT_LOG = 15
SQUARE_LOG = 60
"""N_t stays below 2^SQUARE_LOG."""
ROOM_LOG = 23
"""R_t stays below 2^ROOM_LOG."""
MEAN_LOG = 24
"""floor(|sum_j u_tj| / 2^k) stays below 2^MEAN_LOG."""
MAX_SHIFT = 61


@dataclass(frozen=True)
class LogitPlan:
    """The numbers of the inequality in the module's docstring, from public facts.

    Attributes:
        room: floor(2^E T) - 2, or a negative number if the threshold is below the rounding.
    """

    square_shift: int
    mean_shift: int
    mean_ratio: tuple[int, int]
    exponent: int
    room: int
    ratio: tuple[int, int]


@dataclass(frozen=True)
class LogitSpec:
    """The tensors of the statement, its numbers, and T."""

    unembedding: TensorEntry
    gamma: TensorEntry | None
    beta: TensorEntry | None
    bias: TensorEntry | None
    token_axis: int
    centred: bool
    plan: LogitPlan
    tightened: Fraction

    @property
    def width(self) -> int:
        """d."""
        return self.unembedding.matrix_shape[1 - self.token_axis]

    @property
    def tokens(self) -> int:
        """The number of logits."""
        return self.unembedding.matrix_shape[self.token_axis]


class LogitBound(Check):
    """|z_t| <= at_most for every token t and every prompt."""

    check: Literal["logit-bound"]
    unembedding: str = Field(min_length=1, max_length=600)
    norm: Literal["layernorm", "rmsnorm"]
    gamma: str | None = Field(default=None, min_length=1, max_length=600)
    beta: str | None = Field(default=None, min_length=1, max_length=600)
    bias: str | None = Field(default=None, min_length=1, max_length=600)
    token_axis: Literal[0, 1] = 0
    at_most: str

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "theorem"
    does_not_mean: ClassVar[str] = (
        "Bounded logits can still be confidently wrong; the bound is about exact arithmetic and a model whose last"
        " steps are the named normalisation and unembedding, without further scaling."
    )

    def validate_values(self) -> None:
        require(decimal(self.at_most, "at_most") > 0, "at_most of logit-bound must be positive")

    def instances(self, context: Context) -> list[Instance]:
        unembedding = one(context, self.unembedding)
        if len(unembedding.shape) != 2:
            raise PolicyError(f"logit-bound: the unembedding {unembedding.name} {unembedding.shape} is no matrix")
        width, tokens = unembedding.shape[1 - self.token_axis], unembedding.shape[self.token_axis]
        gamma, beta = (self._vector(context, name, width) for name in (self.gamma, self.beta))
        bias = self._vector(context, self.bias, tokens)
        tightened = decimal(self.at_most, "at_most") - rounding_margin(width, unembedding, gamma, beta, bias)
        numbers = plan(tightened, width, unembedding, gamma, beta, bias) if tightened > 0 else None
        if numbers is None or numbers.room < 0:
            raise StatementError(f"logit-bound: at_most {self.at_most} is below the rounding; raise it")
        centred = self.norm == "layernorm"
        spec = LogitSpec(unembedding, gamma, beta, bias, self.token_axis, centred, numbers, tightened)
        g = GraphBuilder("logit-bound", self.version)
        room = room_left(g, spec)
        if room is not None:
            g.assert_true("constant", g.greater_or_equal(room, 0))
        a, b = numbers.ratio
        left = g.relu(room) if room is not None else g.constant(numbers.room)
        g.assert_true("logits", g.less_or_equal(squares(g, spec), g.floor_div(g.mul(g.mul(left, left), a), b)))
        return [Instance(unembedding.name, "max |z_t| over all prompts", "<=", self.at_most, g.graph(), spec)]

    def _vector(self, context: Context, name: str | None, size: int) -> TensorEntry | None:
        tensor = None if name is None else one(context, name)
        if tensor is not None and tensor.shape != (size,):
            raise PolicyError(f"logit-bound: {tensor.name} {tensor.shape} should be a vector of {size}")
        return tensor


def one(context: Context, name: str) -> TensorEntry:
    """The one tensor of this name. Raises PolicyError if there are none or several."""
    found = context.select(name)
    if len(found) != 1:
        raise PolicyError(f"logit-bound: {name!r} must name one tensor, not {len(found)}")
    return found[0]


def largest(tensor: TensorEntry) -> Fraction:
    """The largest |weight| that the copy can hold."""
    return Fraction(2) ** (WEIGHT_LOG - tensor.scale)


def product_error(a: TensorEntry, b: TensorEntry) -> Fraction:
    """What the product of two weights can differ from that of the copies."""
    return largest(a) * b.rounding_bound + largest(b) * a.rounding_bound + a.rounding_bound * b.rounding_bound


def rounding_margin(
    width: int, w: TensorEntry, gamma: TensorEntry | None, beta: TensorEntry | None, bias: TensorEntry | None
) -> Fraction:
    """d mu + nu."""
    margin = width * (w.rounding_bound if gamma is None else product_error(gamma, w))
    margin += Fraction(0) if beta is None else width * product_error(beta, w)
    return margin + (Fraction(0) if bias is None else bias.rounding_bound)


def worst(
    width: int, w: TensorEntry, gamma: TensorEntry | None, beta: TensorEntry | None, bias: TensorEntry | None
) -> Fraction:
    """No copy has a larger value: beyond it nothing needs to be shown more sharply."""
    total = width * largest(w) * (Fraction(1) if gamma is None else largest(gamma))
    total += Fraction(0) if beta is None else width * largest(beta) * largest(w)
    return total + (Fraction(0) if bias is None else largest(bias))


def plan(
    tightened: Fraction,
    width: int,
    w: TensorEntry,
    gamma: TensorEntry | None,
    beta: TensorEntry | None,
    bias: TensorEntry | None,
) -> LogitPlan:
    """The numbers of the inequality for T = tightened > 0."""
    threshold = min(tightened, 2 * worst(width, w, gamma, beta, bias))
    logs = WEIGHT_LOG if gamma is None else 2 * WEIGHT_LOG
    square_shift = max(0, 2 * logs + width.bit_length() - SQUARE_LOG)
    mean_shift = max(0, logs + width.bit_length() - MEAN_LOG)
    exponent = ROOM_LOG - 1 - log2_floor(threshold)
    scale = w.scale + (0 if gamma is None else gamma.scale)
    unit = width * Fraction(2) ** square_shift
    return LogitPlan(
        square_shift,
        mean_shift,
        ratio_below(Fraction(4) ** mean_shift / unit, SQUARE_LOG + 1 - 2 * MEAN_LOG),
        exponent,
        floor(threshold * Fraction(2) ** exponent) - (0 if beta is None and bias is None else 2),
        ratio_below(Fraction(4) ** (scale - exponent) / unit, SQUARE_LOG + 1 - 2 * ROOM_LOG),
    )


def log2_floor(value: Fraction) -> int:
    """The largest e with 2^e <= value, for value > 0."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if Fraction(2) ** guess <= value else guess - 1


def ratio_below(value: Fraction, bits: int) -> tuple[int, int]:
    """(a, b) with a / b <= value, a < 2^bits, b <= 2^61 a power of two; within 2^(1 - bits) of it where b allows."""
    shift = min(max(0, bits - 1 - log2_floor(value)), MAX_SHIFT)
    return min(floor(value * 2**shift), (1 << bits) - 1), 1 << shift


def squares(g: GraphBuilder, spec: LogitSpec) -> Tensor:
    """N_t - C_t, shape (tokens,)."""
    terms = "tj" if spec.token_axis == 0 else "jt"
    w = g.weight(spec.unembedding.name, spec.unembedding.matrix_shape)
    shift = spec.plan.square_shift
    gamma = None if spec.gamma is None else vector(g, spec.gamma)
    if gamma is None:
        total = g.einsum(f"{terms},{terms}->t", w, w)
        total = g.floor_div(g.add(total, (1 << shift) - 1), 1 << shift) if shift else total
    else:
        factor = g.mul(gamma, gamma)
        factor = g.floor_div(g.add(factor, (1 << shift) - 1), 1 << shift) if shift else factor
        total = g.einsum(f"{terms},j->t", g.mul(w, w), factor)
    if not spec.centred:
        return total
    sums = g.einsum(f"{terms}->t", w) if gamma is None else g.einsum(f"{terms},j->t", w, gamma)
    mean = g.floor_div(g.abs(sums), 1 << spec.plan.mean_shift)
    a, b = spec.plan.mean_ratio
    return g.sub(total, g.floor_div(g.mul(g.mul(mean, mean), a), b))


def room_left(g: GraphBuilder, spec: LogitSpec) -> Tensor | None:
    """floor(2^E T) - 2 - |round(2^E c_t)|, shape (tokens,); None if there is neither beta nor bias."""
    constant: Tensor | None = None
    if spec.beta is not None:
        w = g.weight(spec.unembedding.name, spec.unembedding.matrix_shape)
        product = g.einsum("tj,j->t" if spec.token_axis == 0 else "jt,j->t", w, vector(g, spec.beta))
        constant = in_units(g, product, spec.beta.scale + spec.unembedding.scale, spec.plan.exponent)
    if spec.bias is not None:
        own = in_units(g, vector(g, spec.bias), spec.bias.scale, spec.plan.exponent)
        constant = own if constant is None else g.add(constant, own)
    return None if constant is None else g.sub(spec.plan.room, g.abs(constant))


def in_units(g: GraphBuilder, value: Tensor, scale: int, exponent: int) -> Tensor:
    """value / 2^scale in units of 2^-exponent, to the nearest integer: at most half a unit off."""
    gap = scale - exponent
    if gap <= 0:
        return g.mul(value, 1 << -gap) if gap and -gap < MAX_SHIFT else refuse_far(value, gap)
    return g.floor_div(g.add(value, 1 << (gap - 1)), 1 << gap) if gap < MAX_SHIFT else refuse_far(value, gap)


def refuse_far(value: Tensor, gap: int) -> Tensor:
    """`value` if nothing is to be done, else StatementError: units too far apart."""
    if gap:
        raise StatementError("logit-bound: at_most is out of all proportion to the weights; choose another")
    return value


def vector(g: GraphBuilder, tensor: TensorEntry) -> Tensor:
    """A committed vector, shape (size,)."""
    return g.squeeze(g.weight(tensor.name, tensor.matrix_shape), [0])

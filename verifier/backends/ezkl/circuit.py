"""From the program of a policy to an ezkl circuit: what is committed, what is public, and the ONNX model in between.

Three input vectors, all committed by ezkl (KZG): `weights` and `advice`, both as digits in base 256, and `public`. The
one output vector is public: the public inputs again, the conditions of the range checks, one cell per zero condition,
and the disclosed integers. The verifier supplies every instance itself.

*Soundness.* BN254's scalar field has q elements, 254 bits. Every digit is shown to lie in [0, 256) by one rational
identity at a point drawn after the digits, see `ranges`; no lookup of ezkl is used. Then every value of the program is
an integer below 2^63 in absolute value (interval analysis), and a sum of fewer than 2^36 squares of them stays below
q: it is 0 iff all are. Histograms become sums over the weights themselves, see `populations`.

*Zero knowledge.* ezkl commits to inputs without blinding and opens each committed column at one point. So both hidden
vectors end in `MASKS` uniform field elements, fresh for every proof: commitment and evaluation are two linear
functionals of them, and independent of the weights (any minor of the matrix of Lagrange values is a Cauchy
determinant, so not 0). Every other column of the circuit is blinded by Halo2; there are no lookups, whose
multiplicities ezkl would not blind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.program import Advice, Published, Value, Weight
from verifier.argument.program.regions import Limb
from verifier.backends.ezkl.errors import LinkError
from verifier.backends.ezkl.link import COORDINATES

FIELD = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
"""The order of BN254's scalar field."""
MASKS = 8
CONTEXT_CELLS = 2
"""The statement's digest, in two halves of 128 bits: the first public inputs."""
BASE = 256
"""Digits lie in [0, BASE)."""
CHALLENGE_CELLS = 1 + BASE
"""The point of the range check, and 1 / (point + t) for every digit t: the public inputs after the context."""
WEIGHT_DIGITS = 2
HISTOGRAM = 1 << 16
"""Cells of a histogram."""
OFFSET = 1 << 15
"""Added to a weight before it is cut into digits."""


@dataclass(frozen=True)
class AdviceLimb:
    """One limb level of an advice tensor, in row-major order."""

    advice: Advice
    limb: Limb


@dataclass(frozen=True)
class Complement:
    """What a limb lacks to its bound: shows that it is not larger."""

    of: AdviceLimb


@dataclass(frozen=True)
class Comparison:
    """u = y + 2^16 [y < 0], y = cell - start, for every cell of a value: in [0, 2^16), whatever the cell's sign."""

    value: Value
    start: int


@dataclass(frozen=True)
class Digits:
    """Hidden integers in [0, 256^digits), and what an honest prover takes for them."""

    source: AdviceLimb | Complement | Comparison
    cells: int
    digits: int


@dataclass(frozen=True)
class Circuit:
    """What both parties build for themselves from the same statements.

    Attributes:
        model: the ONNX bytes.
        weights, advice: what the hidden vectors hold, in order: for every integer its digits, lowest first.
        constants: public inputs after the challenge.
        conditions: names of the range checks' outputs, which come first after the public inputs.
        zeros, published: names of what follows in the output.
        products: multiplications that need a row of their own, for the estimate.
    """

    model: bytes
    weights: tuple[Weight, ...]
    advice: tuple[Digits, ...]
    constants: tuple[int, ...]
    conditions: tuple[str, ...]
    zeros: tuple[str, ...]
    published: tuple[tuple[Published, int], ...]
    products: int
    linked: bool

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of the model."""
        return hashlib.sha256(self.model).hexdigest()

    @property
    def weight_digits(self) -> int:
        return WEIGHT_DIGITS * sum(int(np.prod(weight.shape)) for weight in self.weights)

    @property
    def advice_digits(self) -> int:
        return sum(one.cells * one.digits for one in self.advice)

    @property
    def digits(self) -> int:
        """Cells that are range-checked."""
        return self.weight_digits + self.advice_digits

    @property
    def public_cells(self) -> int:
        return CONTEXT_CELLS + CHALLENGE_CELLS + len(self.constants) + self.link_cells

    @property
    def link_cells(self) -> int:
        """Public cells of the link: t, and the coefficients of rows and columns."""
        if not self.linked:
            return 0
        rows = sum(weight.shape[0] for weight in self.weights)
        return COORDINATES * (1 + rows + max(weight.shape[1] for weight in self.weights))

    @property
    def hidden_sizes(self) -> tuple[int, int]:
        """Cells of the hidden vectors: digits, then the link's mask or the multiplicities, then `MASKS`."""
        return self.weight_digits + COORDINATES * self.linked + MASKS, self.advice_digits + BASE + MASKS

    @property
    def outputs(self) -> int:
        """Cells of the output."""
        zeros = len(self.conditions) + len(self.zeros) + COORDINATES * self.linked
        return self.public_cells + zeros + sum(size for _, size in self.published)

    @property
    def commitments(self) -> int:
        """How many points the proof begins with: one for each input vector."""
        return 3

    def public(self, context: bytes, challenge: Sequence[int], link: Sequence[int]) -> list[int]:
        """The public input vector; `context` has 32 bytes, `challenge` is `challenge_cells`, `link` is
        `Coefficients.public`, empty without a link."""
        if len(link) != self.link_cells:
            raise LinkError(f"the circuit takes {self.link_cells} public cells for the link, not {len(link)}")
        halves = (int.from_bytes(context[:16], "big"), int.from_bytes(context[16:], "big"))
        return [*halves, *challenge, *self.constants, *link]

    def instances(
        self, context: bytes, challenge: Sequence[int], link: Sequence[int], disclosed: Sequence[int]
    ) -> list[int]:
        """The output that an accepted proof must have: field elements."""
        public = self.public(context, challenge, link)
        cells = [*public, *([0] * (self.outputs - len(public) - len(disclosed))), *disclosed]
        return [cell % FIELD for cell in cells]

"""From the program of a policy to an ezkl circuit: what is committed, what is public, and the ONNX model in between.

Three input vectors, all committed by ezkl (KZG): `weights`, `advice` (16-bit limbs of the certificates) and `public`.
The one output vector is public: the public inputs again, one cell that is 0 iff every committed integer is in its
range, one cell per zero condition, and the disclosed integers. The verifier supplies every instance itself.

*Soundness.* BN254's scalar field has 254 bits. |y| of a cell is shown by ezkl to have two digits in base 256, so the
sum of |y| - y over all cells is an integer in [0, 2^17 cells], 0 iff every y lies in [0, 2^16). Then every value of
the program is an integer below 2^63 in absolute value (interval analysis), and a sum of fewer than 2^36 squares of
them stays below the field's size: it is 0 iff all are. Histograms become sums over the weights themselves, see
`populations`.

*Zero knowledge.* ezkl commits to inputs without blinding and opens each committed column at one point. So both hidden
vectors end in `MASKS` uniform field elements, fresh for every proof: commitment and evaluation are two linear
functionals of them, and independent of the weights (any minor of the matrix of Lagrange values is a Cauchy
determinant, so not 0). This hides the two vectors, not the circuit: ezkl blinds no multiplicities of its lookups, and a
proof tells how often each digit and each sign was looked up in a column (docs/security.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.program import Advice, Published, Weight
from verifier.argument.program.regions import Limb
from verifier.backends.ezkl.errors import LinkError
from verifier.backends.ezkl.link import COORDINATES

FIELD = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
"""The order of BN254's scalar field."""
MASKS = 8
CONTEXT_CELLS = 2
"""The statement's digest, in two halves of 128 bits: the first public inputs."""


@dataclass(frozen=True)
class AdviceLimb:
    """One limb level of an advice tensor, in row-major order."""

    advice: Advice
    limb: Limb


@dataclass(frozen=True)
class Circuit:
    """What both parties build for themselves from the same statements.

    Attributes:
        model: the ONNX bytes.
        weights, advice: the hidden vectors, in order, without their masks.
        constants: public inputs after the context.
        zeros, published: names of what follows in the output.
        checked: how many cells are range-checked.
        products: multiplications that need a row of their own, for the estimate.
    """

    model: bytes
    weights: tuple[Weight, ...]
    advice: tuple[AdviceLimb, ...]
    constants: tuple[int, ...]
    zeros: tuple[str, ...]
    published: tuple[tuple[Published, int], ...]
    checked: int
    products: int
    linked: bool

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of the model."""
        return hashlib.sha256(self.model).hexdigest()

    @property
    def weight_cells(self) -> int:
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    @property
    def advice_cells(self) -> int:
        return sum(one.limb.cells for one in self.advice)

    @property
    def public_cells(self) -> int:
        return CONTEXT_CELLS + len(self.constants) + self.link_cells

    @property
    def link_cells(self) -> int:
        """Public cells of the link: t, and the coefficients of rows and columns."""
        if not self.linked:
            return 0
        rows = sum(weight.shape[0] for weight in self.weights)
        return COORDINATES * (1 + rows + max(weight.shape[1] for weight in self.weights))

    @property
    def hidden_sizes(self) -> tuple[int, int]:
        """Cells of the hidden vectors, with the link's mask and with `MASKS`."""
        return self.weight_cells + COORDINATES * self.linked + MASKS, self.advice_cells + MASKS

    @property
    def outputs(self) -> int:
        """Cells of the output."""
        zeros = 1 + len(self.zeros) + COORDINATES * self.linked
        return self.public_cells + zeros + sum(size for _, size in self.published)

    @property
    def commitments(self) -> int:
        """How many points the proof begins with: one for each input vector."""
        return 3

    def public(self, context: bytes, link: Sequence[int]) -> list[int]:
        """The public input vector; `context` has 32 bytes, `link` is `Coefficients.public`, empty without a link."""
        if len(link) != self.link_cells:
            raise LinkError(f"the circuit takes {self.link_cells} public cells for the link, not {len(link)}")
        halves = (int.from_bytes(context[:16], "big"), int.from_bytes(context[16:], "big"))
        return [*halves, *self.constants, *link]

    def instances(self, context: bytes, link: Sequence[int], disclosed: Sequence[int]) -> list[int]:
        """The output that an accepted proof must have: field elements."""
        public = self.public(context, link)
        cells = [*public, *([0] * (self.outputs - len(public) - len(disclosed))), *disclosed]
        return [cell % FIELD for cell in cells]

"""Linking the two commitments of one model: both open the same random combination of all weights, masked.

Let w_k be the tensors that the ezkl circuit reads, x the first coordinate of ezkl's commitment to (weights, mask),
and m in K = F[X]/(X^3 - X - 1) the mask, F the native argument's field of p elements. The native proof of
`LinkStatement` absorbs x, commits to m, draws r, s, z from K, and sends in clear

    t = m + sum_k z_k sum_ij A_i B_j w_k[i, j],   A_i = prod_v r_v^(bit v of i),  B_j = prod_v s_v^(bit v of j).

It shows t by one claim on both committed vectors. The ezkl circuit shows the same equation over the integers,
coordinate by coordinate, as  sum + m = t + p q  with q in 112 bits.

*Soundness.* w, m of both sides are fixed before the challenges: by the native roots, and by x (which fixes the vector
up to its sign). Subtracting the two equations, a polynomial in r, s, z of total degree at most 1 + log rows + log
columns, with coefficients w - w' and constant term m - m', is 0. Its coefficients are not all 0 mod p unless w = w',
since both lie in [-2^15, 2^15): validity shows that natively, the circuit for ezkl. So other weights survive for at
most a fraction 2 (1 + 62) / |K| < 2^-185 of the challenges (Schwartz-Zippel). z has no constant term: masks cannot
make up for weights. In the circuit every term is an integer below 2^180: nothing wraps modulo BN254's 254-bit order,
and a mask that is no integer of that size satisfies the equation for no challenge.

*Zero knowledge.* m is uniform in K, drawn from the operating system for one attempt, and occurs nowhere else: t is
uniform whatever the weights. Sound towards whom ezkl is sound towards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from circuits.errors import WeightproofError
from circuits.program import Integers, Weight
from verifier.argument import hashing
from verifier.argument.commitment import Commitment
from verifier.argument.engine import Engine, Oracle
from verifier.argument.field import ONE, K, P
from verifier.argument.forms import Factor, Term
from verifier.argument.hidden import Hidden
from verifier.argument.program.regions import axis_bits, chosen
from verifier.argument.statement import Statement, verify
from verifier.backends.ezkl.errors import LinkError

MASK, QUOTIENT = "link/mask", "link/quotient"
COORDINATES = 3
QUOTIENT_LIMBS = 7
QUOTIENT_OFFSET = 1 << (16 * QUOTIENT_LIMBS - 1)
REDUCED = ((0,), (1,), (2,), (0, 1), (1, 2))
"""X^e modulo X^3 - X - 1, as the coordinates that are 1."""
_UNITS = (K((1, 0, 0)), K((0, 1, 0)), K((0, 0, 1)))


@dataclass(frozen=True)
class Coefficients:
    """What multiplies the weights: rows[k][i] = z_k A_i for tensor k, columns[j] = B_j."""

    rows: tuple[tuple[K, ...], ...]
    columns: tuple[K, ...]

    @staticmethod
    def at(
        shapes: Sequence[tuple[int, int]], row: Sequence[K], column: Sequence[K], scale: Sequence[K]
    ) -> Coefficients:
        """From the challenges r, s and z."""
        longest = max(columns for _, columns in shapes)
        a, b = (monomials(point) for point in (row, column))
        rows = tuple(tuple(z * a[i] for i in range(count)) for z, (count, _) in zip(scale, shapes, strict=True))
        return Coefficients(rows, tuple(b[:longest]))

    def public(self, total: K) -> list[int]:
        """As the circuit takes it: t, then the rows of every tensor, then the columns, coordinate by coordinate."""
        cells = list(total)
        for vector in (*self.rows, self.columns):
            cells.extend(value[c] for c in range(COORDINATES) for value in vector)
        return cells

    def combination(self, matrices: Sequence[Integers]) -> tuple[int, ...]:
        """The sum over all tensors, as integers by coordinate, not reduced."""
        conv = [0] * 5
        columns = [np.array([b[c] for b in self.columns], object) for c in range(COORDINATES)]
        for rows, matrix in zip(self.rows, matrices, strict=True):
            exact = matrix.astype(object)
            inner = [exact.dot(column[: matrix.shape[1]]) for column in columns]
            for u in range(COORDINATES):
                left = np.array([a[u] for a in rows], object)
                for v in range(COORDINATES):
                    conv[u + v] += int(left.dot(inner[v]))
        found = [0] * COORDINATES
        for power, coordinates in enumerate(REDUCED):
            for c in coordinates:
                found[c] += conv[power]
        return tuple(found)


def monomials(point: Sequence[K]) -> list[K]:
    """prod_v point_v^(bit v of i) for all i below 2^len(point)."""
    table = [ONE]
    for value in point:
        table += [value * entry for entry in table]
    return table


def quotients(combination: Sequence[int], mask: K, total: K) -> list[int]:
    """q with combination + mask = total + p q. Raises LinkError if there is none."""
    found = []
    for own, m, t in zip(combination, mask, total, strict=True):
        q, rest = divmod(own + m - t, P)
        if rest or not 0 <= q + QUOTIENT_OFFSET < 2 * QUOTIENT_OFFSET:
            raise LinkError("the combination of the weights is not what the native proof opened: nothing was proved")
        found.append(q)
    return found


@dataclass(frozen=True)
class LinkStatement(Statement):
    """The native side of a link: the masked combination of committed tensors under challenges that depend on x.

    Attributes:
        context: 32 bytes that bind the link to policy, circuit and nonce.
        point: x, 32 bytes.
        answer: at the prover only: t for given coefficients.
        opened: after a run of the script, the coefficients and t.
    """

    commitment: Commitment
    tensors: tuple[Weight, ...]
    context: bytes
    point: bytes
    answer: Callable[[Coefficients], K] | None = None
    opened: list[tuple[Coefficients, K]] = field(default_factory=list, compare=False)

    kind = "ezkl-link/v1"

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        return (self.commitment,)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        return [(tensor.shape[0], tensor.shape[1]) for tensor in self.tensors]

    def canonical(self) -> bytes:
        names = [tensor.name.encode() for tensor in self.tensors]
        return hashlib.sha256(hashing.framed(self.context, self.point, *names)).digest()

    def script(self, engine: Engine) -> None:
        mask = engine.uniform_advice(MASK)
        engine.commit()
        bits = [max(axis_bits(shape[axis]) for shape in self.shapes) for axis in (0, 1)]
        row, column = ([engine.challenge() for _ in range(count)] for count in bits)
        scale = [engine.challenge() for _ in self.tensors]
        coefficients = Coefficients.at(self.shapes, row, column, scale) if not engine.counting else None
        total = engine.clear(None if self.answer is None or coefficients is None else self.answer(coefficients))
        terms: list[tuple[Oracle, Term]] = [
            (engine.auxiliary, Term(unit, (), mask.address + own)) for own, unit in enumerate(_UNITS)
        ]
        (model,) = engine.models
        factors: list[tuple[Factor, ...]] = [tuple((ONE, value - 1) for value in point) for point in (row, column)]
        for z, tensor in zip(scale, self.tensors, strict=True):
            for block in self.commitment.layout.tensor_blocks(tensor.name):
                outer = chosen(factors[0][block.log_rows :], block.row0 >> block.log_rows)
                outer = outer * chosen(factors[1][block.log_cols :], block.col0 >> block.log_cols)
                low = (*factors[1][: block.log_cols], *factors[0][: block.log_rows])
                terms.append((model, Term(z * outer, low, block.address)))
        engine.claim(terms, Hidden.public(total))
        if coefficients is not None:
            self.opened[:] = [(coefficients, total)]


def verify_link(statement: LinkStatement, proof: bytes, nonce: bytes, minimum_bits: int) -> list[int]:
    """Check the native side; returns the public cells that the circuit must be verified with.

    *Soundness*: of the native commitment's validity, which the caller has accepted. Raises LinkError.
    """
    try:
        verify(statement, proof, nonce, minimum_bits=minimum_bits)
    except WeightproofError as error:
        raise LinkError(f"the link to the native commitment does not verify: {error}") from None
    ((coefficients, total),) = statement.opened
    return coefficients.public(total)

"""Range checks in an ezkl circuit without its lookups: one rational identity about all digits.

ezkl's own range checks are lookups, and commit to multiplicities without a blind. Here the multiplicities m_t are
hidden cells like the digits d_i, and the circuit shows, at a point x that is drawn after both are committed,

    sum_i 1 / (x + d_i) = sum_t m_t / (x + t),   t in [0, 256).

(U. Haboeck, Multivariate lookups based on logarithmic derivatives, 2022.) The left side is added up as one fraction
P / Q, pair by pair, so that no inverse has to be hidden; the right side uses 1 / (x + t) from the verifier.

*Soundness.* Let n be the number of digits, n + 256 < 2^23. If some digit is no t, then the left side has a pole there,
its residue is how often the digit occurs, at most n and so not 0 in the field of q elements: the difference of the
sides, times both denominators, is a polynomial of degree below n + 256 that is not 0. The condition P - Q sum_t m_t /
(x + t) = 0 holds then for at most 2 (n + 256) of the q points (the zeros, and those where Q = 0). The point is a hash
of the coordinates of both hidden commitments, each of which fixes its vector up to the sign: 4 candidates, so an error
below 2^-228 for every point that a prover asks the hash for.

*Zero knowledge.* Digits and multiplicities are hidden cells in blinded columns; the condition is 0 for every honest
prover, and the point depends on blinded commitments and public facts only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from verifier.argument import hashing
from verifier.backends.ezkl.circuit import BASE, CHALLENGE_CELLS, CONTEXT_CELLS, FIELD, OFFSET, WEIGHT_DIGITS
from verifier.backends.ezkl.errors import EzklProofError, EzklStatementError
from verifier.backends.ezkl.onnx_writer import EXACT_FLOAT, OnnxWriter, Wire
from verifier.backends.ezkl.scalars import Scalars

CHALLENGE_DOMAIN = b"weightproof/ezkl-ranges/v1"
MAX_DIGITS = 1 << 21
"""Digits of one circuit; more would not fit any reference string in use."""
RANGE, BOUNDS, COMPARISONS = "ranges", "bounds", "comparisons"


def challenge_of(context: bytes, points: Sequence[bytes]) -> int:
    """The point of the range check: a field element from the context and the coordinates of the hidden commitments."""
    digest = hashlib.sha512(hashing.framed(CHALLENGE_DOMAIN, context, *points)).digest()
    return int.from_bytes(digest, "big") % FIELD


def challenge_cells(point: int) -> list[int]:
    """x and 1 / (x + t) for every digit t. Raises EzklProofError for a point with no such inverses."""
    if any((point + t) % FIELD == 0 for t in range(BASE)):
        raise EzklProofError("the challenge of the range check has no inverse; prove again")
    return [point, *(pow(point + t, -1, FIELD) for t in range(BASE))]


class Ranges:
    """The digits of a circuit under construction, in two hidden vectors."""

    def __init__(self, writer: OnnxWriter, scalars: Scalars) -> None:
        self._writer, self._scalars = writer, scalars
        self._one, self._offset = scalars.public(1), scalars.public(OFFSET)
        self._powers = scalars.integers(np.array([1, BASE]))
        self._taken = {"weights": 0, "advice": 0}
        self._bounds: list[Wire] = []
        self._comparisons: list[Wire] = []

    def digits(self, vector: str) -> int:
        """How many digits a vector holds so far."""
        return self._taken[vector]

    def require_room(self, digits: int) -> None:
        """Before anything of that size is made. Raises EzklStatementError."""
        total = sum(self._taken.values()) + digits
        if total > MAX_DIGITS:
            raise EzklStatementError(
                f"the statement checks {total // WEIGHT_DIGITS} cells or more, at most {MAX_DIGITS // WEIGHT_DIGITS}"
                " fit; use native"
            )

    def integers(self, vector: str, cells: int, digits: int) -> Wire:
        """The next integers of a vector: each is in [0, 256^digits) if the circuit is satisfied; digits is 1 or 2."""
        self.require_room(cells * digits)
        start = self._taken[vector]
        self._taken[vector] += cells * digits
        flat = self.hidden(vector, start, cells * digits)
        if digits == 1:
            return flat
        pairs = self._writer.reshape(flat, (cells, digits))
        return self._writer.einsum("ic,c->i", (pairs, self._powers), (cells,))

    def hidden(self, vector: str, start: int, count: int) -> Wire:
        """Cells of an input vector that is still growing. Gathers: ezkl assigns a vector anew for every slice."""
        return self._writer.gather(Wire(vector, (EXACT_FLOAT,)), np.arange(start, start + count))

    def weights(self, cells: int) -> Wire:
        """The next committed weights."""
        return self._writer.sub(self.integers("weights", cells, WEIGHT_DIGITS), self._offset)

    def bounded(self, limb: Wire, complement: Wire, bound: int) -> None:
        """limb + complement = bound in every cell; both are shown to be non-negative."""
        writer = self._writer
        rest = writer.sub(writer.add(limb, complement), self._scalars.public(bound))
        self._bounds.append(writer.einsum("i,i->", (rest, rest), ()))

    def compared(self, cells: Wire, start: int) -> Wire:
        """2^16 [cell >= start] for every cell in [-2^15, 2^15).

        With y = cell - start and u in [0, 2^16) from the digits, s = y - u + 2^16 is 2^16 if u = y and 0 if
        u = y + 2^16; s (s - 2^16) = 0 leaves no other u, and of these two exactly one is in the range of u.
        """
        writer = self._writer
        u = self.integers("advice", cells.size, WEIGHT_DIGITS)
        low = writer.sub(writer.sub(cells, self._scalars.public(start)), u)
        high = writer.add(low, self._scalars.public(1 << 16))
        wrong = writer.mul(low, high)
        self._comparisons.append(writer.einsum("i,i->", (wrong, wrong), ()))
        return high

    def conditions(self) -> list[tuple[str, Wire]]:
        """What must be 0, by name: sums of squares of integers below 2^34, and the rational identity."""
        found = [(RANGE, self._identity())]
        for name, parts in ((BOUNDS, self._bounds), (COMPARISONS, self._comparisons)):
            if parts:
                found.append((name, self._writer.total(self._writer.concat(parts), (0,))))
        return found

    def _identity(self) -> Wire:
        """P - Q sum_t m_t / (x + t)."""
        writer, public = self._writer, Wire("public", (EXACT_FLOAT,))
        point = writer.gather(public, np.array([CONTEXT_CELLS]))
        inverses = writer.gather(public, np.arange(CONTEXT_CELLS + 1, CONTEXT_CELLS + CHALLENGE_CELLS))
        vectors = [self.hidden(name, 0, count) for name, count in self._taken.items() if count]
        values = writer.add(writer.concat(vectors), point)
        left, right, last = self._halves(values)
        numerator, denominator = writer.add(left, right), writer.mul(left, right)
        if last is not None:
            numerator, denominator = writer.concat([numerator, self._one]), writer.concat([denominator, last])
        while denominator.size > 1:
            n0, n1, n2 = self._halves(numerator)
            q0, q1, q2 = self._halves(denominator)
            numerator, denominator = writer.add(writer.mul(n0, q1), writer.mul(n1, q0)), writer.mul(q0, q1)
            if n2 is not None and q2 is not None:
                numerator, denominator = writer.concat([numerator, n2]), writer.concat([denominator, q2])
        multiplicities = self.hidden("advice", self._taken["advice"], BASE)
        table = writer.einsum("t,t->", (multiplicities, inverses), ())
        return writer.sub(numerator, writer.mul(denominator, table))

    def _halves(self, wire: Wire) -> tuple[Wire, Wire, Wire | None]:
        """Two halves, and the last cell of an odd number of them."""
        half = wire.size // 2
        first, second = (self._writer.gather(wire, np.arange(start, start + half)) for start in (0, half))
        last = self._writer.gather(wire, np.array([wire.size - 1])) if wire.size % 2 else None
        return first, second, last

"""Hidden values: linear expressions in the committed one-time pads (protocol.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from verifier.argument.field import ONE, ZERO, K


class Hidden:
    """known + sum_i terms[i] * pad_i. `value` is what it amounts to; only the prover has it.

    Immutable; two handles are the same operand of a quadratic relation only if they are the same object.
    """

    __slots__ = ("known", "terms", "value")

    def __init__(self, known: K, terms: Mapping[int, K] | None = None, value: K | None = None) -> None:
        self.known = known
        self.terms: Mapping[int, K] = terms if terms is not None else {}
        self.value = value

    @staticmethod
    def public(value: K) -> Hidden:
        """A value that everybody knows, as a Hidden without pads."""
        return Hidden(value, None, value)

    def __add__(self, other: Hidden | K | int) -> Hidden:
        if not isinstance(other, Hidden):
            return Hidden(self.known + other, self.terms, None if self.value is None else self.value + other)
        terms = dict(self.terms)
        for index, coefficient in other.terms.items():
            present = terms.get(index)
            terms[index] = coefficient if present is None else present + coefficient
        value = None if self.value is None or other.value is None else self.value + other.value
        return Hidden(self.known + other.known, terms, value)

    __radd__ = __add__

    def __mul__(self, scale: K | int) -> Hidden:
        terms = {index: coefficient * scale for index, coefficient in self.terms.items()}
        return Hidden(self.known * scale, terms, None if self.value is None else self.value * scale)

    __rmul__ = __mul__

    def __neg__(self) -> Hidden:
        return self * -1

    def __sub__(self, other: Hidden | K | int) -> Hidden:
        return self + (-other)

    def __rsub__(self, other: K | int) -> Hidden:
        return (-self) + other


def weighted_sum(parts: Iterable[tuple[K, Hidden]]) -> Hidden:
    """sum_i weight_i * hidden_i, with one table of terms whatever the number of parts."""
    known, value = ZERO, ZERO
    complete = True
    terms: dict[int, K] = {}
    for weight, part in parts:
        known = known + part.known * weight
        for index, coefficient in part.terms.items():
            terms[index] = terms.get(index, ZERO) + coefficient * weight
        complete = complete and part.value is not None
        if part.value is not None:
            value = value + part.value * weight
    return Hidden(known, terms, value if complete else None)


class Recurrence:
    """T <- scale * T + sum_i c_i h_i, step after step, as one weighted sum at the end: the terms of T, of which there
    may be many, are not multiplied at every step."""

    def __init__(self, start: Hidden) -> None:
        self._start = start
        self._steps: list[tuple[K, tuple[tuple[K, Hidden], ...]]] = []

    def step(self, scale: K, *parts: tuple[K, Hidden]) -> None:
        """T <- scale * T + sum of weight * hidden over `parts`."""
        self._steps.append((scale, parts))

    def total(self) -> Hidden:
        """T."""
        later, weighted = ONE, list[tuple[K, Hidden]]()
        for scale, parts in reversed(self._steps):
            weighted.extend((later * weight, hidden) for weight, hidden in parts)
            later = later * scale
        return weighted_sum([(later, self._start), *reversed(weighted)])


NOTHING = Hidden(ZERO, None, ZERO)

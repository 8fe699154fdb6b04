"""Secret intervals of integers as bits of advice: thresholds that the owner knows and nobody else.

A vector v of bits is one run of ones iff the sum of squared differences of neighbours, zeros put at both ends, is 2:
every change costs 1. So an interval costs its bits and one sum, no comparison of neighbours.
"""

from __future__ import annotations

import numpy as np

from circuits.builder import Tensor
from circuits.checks.histogram_arithmetic import OFFSET, TABLE, VALUES, Scalar, Work, known
from circuits.program import Integers


def changes(work: Work, bits: Tensor, clear: Integers | None) -> Scalar:
    """sum_i (v_(i+1) - v_i)^2 within a vector of bits."""
    length = bits.shape[0]
    steps = work.g.sub(work.g.slice(bits, 0, 1, length), work.g.slice(bits, 0, 0, length - 1))
    value = None if clear is None else int(np.sum(np.diff(clear) ** 2))
    return work.scalar(work.g.einsum("t,t->", steps, steps), 0, length, value)


def cell(work: Work, bits: Tensor, clear: Integers | None, index: int) -> Scalar:
    """One bit of a vector."""
    tensor = work.g.reshape(work.g.slice(bits, 0, index, index + 1), [])
    return work.scalar(tensor, 0, 1, None if clear is None else int(clear[index]))


def inside(work: Work, low: Scalar, high: Scalar) -> Scalar:
    """How many weights have t in [low, high], for secret -32768 <= low <= high <= 32767; asserts that order.

    With v the bits of the interval: sum v = high - low + 1 and 2 sum t v_t = (low + high) sum v determine both ends.
    """
    g = work.g

    def run() -> Integers:
        return np.logical_and(known(low) <= VALUES, known(high) >= VALUES).astype(np.int64)

    bits, clear = work.hints("run", (TABLE,), 0, 1, run)
    ends = cell(work, bits, clear, 0) + cell(work, bits, clear, TABLE - 1)
    work.equal("run", changes(work, bits, clear) + ends, 2)
    size = work.scalar(g.reduce_sum(bits), 0, TABLE, None if clear is None else int(clear.sum()))
    centre = None if clear is None else int(np.dot(clear, VALUES))
    reach = TABLE * OFFSET
    moment = work.scalar(g.einsum("t,t->", bits, VALUES), -reach, reach, centre)
    work.equal("run/size", size, high - low + 1)
    work.equal("run/centre", moment * 2, (low + high) * size)
    value = None if clear is None or work.clear is None else int(np.dot(clear, work.clear))
    return work.scalar(g.einsum("t,t->", work.counts, bits), 0, TABLE * work.entries, value)


def disclose_quantile(work: Work, name: str, needed: int) -> None:
    """Publish the least M >= 0 such that at least `needed` >= 1 weights have |t| <= M.

    v_k = [k <= M] for k = 1 .. 32768, a run that starts at the left. Weights with |t| <= M are those at 0 and those at
    +-k with v_k = 1; weights with |t| <= M - 1 are those at +-(k - 1) with v_k = 1.
    """
    g = work.g

    def steps() -> Integers:
        assert work.clear is not None
        folded = np.bincount(np.abs(VALUES), weights=work.clear).astype(np.int64)
        return (np.arange(1, OFFSET + 1) <= np.searchsorted(np.cumsum(folded), needed)).astype(np.int64)

    bits, clear = work.hints(name, (OFFSET,), 0, 1, steps)
    # zeros after the end, a one before the start: one change in all
    starts, ends = cell(work, bits, clear, 0), cell(work, bits, clear, OFFSET - 1)
    work.equal(f"{name}/step", changes(work, bits, clear) - starts + ends, 0)
    k = np.arange(1, OFFSET + 1)
    zero = (VALUES == 0).astype(np.int64)
    reached = work.functional(zero) + _at(work, bits, clear, OFFSET - k) + _at(work, bits, clear, OFFSET + k[:-1])
    before = _at(work, bits, clear, OFFSET - k + 1) + _at(work, bits, clear, OFFSET + k[1:] - 1, skip=1)
    work.at_least(f"{name}/reached", reached, needed)
    work.at_most(f"{name}/before", before, needed - 1)
    g.disclose(name, g.reduce_sum(bits))


def _at(work: Work, bits: Tensor, clear: Integers | None, cells: Integers, skip: int = 0) -> Scalar:
    """sum_i counts[cells[i]] bits[skip + i]."""
    chosen = work.g.gather(work.counts, cells)
    part = work.g.slice(bits, 0, skip, skip + cells.size)
    value = None
    if clear is not None and work.clear is not None:
        value = int(np.dot(work.clear[cells], clear[skip : skip + cells.size]))
    return work.scalar(work.g.einsum("t,t->", chosen, part), 0, cells.size * work.entries, value)

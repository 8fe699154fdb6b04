"""The gates of leaves and of their sums where all cells of a tile have one group g: their tables are short
polynomials of the cells, cheaper than the general formulas.

With A = alpha - g X^2 a leaf is 1 / (A - x). Two leaves make the gate p0 = 1, t1 = 1 + lam q1, of value q0 + q1 + lam
q0 q1. With s = x0 + x1 and m = x0 x1 this is (2 A + lam A^2) - (1 + lam A) s + lam m, and the sum of the two leaves
is (2 A - s) / (A^2 - A s + m).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prover.argument.kernels.cpu.arithmetic import (
    add,
    from_halves,
    k_add,
    k_multiply,
    k_scale,
    k_subtract,
    k_three_scaled,
    lift,
    multiply,
    subtract,
)
from prover.argument.kernels.cpu.compilation import kernel

U = np.uint64
I = np.int64
LOW, S32 = U(0xFFFFFFFF), U(32)


@kernel
def sum_scaled(eq: Any, first: int, x: Any, width: int, out: Any) -> None:
    """out (3,) = sum over i < width of eq[:, first + i] x[i], x in F."""
    e0, e1, e2 = eq[0, first : first + width], eq[1, first : first + width], eq[2, first : first + width]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        x0, x1, x2 = k_scale(e0[i], e1[i], e2[i], x[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    out[0], out[1], out[2] = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)


@kernel
def sum_leaves(
    cells: Any, first_leaf: int, alpha: Any, group: int, lam: Any, eq: Any, first: int, width: int, scratch: Any,
    sums: Any,
) -> None:  # fmt: skip
    """`sum_tile` of gates.py for `width` pairs of gates of leaves: high - low has p0 = 0, t1 = lam dq1, and the value
    lam dq0 dq1 = lam (x2 - x0) (x3 - x1)."""
    x = cells[first_leaf : first_leaf + 4 * width]
    ones, s, m, d = scratch[0, :width], scratch[1, :width], scratch[2, :width], scratch[3, :width]
    for i in range(width):
        x0, x1, x2, x3 = I(x[4 * i]), I(x[4 * i + 1]), I(x[4 * i + 2]), I(x[4 * i + 3])
        ones[i] = U(1)
        s[i] = lift(U(x0 + x1))
        m[i] = lift(U(x0 * x1))
        d[i] = multiply(lift(U(x2 - x0)), lift(U(x3 - x1)))
    a0, a1, a2 = alpha[0], alpha[1], subtract(alpha[2], U(group))
    l0, l1, l2 = lam[0], lam[1], lam[2]
    b0, b1, b2 = k_multiply(a0, a1, a2, l0, l1, l2)
    c0, c1, c2 = k_add(add(b0, U(1)), b1, b2, U(1), U(0), U(0))
    c0, c1, c2 = k_multiply(c0, c1, c2, a0, a1, a2)
    total = scratch[4]
    sum_scaled(eq, first, ones, width, total)
    x0, x1, x2 = k_multiply(c0, c1, c2, total[0], total[1], total[2])
    sum_scaled(eq, first, s, width, total)
    y0, y1, y2 = k_multiply(add(b0, U(1)), b1, b2, total[0], total[1], total[2])
    x0, x1, x2 = k_subtract(x0, x1, x2, y0, y1, y2)
    sum_scaled(eq, first, m, width, total)
    y0, y1, y2 = k_multiply(l0, l1, l2, total[0], total[1], total[2])
    sums[0, 0], sums[0, 1], sums[0, 2] = k_add(x0, x1, x2, y0, y1, y2)
    sum_scaled(eq, first, d, width, total)
    sums[1, 0], sums[1, 1], sums[1, 2] = k_multiply(l0, l1, l2, total[0], total[1], total[2])


@kernel
def denominators_bound_once(
    cells: Any, first_leaf: int, alpha: Any, group: int, challenge: Any, width: int, out: Any
) -> None:
    """q0 (rows 6..8) and q1 (rows 9..11) of `width` gates of leaves, one variable bound: A - x - r (x' - x)."""
    x = cells[first_leaf : first_leaf + 4 * width]
    a0, a1, a2 = alpha[0], alpha[1], subtract(alpha[2], U(group))
    r0, r1, r2 = challenge[0], challenge[1], challenge[2]
    for side in range(2):
        q0, q1, q2 = out[6 + 3 * side, :width], out[7 + 3 * side, :width], out[8 + 3 * side, :width]
        y = x[side:]
        for i in range(width):
            low = I(y[4 * i])
            s0, s1, s2 = k_scale(r0, r1, r2, lift(U(I(y[4 * i + 2]) - low)))
            q0[i], q1[i], q2[i] = k_subtract(subtract(a0, lift(U(low))), a1, a2, s0, s1, s2)


@kernel
def sum_bound_leaves(tables: Any, lam: Any, eq: Any, first: int, width: int, sums: Any) -> None:
    """`sum_tile` of gates.py for `width` pairs of bound gates of leaves, given q0 and q1: still p0 = 1, t1 = 1 + lam
    q1, so that values are q0 + q1 + lam q0 q1, and lam dq0 dq1 for high - low."""
    n = 2 * width
    c0, c1, c2, d0, d1, d2 = tables[6, :n], tables[7, :n], tables[8, :n], tables[9, :n], tables[10, :n], tables[11, :n]
    e0, e1, e2 = eq[0, first : first + width], eq[1, first : first + width], eq[2, first : first + width]
    l0, l1, l2 = lam[0], lam[1], lam[2]
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        j = 2 * i
        x0, x1, x2 = k_multiply(c0[j], c1[j], c2[j], d0[j], d1[j], d2[j])
        x0, x1, x2 = k_multiply(x0, x1, x2, l0, l1, l2)
        y0, y1, y2 = k_add(c0[j], c1[j], c2[j], d0[j], d1[j], d2[j])
        x0, x1, x2 = k_add(x0, x1, x2, y0, y1, y2)
        x0, x1, x2 = k_multiply(x0, x1, x2, e0[i], e1[i], e2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    sums[0, 0], sums[0, 1], sums[0, 2] = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)
    low0, low1, low2, high0, high1, high2 = U(0), U(0), U(0), U(0), U(0), U(0)
    for i in range(width):
        j, k = 2 * i, 2 * i + 1
        y0, y1, y2 = k_subtract(c0[k], c1[k], c2[k], c0[j], c1[j], c2[j])
        z0, z1, z2 = k_subtract(d0[k], d1[k], d2[k], d0[j], d1[j], d2[j])
        x0, x1, x2 = k_multiply(y0, y1, y2, z0, z1, z2)
        x0, x1, x2 = k_multiply(x0, x1, x2, e0[i], e1[i], e2[i])
        low0 += x0 & LOW
        low1 += x1 & LOW
        low2 += x2 & LOW
        high0 += x0 >> S32
        high1 += x1 >> S32
        high2 += x2 >> S32
    x0, x1, x2 = from_halves(low0, high0), from_halves(low1, high1), from_halves(low2, high2)
    sums[1, 0], sums[1, 1], sums[1, 2] = k_multiply(x0, x1, x2, l0, l1, l2)


@kernel
def complete_leaf_gates(tables: Any, lam: Any, width: int) -> None:
    """p0 = 1 and t1 = 1 + lam q1 of gates of leaves, bound or not."""
    q0, q1, q2 = tables[9, :width], tables[10, :width], tables[11, :width]
    t0, t1, t2 = tables[3, :width], tables[4, :width], tables[5, :width]
    l0, l1, l2 = lam[0], lam[1], lam[2]
    for i in range(width):
        x0, x1, x2 = k_multiply(q0[i], q1[i], q2[i], l0, l1, l2)
        t0[i], t1[i], t2[i] = add(x0, U(1)), x1, x2
    tables[0, :width] = U(1)
    tables[1:3, :width] = U(0)


@kernel
def leaves_bound_twice(
    cells: Any, first_leaf: int, alpha: Any, group: int, lam: Any, first_challenge: Any, challenge: Any, width: int,
    out: Any,
) -> None:  # fmt: skip
    """`width` gates of leaves with two variables bound, to r and then t: with the leaves x, x', y, y' at 0, 2, 4, 6
    from each side, q = A - x - r (x' - x) - t (y - x) - r t (y' - y - x' + x)."""
    x = cells[first_leaf : first_leaf + 8 * width]
    a0, a1, a2 = alpha[0], alpha[1], subtract(alpha[2], U(group))
    r0, r1, r2 = first_challenge[0], first_challenge[1], first_challenge[2]
    t0, t1, t2 = challenge[0], challenge[1], challenge[2]
    b0, b1, b2 = k_multiply(r0, r1, r2, t0, t1, t2)
    for side in range(2):
        q0, q1, q2 = out[6 + 3 * side, :width], out[7 + 3 * side, :width], out[8 + 3 * side, :width]
        y = x[side:]
        for i in range(width):
            x0, x1, x2, x3 = I(y[8 * i]), I(y[8 * i + 2]), I(y[8 * i + 4]), I(y[8 * i + 6])
            s0, s1, s2 = k_three_scaled(
                r0, r1, r2, lift(U(x1 - x0)), t0, t1, t2, lift(U(x2 - x0)), b0, b1, b2, lift(U(x3 - x2 - x1 + x0))
            )
            q0[i], q1[i], q2[i] = k_subtract(subtract(a0, lift(U(x0))), a1, a2, s0, s1, s2)
    complete_leaf_gates(out, lam, width)


@kernel
def leaf_sums_bound(
    cells: Any, first_leaf: int, alpha: Any, group: int, lam: Any, challenge: Any, width: int, out: Any
) -> None:
    """`width` gates of the sums of neighbouring leaves with one variable bound to r: where s, m become s + ds, m + dm
    in the high gate, p = 2 A - s - r ds and q = A^2 + m - (A s + r A ds - r dm)."""
    x = cells[first_leaf : first_leaf + 8 * width]
    a0, a1, a2 = alpha[0], alpha[1], subtract(alpha[2], U(group))
    r0, r1, r2 = challenge[0], challenge[1], challenge[2]
    n0, n1, n2 = k_subtract(U(0), U(0), U(0), r0, r1, r2)
    b0, b1, b2 = k_multiply(a0, a1, a2, r0, r1, r2)
    c0, c1, c2 = k_multiply(a0, a1, a2, a0, a1, a2)
    d0, d1, d2 = k_add(a0, a1, a2, a0, a1, a2)
    for side in range(2):
        p0, p1, p2 = out[3 * side, :width], out[3 * side + 1, :width], out[3 * side + 2, :width]
        q0, q1, q2 = out[6 + 3 * side, :width], out[7 + 3 * side, :width], out[8 + 3 * side, :width]
        y = x[2 * side :]
        for i in range(width):
            x0, x1, x2, x3 = I(y[8 * i]), I(y[8 * i + 1]), I(y[8 * i + 4]), I(y[8 * i + 5])
            s, ds = lift(U(x0 + x1)), lift(U(x2 + x3 - x0 - x1))
            s0, s1, s2 = k_scale(r0, r1, r2, ds)
            p0[i], p1[i], p2[i] = k_subtract(subtract(d0, s), d1, d2, s0, s1, s2)
        for i in range(width):
            x0, x1, x2, x3 = I(y[8 * i]), I(y[8 * i + 1]), I(y[8 * i + 4]), I(y[8 * i + 5])
            s, ds = lift(U(x0 + x1)), lift(U(x2 + x3 - x0 - x1))
            s0, s1, s2 = k_three_scaled(a0, a1, a2, s, b0, b1, b2, ds, n0, n1, n2, lift(U(x2 * x3 - x0 * x1)))
            q0[i], q1[i], q2[i] = k_subtract(add(c0, lift(U(x0 * x1))), c1, c2, s0, s1, s2)
    t0, t1, t2 = out[3, :width], out[4, :width], out[5, :width]
    q0, q1, q2 = out[9, :width], out[10, :width], out[11, :width]
    l0, l1, l2 = lam[0], lam[1], lam[2]
    for i in range(width):
        x0, x1, x2 = k_multiply(q0[i], q1[i], q2[i], l0, l1, l2)
        t0[i], t1[i], t2[i] = k_add(t0[i], t1[i], t2[i], x0, x1, x2)

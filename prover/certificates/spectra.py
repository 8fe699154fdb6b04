"""Certificates of the checks on singular values: spectral-norm, smallest-singular-value, stable-rank,
no-ablated-direction."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np

from circuits.checks.base import Instance
from circuits.checks.bases import Pair
from circuits.checks.no_ablated_direction import COARSE_LOG, AblationSpec
from circuits.checks.no_single_direction_edit import EditSpec
from circuits.checks.smallest_singular_value import SmallestSpec
from circuits.checks.spectral_norm import WITNESS_LOG, LowerSpec, UpperSpec
from circuits.checks.stable_rank import DENOMINATOR, StableRankSpec
from prover.certificates.base import Access, Certificate, CertificateError, Integers
from prover.certificates.differences import difference, in_weights
from prover.certificates.linear_algebra import eigenvalues, gram_of, top_eigenvector
from prover.certificates.positive import psd_advice

RELAX = "relax the threshold by a few parts in 10^4, or choose coarser scales"


def number(value: float) -> str:
    """A measured value, six significant digits."""
    return f"{value:.6g}"


def singular_text(square: float, scale: int) -> str:
    """A singular value of the float matrix from an eigenvalue of the integer Gram matrix."""
    return number(sqrt(max(square, 0.0)) * 2.0**-scale)


def identity(size: int, value: int) -> Integers:
    return np.eye(size, dtype=np.int64) * value


def spectral_norm(instance: Instance, access: Access) -> Certificate:
    """Upper bound by a certificate, lower bound by a witness vector."""
    if isinstance(instance.spec, LowerSpec):
        return spectral_norm_below(instance.spec, access)
    spec: UpperSpec = instance.spec
    gram = gram_of(access.matrix(spec.tensor.name))
    largest = float(eigenvalues(gram.astype(np.float64))[-1])
    value, needed = (
        singular_text(largest, spec.tensor.scale),
        singular_text(spec.bound - spec.sizes.slack, spec.tensor.scale),
    )
    if largest > spec.bound - spec.sizes.slack:
        return Certificate(value, False, needed)
    x = identity(spec.sizes.size, spec.bound - spec.sizes.slack) - gram
    return Certificate(value, True, needed, psd_advice(x, spec.sizes, "upper", RELAX))


def spectral_norm_below(spec: LowerSpec, access: Access) -> Certificate:
    """|floor(|W v| / 2^s)|^2 >= ceil(bound |v|^2 / 4^s) for the rounded top right singular vector v."""
    matrix = access.matrix(spec.tensor.name)
    gram = gram_of(matrix, 1 if matrix.shape[0] >= matrix.shape[1] else None)
    top = top_eigenvector(gram.astype(np.float64))
    right = top if gram.shape[0] == matrix.shape[1] else matrix.T.astype(np.float64) @ top
    peak = np.abs(right).max()
    value = singular_text(float(eigenvalues(gram.astype(np.float64))[-1]), spec.tensor.scale)
    needed = singular_text(spec.bound, spec.tensor.scale)
    if peak == 0:
        return Certificate(value, False, needed)
    witness = np.rint(right / peak * ((1 << WITNESS_LOG) - 1)).astype(np.int64)
    scaled = np.abs(matrix @ witness) >> spec.shift
    need = -(-(int(witness @ witness) * -(-spec.bound // 2**spec.coarse)) // (4**spec.shift >> spec.coarse))
    if int(scaled @ scaled) < need:
        return Certificate(value, False, needed)
    return Certificate(value, True, needed, {"witness": witness})


def smallest_singular_value(instance: Instance, access: Access) -> Certificate:
    """W W^T - (bound + slack) I >= 0."""
    spec: SmallestSpec = instance.spec
    gram = gram_of(access.matrix(spec.tensor.name))
    smallest = float(eigenvalues(gram.astype(np.float64))[0])
    least = spec.bound + spec.sizes.slack
    value, needed = singular_text(smallest, spec.tensor.scale), singular_text(least, spec.tensor.scale)
    if smallest < least:
        return Certificate(value, False, needed)
    relax = f"raise norm_at_most, or {RELAX}"
    return Certificate(value, True, needed, psd_advice(gram - identity(len(gram), least), spec.sizes, "lower", relax))


def stable_rank(instance: Instance, access: Access) -> Certificate:
    """(S - offset) 16 I - factor W W^T - slack I >= 0."""
    spec: StableRankSpec = instance.spec
    matrix = access.matrix(spec.tensor.name)
    gram = gram_of(matrix)
    square = int(np.trace(gram))
    largest = float(eigenvalues(gram.astype(np.float64))[-1])
    diagonal = DENOMINATOR * (square - spec.offset) - spec.sizes.slack
    value = number(square / largest) if largest > 0 else "0"
    needed = number(spec.factor * square / diagonal) if diagonal > 0 else "out of reach"
    if largest <= 0 or spec.factor * largest > diagonal:
        return Certificate(value, False, needed)
    x = identity(len(gram), diagonal) - spec.factor * gram
    return Certificate(value, True, needed, psd_advice(x, spec.sizes, "rank", RELAX))


def no_ablated_direction(instance: Instance, access: Access) -> Certificate:
    """sum_l c_l (W_l W_l^T - kappa n_l I) - (needed + slack) I >= 0 with c_l nearest to 2^k / S_l."""
    spec: AblationSpec = instance.spec
    unit = 1 << spec.unit_log
    total = np.zeros((spec.sizes.size, spec.sizes.size), np.int64)
    advice: dict[str, Integers] = {}
    value = np.zeros((spec.sizes.size, spec.sizes.size))
    for index, ((tensor, axis), top) in enumerate(zip(spec.writers, spec.largest_scale, strict=True)):
        gram = gram_of(access.matrix(tensor.name), axis)
        square = int(np.trace(gram))
        scale = round(Fraction(unit, square)) if square else 0
        rounded = square >> COARSE_LOG
        if not (1 <= scale <= top and 127 * unit <= 128 * scale * (rounded << COARSE_LOG)):
            raise CertificateError(
                f"{tensor.name} cannot be normalised in fixed point; {precision_hint(square, tensor.entries)}"
            )
        if 128 * scale * ((rounded + 1) << COARSE_LOG) > 129 * unit:
            raise CertificateError(
                f"{tensor.name} has too few units in fixed point to be normalised; choose a finer scale"
            )
        advice[f"scale/{index}"] = np.array(scale, np.int64)
        total += scale * (gram - identity(spec.sizes.size, spec.kappa * tensor.entries))
        value += gram / square
    least = spec.needed + spec.sizes.slack
    smallest = float(eigenvalues(total.astype(np.float64))[0])
    clean = float(eigenvalues(value)[0])
    needed = clean + (least - smallest) / unit
    if smallest < least:
        return Certificate(number(clean), False, number(needed))
    x = total - identity(len(total), least)
    return Certificate(number(clean), True, number(needed), {**advice, **psd_advice(x, spec.sizes, "writers", RELAX)})


def no_single_direction_edit(instance: Instance, access: Access) -> Certificate:
    """(bound - slack) I - sum_l c_l d_l d_l^T >= 0 with c_l nearest to 2^k / S_l."""
    spec: EditSpec = instance.spec
    unit = 1 << spec.unit_log
    total = np.zeros((spec.sizes.size, spec.sizes.size), np.int64)
    value = np.zeros(total.shape)
    advice: dict[str, Integers] = {}
    for index, ((pair, axis), least, top) in enumerate(zip(spec.pairs, spec.floors, spec.largest_scale, strict=True)):
        gram = gram_of(difference(pair, access), axis)
        square = int(np.trace(gram))
        if square < least:
            if sqrt(square) >= sqrt(least) - rounding_units(pair):
                raise CertificateError(
                    f"the change of {pair.tensor.name} reaches norm_at_least, but not by the margin that rounding"
                    " needs; lower norm_at_least a little"
                )
            return Certificate(f"|D| = {in_weights(pair, sqrt(square))}", False, in_weights(pair, sqrt(least)))
        scale = round(Fraction(unit, square))
        low, high = scale * (square >> COARSE_LOG << COARSE_LOG), scale * (((square >> COARSE_LOG) + 1) << COARSE_LOG)
        if not (1 <= scale <= top and 127 * unit <= 128 * low and 128 * high <= 129 * unit):
            raise CertificateError(f"the change of {pair.tensor.name} cannot be normalised; raise norm_at_least")
        advice[f"scale/{index}"] = np.array(scale, np.int64)
        total += scale * gram
        value += gram / square
    largest = float(eigenvalues(total.astype(np.float64))[-1])
    most = spec.bound - spec.sizes.slack
    share = float(eigenvalues(value)[-1]) / len(spec.pairs)
    needed = share * most / largest
    if largest > most:
        return Certificate(number(share), False, number(needed))
    x = identity(len(total), most) - total
    return Certificate(number(share), True, number(needed), {**advice, **psd_advice(x, spec.sizes, "changes", RELAX)})


def rounding_units(pair: Pair) -> float:
    """By how much rounding can move the Frobenius norm of a change, in units of its integers."""
    return 2.0**pair.scale * float(pair.rounding) * sqrt(pair.tensor.entries)


def precision_hint(square: int, entries: int) -> str:
    """What to write in the policy for weights with this sum of squares."""
    bits = ((square // entries).bit_length() - 1) // 2 + 1 if square >= entries else 0
    return f"set precision_bits to at most {bits}" if bits >= 4 else "its weights are too small at this scale"

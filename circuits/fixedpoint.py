"""Floats to integers with a rounding bound: w_hat = rint(w * 2^F), ties to even, |w - w_hat / 2^F| <= 2^-(F+1).

One scale F per tensor: the largest integer in [-40, 60] for which every |w_hat| <= 32767. All arithmetic is exact:
scaling by a power of two loses nothing unless the result is subnormal, and such a result rounds to 0 either way.
Source: statements.md, section 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from circuits.checkpoint.base import FLOAT_DTYPES, quote
from circuits.errors import FormatError

MIN_SCALE = -40
MAX_SCALE = 60
MAX_INTEGER = 32767

Integers = npt.NDArray[np.int32]
_Result = TypeVar("_Result")

_CHUNK = 2**17
"""Entries per step: two buffers of this size stay in the cache of a core."""

_THREADS = min(2, os.cpu_count() or 1)


class _Bits(NamedTuple):
    """How a float type looks as an unsigned integer: without the sign bit, patterns are ordered like magnitudes."""

    unsigned: np.dtype[Any]
    magnitude: int
    infinity: int


_BITS: Mapping[np.dtype[Any], _Bits] = {
    FLOAT_DTYPES["bfloat16"]: _Bits(np.dtype("<u2"), 0x7FFF, 0x7F80),
    FLOAT_DTYPES["float16"]: _Bits(np.dtype("<u2"), 0x7FFF, 0x7C00),
    FLOAT_DTYPES["float32"]: _Bits(np.dtype("<u4"), 0x7FFF_FFFF, 0x7F80_0000),
    FLOAT_DTYPES["float64"]: _Bits(np.dtype("<u8"), 0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000),
}


def magnitude(values: npt.NDArray[Any], name: str, threads: int = _THREADS) -> float:
    """max|w| over a tensor of a float type, exactly, refusing NaN and infinity in the same pass.

    Args:
        values: any shape, C-contiguous if it is not to be copied, at least one entry.
        name: the tensor, for errors.
        threads: how many threads scan it.

    Raises:
        FormatError: an entry is NaN or infinite; names the tensor and the index of the first one.
    """
    kind = _BITS.get(values.dtype)
    if kind is None:
        raise FormatError(
            f"tensor {quote(name)}: {values.dtype} has no fixed-point form; known: {', '.join(FLOAT_DTYPES)}"
        )
    flat = values.reshape(-1)
    bits = flat.view(kind.unsigned)

    def largest(start: int, stop: int) -> int:
        buffer = np.empty(min(_CHUNK, stop - start), dtype=kind.unsigned)
        result = 0
        for begin in range(start, stop, _CHUNK):
            chunk = bits[begin : min(begin + _CHUNK, stop)]
            result = max(result, int(np.bitwise_and(chunk, kind.magnitude, out=buffer[: chunk.size]).max()))
        return result

    pattern = max(_spans(largest, flat.size, threads))
    if pattern >= kind.infinity:
        _refuse_non_finite(flat, values.shape, name)
    return float(np.array(pattern, dtype=kind.unsigned).view(values.dtype))


def _refuse_non_finite(flat: npt.NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    for begin in range(0, flat.size, _CHUNK):
        bad = np.flatnonzero(~np.isfinite(flat[begin : begin + _CHUNK]))
        if bad.size:
            first = begin + int(bad[0])
            index = tuple(int(i) for i in np.unravel_index(first, shape))
            raise FormatError(
                f"tensor {quote(name)} holds {flat[first]!s} at index {index}; a model with NaN or infinite weights"
                " cannot"
                " be committed: repair or retrain it"
            )


def finest_scale(largest: float, name: str) -> int:
    """The largest F in [-40, 60] with rint(largest * 2^F) <= 32767; `largest` is max|w| >= 0, see `magnitude`.

    Raises:
        FormatError: `largest` is 2^55 or more (about), so that even F = -40 is too fine.
    """
    # largest = f * 2^e with f in [1/2, 1). rint(x) <= 32767 iff x < 32767.5 (the tie goes to the even 32768).
    fraction, exponent = math.frexp(largest)
    scale = 15 - exponent if fraction < 65535 / 65536 else 14 - exponent
    if largest == 0:
        return MAX_SCALE
    if scale < MIN_SCALE:
        raise FormatError(f"tensor {quote(name)} holds {largest:g}; weights must stay below 2^55: is it damaged?")
    return min(scale, MAX_SCALE)


def rounding_bound(scale: int) -> Fraction:
    """delta = 2^-(F+1): no weight is further than this from w_hat / 2^F."""
    return Fraction(1, 2) / Fraction(2) ** scale


def choose_scales(
    largest: Mapping[str, float], wanted: Mapping[str, int] | int | None = None, common: bool = False
) -> dict[str, int]:
    """The scale of every tensor.

    Without a wish it is the finest that fits; a tensor of zeros takes the finest scale of the others, so that its
    rounding bound is small. A scale says what the largest weight is to within a factor of two; an owner who must not
    tell passes coarser ones.

    Args:
        largest: tensor name -> max|w|.
        wanted: the owner's scales: one for all tensors, or by name (the others keep the default).
        common: use one scale for all, the smallest; tensors of zeros take it without lowering it.

    Raises:
        FormatError: a wanted scale is finer than the tensor allows, outside [-40, 60], or for an unknown tensor.
    """
    finest = {name: finest_scale(value, name) for name, value in largest.items()}
    wishes = dict.fromkeys(largest, wanted) if isinstance(wanted, int) else dict(wanted or {})
    for name, scale in wishes.items():
        if name not in finest:
            raise FormatError(
                f"a scale is given for {quote(name)}, which is not a float tensor of this checkpoint; remove it"
            )
        if type(scale) is not int or not MIN_SCALE <= scale <= finest[name]:
            raise FormatError(
                f"tensor {quote(name)}: scale {quote(scale)} is not an integer in [{MIN_SCALE}, {finest[name]}];"
                f" pass at most {finest[name]}"
            )
    fixed = {name: wishes.get(name, finest[name]) for name in largest if largest[name] > 0 or name in wishes}
    if common:
        return dict.fromkeys(largest, min(fixed.values(), default=0))
    zeros = max(fixed.values(), default=0)
    return {name: fixed.get(name, zeros) for name in largest}


def quantise(values: npt.NDArray[Any], scale: int, out: Integers | None = None, threads: int = _THREADS) -> Integers:
    """rint(values * 2^scale), ties to even, exactly.

    Args:
        values: a float type of `FLOAT_DTYPES`, any shape; C-contiguous if it is not to be copied.
        scale: in [-40, 60].
        out: where to write, C-contiguous int32 of the same shape; a new array otherwise.
        threads: how many threads work on it.

    Returns:
        int32, the shape of `values`, every entry in [-32767, 32767].

    Raises:
        FormatError: an entry is NaN or would leave the range: the tensor is not the one that the scale was chosen for.
    """
    if values.dtype not in _BITS or not MIN_SCALE <= scale <= MAX_SCALE:
        raise FormatError(
            f"cannot quantise {values.dtype} with scale {scale}; known: {', '.join(FLOAT_DTYPES)}, [-40, 60]"
        )
    result = np.empty(values.shape, dtype=np.int32) if out is None else out
    if result.shape != values.shape or result.dtype != np.int32 or not result.flags.c_contiguous:
        raise FormatError(
            f"cannot quantise into {result.dtype} {result.shape}; pass a contiguous int32 array {values.shape}"
        )
    source, target = values.reshape(-1), result.reshape(-1)
    work = np.float64 if values.dtype == np.float64 else np.float32
    factor = work(2.0**scale)

    def convert(start: int, stop: int) -> bool:
        buffer = np.empty(min(_CHUNK, stop - start), dtype=work)
        with np.errstate(all="ignore"):  # what overflows or is NaN fails the comparison below
            for begin in range(start, stop, _CHUNK):
                end = min(begin + _CHUNK, stop)
                scaled = buffer[: end - begin]
                _scale_up(source[begin:end], factor, scaled)
                np.rint(scaled, out=scaled)
                if not (scaled.max() <= MAX_INTEGER and scaled.min() >= -MAX_INTEGER):
                    return False
                np.copyto(target[begin:end], scaled, casting="unsafe")
        return True

    if not all(_spans(convert, source.size, threads)):
        raise FormatError(
            f"an entry does not fit [-32767, 32767] at scale {scale}; the tensor has changed: commit it again"
        )
    return result


def _scale_up(source: npt.NDArray[Any], factor: np.floating[Any], target: npt.NDArray[Any]) -> None:
    """target = source * factor in the wider or equal type of `target`; a bfloat16 is the upper half of a float32."""
    if source.dtype == FLOAT_DTYPES["bfloat16"]:
        np.left_shift(source.view("<u2"), 16, out=target.view("<u4"), dtype=np.uint32)
        np.multiply(target, factor, out=target)
    else:
        np.multiply(source, factor, out=target, dtype=target.dtype)


def _spans(work: Callable[[int, int], _Result], entries: int, threads: int) -> list[_Result]:
    """work(start, stop) over [0, entries) cut into one span per thread; small inputs stay on this thread."""
    step = -(-entries // max(1, threads))
    if entries <= _CHUNK or threads <= 1:
        return [work(0, entries)]
    starts = range(0, entries, step)
    with ThreadPoolExecutor(len(starts)) as pool:
        return list(pool.map(work, starts, [min(start + step, entries) for start in starts]))

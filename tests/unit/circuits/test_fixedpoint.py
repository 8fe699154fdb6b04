"""Fixed point against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from circuits.checkpoint import FLOAT_DTYPES
from circuits.errors import FormatError
from circuits.fixedpoint import (
    MAX_INTEGER,
    MAX_SCALE,
    MIN_SCALE,
    choose_scales,
    finest_scale,
    magnitude,
    quantise,
    rounding_bound,
)

BITS: dict[str, Any] = {"bfloat16": np.uint16, "float16": np.uint16, "float32": np.uint32, "float64": np.uint64}


def finite_below_limit(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Replace what cannot be committed (NaN, infinity, 2^55 and more) by 0."""
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    return np.where(np.isfinite(wide) & (np.abs(wide) < 2.0**54), values, values.dtype.type(0))


@st.composite
def tensors(draw: st.DrawFn) -> npt.NDArray[Any]:
    """Arrays of every float type, drawn as bit patterns: subnormals, both zeros and extreme exponents included."""
    dtype = draw(st.sampled_from(sorted(FLOAT_DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=5))
    bits = draw(hnp.arrays(BITS[dtype], shape))
    return finite_below_limit(bits.view(FLOAT_DTYPES[dtype]))


def exact(value: Any, scale: int) -> int:
    """rint(value * 2^scale) in rational arithmetic; Python rounds fractions half to even."""
    return round(Fraction(float(value)) * Fraction(2) ** scale)


@given(tensors())
def test_quantisation_equals_rational_arithmetic(values: npt.NDArray[Any]) -> None:
    scale = finest_scale(magnitude(values, "t"), "t")
    integers = quantise(values, scale)
    assert integers.shape == values.shape
    assert integers.dtype == np.int32
    assert integers.reshape(-1).tolist() == [exact(value, scale) for value in values.reshape(-1)]
    for value, integer in zip(values.reshape(-1), integers.reshape(-1).tolist(), strict=True):
        assert abs(Fraction(float(value)) - integer / Fraction(2) ** scale) <= rounding_bound(scale)


@given(tensors())
def test_the_scale_is_the_largest_that_fits(values: npt.NDArray[Any]) -> None:
    largest = magnitude(values, "t")
    assert largest == max(abs(float(value)) for value in values.reshape(-1))
    scale = finest_scale(largest, "t")
    assert exact(largest, scale) <= MAX_INTEGER
    assert scale == MAX_SCALE or exact(largest, scale + 1) > MAX_INTEGER


@pytest.mark.parametrize("dtype", sorted(FLOAT_DTYPES))
def test_every_16_bit_pattern_or_many_wider_ones(dtype: str) -> None:
    """All finite 16-bit floats at several scales; for wider types, patterns spread over the whole range."""
    if BITS[dtype] is np.uint16:
        bits: npt.NDArray[Any] = np.arange(2**16, dtype=np.uint16)
    else:
        bits = np.random.default_rng(1).integers(0, np.iinfo(BITS[dtype]).max, 20_000, dtype=BITS[dtype], endpoint=True)
    values = finite_below_limit(bits.view(FLOAT_DTYPES[dtype]))
    for scale in (MIN_SCALE, -7, 0, 13, MAX_SCALE):
        fits = values[np.abs(values.astype(np.float64)) * 2.0**scale < 32767.5]
        assert quantise(fits, scale).tolist() == [exact(value, scale) for value in fits]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_go_to_even_and_the_upper_tie_does_not_fit(dtype: str) -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 32766.5, -32766.5], dtype=dtype)
    assert quantise(values, 0).tolist() == [0, 2, 2, 0, -2, 32766, -32766]
    below = np.nextafter(np.array(32767.5, dtype=dtype), np.array(0, dtype=dtype))
    assert finest_scale(float(below), "t") == 0
    assert quantise(below, 0).tolist() == 32767
    assert finest_scale(32767.5, "t") == -1
    assert quantise(np.array(32767.5, dtype=dtype), -1).tolist() == 16384


def test_scales_are_clamped() -> None:
    assert finest_scale(2.0**-60, "t") == MAX_SCALE
    assert finest_scale(5e-324, "t") == MAX_SCALE
    assert finest_scale(2.0**54, "t") == MIN_SCALE
    with pytest.raises(FormatError, match="'big'"):
        finest_scale(2.0**55, "big")


def test_rounding_bound_is_half_a_step() -> None:
    assert rounding_bound(10) == Fraction(1, 2048)
    assert rounding_bound(-3) == 4


@pytest.mark.parametrize("dtype", sorted(FLOAT_DTYPES))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_named_with_their_index(dtype: str, bad: float) -> None:
    values = np.zeros((3, 400, 500), dtype=FLOAT_DTYPES[dtype])
    values[2, 399, 7] = bad
    values[1, 2, 3] = bad
    with pytest.raises(FormatError, match=r"'layer\.weight' holds -?(nan|inf) at index \(1, 2, 3\)"):
        magnitude(values, "layer.weight")
    with pytest.raises(FormatError, match="does not fit"):
        quantise(values, 0)


def test_a_negative_nan_is_found() -> None:
    with pytest.raises(FormatError, match="index"):
        magnitude(np.array([0xFFC00000], dtype=np.uint32).view(np.float32), "t")


@pytest.mark.parametrize("dtype", sorted(FLOAT_DTYPES))
def test_chunks_and_threads_change_nothing(dtype: str) -> None:
    values = (np.random.default_rng(2).standard_normal(600_001) / 8).astype(FLOAT_DTYPES[dtype])
    scale = finest_scale(magnitude(values, "t", threads=1), "t")
    alone = quantise(values, scale, threads=1)
    wide = values.astype(np.float64)
    assert np.array_equal(alone, np.rint(wide * 2.0**scale).astype(np.int32))
    out = np.empty_like(alone)
    assert quantise(values, scale, out=out, threads=5) is out
    assert np.array_equal(alone, out)
    assert magnitude(values, "t", threads=5) == np.abs(wide).max()


def test_unaligned_and_non_contiguous_inputs() -> None:
    aligned = np.linspace(-3, 5, 10, dtype="<f4")
    shifted = np.frombuffer(b"x" + aligned.tobytes(), dtype="<f4", offset=1)
    assert not shifted.flags.aligned
    assert np.array_equal(quantise(shifted, 12), quantise(aligned, 12))
    assert magnitude(shifted, "t") == 5
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(quantise(matrix.T, 0), matrix.T)


def test_a_scale_that_is_too_fine_for_the_data_is_an_error() -> None:
    with pytest.raises(FormatError, match="does not fit"):
        quantise(np.array([1.0], dtype=np.float32), 15)
    with pytest.raises(FormatError, match="does not fit"):
        quantise(np.array([-3e38], dtype=np.float32), MAX_SCALE)


@pytest.mark.parametrize(
    ("values", "scale", "out"),
    [
        (np.zeros(2, dtype=np.int32), 0, None),
        (np.zeros(2, dtype=np.float32), MAX_SCALE + 1, None),
        (np.zeros(2, dtype=np.float32), 0, np.zeros(2, dtype=np.int64)),
        (np.zeros(2, dtype=np.float32), 0, np.zeros(3, dtype=np.int32)),
        (np.zeros((2, 2), dtype=np.float32), 0, np.zeros((2, 2), dtype=np.int32).T[:, ::-1]),
    ],
)
def test_wrong_arguments_are_refused(values: Any, scale: int, out: Any) -> None:
    with pytest.raises(FormatError, match="cannot quantise"):
        quantise(values, scale, out)


def test_integers_have_no_magnitude() -> None:
    with pytest.raises(FormatError, match="no fixed-point form"):
        magnitude(np.zeros(2, dtype=np.int8), "t")


def test_default_scales_and_the_common_scale_of_a_small_model() -> None:
    largest = {"a": 1.0, "b": 0.01, "zero": 0.0}
    assert choose_scales(largest) == {"a": 14, "b": 21, "zero": 21}
    assert choose_scales(largest, common=True) == {"a": 14, "b": 14, "zero": 14}
    assert choose_scales({"zero": 0.0}, common=True) == {"zero": 0}


def test_a_tensor_of_zeros_takes_the_finest_scale_of_the_others() -> None:
    """docs/adr/0004: its rounding bound is no larger than any other, and no other tensor is affected."""
    assert choose_scales({"first": 0.0, "a": 1.0, "b": 0.01, "last": 0.0}) == {
        "first": 21,
        "a": 14,
        "b": 21,
        "last": 21,
    }
    assert choose_scales({"coarse": 2.0**30, "zero": 0.0}) == {"coarse": -16, "zero": -16}
    assert choose_scales({"zero": 0.0, "other": 0.0}) == {"zero": 0, "other": 0}
    assert choose_scales({}) == {}


def test_an_owner_may_choose_coarser_scales() -> None:
    largest = {"a": 1.0, "b": 0.01, "zero": 0.0}
    assert choose_scales(largest, 12) == {"a": 12, "b": 12, "zero": 12}
    assert choose_scales(largest, {"b": 3}) == {"a": 14, "b": 3, "zero": 14}
    assert choose_scales(largest, {"zero": 40}) == {"a": 14, "b": 21, "zero": 40}
    assert choose_scales(largest, {"zero": -3}) == {"a": 14, "b": 21, "zero": -3}
    assert choose_scales(largest, {"b": 3}, common=True) == {"a": 3, "b": 3, "zero": 3}


@pytest.mark.parametrize("wanted", [15, -41, {"a": 15}, {"a": True}, {"missing": 1}, {"a": 1.5}, True])
def test_finer_or_senseless_scales_are_refused(wanted: Any) -> None:
    with pytest.raises(FormatError, match=r"pass at most|not a float tensor"):
        choose_scales({"a": 1.0, "b": 0.01}, wanted)

"""frobenius-norm: the value of numpy, one answer from weights and histograms, and thresholds that mean what they say.

What an accepted proof shows is that the statement's program holds; here that is decided in the clear, for integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.checkpoint import Checkpoint, TensorSource, open_checkpoint
from circuits.checks.base import Context, Instance
from circuits.checks.frobenius_norm import FrobeniusNorm, NormSpec, common_scale, rounding_margin
from circuits.errors import PolicyError, StatementError
from circuits.evaluate import Evaluation, Witness, check
from circuits.fixedpoint import quantise
from circuits.lowering import lower
from prover.argument.kernels.cpu import CpuKernels
from prover.certificates.base import Access, Certificate
from prover.certificates.frobenius_norm import certify
from prover.commit import ModelIntegers, read_integers
from prover.progress import Progress

Array = npt.NDArray[Any]
KERNELS = CpuKernels()
GROUPED = "layer.0.weight"
"""65,536 entries and so a histogram of its own."""


def model_of(tensors: Mapping[str, Array]) -> ModelIntegers:
    """The fixed-point copy of tensors in memory."""
    sources = [
        TensorSource(name, array.shape, str(array.dtype), partial(np.asarray, array)) for name, array in tensors.items()
    ]
    return read_integers(Checkpoint(tuple(sources), {}, {}), KERNELS, Progress.silent())


def decimal(value: Fraction, places: int = 35) -> str:
    """The shortest decimal of a value, rounded down."""
    units = value.numerator * 10**places // value.denominator
    text = f"{units // 10**places}.{units % 10**places:0{places}d}".rstrip("0")
    return text.removesuffix(".")


def norm_check(at_most: str, tensors: str = "*", over: Any = "each") -> FrobeniusNorm:
    return FrobeniusNorm(check="frobenius-norm", tensors=tensors, at_most=at_most, over=over)


def instance(model: ModelIntegers, at_most: str, tensors: str = "*", over: Any = "together") -> Instance:
    """The one statement of a check."""
    (found,) = norm_check(at_most, tensors, over).instances(Context(model.manifest))
    return found


def failures(model: ModelIntegers, statement: Instance) -> list[str]:
    """The conditions of the program that do not hold."""
    program = lower([statement.graph])
    atoms = Witness(lambda _, name: model.matrix(name), lambda _, group: model.histogram(group))
    return check(program, Evaluation(program, atoms))


def measured(model: ModelIntegers, statement: Instance) -> Certificate:
    """What the owner's side says; it must agree with the program."""
    found = certify(statement, Access((model,)))
    assert found.passed == (failures(model, statement) == [])
    return found


def square(values: Array) -> Fraction:
    """The exact sum of squares of floats, as integers in units of 2^-150."""
    return Fraction(sum(int(Fraction(x) * 2**150) ** 2 for x in values.reshape(-1).tolist()), 4**150)


def integer_square(model: ModelIntegers, name: str) -> int:
    row = model.matrix(name).reshape(-1).tolist()
    return sum(x * x for x in row)


@pytest.fixture(scope="module")
def encoder(encoder_file: Path) -> tuple[ModelIntegers, dict[str, Array]]:
    """The sentence encoder's copy and its float tensors."""
    checkpoint = open_checkpoint(encoder_file)
    floats = {source.name: source.load() for source in checkpoint if source.is_float}
    return read_integers(checkpoint, KERNELS, Progress.silent()), floats


def test_values_on_a_real_model(encoder: tuple[ModelIntegers, dict[str, Array]]) -> None:
    """All 103 tensors: numpy's norm within the rounding margin, which is small."""
    model, floats = encoder
    statements = norm_check("1000").instances(Context(model.manifest))
    assert len(statements) == len(floats) == 103
    for statement in statements:
        truth = float(np.linalg.norm(floats[statement.label].astype(np.float64)))
        margin = float(rounding_margin(statement.spec.tensors))
        assert float(certify(statement, Access((model,))).value) == pytest.approx(truth, abs=margin + 1e-6)
        assert margin < 0.01 * truth + 0.01


def test_the_norm_of_a_whole_real_model(encoder: tuple[ModelIntegers, dict[str, Array]]) -> None:
    model, floats = encoder
    truth = sum(float(np.linalg.norm(values.astype(np.float64))) ** 2 for values in floats.values()) ** 0.5
    statement = instance(model, "350")
    margin = float(rounding_margin(statement.spec.tensors))
    assert float(measured(model, statement).value) == pytest.approx(truth, abs=margin + 1e-6)
    for threshold, passes in ((truth - margin, False), (truth + 2 * margin + 0.01, True)):
        assert certify(instance(model, decimal(Fraction(threshold))), Access((model,))).passed is passes


def boundary(model: ModelIntegers, names: list[str], left: int) -> str:
    """A threshold for the tensors together whose integer bound is `left` exactly.

    bound = floor((t - margin)^2 4^F), so t = margin + sqrt(left + 1/2) / 2^F.
    """
    tensors = [tensor for tensor in model.manifest.tensors if tensor.name in names]
    root = Fraction(isqrt((2 * left + 1) * 2 * 16**50), 2 * 4**50)
    return decimal(rounding_margin(tensors) + root / Fraction(2) ** common_scale("these", tensors))


@pytest.fixture(scope="module")
def grouped() -> ModelIntegers:
    """A tensor with a histogram of its own, and two small ones of one scale that share one."""
    random = np.random.default_rng(3)
    return model_of(
        {
            GROUPED: random.standard_normal((256, 256)).astype(np.float32),
            "layer.0.bias": random.uniform(0.3, 0.4, 256).astype(np.float32),
            "layer.1.bias": random.uniform(0.3, 0.4, 100).astype(np.float32),
        }
    )


def test_just_inside_and_just_outside(grouped: ModelIntegers) -> None:
    """The bound equals the sum of squares, and is one less: weights and histogram decide alike."""
    exact = integer_square(grouped, GROUPED)
    for left, wanted in ((exact, True), (exact - 1, False), (exact + 1, True)):
        statement = instance(grouped, boundary(grouped, [GROUPED], left), GROUPED)
        assert statement.spec.bound == left
        assert measured(grouped, statement).passed is wanted
        found = failures(grouped, statement)
        assert found == ([] if wanted else ["0/assert/cells", "0/assert/histograms"])


def test_a_part_of_a_group_is_decided_from_the_weights_alone(grouped: ModelIntegers) -> None:
    """A histogram speaks of its whole group only."""
    exact = integer_square(grouped, "layer.0.bias")
    statement = instance(grouped, boundary(grouped, ["layer.0.bias"], exact - 1), "layer.0.bias")
    assert failures(grouped, statement) == ["0/assert/cells"]
    together = sum(integer_square(grouped, f"layer.{i}.bias") for i in (0, 1))
    names = ["layer.0.bias", "layer.1.bias"]
    tensors = [tensor for tensor in grouped.manifest.tensors if tensor.name in names]
    root = Fraction(isqrt(together * 16**50), 4**50) * Fraction(2) ** -tensors[0].scale
    low = instance(grouped, decimal(rounding_margin(tensors) + root * Fraction(999, 1000)), "layer.*.bias")
    assert failures(grouped, low) == ["0/assert/cells", "0/assert/histograms"]
    high = instance(grouped, decimal(rounding_margin(tensors) + root * Fraction(1001, 1000)), "layer.*.bias")
    assert failures(grouped, high) == []


@given(
    exponents=st.lists(st.integers(-14, 14), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
    factor=st.sampled_from([0.5, 0.9, 0.999, 1.0, 1.0001, 1.01, 1.5]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
@settings(max_examples=25)
def test_what_passes_is_true_of_the_float_weights(exponents: list[int], seed: int, factor: float, dtype: Any) -> None:
    """On random models with scales up to 28 apart, added by rounding: what passes holds for the exact floats, and what
    holds with twice the margin and the rounding of the units to spare passes."""
    random = np.random.default_rng(seed)
    tensors = {"big": random.standard_normal((256, 256)).astype(np.float32)}
    for number, exponent in enumerate(exponents):
        values = np.ldexp(random.standard_normal((3, 5)), exponent if dtype != np.float16 else exponent // 2)
        tensors[f"small.{number}"] = values.astype(dtype)
    model = model_of(tensors)
    truth = sum(map(square, tensors.values()), Fraction(0))
    threshold = Fraction(float(truth) ** 0.5 * factor)
    text = decimal(threshold)
    statement = instance(model, text)
    passed = measured(model, statement).passed
    spec: NormSpec = statement.spec
    margin = rounding_margin(spec.tensors)
    if passed:
        assert truth <= Fraction(text) ** 2
    # |copy| <= |W| + margin, and rounding up adds at most one unit for each finer scale
    spare = Fraction(text) - 2 * margin
    units = (1 + len({tensor.scale for tensor in spec.tensors if tensor.scale > spec.scale})) * Fraction(
        4
    ) ** -spec.scale
    if spare > 0 and truth + units <= spare**2:
        assert passed


@given(seed=st.integers(0, 2**32), shift=st.integers(1, 10))
@settings(max_examples=15)
def test_finer_scales_are_rounded_up(seed: int, shift: int) -> None:
    """The integer that is compared: 4^(F - F_k) S_k exactly for coarser tensors, ceil(S / 4^(F_k - F)) for finer."""
    random = np.random.default_rng(seed)
    big = random.standard_normal((256, 256)).astype(np.float32) * 30
    fine = np.ldexp(random.standard_normal((4, 4)), -shift)
    model = model_of({"big": big, "fine": fine})
    spec: NormSpec = instance(model, "1" + "0" * 20).spec
    left = 0
    for tensor in model.manifest.tensors:
        exact = integer_square(model, tensor.name) * Fraction(4) ** (spec.scale - tensor.scale)
        left += -(-exact.numerator // exact.denominator)
    names = [tensor.name for tensor in model.manifest.tensors]
    assert failures(model, instance(model, boundary(model, names, left))) == []
    assert failures(model, instance(model, boundary(model, names, left - 1))) == [
        "0/assert/cells",
        "0/assert/histograms",
    ]


def test_scales_too_far_apart() -> None:
    model = model_of({"big": np.full((256, 256), 2.0**20, np.float32), "tiny": np.full((2, 2), 2.0**-40)})
    with pytest.raises(StatementError, match="too far apart"):
        instance(model, "1" + "0" * 12)
    assert len(norm_check("1" + "0" * 12).instances(Context(model.manifest))) == 2


def test_thresholds_below_the_rounding(grouped: ModelIntegers) -> None:
    tensor = next(tensor for tensor in grouped.manifest.tensors if tensor.name == GROUPED)
    margin = rounding_margin([tensor])
    with pytest.raises(StatementError, match="below the rounding"):
        instance(grouped, decimal(margin / 2), GROUPED)
    with pytest.raises(StatementError, match="below the rounding"):
        instance(grouped, "0", GROUPED)
    # at the margin itself only a copy of zeros could pass
    assert not measured(grouped, instance(grouped, decimal(margin + Fraction(1, 10**30)), GROUPED)).passed


def test_parameters_that_cannot_be(grouped: ModelIntegers) -> None:
    for text in ("-1", "1e3", "1.50", ""):
        with pytest.raises(PolicyError):
            norm_check(text).validate_values()
    with pytest.raises(PolicyError, match="near misses"):
        instance(grouped, "1", "layer.0.wieght")


def test_the_margin_is_that_of_the_rounding() -> None:
    """| |W| - |copy| | <= sqrt(sum delta_k^2 n_k), and worst cases come close."""
    values = np.full((256, 256), 1 + 2.0**-15, np.float64)
    model = model_of({"w": values})
    (tensor,) = model.manifest.tensors
    copy = np.ldexp(quantise(values, tensor.scale).astype(np.float64), -tensor.scale)
    margin = float(rounding_margin([tensor]))
    assert margin == pytest.approx(float(tensor.rounding_bound) * 256)
    error = abs(np.linalg.norm(values) - np.linalg.norm(copy))
    assert 0.9 * margin < error <= margin

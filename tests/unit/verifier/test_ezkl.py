"""Circuits, bundles and processes of the ezkl backend: with ezkl where it is installed, mostly without."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from circuits.checks.base import Context
from circuits.compiled import PolicyStatements
from circuits.errors import FormatError, VerificationError
from prover.backends.estimate import estimate
from prover.backends.ezkl import require_fit
from tests.checks.models import integers_of, write
from tests.support.ezkl import matrix, needs_ezkl, policy
from verifier.argument.field import K, P
from verifier.backends.ezkl.builder import build_circuit
from verifier.backends.ezkl.bundle import MAGIC, EzklBundle
from verifier.backends.ezkl.circuit import CHALLENGE_CELLS, FIELD, Circuit
from verifier.backends.ezkl.errors import (
    CircuitMismatchError,
    EzklBundleError,
    EzklFailedError,
    EzklMissingError,
    EzklStatementError,
    LinkError,
    ReferenceStringError,
)
from verifier.backends.ezkl.inputs import check_circuit
from verifier.backends.ezkl.keys import SETTINGS as SETTINGS_FILE
from verifier.backends.ezkl.keys import derived, require_settings
from verifier.backends.ezkl.link import Coefficients, monomials, quotients
from verifier.backends.ezkl.populations import LOWEST, shape_of_function
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import ReferenceString, generate
from verifier.backends.ezkl.verification import EzklStatement

VALUES = np.arange(-(1 << 15), 1 << 15)
BLANK = [0] * CHALLENGE_CELLS
CHECKS = {
    "frobenius-norm": 'check: frobenius-norm, tensors: "*", at_most: "6"',
    "max-abs": 'check: max-abs, tensors: "*", at_most: "3.5"',
    "max-abs of one": 'check: max-abs, tensors: "a", at_least: "0.5"',
    "mean": 'check: mean, tensors: "*", over: together, at_most: "2"',
    "variance": 'check: variance, tensors: "*", at_most: "3"',
    "sparsity": 'check: outlier-fraction, tensors: "a", tau: "2", at_most: "0.5"',
    "spectral-norm": 'check: spectral-norm, tensors: "*", at_most: "4"',
    "spectral-norm below": 'check: spectral-norm, tensors: "a", at_least: "0.5"',
    "together": 'check: frobenius-norm, tensors: "*", over: together, at_most: "9"',
}


def circuit(folder: Path, *checks: str, linked: bool = True) -> tuple[Circuit, PolicyStatements]:
    """The circuit of checks on a matrix and a vector in one histogram group each."""
    model = integers_of(write(folder / "m.safetensors", {"a": matrix(1, (3, 5)), "b": matrix(2, (1, 6))}))
    statements = PolicyStatements.of(policy(*checks), Context(model.manifest))
    return build_circuit(statements.program, model.manifest, linked), statements


def evaluated(function: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A function from its shape."""
    shape = shape_of_function(function)
    total = np.zeros(1 << 16, np.int64)
    for power, factor in shape.powers:
        total += factor * VALUES**power
    for start, factor in shape.steps:
        total += factor * (start <= VALUES)
    return total


@pytest.mark.parametrize(
    "function",
    [
        VALUES**2,
        -3 * VALUES**2 + 7 * VALUES - 5,
        VALUES,
        np.full(1 << 16, 9),
        (np.abs(VALUES) > 100).astype(np.int64),
        (VALUES == LOWEST).astype(np.int64),
        np.where(VALUES < 0, -2, 5),
    ],
)
def test_statistics_of_histograms_become_sums_over_weights_exactly(
    function: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    assert np.array_equal(evaluated(function), function)


@pytest.mark.parametrize("function", [VALUES**4 // 2**20, VALUES**3 // 8, VALUES % 2, VALUES * (VALUES - 1) // 2])
def test_other_statistics_are_refused_by_name(function: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    with pytest.raises(EzklStatementError, match="native argument"):
        shape_of_function(function)


def test_checks_that_ezkl_has_no_circuit_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EzklStatementError, match="native argument"):
        circuit(tmp_path, 'check: kurtosis, tensors: "*", at_most: "30"')


def test_tensors_too_large_for_any_circuit_are_refused_before_one_is_made(tmp_path: Path) -> None:
    model = integers_of(write(tmp_path / "m.safetensors", {"a": np.ones((1, (1 << 20) + 1), np.float32)}))
    statements = PolicyStatements.of(policy(CHECKS["frobenius-norm"]), Context(model.manifest))
    with pytest.raises(EzklStatementError, match="use native"):
        build_circuit(statements.program, model.manifest, True)


def test_statements_about_very_many_tensors_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    """Each would take a table of 65,536 cells; none is kept."""
    tensors = {f"t{i}": matrix(i, (1, 2)) for i in range(1_000)}
    model = integers_of(write(tmp_path / "m.safetensors", tensors))
    asked = policy('check: outlier-fraction, tensors: "*", tau: "0.5", at_most: "0.9"')
    statements = PolicyStatements.of(asked, Context(model.manifest))
    tracemalloc.start()
    try:
        with pytest.raises(EzklStatementError, match="use native"):
            build_circuit(statements.program, model.manifest, True)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_no_number_of_a_circuit_can_be_rounded(tmp_path: Path) -> None:
    """The model holds indices and shapes only, numbers are public inputs, and equal statements are equal bytes."""
    built, _ = circuit(tmp_path, *CHECKS.values())
    model = onnx.load_from_string(built.model)
    assert {one.data_type for one in model.graph.initializer} == {onnx.TensorProto.INT64}
    assert "Constant" not in {node.op_type for node in model.graph.node}
    assert any(constant >= 1 << 40 for constant in built.constants)
    assert len(set(built.constants)) == len(built.constants)
    assert circuit(tmp_path, *CHECKS.values())[0].digest == built.digest


def test_linked_and_unlinked_circuits_differ(tmp_path: Path) -> None:
    linked, _ = circuit(tmp_path, CHECKS["max-abs"])
    unlinked, _ = circuit(tmp_path, CHECKS["max-abs"], linked=False)
    assert linked.digest != unlinked.digest
    assert unlinked.link_cells == 0
    with pytest.raises(LinkError):
        unlinked.public(bytes(32), BLANK, [0])


def test_expected_instances_are_field_elements_and_end_with_what_is_disclosed(tmp_path: Path) -> None:
    built, _ = circuit(tmp_path, CHECKS["frobenius-norm"], linked=False)
    instances = built.instances(b"\xff" * 32, [5, *BLANK[1:]], [], [])
    assert all(0 <= cell < FIELD for cell in instances)
    assert instances[:3] == [(1 << 128) - 1, (1 << 128) - 1, 5]
    assert len(instances) == built.outputs
    assert instances[built.public_cells :] == [0] * (len(built.conditions) + len(built.zeros))


def test_combinations_agree_with_arithmetic_in_the_field() -> None:
    random = np.random.default_rng(3)
    shapes = [(3, 5), (1, 6), (4, 1)]

    def points(count: int) -> list[K]:
        return [K(tuple(int(x) for x in random.integers(0, P, 3, np.uint64))) for _ in range(count)]

    row, column, scale = points(2), points(3), points(3)
    matrices = [random.integers(-(1 << 15), 1 << 15, shape) for shape in shapes]
    coefficients = Coefficients.at(shapes, row, column, scale)
    expected = K((0, 0, 0))
    for z, values in zip(scale, matrices, strict=True):
        for (i, j), value in np.ndenumerate(values):
            expected = expected + z * monomials(row)[i] * monomials(column)[j] * int(value)
    found = coefficients.combination(matrices)
    assert K(tuple(c % P for c in found)) == expected
    mask = points(1)[0]
    total = expected + mask
    for own, m, t, q in zip(found, mask, total, quotients(found, mask, total), strict=True):
        assert own + m == t + P * q
    with pytest.raises(LinkError):
        quotients(found, mask, total + 1)


def test_estimates_refuse_what_would_not_fit(tmp_path: Path) -> None:
    built, _ = circuit(tmp_path, CHECKS["spectral-norm"])
    assert require_fit(built, Limits(600, 1 << 30)).rows > built.digits
    assert estimate(built).memory < 1 << 30
    with pytest.raises(EzklStatementError, match="native"):
        require_fit(built, Limits(600, 1 << 20))
    with pytest.raises(EzklStatementError, match="native"):
        require_fit(built, Limits(1e-3, 1 << 30))


# Bundles

COMMITMENT, POLICY, REFERENCE, SETTINGS, KEY = (bytes([i]) * 32 for i in range(5))
BUNDLE = EzklBundle(COMMITMENT, POLICY, REFERENCE, SETTINGS, KEY, b"n" * 16, (5, -(1 << 63)), b"proof", b"link")


def test_bundles_are_read_back() -> None:
    assert EzklBundle.from_bytes(BUNDLE.to_bytes()) == BUNDLE


def test_every_truncation_and_every_extension_is_malformed() -> None:
    data = BUNDLE.to_bytes()
    for size in range(len(data)):
        with pytest.raises(EzklBundleError):
            EzklBundle.from_bytes(data[:size])
    with pytest.raises(EzklBundleError, match="trailing"):
        EzklBundle.from_bytes(data + b"\0")
    assert issubclass(EzklBundleError, FormatError)


def test_announced_sizes_are_capped_before_anything_is_read() -> None:
    head = MAGIC + bytes(160)
    with pytest.raises(EzklBundleError, match="nonce"):
        EzklBundle.from_bytes(head + b"\xff\xff")
    with pytest.raises(EzklBundleError, match="disclosed"):
        EzklBundle.from_bytes(head + b"\0\0" + b"\xff" * 4)
    with pytest.raises(EzklBundleError, match="proof"):
        EzklBundle.from_bytes(head + b"\0\0" + bytes(4) + b"\xff" * 4)


# Reference strings and processes


def test_files_that_are_no_reference_string_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "srs"
    for content in (b"", b"\x0a\0\0\0", b"\xff" * 100, (10).to_bytes(4, "little") + bytes((128 << 10) + 255)):
        path.write_bytes(content)
        with pytest.raises(ReferenceStringError):
            ReferenceString.open(path)
    with pytest.raises(ReferenceStringError, match="cannot read"):
        ReferenceString.open(tmp_path / "none")
    with pytest.raises(ReferenceStringError, match="exists"):
        generate(path, 10)


@needs_ezkl
def test_reference_strings_that_would_show_single_weights_are_refused(tmp_path: Path) -> None:
    """A secret that is a root of unity makes two powers equal up to sign, also in a string longer than is needed."""
    honest = generate(tmp_path / "srs", 6)
    data = honest.path.read_bytes()
    assert ReferenceString.open(honest.path) == honest
    first, point = data[4:68], 64
    other_sign = first[:32] + data[4 + point + 32 : 4 + 2 * point]
    for level in range(6):
        at = 4 + (point << level)
        for forged in (first, other_sign, bytes(64), b"\xff" * 64):
            (tmp_path / "forged").write_bytes(data[:at] + forged + data[at + point :])
            with pytest.raises(ReferenceStringError, match="root of unity"):
                ReferenceString.open(tmp_path / "forged")


@pytest.mark.skipif(find_spec("ezkl") is not None, reason="ezkl is installed")
def test_without_ezkl_the_error_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(EzklMissingError, match=r"weightproof\[ezkl\]"):
        generate(tmp_path / "srs", 4)


@needs_ezkl
def test_failures_of_ezkl_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    job = Job(Limits(60, 2 << 30)).add("compile_circuit", a=tmp_path / "model.onnx", b=tmp_path / "x", c=tmp_path / "y")
    with pytest.raises(EzklFailedError):
        job.run()
    with pytest.raises(EzklFailedError, match="stopped after"):
        Job(Limits(0.2, 2 << 30)).add("gen_srs", path=tmp_path / "srs", log_rows=18).run()
    with pytest.raises(EzklFailedError, match="stopped at"):
        Job(Limits(60, 1 << 20)).add("gen_srs", path=tmp_path / "srs", log_rows=16).run()


@needs_ezkl
def test_seconds_are_those_of_all_jobs_together_once_they_run() -> None:
    limits = Limits(30).started()
    assert limits.started() == limits != Limits(30).started()
    late = Limits(30, deadline=time.monotonic() - 1)
    with pytest.raises(EzklFailedError, match="stopped after 30 s"):
        Job(late).add("gen_srs", path=Path("/nonexistent"), log_rows=20).run()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceString:
    return generate(tmp_path_factory.mktemp("srs") / "srs", 12)


@needs_ezkl
@pytest.mark.parametrize(
    "name", [n if n in ("frobenius-norm", "max-abs") else pytest.param(n, marks=pytest.mark.slow) for n in CHECKS]
)
def test_ezkl_computes_what_exact_evaluation_does(tmp_path: Path, reference: ReferenceString, name: str) -> None:
    """On random integers in range, whether the statement holds for them or not."""
    built, statements = circuit(tmp_path, CHECKS[name])
    limits = Limits(300, 4 << 30)
    with derived(built, reference, limits, proving=False) as keys:
        check_circuit(built, statements.program, statements.context.manifest, keys, limits)
    assert abs(estimate(built).rows - keys.rows) <= keys.rows // 10
    assert estimate(built).log_rows == keys.log_rows


def with_another_operator(model: bytes, number: int) -> bytes:
    """The same model, but one sum is a difference, one difference a sum or one product a sum."""
    changed = onnx.load_from_string(model)
    nodes = [node for node in changed.graph.node if node.op_type in OTHER]
    node = nodes[number * len(nodes) // MUTANTS]
    node.op_type = OTHER[node.op_type]
    return bytes(changed.SerializeToString())


OTHER, MUTANTS = {"Add": "Sub", "Sub": "Add", "Mul": "Add"}, 12


@needs_ezkl
@pytest.mark.parametrize(
    "number", [n if n in (0, 11) else pytest.param(n, marks=pytest.mark.slow) for n in range(MUTANTS)]
)
def test_a_circuit_that_computes_something_else_is_noticed(
    tmp_path: Path, reference: ReferenceString, number: int
) -> None:
    """Wherever the operator stands: in the statement, in a range check, in the link."""
    built, statements = circuit(tmp_path, CHECKS["max-abs"], CHECKS["frobenius-norm"])
    other = replace(built, model=with_another_operator(built.model, number))
    limits = Limits(300, 4 << 30)
    with derived(other, reference, limits, proving=False) as keys, pytest.raises(CircuitMismatchError):
        check_circuit(built, statements.program, statements.context.manifest, keys, limits)


def with_weaker_bounds(model: bytes) -> bytes:
    """The same model, but a bound is shown by rest times limb instead of rest squared: 0 for every honest prover."""
    changed = onnx.load_from_string(model)
    made = {node.output[0]: node for node in changed.graph.node}
    for node in changed.graph.node:
        if node.op_type == "Einsum" and node.input[0] == node.input[1]:
            rest = made[node.input[0]]
            inner = made.get(rest.input[0])
            if rest.op_type == "Sub" and inner is not None and inner.op_type == "Add":
                node.input[1] = inner.input[0]
                return bytes(changed.SerializeToString())
    raise AssertionError("the circuit has no bounded limb")


@needs_ezkl
def test_a_condition_that_only_liars_would_see_is_compared_too(tmp_path: Path, reference: ReferenceString) -> None:
    built, statements = circuit(tmp_path, CHECKS["frobenius-norm"], linked=False)
    limits = Limits(300, 4 << 30)
    weaker = replace(built, model=with_weaker_bounds(built.model))
    with derived(weaker, reference, limits, proving=False) as keys, pytest.raises(CircuitMismatchError):
        check_circuit(built, statements.program, statements.context.manifest, keys, limits)


def test_disclosed_integers_are_as_many_as_asked_for_and_in_their_interval(tmp_path: Path) -> None:
    """More of them would take the places of conditions in the output."""
    model = integers_of(write(tmp_path / "m.safetensors", {"a": matrix(1, (25, 40))}))
    statements = PolicyStatements.of(policy('check: mean, tensors: "*", disclose: true'), Context(model.manifest))
    built = build_circuit(statements.program, model.manifest, linked=False)
    statement = EzklStatement(statements, None, built)  # type: ignore[arg-type]
    ((atom, size),) = built.published
    statement.require_disclosed([atom.high] * size)
    for wrong in ([], [0] * (size + 1), [atom.high + 1] * size, [atom.low - 1] * size):
        with pytest.raises(VerificationError, match="disclose"):
            statement.require_disclosed(wrong)


@needs_ezkl
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("required_range_checks", [[-1, 1]]),
        ("required_lookups", ["Abs"]),
        ("num_dynamic_lookups", 1),
        ("run_args", {"disable_freivalds": False}),
        ("run_args", {"input_visibility": "Private"}),
        ("run_args", {"decomp_base": 65536}),
    ],
)
def test_settings_under_which_ezkl_would_show_something_else_are_refused(
    tmp_path: Path, reference: ReferenceString, name: str, value: object
) -> None:
    built, _ = circuit(tmp_path, CHECKS["max-abs"])
    with derived(built, reference, Limits(300, 4 << 30), proving=False, cache=tmp_path / "keys") as keys:
        content = json.loads(keys.path(SETTINGS_FILE).read_bytes())
    require_settings(content, built, keys.log_rows)
    content[name] = {**content[name], **value} if isinstance(value, dict) else value
    with pytest.raises(EzklStatementError, match="read the statement differently"):
        require_settings(content, built, keys.log_rows)


@needs_ezkl
def test_two_derivations_give_one_key(tmp_path: Path, reference: ReferenceString) -> None:
    """In processes of their own: ezkl lists what it needs as its hash tables happen to hold it."""
    built, _ = circuit(tmp_path, CHECKS["max-abs"])
    found = set()
    for _ in range(3):
        with derived(built, reference, Limits(300, 4 << 30), proving=False) as keys:
            found.add((keys.settings_sha256, keys.key_sha256, keys.log_rows))
    assert len(found) == 1


@needs_ezkl
@pytest.mark.slow
def test_disclosed_integers_are_outputs(tmp_path: Path, reference: ReferenceString) -> None:
    model = integers_of(write(tmp_path / "m.safetensors", {"a": matrix(1, (25, 40))}))
    asked = policy('check: mean, tensors: "*", disclose: true')
    statements = PolicyStatements.of(asked, Context(model.manifest))
    built = build_circuit(statements.program, model.manifest, linked=False)
    assert built.published
    limits = Limits(300, 4 << 30)
    with derived(built, reference, limits, proving=False) as keys:
        check_circuit(built, statements.program, model.manifest, keys, limits)
    hidden = len(built.conditions) + len(built.zeros)
    disclosed = [-7] * (built.outputs - built.public_cells - hidden)
    assert built.instances(bytes(32), BLANK, [], disclosed)[-1] == FIELD - 7


def test_the_base_install_does_not_load_ezkl() -> None:
    source = "import sys, verifier.cli; print('ezkl' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

"""Every kernel of the fast implementation against the reference, and both against fixed points and hashlib."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prover.argument.kernels.cpu import CpuKernels, needs_compilation
from prover.argument.kernels.interface import Codeword, DigestTree, Gates, Kernels, Layer, Leaves
from prover.argument.kernels.reference import ReferenceKernels
from tests.unit.prover.kernel_inputs import Inputs, runs
from verifier.argument.field import ONE, ZERO, K, P, k_array, root_of_unity

REFERENCE = ReferenceKernels()
# Few threads are enough to cut work into chunks, and more than one whatever the host.
CPU = CpuKernels(threads=3)

Source = Layer | Gates | tuple[Leaves, int]


def assert_equal(found: Any, expected: Any) -> None:
    """Equal arrays, of the same shape."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert (found == expected).all()


# ---------------------------------------------------------------- fixed points of protocol.md, section 10


@pytest.mark.parametrize("kernels", [REFERENCE, CPU], ids=lambda kernels: kernels.name)
def test_transform_of_one_to_eight_is_the_published_one(kernels: Kernels) -> None:
    cells = kernels.upload(np.arange(1, 9, dtype=np.int32).reshape(1, 8))
    values = kernels.columns(kernels.encode(cells, None, 3), range(8))[:, 0]
    assert [f"{int(x):x}" for x in values] == [
        "24", "fffc03ff03fffbfd", "fffbfffefffffffd", "4040003fffbfc",
        "fffffffefffffffd", "fffbfbfefc0003fd", "3fffffffffffc", "3fbfffc0003fc",
    ]  # fmt: skip


def test_roots_of_unity_are_the_published_ones() -> None:
    assert root_of_unity(2**32) == 0x185629DCDA58878C
    assert root_of_unity(8) == 0xFFFFFFFEFF000001


@pytest.mark.parametrize("kernels", [REFERENCE, CPU], ids=lambda kernels: kernels.name)
def test_product_in_k_is_the_published_one(kernels: Kernels) -> None:
    a, b = k_array([K((1, 2, 3))]), k_array([K((P - 1, 5, 7))])
    assert kernels.dot(kernels.upload(a), kernels.upload(b)) == K((28, 53, 35))


# ---------------------------------------------------------------- commitment

SHAPES = [(1, 1, 0, 0), (3, 5, 2, 3), (4, 7, 1, 3), (9, 20, 0, 5), (13, 100, 3, 7), (20, 60, 4, 6), (8, 128, 0, 8)]


@pytest.mark.parametrize(("rows", "columns", "tail", "log_n"), SHAPES)
@pytest.mark.parametrize("kind", ["integers", "elements"])
def test_encode(rows: int, columns: int, tail: int, log_n: int, kind: str) -> None:
    inputs = Inputs(rows)
    cells = inputs.cells(rows, columns, kind)
    tails = inputs.elements(rows, tail) if tail else None
    found = CPU.encode(CPU.upload(cells), tails, log_n)
    expected = REFERENCE.encode(cells, tails, log_n)
    assert (found.rows, found.log_n) == (rows, log_n)
    positions = list(range(1 << log_n))
    assert_equal(CPU.columns(found, positions), REFERENCE.columns(expected, positions))


def test_encode_refuses_too_many_coefficients() -> None:
    for kernels in (CPU, REFERENCE):
        with pytest.raises(ValueError, match="do not fit"):
            kernels.encode(np.zeros((1, 5), np.int32), None, 2)


@pytest.mark.parametrize(("log_n", "rows"), [(13, 3), (14, 9), (17, 5)])
def test_long_transforms_agree_with_horner(log_n: int, rows: int) -> None:
    """Lengths that are cut into strided passes and blocks."""
    inputs = Inputs(log_n)
    columns = (1 << log_n) // 2 + 5
    cells, tails = inputs.cells(rows, columns, "integers"), inputs.elements(rows, 11)
    codeword = CPU.encode(cells, tails, log_n)
    positions = [0, 1, (1 << log_n) - 1, inputs.integer(0, 1 << log_n)]
    found = CPU.columns(codeword, positions)
    for k, position in enumerate(positions):
        x = pow(root_of_unity(1 << log_n), position, P)
        for row in (0, rows - 1):
            value = 0
            for coefficient in reversed(cells[row].tolist() + tails[row].tolist()):
                value = (value * x + coefficient) % P
            assert int(found[k, row]) == value


def test_two_strided_passes_agree_with_one_transform_of_a_monomial() -> None:
    """2^24 points need two strided passes: the transform of X^e is the list of powers of w^e."""
    log_n, exponent, length = 24, 11_111_111, 1000
    found = CPU.power_sums([exponent], [ONE], log_n, length)
    step, value = pow(root_of_unity(1 << log_n), exponent, P), 1
    for k in range(length):
        assert int(found[0, k]) == value
        value = value * step % P
    assert not found[1:].any()


def test_codewords_above_the_memory_limit_live_in_files(tmp_path: Path) -> None:
    cells = Inputs(1).cells(11, 60, "weights")
    on_disk = CpuKernels(threads=2, memory_limit=1000, scratch_directory=tmp_path).encode(cells, None, 7)
    assert list(tmp_path.iterdir()) == []  # without a name: the space is free as soon as the codeword is
    positions = list(range(128))
    assert_equal(CPU.columns(on_disk, positions), CPU.columns(CPU.encode(cells, None, 7), positions))


@pytest.mark.parametrize("salted", [False, True])
@pytest.mark.parametrize(("log_n", "rows"), [(0, 1), (1, 6), (4, 9), (7, 17), (8, 3)])
def test_hash_columns(log_n: int, rows: int, salted: bool) -> None:
    inputs = Inputs(log_n)
    columns = max(1, (1 << log_n) // 2)
    parts = [inputs.cells(rows, columns, "weights"), inputs.cells(2, columns, "elements")]
    salts = inputs.salts(1 << log_n) if salted else None
    label = 0x89ABCDEF
    found = CPU.hash_columns([CPU.encode(part, None, log_n) for part in parts], label, salts)
    expected = REFERENCE.hash_columns([REFERENCE.encode(part, None, log_n) for part in parts], label, salts)
    nodes = range(1, 2 << log_n)
    assert found.log_n == log_n
    assert found.root == expected.root
    assert found.digests(nodes) == expected.digests(nodes)


@pytest.mark.parametrize("rows", range(1, 20))
def test_every_length_of_a_leaf_is_padded_as_in_fips_180_4(rows: int) -> None:
    """Leaves of 13 + 8 rows bytes: all positions of the padding relative to the blocks."""
    cells = Inputs(rows).cells(rows, 2, "elements")
    codeword = CPU.encode(cells, None, 1)
    tree = CPU.hash_columns([codeword], 7, None)
    for j, column in enumerate(CPU.columns(codeword, [0, 1])):
        message = b"\0" + struct.pack(f"<IQ{rows}Q", 7, j, *column.tolist())
        assert tree.digests([2 + j]) == [hashlib.sha256(message).digest()]


def check_nodes(tree: DigestTree) -> None:
    """Node = SHA-256(01 || left || right), as in RFC 6962, section 2.1."""
    for node in range(1, 1 << tree.log_n):
        left, right = tree.digests([2 * node, 2 * node + 1])
        assert tree.digests([node]) == [hashlib.sha256(b"\x01" + left + right).digest()]


def test_nodes_are_hashed_as_in_rfc_6962() -> None:
    codeword = CPU.encode(Inputs(3).cells(2, 300, "weights"), None, 9)
    check_nodes(CPU.hash_columns([codeword], 0, None))


def test_hash_columns_refuses_codewords_of_two_lengths() -> None:
    cells = np.ones((1, 1), np.int32)
    words: list[Codeword] = [CPU.encode(cells, None, log_n) for log_n in (1, 2)]
    with pytest.raises(ValueError, match="one length"):
        CPU.hash_columns(words, 0, None)


# ---------------------------------------------------------------- linear maps of cells

KINDS = ["weights", "integers", "counts", "elements"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (5, 600), (9, 33)])
def test_fold_rows(rows: int, columns: int, kind: str) -> None:
    inputs = Inputs(rows)
    cells, weights = inputs.cells(rows, columns, kind), inputs.scalars(rows)
    assert_equal(CPU.fold_rows(cells, weights), REFERENCE.fold_rows(cells, weights))


@pytest.mark.parametrize("kind", ["weights", "integers"])
def test_fold_of_many_extreme_rows_does_not_overflow(kind: str) -> None:
    value = -32768 if kind == "weights" else -(2**31)
    rows = 40_000
    weight = K((P - 1, P - 2**32, 2**32 - 1))
    found = CPU.fold_rows(np.full((rows, 2), value, np.int32), [weight] * rows)
    assert_equal(found, k_array([weight * (value * rows)] * 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "columns", "start", "stop", "log_piece"),
    [
        (1, 1, 0, 1, 0),
        (2, 5, 1, 4, 0),
        (3, 64, 0, 64, 4),
        (2, 70, 6, 70, 5),
        (2, 5000, 512, 4608, 12),
        (3, 66, 2, 66, 3),
    ],
)
def test_bind_columns(rows: int, columns: int, start: int, stop: int, log_piece: int, kind: str) -> None:
    inputs = Inputs(columns)
    cells, table = inputs.cells(rows, columns, kind), inputs.vector(1 << log_piece)
    expected = REFERENCE.bind_columns(cells, start, stop, table)
    assert_equal(CPU.bind_columns(CPU.upload(cells), start, stop, table), expected)


def test_bind_of_long_extreme_pieces_does_not_overflow() -> None:
    weight = K((P - 1, P - 2**32, 2**32 - 1))
    count = 1 << 17
    table = np.repeat(k_array([weight]), count, axis=1)
    for value in (-32768, -(2**31), 2**31 - 1):
        found = CPU.bind_columns(np.full((1, count), value, np.int32), 0, count, table)
        assert_equal(found, k_array([weight * (value * count)]))


def test_histogram() -> None:
    cells = Inputs(5).cells(7, 50, "weights")
    found, expected = np.ones(65536, np.int64), np.ones(65536, np.int64)
    CPU.histogram(cells, 3, 340, found)
    REFERENCE.histogram(cells, 3, 340, expected)
    assert_equal(found, expected)


@pytest.mark.parametrize("value", [-32769, 32768, 2**31 - 1])
def test_histogram_refuses_values_outside(value: int) -> None:
    cells = np.array([[1, value, 2]], np.int32)
    for kernels in (CPU, REFERENCE):
        with pytest.raises(ValueError, match="outside"):
            kernels.histogram(cells, 0, 3, np.zeros(65536, np.int64))


def test_read_only_cells_are_used_where_they_are() -> None:
    cells = np.arange(12, dtype=np.int32).reshape(3, 4)
    cells.setflags(write=False)
    uploaded = CPU.upload(cells)
    assert np.shares_memory(uploaded, cells)
    weights = Inputs(1).scalars(3)
    assert_equal(CPU.fold_rows(uploaded, weights), REFERENCE.fold_rows(cells, weights))


# ---------------------------------------------------------------- vectors over K


@pytest.mark.parametrize("variables", [0, 1, 5, 15])
def test_product_table(variables: int) -> None:
    inputs = Inputs(variables)
    factors = [(inputs.scalar(), inputs.scalar()) for _ in range(variables)]
    scale = inputs.scalar()
    assert_equal(CPU.product_table(factors, scale), REFERENCE.product_table(factors, scale))


@pytest.mark.parametrize("count", [1, 2, 77, 30_000])
def test_sums_of_vectors(count: int) -> None:
    inputs = Inputs(count)
    target, values, scale = inputs.vector(count + 3), inputs.vector(count), inputs.scalar()
    assert CPU.dot(target, values) == REFERENCE.dot(target, values)
    for kernels in (CPU, REFERENCE):
        assert not kernels.zeros(count).any()
    found, expected = target.copy(), target.copy()
    CPU.add_into(found, 2, values)
    REFERENCE.add_into(expected, 2, values)
    assert_equal(found, expected)
    CPU.axpy(found, scale, values)
    REFERENCE.axpy(expected, scale, values)
    assert_equal(found, expected)


def test_sums_refuse_values_beyond_the_target() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        CPU.add_into(CPU.zeros(3), 2, CPU.zeros(2))
    with pytest.raises(ValueError, match="do not fit"):
        CPU.axpy(CPU.zeros(3), ONE, CPU.zeros(4))


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (7, 3), (8, 4), (5, 9)])
def test_split_rows(count: int, columns: int) -> None:
    vector = Inputs(count).vector(count)
    assert_equal(CPU.split_rows(vector, columns), REFERENCE.split_rows(vector, columns))


@pytest.mark.parametrize(("log_n", "length"), [(0, 1), (3, 8), (6, 41)])
def test_power_sums(log_n: int, length: int) -> None:
    inputs = Inputs(log_n)
    positions = [inputs.integer(0, 1 << log_n) for _ in range(5)] + [0, 0]
    scales = inputs.scalars(len(positions))
    expected = REFERENCE.power_sums(positions, scales, log_n, length)
    assert_equal(CPU.power_sums(positions, scales, log_n, length), expected)


@pytest.mark.parametrize("block", [1, 2, 5, 300, 2000])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 601, 1201])
def test_product_sumcheck(count: int, block: int) -> None:
    inputs = Inputs(count)
    a, b, challenge = inputs.vector(count), inputs.vector(count), inputs.scalar()
    x, y = (inputs.cells(1, count, kind)[0] for kind in ("integers", "weights"))
    for first, second in ((a, b), (a, a), (x, y), (x, x)):
        expected = REFERENCE.product_messages(first, second, block)
        assert CPU.product_messages(first, second, block) == expected
    for vector in (a, x):
        assert_equal(CPU.product_bind(vector, challenge, block), REFERENCE.product_bind(vector, challenge, block))


def test_long_product_sumcheck_in_chunks() -> None:
    inputs = Inputs(8)
    a, b, challenge = inputs.vector(20_001), inputs.vector(20_001), inputs.scalar()
    assert CPU.product_messages(a, b, 1) == REFERENCE.product_messages(a, b, 1)
    assert_equal(CPU.product_bind(a, challenge, 1), REFERENCE.product_bind(a, challenge, 1))


@pytest.mark.parametrize("log_low", [0, 2, 9])
@pytest.mark.parametrize("count", [1, 2, 7, 64, 1201])
def test_weighted_product_sumcheck(count: int, log_low: int) -> None:
    inputs = Inputs(count)
    a, b = inputs.vector(count), inputs.vector(count)
    low, high = inputs.vector(1 << log_low), inputs.vector(-(-((count + 1) // 2) >> log_low))
    assert CPU.weighted_messages(a, b, low, high) == REFERENCE.weighted_messages(a, b, low, high)
    assert CPU.weighted_messages(a, a, low, high) == REFERENCE.weighted_messages(a, a, low, high)


# ---------------------------------------------------------------- fraction trees

TREES = {
    "one leaf": (1, [(0, 1, 3)]),
    "all unused but the last": (9, [(8, 9, 3)]),
    "odd, with a gap": (7, [(1, 2, 3), (4, 7, 2**32 - 2)]),
    "one tile": (1024, [(0, 1024, 9)]),
    "two groups that meet inside a tile": (3000, [(0, 1500, 1), (1500, 2999, 2)]),
    "gaps of whole tiles and a group that meets itself": (6200, [(0, 2000, 0), (2000, 2048, 0), (5121, 6199, 7)]),
    "one group of many tiles": (5000, [(0, 5000, 5)]),
}


def eq_factors(inputs: Inputs, pairs: int) -> tuple[Any, Any]:
    """Random factors for that many pairs, low ones shorter and longer than a tile."""
    log_low = inputs.integer(0, 9)
    return inputs.vector(1 << log_low), inputs.vector(max(1, -(-pairs >> log_low)))


def check_rounds(source: Source, expected_source: Source, gates: int, inputs: Inputs, lam: K) -> None:
    """All rounds of one layer, under random challenges."""
    eq = eq_factors(inputs, (gates + 1) // 2)
    assert CPU.gate_messages(source, lam, *eq) == REFERENCE.gate_messages(expected_source, lam, *eq)
    while gates > 1:
        gates = (gates + 1) // 2
        next_eq = eq_factors(inputs, (gates + 1) // 2) if gates > 1 else None
        challenge = inputs.scalar()
        source, messages = CPU.gate_bind(source, lam, challenge, next_eq)
        expected_source, expected = REFERENCE.gate_bind(expected_source, lam, challenge, next_eq)
        assert messages == expected
        assert source.count == expected_source.count == gates
    if isinstance(source, Gates) and isinstance(expected_source, Gates):
        assert_equal(CPU.download(source.tables), expected_source.tables)


@pytest.mark.parametrize("stored", [1 << 14, 0], ids=["stored", "recomputed"])
@pytest.mark.parametrize("name", TREES)
def test_fraction_tree(name: str, stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.argument.kernels.cpu.fractions.STORED", stored)
    count, intervals = TREES[name]
    inputs = Inputs(count)
    cells = inputs.cells(1, count + 3, "integers")
    alpha, lam = inputs.scalar(), inputs.scalar()
    found = CPU.cell_leaves(cells, runs(*intervals), alpha)
    expected = REFERENCE.cell_leaves(cells, runs(*intervals), alpha)
    assert found.count == expected.count == intervals[-1][1]
    check_rounds((found, 0), (expected, 0), (found.count + 1) // 2, inputs, lam)
    check_rounds((found, 1), (expected, 1), (found.count + 3) // 4, inputs, lam)
    layer, expected_layer = CPU.leaf_layer(found), REFERENCE.leaf_layer(expected)
    while True:
        assert layer.count == expected_layer.count
        assert_equal(layer.p, expected_layer.p)
        assert_equal(layer.q, expected_layer.q)
        if layer.count == 1:
            break
        check_rounds(layer, expected_layer, (layer.count + 1) // 2, inputs, lam)
        layer, expected_layer = CPU.next_layer(layer), REFERENCE.next_layer(expected_layer)


def test_a_single_gate_is_bound_with_the_gate_of_unused_leaves() -> None:
    """Variables beyond the prefix: the count stays 1."""
    inputs = Inputs(12)
    p, q = inputs.vector(1), inputs.vector(1)
    lam, challenge, eq = inputs.scalar(), inputs.scalar(), (inputs.vector(2), inputs.vector(1))
    layer = CPU.next_layer(Layer(p, q, 1))
    assert_equal(layer.p, p)
    assert_equal(layer.q, q)
    found, messages = CPU.gate_bind(layer, lam, challenge, eq)
    expected, expected_messages = REFERENCE.gate_bind(layer, lam, challenge, eq)
    assert found.count == expected.count == 1
    assert messages == expected_messages
    assert_equal(CPU.download(found.tables), expected.tables)


def test_the_root_of_a_tree_is_the_sum_of_its_leaves() -> None:
    inputs = Inputs(11)
    alpha, cells = inputs.scalar(), inputs.cells(1, 3000, "weights")
    layer = CPU.leaf_layer(CPU.cell_leaves(cells, runs((5, 2995, 4)), alpha))
    while layer.count > 1:
        layer = CPU.next_layer(layer)
    expected = sum(((alpha - K((int(x) % P, 0, 4))).inverse() for x in cells[0, 5:2995]), start=ZERO)
    p, q = (K(int(x) for x in CPU.download(part)[:, 0]) for part in (layer.p, layer.q))
    assert p == expected * q


def test_an_empty_set_of_runs_has_no_leaves() -> None:
    empty = runs((0, 1, 0))
    nothing = type(empty)(empty.start[:0], empty.stop[:0], empty.group[:0])
    for kernels in (CPU, REFERENCE):
        assert kernels.cell_leaves(np.zeros((1, 4), np.int32), nothing, ONE).count == 0


# ---------------------------------------------------------------- compilation


def test_compilation_is_remembered() -> None:
    CpuKernels.compile()
    assert not needs_compilation()

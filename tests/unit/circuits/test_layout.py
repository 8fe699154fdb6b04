"""The layout against a slow, obvious version, and its promises: no gaps, alignment, one cell per weight."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import StatementError
from circuits.layout import Layout
from circuits.manifest import TABLE, Manifest, TensorEntry, assign_groups


def manifest_of(shapes: Mapping[str, tuple[int, ...]], scales: Mapping[str, int] | None = None) -> Manifest:
    """A manifest with these tensors, of scale 10 unless said otherwise."""
    names = sorted(shapes)
    chosen = [(scales or {}).get(name, 10) for name in names]
    groups = assign_groups([int(np.prod(shapes[name])) for name in names], chosen)
    entries = [
        TensorEntry(name, shapes[name], "float32", scale, group)
        for name, scale, group in zip(names, chosen, groups, strict=True)
    ]
    return Manifest(tuple(entries), (), {}, {})


class Reference(NamedTuple):
    """One block of the slow version; sorting these tuples gives the order."""

    minus_size: int
    kind: int
    owner: bytes | int
    row0: int
    col0: int
    rows: int
    columns: int


def reference_order(manifest: Manifest) -> list[Reference]:
    blocks = []
    for tensor in manifest.tensors:
        rows, columns = tensor.matrix_shape
        row0 = 0
        for row_bit in (1 << bit for bit in range(31, -1, -1) if rows >> bit & 1):
            col0 = 0
            for col_bit in (1 << bit for bit in range(31, -1, -1) if columns >> bit & 1):
                blocks.append(Reference(-row_bit * col_bit, 0, tensor.name.encode(), row0, col0, row_bit, col_bit))
                col0 += col_bit
            row0 += row_bit
    blocks += [Reference(-TABLE, 1, group, 0, 0, 1, TABLE) for group in range(len(manifest.groups))]
    return sorted(blocks)


SHAPES = st.dictionaries(
    st.text(st.sampled_from("ab.é\U0001f600\uffee"), min_size=1, max_size=6),
    st.lists(st.integers(1, 21), max_size=3).map(tuple) | st.tuples(st.integers(1, 300), st.integers(200, 700)),
    min_size=1,
    max_size=6,
)


@given(SHAPES, st.data())
def test_layout_equals_the_slow_version(shapes: dict[str, tuple[int, ...]], data: st.DataObject) -> None:
    small = sum(int(np.prod(shape)) for shape in shapes.values()) < TABLE
    scales = dict.fromkeys(shapes, 3) if small else {name: data.draw(st.integers(3, 5)) for name in shapes}
    manifest = manifest_of(shapes, scales)
    layout = Layout(manifest)
    address = 0
    runs: list[list[int]] = []
    group_of = {tensor.name.encode(): tensor.group for tensor in manifest.tensors}
    for index, block in enumerate(reference_order(manifest)):
        size = -block.minus_size
        assert address % size == 0
        assert layout.blocks.address[index] == address
        found = tuple(int(column[index]) for column in layout.blocks[2:6])
        assert found == (block.row0, block.col0, block.rows.bit_length() - 1, block.columns.bit_length() - 1)
        if isinstance(block.owner, int):
            assert layout.blocks.tensor[index] == -1
            assert layout.histogram_address(block.owner) == address
            runs.append([-1, -1, -1])
        else:
            group = group_of[block.owner]
            assert manifest.tensors[int(layout.blocks.tensor[index])].name.encode() == block.owner
            assert layout.blocks.group[index] == group
            if runs and runs[-1][2] == group:
                runs[-1][1] = address + size
            else:
                runs.append([address, address + size, group])
        address += size
    assert layout.entries == address
    expected = [run for run in runs if run[2] >= 0]
    assert np.stack(layout.runs, axis=1).tolist() == expected
    assert layout.runs.start.dtype == np.int64


@given(SHAPES)
def test_every_weight_has_one_cell_and_comes_back(shapes: dict[str, tuple[int, ...]]) -> None:
    manifest = manifest_of(shapes)
    layout = Layout(manifest)
    flat = np.full(layout.entries, -1, dtype=np.int32)
    number = 0
    for tensor in manifest.tensors:
        values = np.arange(number, number + tensor.entries, dtype=np.int32)
        layout.scatter(flat, tensor.name, values.reshape(tensor.shape))
        number += tensor.entries
    written = flat[flat >= 0]
    assert written.size == number == np.unique(written).size == layout.group_sizes.sum()
    in_runs = np.concatenate(
        [flat[start:stop] for start, stop in zip(layout.runs.start, layout.runs.stop, strict=True)]
    )
    assert np.array_equal(in_runs, written)
    number = 0
    for tensor in manifest.tensors:
        matrix = layout.gather(flat, tensor.name)
        assert matrix.shape == tensor.matrix_shape
        assert np.array_equal(matrix.reshape(-1), np.arange(number, number + tensor.entries))
        number += tensor.entries


def test_blocks_of_a_768_by_5_matrix() -> None:
    layout = Layout(manifest_of({"w": (768, 5)}))
    blocks = layout.tensor_blocks("w")
    assert [block[:4] for block in blocks] == [(0, 0, 9, 2), (0, 4, 9, 0), (512, 0, 8, 2), (512, 4, 8, 0)]
    assert [block.address - TABLE for block in blocks] == [0, 3072, 2048, 3584]  # the histogram is larger: first
    assert layout.histogram_address(0) == 0
    assert layout.entries == TABLE + 768 * 5


def test_a_tensor_block_precedes_a_histogram_of_its_size() -> None:
    layout = Layout(manifest_of({"w": (256, 256), "x": (3,)}))
    assert layout.tensor_blocks("w")[0].address == 0
    assert [layout.histogram_address(group) for group in (0, 1)] == [TABLE, 2 * TABLE]
    assert np.stack(layout.runs).T.tolist() == [[0, TABLE, 0], [3 * TABLE, 3 * TABLE + 3, 1]]


def test_scalars_vectors_and_five_dimensions_are_matrices() -> None:
    layout = Layout(manifest_of({"five": (2, 3, 1, 2, 7), "scalar": (), "vector": (6,)}))
    assert layout.tensor_blocks("scalar")[0][:4] == (0, 0, 0, 0)
    assert [block[:4] for block in layout.tensor_blocks("vector")] == [(0, 0, 0, 2), (0, 4, 0, 1)]
    assert {block.row0 for block in layout.tensor_blocks("five")} == {0, 8}


def test_the_order_of_the_tensors_given_does_not_matter() -> None:
    shapes = {f"t{index}": (index % 7 + 1, index % 11 + 1) for index in range(40)}
    first, second = Layout(manifest_of(shapes)), Layout(manifest_of(dict(reversed(shapes.items()))))
    assert all(np.array_equal(a, b) for a, b in zip(first.blocks, second.blocks, strict=True))


def test_two_to_the_seventeen_tensors_take_seconds_at_most() -> None:
    names = sorted(f"t{index}" for index in range(2**17))
    manifest = Manifest(tuple(TensorEntry(name, (7, 15), "float32", 10, 0) for name in names), (), {}, {})
    start = time.perf_counter()
    layout = Layout(manifest)
    assert time.perf_counter() - start < 10
    assert layout.blocks.address.size == 2**17 * 12 + 1
    sizes = 1 << (layout.blocks.log_rows + layout.blocks.log_cols)
    assert not (layout.blocks.address % sizes).any()
    assert all(a >= b for a, b in pairwise(sizes[:: 2**12].tolist()))
    assert len(layout.tensor_blocks(names[-1])) == 12


def test_what_does_not_exist_is_refused() -> None:
    layout = Layout(manifest_of({"w": (2, 3)}))
    flat = np.zeros(layout.entries, dtype=np.int32)
    with pytest.raises(StatementError, match="'v'"):
        layout.tensor_blocks("v")
    with pytest.raises(StatementError, match="group 1"):
        layout.histogram_address(1)
    with pytest.raises(StatementError, match="not 5"):
        layout.scatter(flat, "w", np.zeros(5, dtype=np.int32))
    with pytest.raises(StatementError, match="flat vector"):
        layout.gather(flat[:-1], "w")

"""Rates of the CPU kernels, and the cost floor per committed weight that they imply. Run: python -m benchmarks.kernels

The floor is protocol.md, section 11: 25 butterflies, 20 hashed bytes and 10 products in K for each committed and
validated weight, at the rates of the primitive kernels in cache on all threads. Other benchmarks divide by
`floor_nanoseconds()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prover.argument.kernels.cpu import CpuKernels, needs_compilation, sha256, transform, vectors
from prover.argument.kernels.cpu.parallel import Workers
from prover.argument.kernels.interface import Gates, Layer, Leaves, Runs
from verifier.argument.field import K, P, Words

BUTTERFLIES, HASHED_BYTES, K_PRODUCTS = 25, 20, 10
LOG_LEAVES = 22


@dataclass(frozen=True)
class Primitives:
    """Per second, on all threads, in cache."""

    butterflies: float
    hashed_bytes: float
    k_products: float

    @property
    def floor(self) -> float:
        """Nanoseconds per committed and validated weight."""
        seconds = BUTTERFLIES / self.butterflies + HASHED_BYTES / self.hashed_bytes + K_PRODUCTS / self.k_products
        return seconds * 1e9


def best_seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of several runs; the first one, which may compile and touches the memory, does not count."""
    function()
    best = float("inf")
    for _ in range(repeats):
        before = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - before)
    return best


def elements(*shape: int) -> Words:
    """Random canonical elements of F."""
    return np.random.default_rng(0).integers(0, P, shape, dtype=np.uint64)


def primitives() -> Primitives:
    """Measure the primitive kernels: takes about a second."""
    workers = Workers()
    threads, rounds = workers.threads, 20
    rows = [elements(1 << 12, 8) for _ in range(threads)]
    vector = [(elements(3, 1 << 13), elements(3, 1 << 13), np.empty(3, np.uint64)) for _ in range(threads)]
    nodes = [np.zeros((1 << 13, 8), np.uint32) for _ in range(threads)]

    def on_all_threads(work: Callable[[int], None]) -> float:
        def repeat(start: int, stop: int) -> None:
            for thread in range(start, stop):
                for _ in range(rounds):
                    work(thread)

        return best_seconds(lambda: workers.parallel_for(repeat, threads, 1)) / (threads * rounds)

    def butterflies(thread: int) -> None:
        transform.contiguous_kernel(rows[thread], 12, transform.twiddles(), 0, 1)

    def hashes(thread: int) -> None:
        sha256.parents_kernel(nodes[thread], 1 << 11, 1 << 12)

    def products(thread: int) -> None:
        a, b, out = vector[thread]
        vectors.dot_kernel(a, b, 0, 1 << 13, out)

    return Primitives(
        butterflies=8 * 12 * (1 << 11) / on_all_threads(butterflies),
        # a node is two blocks of 64 bytes
        hashed_bytes=128 * (1 << 11) / on_all_threads(hashes),
        k_products=(1 << 13) / on_all_threads(products),
    )


def floor_nanoseconds() -> float:
    """The cost floor of this host: nanoseconds per committed and validated weight, measured now."""
    return primitives().floor


def one_group(cells: npt.NDArray[np.int32], alpha: K, kernels: CpuKernels) -> Leaves:
    """All cells as leaves of one group."""
    runs = Runs(np.array([0]), np.array([cells.size]), np.array([1]))
    return kernels.cell_leaves(cells, runs, alpha)


def fraction_layers(kernels: CpuKernels, leaves: Leaves) -> list[Layer]:
    """All stored layers of the tree."""
    layers = [kernels.leaf_layer(leaves)]
    while layers[-1].count > 1:
        layers.append(kernels.next_layer(layers[-1]))
    return layers


def gate_rounds(kernels: CpuKernels, leaves: Leaves, layers: list[Layer], scalar: K) -> None:
    """All rounds of all layers, root first, with factors of the sizes that a prover uses."""
    sources: list[tuple[Layer | Gates | tuple[Leaves, int], int]] = [
        (layer, (layer.count + 1) // 2) for layer in reversed(layers) if layer.count > 1
    ]
    sources += [((leaves, 1), (leaves.count + 3) // 4), ((leaves, 0), (leaves.count + 1) // 2)]
    table = elements(3, 1 << ((LOG_LEAVES + 1) // 2))
    for source, gates in sources:
        half = max(0, (gates - 1).bit_length() - 1) // 2
        eq = (np.ascontiguousarray(table[:, : 1 << half]), table)
        kernels.gate_messages(source, scalar, *eq)
        while gates > 1:
            gates = (gates + 1) // 2
            source, _ = kernels.gate_bind(source, scalar, scalar, eq if gates > 1 else None)


def main() -> None:
    """Print all rates."""
    kernels = CpuKernels()
    if needs_compilation():
        before = time.perf_counter()
        kernels.compile()
        print(f"compiled in {time.perf_counter() - before:.0f} s")
    scalar = K((3, 5, 7))

    def per_item(name: str, items: int, function: Callable[[], object], repeats: int = 3) -> None:
        print(f"{name:<44}{best_seconds(function, repeats) / items * 1e9:10.2f} ns")

    rates = primitives()
    print(f"threads{Workers().threads:>47}")
    print(f"{'butterflies, in cache':<44}{rates.butterflies / 1e6:10.0f} million/s")
    print(f"{'products in K, in cache':<44}{rates.k_products / 1e6:10.0f} million/s")
    print(f"{'SHA-256, in cache':<44}{rates.hashed_bytes / 1e6:10.0f} MB/s")
    print(f"{'floor per committed weight':<44}{rates.floor:10.2f} ns")

    random = np.random.default_rng(1)
    cells = random.integers(-32768, 32768, (32, 1 << 18)).astype(np.int32)
    log_n = 19
    count = cells.size
    per_item("encode at rate 1/2, per cell", count, lambda: kernels.encode(cells, None, log_n))
    codeword = kernels.encode(cells, None, log_n)
    per_item("hash columns and tree, per cell", count, lambda: kernels.hash_columns([codeword], 1, None))
    seconds = best_seconds(lambda: kernels.hash_columns([codeword], 1, None), 2)
    print(f"{'  the same':<44}{((13 + 8 * 32) + 65) * (1 << log_n) / seconds / 1e6:10.0f} MB/s")
    weights, table = [scalar] * 32, elements(3, 1 << 12)
    per_item("fold rows, per cell", count, lambda: kernels.fold_rows(cells, weights))
    per_item("bind columns, pieces of 2^12, per cell", count, lambda: kernels.bind_columns(cells, 0, 1 << 18, table))
    counts = np.zeros(65536, np.int64)
    per_item("histogram, per cell", count, lambda: kernels.histogram(cells, 0, count, counts))

    flat = random.integers(-32768, 32768, 1 << LOG_LEAVES).astype(np.int32)
    vector = elements(3, 1 << 20)
    per_item("product messages, per entry of K", 1 << 20, lambda: kernels.product_messages(vector, vector, 1))
    per_item("product bind, per entry of K", 1 << 20, lambda: kernels.product_bind(vector, scalar, 1))
    leaves = one_group(flat, scalar, kernels)
    per_item("first stored fraction layer, per leaf", 1 << LOG_LEAVES, lambda: kernels.leaf_layer(leaves))
    per_item("all fraction layers, per leaf", 1 << LOG_LEAVES, lambda: fraction_layers(kernels, leaves))
    layers = fraction_layers(kernels, leaves)
    per_item("all gate rounds, per leaf", 1 << LOG_LEAVES, lambda: gate_rounds(kernels, leaves, layers, scalar), 2)
    small = Layer(elements(3, 8), elements(3, 8), 8)
    eq = (elements(3, 1), elements(3, 1))
    per_item("one round of four gates", 1, lambda: kernels.gate_bind(small, scalar, scalar, eq), 200)


if __name__ == "__main__":
    main()

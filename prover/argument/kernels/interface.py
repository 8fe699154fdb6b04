"""The kernels: the dozen heavy computations of the prover, behind one interface.

Implementations: `reference` (Python integers, obvious), `cpu` (numba); a `cuda` one can follow. Arrays are opaque
(`Array`): only `upload` and `download` speak numpy, so that data can stay on a device. Scalars are `K`. All field
data is
canonical; F arrays hold u64, K arrays have shape (3, n): one plane per coefficient. `Cells` are the committed
integers of
an oracle, shape (rows, columns), either int32 (signed, meaning x mod p) or uint64 (canonical). Functions are pure
unless they say otherwise; sizes are exact, nothing need be a power of two unless stated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.argument.field import K, Words

Array = Any
Cells = Any


class Codeword(ABC):
    """Encoded rows: the values of every row's polynomial at the n-th roots of unity. Storage order is private."""

    rows: int
    log_n: int


class DigestTree(ABC):
    """A Merkle tree, nodes numbered as in a heap: 1 is the root, leaf j of n is node n + j."""

    log_n: int

    @property
    @abstractmethod
    def root(self) -> bytes: ...

    @abstractmethod
    def digests(self, nodes: Sequence[int]) -> list[bytes]:
        """The 32-byte digests of the given nodes."""


@dataclass(frozen=True)
class Runs:
    """Intervals [start, stop) of a flat address space that hold real cells, ascending and disjoint, with their group
    numbers (< 2^32); int64 arrays of one length. Every other address is unused."""

    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]


class Leaves(ABC):
    """The leaf fractions of committed cells, prepared by `Kernels.cell_leaves`."""

    count: int


@dataclass(frozen=True)
class Layer:
    """One layer of a fraction tree: numerators p and denominators q, K arrays of one length `count` (a prefix; every
    entry beyond it is the fraction 0/1)."""

    p: Array
    q: Array
    count: int


@dataclass(frozen=True)
class Gates:
    """Bound gate tables of a layer: K arrays p0, t1, q0, q1 with t1 = p1 + lam * q1, of one length `count` (a prefix;
    a gate beyond it is p0 = 0, t1 = lam, q0 = q1 = 1). A gate's value is p0 q1 + t1 q0 = p0 q1 + p1 q0 + lam q0 q1."""

    tables: Array
    count: int


class Kernels(ABC):
    name: str

    # ------------------------------------------------------------ memory
    @abstractmethod
    def upload(self, array: npt.NDArray[Any]) -> Array: ...

    @abstractmethod
    def download(self, array: Array) -> Words: ...

    # ------------------------------------------------------------ commitment
    @abstractmethod
    def encode(self, cells: Cells, tails: Array | None, log_n: int) -> Codeword:
        """Row i has coefficients cells[i] followed by tails[i] (tails: u64 (rows, t) or None), columns + t <= n =
        2^log_n. Position j of its codeword is the value at w^j, w the primitive n-th root 7^((p-1)/n)."""

    @abstractmethod
    def columns(self, codeword: Codeword, positions: Sequence[int]) -> Words:
        """Codeword columns on the host, shape (len(positions), rows)."""

    @abstractmethod
    def hash_columns(self, codewords: Sequence[Codeword], label: int, salts: Array | None) -> DigestTree:
        """Leaf j = SHA-256(00 || label u32 || j u64 || salt_j (32 bytes, if any) || the values of column j of each
        codeword in turn, u64), all little-endian; node = SHA-256(01 || left || right). Codewords of one length.
        salts: uint64 (n, 4), little-endian words of the 32 bytes."""

    @abstractmethod
    def fold_rows(self, cells: Cells, weights: Sequence[K]) -> Array:
        """sum_i weights[i] * cells[i]: K array (3, columns)."""

    @abstractmethod
    def bind_columns(self, cells: Cells, start: int, stop: int, table: Array) -> Array:
        """Inner products of consecutive pieces of every row with a K table (3, 2^s): columns [start, stop) of each
        row are
        cut into pieces of 2^s (a multiple of it). Result: K array (3, rows * (stop - start) / 2^s), row-major."""

    @abstractmethod
    def histogram(self, cells: Cells, start: int, stop: int, counts: npt.NDArray[np.int64]) -> None:
        """Add 1 to counts[x + 32768] for every flat address in [start, stop) of int32 cells x in [-32768, 32767].
        Changes `counts` (65,536 entries). Raises ValueError if a value is outside."""

    # ------------------------------------------------------------ vectors over K
    @abstractmethod
    def product_table(self, factors: Sequence[tuple[K, K]], scale: K) -> Array:
        """The dense vector scale * prod_v (a_v + b_v X_v) over X in {0,1}^len(factors), little-endian: (3, 2^v)."""

    @abstractmethod
    def zeros(self, count: int) -> Array:
        """K array of zeros (3, count)."""

    @abstractmethod
    def add_into(self, target: Array, start: int, values: Array) -> None:
        """target[:, start : start + len(values)] += values."""

    @abstractmethod
    def axpy(self, target: Array, scale: K, values: Array) -> None:
        """target[:, : len(values)] += scale * values; values not longer than target."""

    @abstractmethod
    def dot(self, a: Array, b: Array) -> K:
        """Inner product over the shorter of two K arrays."""

    @abstractmethod
    def split_rows(self, vector: Array, columns: int) -> Cells:
        """A K vector as a matrix of ceil(len/columns) rows (zero-filled), each K row as three F rows: uint64 cells
        (3 * rows, columns) in the order row 0 coefficient 0, 1, 2, row 1 coefficient 0, ..."""

    @abstractmethod
    def power_sums(self, positions: Sequence[int], scales: Sequence[K], log_n: int, length: int) -> Array:
        """out[k] = sum_j scales[j] * w^(positions[j] * k), k < length <= n = 2^log_n (positions may repeat): one
        transform of a sparse vector. K array (3, length)."""

    # ------------------------------------------------------------ sumcheck of a product
    @abstractmethod
    def product_messages(self, a: Array, b: Array, block: int) -> tuple[K, K]:
        """For vectors cut into blocks (block = 1, or contiguous pieces of `block` entries; missing entries are 0), with
        pairs of blocks (2j, 2j+1) as low and high: (sum low_a low_b, sum (high_a - low_a)(high_b - low_b)).
        a and b: K arrays (3, n) of one length, or both 1-dimensional int32 cells. `a is b` is allowed (and faster)."""

    @abstractmethod
    def product_bind(self, a: Array, challenge: K, block: int) -> Array:
        """low + challenge * (high - low) for every pair of blocks; K array. a as in product_messages."""

    @abstractmethod
    def weighted_messages(self, a: Array, b: Array, low: Array, high: Array) -> tuple[K, K, K]:
        """For K arrays of one length and pairs (2i, 2i+1) as low and high (a missing last entry is 0), with weights
        E_i = low[i mod 2^s] * high[i >> s] (low: (3, 2^s)): the coefficients of
        sum_i E_i (low_a + X (high_a - low_a)) (low_b + X (high_b - low_b)), constant first."""

    # ------------------------------------------------------------ fraction trees
    @abstractmethod
    def cell_leaves(self, cells: Cells, runs: Runs, alpha: K) -> Leaves:
        """Leaves for the flat int32 cells [0, runs.stop[-1]): inside a run of group g the fraction is
        1 / (alpha - (x + g X^2)), elsewhere 0/1. The leaves themselves are never stored."""

    @abstractmethod
    def leaf_layer(self, leaves: Leaves) -> Layer:
        """The layer two above the leaves (an entry sums four leaves); count = ceil(ceil(leaves.count / 2) / 2)."""

    @abstractmethod
    def next_layer(self, layer: Layer) -> Layer:
        """p' = p0 q1 + p1 q0, q' = q0 q1 over neighbours (2i, 2i+1); count = ceil(count / 2)."""

    @abstractmethod
    def gate_messages(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, eq_low: Array, eq_high: Array
    ) -> tuple[K, K]:
        """First round of a layer. The gates of a Layer are its neighbours (2i, 2i+1), count = ceil(layer.count / 2).
        The source (leaves, 0) is the layer of the leaves themselves, (leaves, 1) the one above, recomputed on the fly.

        With the pair of gates (2i, 2i+1) as low and high, taken table by table (p0, t1, q0, q1), and
        E_i = eq_low[i mod 2^s] * eq_high[i >> s] (eq_low: (3, 2^s); eq_high: long enough for every pair), returns
        sum_i E_i gate(low_i) and sum_i E_i gate(high_i - low_i) over i < ceil(count / 2)."""

    @abstractmethod
    def gate_bind(
        self, source: Layer | Gates | tuple[Leaves, int], lam: K, challenge: K, eq: tuple[Array, Array] | None
    ) -> tuple[Gates, tuple[K, K] | None]:
        """Bind the lowest gate variable to `challenge` (tables become low + challenge * (high - low), count
        ceil(count / 2)) and, in the same pass, the messages of the next round under eq = (eq_low, eq_high); None at
        the end."""

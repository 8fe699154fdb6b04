"""Comparing with a base model: the tensors of two models side by side, and their difference in integers.

Two copies meet at the finer scale M = max(F, F0), where both are integers: d = 2^(M - F) w - 2^(M - F0) w0. For the
float weights |W - W0| differs from d / 2^M by at most delta + delta0 in every entry. A public file is quantised by
the verifier itself, at the scale of the audited tensor wherever that fits (`public_base`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from circuits.builder import GraphBuilder, Tensor
from circuits.checkpoint.base import Checkpoint, quote
from circuits.checks.base import Context, require
from circuits.errors import PolicyError, StatementError
from circuits.fixedpoint import finest_scale, magnitude, quantise
from circuits.manifest import Manifest, TensorEntry

MAX_GAP = 24
"""Scales that lie further apart are not compared: the coarser copy says next to nothing about the finer one."""
LIMB = 1 << 16
LIMIT = 1 << 61

Matrix = npt.NDArray[np.signedinteger[Any]]


class Base(BaseModel):
    """The model to compare with: a commitment that the verifier has accepted, or a public file of this digest.

    A commitment goes by a name that whoever runs the command gives a meaning to, unless the policy pins its id: then it
    is that one commitment, whoever chooses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    commitment: str | None = Field(default=None, min_length=1, max_length=200)
    id: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    file_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def key(self) -> str:
        """Its key in `Context.bases`."""
        return self.commitment or self.file_sha256 or ""

    def validate_values(self) -> None:
        """Raises PolicyError unless exactly one way to name the base is used, and an id goes with a commitment."""
        require(
            (self.commitment is None) != (self.file_sha256 is None),
            "a base is a commitment or a file_sha256, one of them",
        )
        require(self.id is None or self.commitment is not None, "an id belongs to a base that is a commitment")


@dataclass(frozen=True, eq=False)
class Pair:
    """A tensor of the audited model and its counterpart in the base.

    Attributes:
        commitment: the number of the base's commitment; 0 if the base is public.
        public: the base's integers as a matrix, if it is public.
    """

    tensor: TensorEntry
    base: TensorEntry
    commitment: int
    public: Matrix | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """For reports: the name, or both if they differ."""
        own, other = self.tensor.name, self.base.name
        return own if own == other else f"{own} against {other}"

    @property
    def scale(self) -> int:
        """M: differences are counted in units of 2^-M."""
        return max(self.tensor.scale, self.base.scale)

    @property
    def factors(self) -> tuple[int, int]:
        """(2^(M - F), 2^(M - F0)); one of them is 1."""
        return 2 ** (self.scale - self.tensor.scale), 2 ** (self.scale - self.base.scale)

    @property
    def magnitude(self) -> int:
        """|d| <= this in every cell, whatever the weights are."""
        return sum(self.factors) << 15

    @property
    def rounding(self) -> Fraction:
        """delta + delta0: | (W - W0) - d / 2^M | is at most this in every cell."""
        return self.tensor.rounding_bound + self.base.rounding_bound

    def difference(self, g: GraphBuilder) -> Tensor:
        """d, the shape of the tensor's matrix."""
        own, other = self.factors
        w = g.weight(self.tensor.name, self.tensor.matrix_shape)
        w = g.mul(w, own) if own > 1 else w
        if self.public is not None:
            return g.sub(w, self.public.astype(np.int64) * other if other > 1 else self.public)
        w0 = g.weight(self.base.name, self.base.matrix_shape, commitment=self.commitment)
        return g.sub(w, g.mul(w0, other) if other > 1 else w0)


def base_manifest(base: Base, context: Context) -> tuple[Manifest, int]:
    """The base's manifest, and the number of its commitment (0: a public file). Raises PolicyError if it is not
    given."""
    manifest = context.bases.get(base.key)
    if manifest is None:
        raise PolicyError(f"the base model {quote(base.key)} was not given; pass it to the command")
    if base.file_sha256 is not None:
        if base.key not in context.public or set(manifest.files.values()) != {base.file_sha256}:
            raise PolicyError(f"the base model must be the one public file with SHA-256 {base.file_sha256}")
        return manifest, 0
    if base.key in context.public:
        raise PolicyError(f"the base model {quote(base.key)} must be a commitment, not a public file")
    return manifest, 1 + [name for name in context.bases if name not in context.public].index(base.key)


def pairs(base: Base, context: Context, tensors: Sequence[TensorEntry]) -> list[Pair]:
    """Every tensor beside the base's of the same name. A tensor of several names (tied) stands beside each of the
    base's tensors that have these names: once if they are tied there too.

    Raises:
        PolicyError: the base is not given, or lacks a tensor of this name and shape.
        StatementError: two scales lie too far apart.
    """
    manifest, commitment = base_manifest(base, context)
    known = {tensor.name: tensor for tensor in manifest.tensors}
    names: dict[str, list[str]] = {}
    for alias, name in context.manifest.tied.items():
        names.setdefault(name, []).append(alias)
    found = []
    for tensor in tensors:
        own = [tensor.name, *names.get(tensor.name, [])]
        others = list(dict.fromkeys(manifest.tied.get(name, name) for name in own))
        counterparts = [known[name] for name in others if name in known]
        if not counterparts:
            raise PolicyError(f"tensor {quote(tensor.name)} cannot be compared: the base model has no such tensor")
        for other in counterparts:
            _check_pair(tensor, other)
            found.append(Pair(tensor, other, commitment, _public(base, context, other)))
    return found


def couple_pairs(base: Base, context: Context, couples: Sequence[tuple[TensorEntry, TensorEntry]]) -> list[Pair]:
    """Given tensors of the audited model beside given tensors of the base.

    Raises PolicyError (shapes differ) or StatementError (scales too far apart).
    """
    _, commitment = base_manifest(base, context)
    for tensor, other in couples:
        _check_pair(tensor, other)
    return [Pair(tensor, other, commitment, _public(base, context, other)) for tensor, other in couples]


def _check_pair(tensor: TensorEntry, other: TensorEntry) -> None:
    if other.shape != tensor.shape:
        raise PolicyError(
            f"tensor {quote(tensor.name)} {tensor.shape} cannot be compared: the base model has it with shape"
            f" {other.shape}"
        )
    if abs(tensor.scale - other.scale) > MAX_GAP:
        raise StatementError(
            f"tensor {quote(tensor.name)}: scales {tensor.scale} and {other.scale} of the two models lie more than"
            f" {MAX_GAP} apart; commit with a scale for this tensor (one of zeros takes any)"
        )


def _public(base: Base, context: Context, tensor: TensorEntry) -> Matrix | None:
    if base.file_sha256 is None:
        return None
    return context.public[base.key][tensor.name].reshape(tensor.matrix_shape)


def assert_within(g: GraphBuilder, pair: Pair, bound: int, name: str) -> None:
    """Assert |d| <= bound >= 0 in every cell.

    Up to 2^15 - 1 the difference itself is advice with exactly this range, one lookup for each cell; `needs_advice`
    says so.
    """
    d = pair.difference(g)
    if bound == 0:
        g.assert_true(name, g.equal(d, 0))
    elif needs_advice(bound):
        g.assert_true(name, g.equal(d, g.advice(name, pair.tensor.matrix_shape, -bound, bound)))
    else:
        bound = min(bound, LIMIT)
        g.assert_true(f"{name}/above", g.less_or_equal(d, bound))
        g.assert_true(f"{name}/below", g.greater_or_equal(d, -bound))


def needs_advice(bound: int) -> bool:
    """Does `assert_within` take the difference as the advice `name`?"""
    return 0 < 2 * bound < LIMB


def public_base(checkpoint: Checkpoint, audited: Manifest) -> tuple[Manifest, Mapping[str, Matrix]]:
    """A public base model as the verifier quantises it: its manifest and integers, for `Context.bases` and `public`.

    Tensors that the audited model has take its scale where they fit; then equal weights have equal integers.

    Raises:
        FormatError: the checkpoint cannot be read.
    """
    wanted = {tensor.name: tensor.scale for tensor in audited.tensors}
    floats = [source for source in checkpoint if source.is_float]
    scales = {
        source.name: min(wanted[source.name], finest_scale(magnitude(source.load(), source.name), source.name))
        for source in floats
        if source.name in wanted
    }
    manifest = Manifest.from_checkpoint(checkpoint, scales)
    entries = {tensor.name: tensor for tensor in manifest.tensors}
    integers = {}
    for source in floats:
        matrix = quantise(source.load(), entries[source.name].scale).astype(np.int16)
        integers[source.name] = matrix.reshape(entries[source.name].matrix_shape)
        integers[source.name].flags.writeable = False
    return manifest, integers

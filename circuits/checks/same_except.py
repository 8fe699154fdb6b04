"""same-except: outside the tensors of `except` the model is the base model, within the rounding of the two copies.

Exact, never "equal". With equal scales the integers are shown to be equal, so |W - W0| <= delta + delta0 in every
entry. With different scales equal weights have copies that differ by up to delta + delta0, so the copies are compared
at the coarser scale, with half a unit of it as tolerance: |d| <= 2^(|F - F0| - 1) in units of the finer scale, hence
|W - W0| <= delta + delta0 + max(delta, delta0). A public base file is quantised at the audited scale and has the first
form. Every name of a tied tensor is compared. An owner may choose coarse scales; `within` refuses a commitment whose
rounding would make this say less than the policy wants. Integer tensors are compared by digest; a tensor that only one
model has is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from circuits.builder import GraphBuilder
from circuits.checkpoint.base import quote
from circuits.checks.base import Check, Context, Instance, require
from circuits.checks.bases import Base, Pair, assert_within, base_manifest, couple_pairs
from circuits.errors import PolicyError, StatementError
from circuits.manifest import ExcludedEntry, Manifest, TensorEntry
from circuits.patterns import select
from circuits.rationals import decimal


@dataclass(frozen=True)
class SameSpec:
    """|d| <= bound in every cell, d the difference of the integers at the finer scale; `name` is that of the advice."""

    pair: Pair
    bound: int
    name: str = "difference"


class SameExcept(Check):
    """Every tensor that matches no pattern of `except` is the base model's, within rounding."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, serialize_by_alias=True)

    check: Literal["same-except"]
    base: Base
    excepted: tuple[str, ...] = Field(default=(), alias="except", max_length=256)
    within: str | None = None

    version: ClassVar[int] = 1
    strength: ClassVar[str] = "exact"
    does_not_mean: ClassVar[str] = (
        "Weights may differ by less than the rounding bound, and nothing is said about the tensors that are excepted."
    )

    def validate_values(self) -> None:
        self.base.validate_values()
        require(
            all(0 < len(pattern) <= 600 for pattern in self.excepted), "a pattern of except has 1 to 600 characters"
        )
        require(self.within is not None, "same-except needs within: else an owner's coarse scales could make it empty")
        require(self.within is None or decimal(self.within, "within") > 0, "within of same-except must be positive")

    def instances(self, context: Context) -> list[Instance]:
        excepted = self._excepted(context)
        manifest, _ = base_manifest(self.base, context)
        couples = compared(context.manifest, manifest, excepted)
        if not couples:
            raise PolicyError("same-except: the patterns of except leave no tensor to compare")
        return [self._instance(pair) for pair in couple_pairs(self.base, context, couples)]

    def _excepted(self, context: Context) -> set[str]:
        """Names, each for itself: to except one name of a tied tensor frees none of its other names.

        Raises PolicyError if a pattern matches nothing, or a name is matched twice.
        """
        names = all_names(context.manifest)
        found: set[str] = set()
        for pattern in self.excepted:
            matched = set(select(pattern, names))
            if matched & found:
                raise PolicyError(f"same-except: {quote(min(matched & found))} is matched by two patterns of except")
            found |= matched
        return found

    def _instance(self, pair: Pair) -> Instance:
        gap = abs(pair.tensor.scale - pair.base.scale)
        spec = SameSpec(pair, 2 ** (gap - 1) if gap else 0)
        claimed = pair.rounding + Fraction(spec.bound) / Fraction(2) ** pair.scale
        if self.within is not None and claimed > decimal(self.within, "within"):
            raise StatementError(
                f"same-except: the copies of {pair.tensor.name} are too coarse to compare within {self.within};"
                f" their rounding allows {float(claimed):.3g}: commit again with finer scales"
            )
        g = GraphBuilder("same-except", self.version)
        assert_within(g, pair, spec.bound, spec.name)
        return Instance(pair.label, "max |W - W0|", "<=", dyadic(claimed), g.graph(), spec)


def dyadic(value: Fraction) -> str:
    """A fraction whose denominator is a power of two, exactly: "3/2^13"."""
    log = value.denominator.bit_length() - 1
    return f"{value.numerator}/2^{log}" if log else str(value.numerator)


def all_names(manifest: Manifest) -> list[str]:
    """Every name of a model: committed tensors, tied names, integer tensors."""
    return [*(t.name for t in manifest.tensors), *manifest.tied, *(entry.name for entry in manifest.excluded)]


def compared(audited: Manifest, base: Manifest, excepted: set[str]) -> list[tuple[TensorEntry, TensorEntry]]:
    """The pairs of float tensors to compare: for every name of either model outside `excepted`, what it means in both.

    Raises:
        StatementError: a name is missing in one model, means an integer tensor in one and a float tensor in the
        other, or integer tensors of different digests.
    """
    own, other = meanings(audited), meanings(base)
    couples: dict[tuple[str, str], tuple[TensorEntry, TensorEntry]] = {}
    for name in sorted((own.keys() | other.keys()) - excepted):
        a, b = own.get(name), other.get(name)
        if a is None or b is None:
            where = "audited" if a is None else "base"
            raise StatementError(f"same-except: the tensor {quote(name)} is missing in the {where} model")
        if isinstance(a, TensorEntry) and isinstance(b, TensorEntry):
            couples[a.name, b.name] = (a, b)
        elif isinstance(a, TensorEntry) or isinstance(b, TensorEntry):
            raise StatementError(f"same-except: {quote(name)} holds integers in one model and floats in the other")
        elif (a.dtype, a.shape, a.sha256) != (b.dtype, b.shape, b.sha256):
            raise StatementError(f"same-except: the integer tensor {quote(name)} is not that of the base model")
    return list(couples.values())


def meanings(manifest: Manifest) -> dict[str, TensorEntry | ExcludedEntry]:
    """What every name of a model stands for, tied names resolved."""
    found: dict[str, TensorEntry | ExcludedEntry] = {tensor.name: tensor for tensor in manifest.tensors}
    found.update({entry.name: entry for entry in manifest.excluded})
    found.update({alias: found[name] for alias, name in manifest.tied.items()})
    return found

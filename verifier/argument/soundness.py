"""The soundness account: every term of the error of one proof, exactly, and printed term by term.

Sources: Schwartz-Zippel for challenges from K; BCIKS20 theorem 4.1 (affine lines within the unique-decoding radius) and
Diamond-Gruen 2025, theorem 3.1 and corollary 3.7 (interleaved and tensor versions) for folding rows. Nothing up to
capacity is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import log2

from verifier.argument.errors import SoundnessError
from verifier.argument.field import P
from verifier.argument.parameters import PadCode, Parameters, query_error

FIELD_SIZE = P**3


@dataclass
class Counts:
    """How much of everything one script uses; filled in by the counting role."""

    pads: int = 0
    gates: int = 0
    operands: int = 0
    claims: int = 0
    constraints: int = 0
    lookup_entries: int = 0
    lookup_challenges: int = 0
    tree_rounds: int = 0
    tree_layers: int = 0
    sumcheck_rounds: int = 0
    batched_relations: int = 0
    rows: int = 0
    row_variables: int = 0


@dataclass(frozen=True)
class SoundnessTerm:
    """`times` rounds, each with at most this error."""

    name: str
    error: Fraction
    times: int


def bits(error: Fraction) -> float:
    """-log2 of an exact error, for display only."""
    if error == 0:
        return float("inf")
    shift = max(0, error.denominator.bit_length() - error.numerator.bit_length() - 60)
    return shift - log2(float(error * 2**shift))


@dataclass(frozen=True)
class Account:
    """All terms. `union` bounds the error of the interactive protocol, `worst_round` that of any single round."""

    terms: tuple[SoundnessTerm, ...]

    @property
    def union(self) -> Fraction:
        return sum((term.error * term.times for term in self.terms), Fraction(0))

    @property
    def worst_round(self) -> Fraction:
        return max(term.error for term in self.terms)

    def table(self) -> str:
        """The account, a line a term."""
        lines = [f"{t.name:<44} {bits(t.error):8.1f} bits x {t.times}" for t in self.terms if t.times]
        lines.append(f"{'all rounds together':<44} {bits(self.union):8.2f} bits")
        lines.append(f"{'round by round':<44} {bits(self.worst_round):8.2f} bits")
        return "\n".join(lines)


def account(parameters: Parameters, counts: Counts, pad: PadCode) -> Account:
    """Every way in which a false statement can survive (protocol.md, section 8)."""

    def challenge(numerator: int) -> Fraction:
        return Fraction(numerator, FIELD_SIZE)

    p = parameters
    terms = [
        SoundnessTerm("lookup challenges alpha", challenge(2 * counts.lookup_entries + 2), counts.lookup_challenges),
        SoundnessTerm("fraction-tree rounds (degree 3)", challenge(3), counts.tree_rounds),
        SoundnessTerm("fraction-tree batching and branch", challenge(2), counts.tree_layers),
        SoundnessTerm("other sumcheck rounds", challenge(3), counts.sumcheck_rounds + counts.row_variables),
        SoundnessTerm("statement batching", challenge(counts.batched_relations + 1), 1),
        SoundnessTerm("claim batching lambda", challenge(counts.claims + 1), 1),
        SoundnessTerm("quadratic batching theta and point e", challenge(counts.gates + 2), 2),
        SoundnessTerm("constraint batching beta", challenge(counts.constraints + 1), 1),
        SoundnessTerm("mask and pad combination eps", challenge(p.length + (1 << pad.log_length) + 2), 1),
        SoundnessTerm("pad oracle queries", pad.error(), 1),
        SoundnessTerm("level 0 row fold", challenge(p.length + 2), counts.row_variables + 1),
        SoundnessTerm("level 0 queries", query_error(p.length, p.message, p.queries), 1),
        SoundnessTerm("level 0 spot-claim batching alpha", challenge(p.queries + 2), 1),
    ]
    above = p.message
    for i, level in enumerate(p.levels, start=1):
        n, columns = 1 << level.log_length, 1 << level.log_columns
        row_variables = (-(-above // columns) - 1).bit_length()
        terms.append(SoundnessTerm(f"level {i} row fold and sumcheck", challenge(n + 5), row_variables))
        terms.append(SoundnessTerm(f"level {i} queries", query_error(n, columns, level.queries), 1))
        terms.append(SoundnessTerm(f"level {i} spot-claim batching alpha", challenge(level.queries + 2), 1))
        above = columns
    return Account(tuple(terms))


def require(parameters: Parameters, counts: Counts, minimum_bits: int) -> Account:
    """The account of a statement. Raises SoundnessError if a term or their union misses the target."""
    parameters.check()
    if parameters.target_bits < minimum_bits:
        raise SoundnessError(
            f"the commitment was made for {parameters.target_bits} bits, {minimum_bits} are required: recommit"
        )
    result = account(parameters, counts, parameters.pad_code(counts.pads))
    limit = Fraction(1, 2**parameters.target_bits)
    if result.union > limit or result.worst_round > limit:
        raise SoundnessError(
            f"this statement reaches {bits(result.union):.1f} of {parameters.target_bits} bits; recommit with new"
            f" parameters\n{result.table()}"
        )
    return result

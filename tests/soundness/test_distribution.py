"""Group 33: what a proof shows of two models with the same public values is the same noise; repeated proofs differ.

Bytes only, by chi-square. The exact argument is the simulator of `tests/zero_knowledge`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from prover.argument.oracle import OracleData
from prover.argument.randomness import fresh_seed
from tests.soundness.conftest import Honest
from tests.support.cheating import Cheater, accepts, forge
from tests.support.toy import KERNELS, MICRO, Integers, Toy, ToyCommitment, commit, squares, witness
from verifier.argument.engine import LABEL_MODEL
from verifier.argument.transcript import Kind

PROOFS = 20
THRESHOLD = 430.0
"""Chi-square with 255 degrees of freedom exceeds it with probability below 2^-30."""
Parts = dict[str, bytes]
Commit = Callable[[Integers], tuple[ToyCommitment, OracleData]]


def fresh(values: Integers) -> tuple[ToyCommitment, OracleData]:
    return commit(values, parameters=MICRO, seed=fresh_seed())


def bare(values: Integers) -> tuple[ToyCommitment, OracleData]:
    """A commitment without random coefficients: what would leak."""
    _, data = fresh(values)
    tails = np.zeros_like(data.tails)
    words = [KERNELS.encode(data.cells, tails, MICRO.log_length)]
    tree = KERNELS.hash_columns(words, LABEL_MODEL, data.salts)
    return ToyCommitment(MICRO, tree.root, 2), replace(data, codewords=words, tails=tails, tree=tree)


def shown(prover: Cheater) -> Parts:
    """What a proof shows before y* is public, by kind of message; opened columns and their salts by oracle."""
    parts: dict[str, list[bytes]] = {"masked": [], "clear": [], "columns": [], "pads": [], "vector": [], "salts": []}
    openings = iter((("model commitment", "columns"), ("auxiliary oracle", "columns"), ("pad oracle", "pads")))
    oracles = {oracle.name: oracle for oracle in (*prover.level0, prover.pad_oracle)}
    for m in prover.messages:
        data = prover.proof[m.offset : m.offset + m.size]
        if m.kind is Kind.OPENED:
            name, part = next(openings, ("", ""))
            if name:
                count, width = len(prover.seen[name]), 8 * oracles[name].words
                parts[part].append(data[: count * width])
                parts["salts"].append(data[count * width : count * (width + 32)])
        elif m.kind.name.lower() in parts:
            parts[m.kind.name.lower()].append(data)
    return {name: b"".join(data) for name, data in parts.items()}


def pattern(first: bool) -> Integers:
    """Two models with the same histogram and sum of squares, very unlike: all sevens first, or all last."""
    values = np.zeros(128, np.int64)
    values[:16] = 7
    return values if first else values[::-1].copy()


@cache
def collected(first: bool, how: Commit = fresh) -> tuple[Parts, ...]:
    values = pattern(first)
    found = []
    for i in range(PROOFS if how is fresh else 8):
        commitment, data = how(values)
        statement = Toy(commitment, squares(values))
        prover = forge(statement, [data], witness(values), nonce=i.to_bytes(16, "little"))
        accepts(statement, prover.proof, i.to_bytes(16, "little"))
        found.append(shown(prover))
    return tuple(found)


def histogram(parts: tuple[Parts, ...], name: str) -> Integers:
    return np.bincount(np.frombuffer(b"".join(p[name] for p in parts), np.uint8), minlength=256)


def chi_square(counts: Integers) -> float:
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2 / expected).sum())


def two_sample(a: Integers, b: Integers) -> float:
    """Chi-square of homogeneity, 255 degrees of freedom."""
    total = a + b
    share = a.sum() / total.sum()
    expected_a, expected_b = total * share, total * (1 - share)
    return float(((a - expected_a) ** 2 / expected_a + (b - expected_b) ** 2 / expected_b).sum())


@pytest.mark.parametrize("name", ["masked", "clear", "columns", "pads", "vector", "salts"])
def test_two_models_with_equal_public_values(name: str) -> None:
    """Group 33: padded messages, opened columns and revealed vectors of two models are uniform bytes, and alike."""
    a, b = histogram(collected(True), name), histogram(collected(False), name)
    assert min(a.sum(), b.sum()) > 256 * 10
    assert chi_square(a) < THRESHOLD
    assert chi_square(b) < THRESHOLD
    assert two_sample(a, b) < THRESHOLD


def test_columns_without_random_coefficients_would_show() -> None:
    """Group 33: the same test sees a commitment that does not hide."""
    assert chi_square(histogram(collected(True, bare), "columns")) > THRESHOLD


def test_repeated_proofs_differ(micro: Honest) -> None:
    """Group 33: the same statement, nonce and weights: no message of a proof occurs in another, but the columns of the
    model at positions that both open."""
    nonce = bytes(16)
    first, second = (forge(micro.statement, [micro.data], micro.advice, nonce=nonce) for _ in range(2))
    assert first.proof != second.proof

    def pieces(prover: Cheater) -> set[bytes]:
        return {
            prover.proof[place : place + 24]
            for m in prover.messages
            if m.kind is not Kind.OPENED
            for place in range(m.offset, m.offset + m.size, 24)
        }

    assert not pieces(first) & pieces(second)

"""Groups 11, 31: words that are no codewords, and how often the best of them survives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, lgamma, log
from typing import Any, cast

import numpy as np
import pytest

from prover.argument.kernels.interface import Codeword
from prover.argument.kernels.reference import ReferenceCodeword
from prover.argument.opening import PlainLevels, ProverOpening
from prover.argument.oracle import OracleData
from prover.argument.randomness import Stream
from tests.soundness.conftest import Honest
from tests.support.cheating import Cheater, accepts, forge, rejects
from tests.support.statements import Sums
from tests.support.toy import KERNELS, MICRO, Toy, ToyCommitment, commit
from verifier.argument.engine import LABEL_LEVEL, LABEL_MODEL, Oracle
from verifier.argument.errors import FinalRelationError, PadCheckError, SpotCheckError
from verifier.argument.field import P, root_of_unity
from verifier.argument.parameters import query_error
from verifier.argument.statement import verify


def corrupted(data: OracleData, label: int, columns: Sequence[int]) -> OracleData:
    """The same oracle with every value of some columns changed, before hashing."""
    words: list[Codeword] = []
    for word in data.codewords:
        assert isinstance(word, ReferenceCodeword)
        values = [list(row) for row in word.values]
        for row in values:
            for j in columns:
                row[j] = (row[j] + 1 + j) % P
        words.append(ReferenceCodeword(values, word.log_n))
    return replace(data, codewords=words, tree=KERNELS.hash_columns(words, label, data.salts))


def too_long(data: OracleData, label: int, degree: int) -> OracleData:
    """The same oracle with x^degree added to every row: a word of too high a degree."""
    words: list[Codeword] = []
    for word in data.codewords:
        assert isinstance(word, ReferenceCodeword)
        w = root_of_unity(1 << word.log_n)
        values = [[(x + pow(w, j * degree, P)) % P for j, x in enumerate(row)] for row in word.values]
        words.append(ReferenceCodeword(values, word.log_n))
    return replace(data, codewords=words, tree=KERNELS.hash_columns(words, label, data.salts))


def bad_columns(n: int, dimension: int, share: str) -> list[int]:
    """e + 1 columns, or half of them."""
    count = (n - dimension) // 2 + 1 if share == "e+1" else n // 2
    return random.Random(1).sample(range(n), count)


def damage(data: OracleData, oracle: Oracle, dimension: int, share: str) -> OracleData:
    if share == "degree":
        return too_long(data, oracle.label, dimension)
    return corrupted(data, oracle.label, bad_columns(1 << oracle.log_length, dimension, share))


SHARES = ["e+1", "n/2", "degree"]


@pytest.mark.parametrize("share", SHARES)
def test_a_model_that_is_no_codeword(solid: Honest, share: str) -> None:
    """Group 11: e + 1 columns wrong, half of them, or one coefficient too many: at 32 bits, rejected."""
    p = solid.commitment.parameters
    data = damage(solid.data, solid.commitment.oracle(), p.message, share)
    commitment = ToyCommitment(p, data.tree.root, solid.commitment.rows)
    statement = Toy(commitment, solid.statement.total)
    rejects(FinalRelationError, statement, forge(statement, [data], solid.advice).proof)


class DamagedOracle(Cheater):
    """Commits to a damaged auxiliary or pad oracle."""

    share = ""
    target = ""

    def _root(self, oracle: Oracle) -> bytes | None:
        super()._root(oracle)
        if oracle.name == self.target:
            dimension = self.pad_code.dimension if oracle is self.pad_oracle else self.parameters.message
            self.data[id(oracle)] = damage(self.data[id(oracle)], oracle, dimension, self.share)
        return self.data[id(oracle)].tree.root


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("target", "error"), [("auxiliary oracle", FinalRelationError), ("pad oracle", PadCheckError)])
def test_an_oracle_of_the_proof_that_is_no_codeword(
    solid: Honest, share: str, target: str, error: type[Exception]
) -> None:
    """Group 11: the same for what a proof commits to itself."""
    cheat = type("Damaged", (DamagedOracle,), {"share": share, "target": target})
    rejects(error, solid.statement, forge(solid.statement, [solid.data], solid.advice, cheat).proof)


class DamagedLevels(PlainLevels):
    share = ""
    level = 0

    def root(self, level: int) -> bytes:
        root = super().root(level)
        if level != type(self).level:
            return root
        label, shape = LABEL_LEVEL + level, self._parameters.levels[level]
        columns = bad_columns(1 << shape.log_length, 1 << shape.log_columns, self.share)
        bad = (
            too_long(self.data[label], label, 1 << shape.log_columns)
            if self.share == "degree"
            else corrupted(self.data[label], label, columns)
        )
        self.data[label] = bad
        return bad.tree.root


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("level", "error"), [(0, FinalRelationError), (1, SpotCheckError)])
def test_a_plain_level_that_is_no_codeword(solid: Honest, share: str, level: int, error: type[Exception]) -> None:
    """Group 11: the same for the levels of the recursion; the last vector is compared with the last of them
    directly."""
    levels = type("Levels", (DamagedLevels,), {"share": share, "level": level})

    class Opening(ProverOpening):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._plain = levels(self._kernels, self._engine.parameters)

    rejects(
        error,
        solid.statement,
        forge(
            solid.statement, [solid.data], solid.advice, type("Damaged", (Cheater,), {"opening_worker": Opening})
        ).proof,
    )


# ---------------------------------------------------------------- group 31


def between(data: OracleData) -> tuple[OracleData, ToyCommitment, OracleData]:
    """An ambiguous commitment: a word as far from the codeword of other cells as from the committed one.

    The two codewords differ by a polynomial with k - 1 roots in the domain, which is as alike as two can be: they
    differ at n - k + 1 positions. The word takes e + 1 of them from the first. Returns the first row, the commitment
    to the word in between, and the second row as data to argue with.
    """
    p = MICRO
    n, k = p.length, p.message
    w = root_of_unity(n)
    order = random.Random(5).sample(range(n), n)
    difference = [1]
    for j in order[: k - 1]:
        root = pow(w, j, P)
        low = [-root * c % P for c in difference] + [0]
        difference = [(a + b) % P for a, b in zip(low, [0, *difference], strict=True)]
    first = cast(ReferenceCodeword, data.codewords[0]).values[0]
    cells = [(int(a) + b) % P for a, b in zip(np.asarray(data.cells).reshape(-1), difference, strict=False)]
    assert data.tails is not None
    tails = [(int(a) + b) % P for a, b in zip(data.tails[0], difference[p.columns :], strict=True)]
    second_word = cast(
        ReferenceCodeword, KERNELS.encode(np.array([cells], np.uint64), np.array([tails], np.uint64), p.log_length)
    )
    second = second_word.values[0]
    differ = [j for j in range(n) if first[j] != second[j]]
    assert len(differ) == n - k + 1
    radius = (n - k) // 2
    word = list(second)
    for j in differ[: radius + 1]:
        word[j] = first[j]
    codeword = ReferenceCodeword([word], p.log_length)
    tree = KERNELS.hash_columns([codeword], LABEL_MODEL, data.salts)
    honest = replace(data, codewords=[codeword], tree=tree)
    other = replace(honest, cells=np.array([cells], np.uint64), tails=np.array([tails], np.uint64))
    return honest, ToyCommitment(p, tree.root, 1), other


def tail_bound(trials: int, p: float, bits: int) -> tuple[int, int]:
    """(low, high) such that a binomial count lies outside with probability below 2^-bits on either side, exactly."""

    def log_pmf(i: int) -> float:
        choose = lgamma(trials + 1) - lgamma(i + 1) - lgamma(trials - i + 1)
        return choose + i * log(p) + (trials - i) * log(1 - p)

    pmf = [2.718281828459045 ** log_pmf(i) for i in range(trials + 1)]
    low = next(i for i in range(trials + 1) if sum(pmf[: i + 1]) > 2.0**-bits)
    high = next(i for i in range(trials, -1, -1) if sum(pmf[i:]) > 2.0**-bits)
    return low, high


def count_accepted(statement: Sums, data: OracleData, trials: int) -> int:
    accepted = 0
    for i in range(trials):
        nonce = i.to_bytes(16, "little")
        try:
            stream = Stream(bytes(32), b"trial", nonce)  # the same trials on every run
            verify(statement, forge(statement, [data], {}, nonce=nonce, stream=stream).proof, nonce, minimum_bits=1)
        except FinalRelationError:
            continue
        accepted += 1
    return accepted


def best_cheat(trials: int) -> None:
    values = np.arange(64)
    _, data = commit(values, parameters=MICRO)
    honest, commitment, other = between(data)
    total = sum(int(x) for x in np.asarray(other.cells).reshape(-1)) % P
    false = Sums(commitment, 6, (total if total < 1 << 63 else total - P,))
    assert false.values[0] != int(values.sum())
    # e + 1 positions away from what is argued: the bound of the account, met exactly
    expected = float(query_error(MICRO.length, MICRO.message, MICRO.queries))
    low, high = tail_bound(trials, expected, 12)
    assert low > 0.6 * expected * trials, "too few trials to say anything"
    assert low <= count_accepted(false, other, trials) <= ceil(high)
    # the committed one is e positions away
    true = replace(false, values=(int(values.sum()),))
    radius = (MICRO.length - MICRO.message) // 2
    nearer = (1 - radius / MICRO.length) ** MICRO.queries
    if trials > 1000:
        low, high = tail_bound(trials, nearer, 12)
        assert low <= count_accepted(true, honest, trials) <= high


def test_the_best_cheat_survives_as_often_as_the_account_says() -> None:
    """Group 31: one commitment, two values for one sum; the false one is accepted with probability
    ((n - e - 1) / n)^q = 0.39, no more and no less. The trials are the same on every run; others would
    leave the interval with probability 2^-11."""
    best_cheat(120)


@pytest.mark.slow
def test_the_best_cheat_survives_as_often_as_the_account_says_closely() -> None:
    """Group 31: the same with 1,500 proofs, for both values."""
    best_cheat(1500)


def test_an_honest_proof_always_survives() -> None:
    """Group 31: completeness is perfect."""
    values = np.arange(64)
    commitment, data = commit(values, parameters=MICRO)
    true = Sums(commitment, 6, (int(values.sum()),))
    for i in range(20):
        nonce = i.to_bytes(16, "big")
        accepts(true, forge(true, [data], {}, nonce=nonce).proof, nonce)

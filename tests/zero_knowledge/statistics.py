"""Chi-square tests on the parts of proofs made under the same coins.

Under fixed coins each word of a proof is a random variable of its own, and an honest one is uniform on [0, p). A
uniform word has uniform bytes, up to 2^-32. Significance: 1e-6 for every test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt

from tests.zero_knowledge.recording import RecordingEngine
from verifier.argument.engine import LABEL_AUXILIARY, LABEL_MODEL, LABEL_PADS
from verifier.argument.field import Words
from verifier.argument.transcript import Kind

SIGNIFICANCE = 1e-6

Sections = Mapping[str, Sequence[slice]]
OPENED = {LABEL_MODEL: "opened weights", LABEL_AUXILIARY: "opened advice and mask", LABEL_PADS: "opened pads"}


def sections(template: RecordingEngine) -> dict[str, list[slice]]:
    """Where in the bytes of a proof each kind of message lies; the same in all proofs under the same coins."""
    found: dict[str, list[slice]] = {}
    offset = clears = vectors = 0
    for message in template.messages:
        end = offset + len(message.data)
        name = message.kind.name.lower()
        if message.kind is Kind.CLEAR:
            operands = len(template.masks)
            name = "A_a" if clears < operands else "mu" if clears == operands else "plain rounds"
            clears += 1
        elif message.kind is Kind.VECTOR:
            name = "last vector" if vectors else "pad*"
            vectors += 1
        elif message.oracle is not None:
            columns = offset + message.columns.nbytes
            salts = columns + sum(map(len, message.salts))
            name = OPENED.get(message.oracle.label, "opened y*")
            found.setdefault("salts", []).append(slice(columns, salts))
            found.setdefault("digests", []).append(slice(salts, end))
            end, offset = columns, offset
        found.setdefault(name, []).append(slice(offset, end))
        offset += len(message.data)
    return found


def sample(proofs: Sequence[bytes], where: Sequence[slice]) -> Words:
    """The words of one section, (proofs, words)."""
    return np.array([np.frombuffer(b"".join(proof[part] for part in where), "<u8") for proof in proofs])


def upper_tail(statistic: float, freedom: int) -> float:
    """P(chi-square >= statistic): the cube root is nearly normal (Wilson and Hilferty 1931), to a few percent of the
    tail for the degrees of freedom here."""
    spread = 2 / (9 * freedom)
    return 0.5 * erfc(((statistic / freedom) ** (1 / 3) - 1 + spread) / sqrt(2 * spread))


def uniformity(words: Words) -> float:
    """The probability that uniform bytes look as uneven: all bytes pooled, in 256 classes or, where that would leave
    fewer than five to a class, in sixteen by the high bits."""
    pooled = np.ascontiguousarray(words).astype("<u8").view(np.uint8).reshape(-1)
    classes = 256 if pooled.size >= 5 * 256 else 16
    counts = np.bincount(pooled // (256 // classes), minlength=classes)
    expected = pooled.size / classes
    return upper_tail(float(((counts - expected) ** 2).sum() / expected), classes - 1)


def likeness(left: Words, right: Words) -> float:
    """The probability that two samples from one distribution look as different: every byte of every word on its own, in
    sixteen classes by its high bits, all chi-square statistics added."""
    statistic, freedom = 0.0, 0
    tables = [np.stack([_classes(words) == c for c in range(16)]).sum(axis=1) for words in (left, right)]
    total = tables[0] + tables[1]
    count = len(left) + len(right)
    for table, words in zip(tables, (left, right), strict=True):
        expected = total * (len(words) / count)
        statistic += float((((table - expected) ** 2)[total > 0] / expected[total > 0]).sum())
    freedom = int(((total > 0).sum(axis=0) - 1).sum())
    # (count - 1) / count makes the mean exact, which matters when thousands of tables are added
    return upper_tail(statistic * (count - 1) / count, freedom) if freedom else 1.0


def _classes(words: Words) -> npt.NDArray[np.uint8]:
    """The high four bits of every byte, (samples, bytes)."""
    data: npt.NDArray[np.uint8] = np.ascontiguousarray(words).astype("<u8").view(np.uint8)
    return np.right_shift(data, 4).reshape(len(words), -1)

"""The input vectors of a circuit as ezkl reads them, and the check that ezkl computes what the statement says."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuits.evaluate import Evaluation
from circuits.evaluate import Witness as Atoms
from circuits.manifest import Manifest
from circuits.program import Advice, Integers, Program, Value
from verifier.argument.field import K, P
from verifier.backends.ezkl.circuit import (
    BASE,
    CHALLENGE_CELLS,
    FIELD,
    HISTOGRAM,
    MASKS,
    OFFSET,
    WEIGHT_DIGITS,
    AdviceLimb,
    Circuit,
    Comparison,
    Complement,
)
from verifier.backends.ezkl.errors import CircuitMismatchError
from verifier.backends.ezkl.keys import COMPILED, KEY, Keys
from verifier.backends.ezkl.link import QUOTIENT, QUOTIENT_LIMBS, QUOTIENT_OFFSET, Coefficients
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.ranges import BOUNDS, COMPARISONS, RANGE
from verifier.backends.ezkl.reference_string import ReferenceString

INPUT, WITNESS = "input.json", "witness.json"


def element(value: int) -> str:
    """A field element as ezkl writes it: 32 bytes, little-endian, hex."""
    return (value % FIELD).to_bytes(32, "little").hex()


@dataclass(frozen=True)
class Hidden:
    """The hidden vectors of one attempt: never used for two.

    Attributes:
        value: the integers of committed tensors, of advice, and of compared values; what does not fit its digits makes
            a proof fail.
        mask: the link's mask, drawn for this attempt.
        blinds: uniform field elements at the end of both vectors.
    """

    circuit: Circuit
    value: Callable[[Value], Integers]
    mask: K
    blinds: tuple[tuple[int, ...], tuple[int, ...]]

    @staticmethod
    def fresh(circuit: Circuit, value: Callable[[Value], Integers]) -> Hidden:
        """Mask and blinds from the operating system."""
        mask = K((secrets.randbelow(P), secrets.randbelow(P), secrets.randbelow(P)))
        first, second = (tuple(secrets.randbelow(FIELD) for _ in range(MASKS)) for _ in range(2))
        return Hidden(circuit, value, mask, (first, second))

    def matrices(self) -> list[Integers]:
        """The tensors that the circuit reads, in its order."""
        return [np.asarray(self.value(one)).astype(np.int64) for one in self.circuit.weights]

    def answer(self, coefficients: Coefficients) -> K:
        """t: the masked combination of the weights."""
        c0, c1, c2 = coefficients.combination(self.matrices())
        return self.mask + K((c0 % P, c1 % P, c2 % P))

    def weight_digits(self) -> Integers:
        """Shape (weight_digits,)."""
        return np.concatenate([cut(matrix.reshape(-1) + OFFSET, WEIGHT_DIGITS) for matrix in self.matrices()])

    def advice_digits(self, quotient: Sequence[int]) -> Integers:
        """Shape (advice_digits,); `quotient` is the link's, empty without one."""
        parts = [cut(self._integers(one.source, quotient), one.digits) for one in self.circuit.advice]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def weights(self) -> list[int]:
        """The first input vector."""
        mask = list(self.mask) if self.circuit.linked else []
        return [*self.weight_digits().tolist(), *mask, *self.blinds[0]]

    def advice(self, quotient: Sequence[int]) -> list[int]:
        """The second input vector: digits, and how often each digit occurs in both vectors."""
        digits = self.advice_digits(quotient)
        every = np.concatenate([self.weight_digits(), digits])
        counts = np.bincount(every[(every >= 0) & (every < BASE)], minlength=BASE)
        return [*digits.tolist(), *counts.tolist(), *self.blinds[1]]

    def _integers(self, source: AdviceLimb | Complement | Comparison, quotient: Sequence[int]) -> Integers:
        """What a run of digits stands for."""
        match source:
            case Complement(of=limb):
                return limb.limb.bound - self._integers(limb, quotient)
            case Comparison(value=value, start=start):
                gap = np.asarray(self.value(value)).reshape(-1).astype(np.int64) - start
                return gap + (gap < 0) * (1 << 16)
            case AdviceLimb(advice=advice, limb=limb) if advice.name == QUOTIENT:
                shifted = [q + QUOTIENT_OFFSET for q in quotient]
                return np.array([(q >> (16 * level)) & 0xFFFF for level in range(QUOTIENT_LIMBS) for q in shifted])
            case AdviceLimb(advice=advice, limb=limb):
                offset = np.asarray(self.value(advice)).reshape(-1) - advice.low
                return np.asarray((offset >> limb.shift) & 0xFFFF)


def cut(integers: Integers, digits: int) -> Integers:
    """Digits in base 256, lowest first, integer by integer; the last takes what is left, whatever its size or sign."""
    levels = [(integers >> (8 * level)) & (BASE - 1) for level in range(digits - 1)]
    return np.stack([*levels, integers >> (8 * (digits - 1))], axis=-1).reshape(-1)


def write_inputs(path: Path, vectors: Sequence[Sequence[int]]) -> None:
    """The input file of ezkl with the three vectors, mode 0600."""
    with open(path, "w", opener=_private) as file:
        json.dump({"input_data": [[element(x) for x in vector] for vector in vectors]}, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def conditions_of(
    circuit: Circuit,
    value: Callable[[Value], Integers],
    hidden: tuple[Sequence[int], Sequence[int]],
    challenge: Sequence[int],
) -> list[int]:
    """What the range checks come to for any hidden vectors and any challenge cells, by exact arithmetic."""
    digits, rest = hidden[1][: circuit.advice_digits], hidden[1][circuit.advice_digits :]
    product, total = 1, 0
    for digit, count in Counter([*hidden[0][: circuit.weight_digits], *digits]).items():
        product = product * pow(challenge[0] + digit, count, FIELD) % FIELD
        total += count * pow(challenge[0] + digit, -1, FIELD)
    table = sum(m * inverse for m, inverse in zip(rest[:BASE], challenge[1:], strict=True))
    found = {RANGE: product * (total - table), BOUNDS: 0, COMPARISONS: 0}
    integers, start = dict[object, list[int]](), 0
    for one in circuit.advice:
        stop = start + one.cells * one.digits
        cells = [digits[at : at + one.digits] for at in range(start, stop, one.digits)]
        own = integers[one.source] = [sum(d << (8 * level) for level, d in enumerate(cell)) for cell in cells]
        start = stop
        if isinstance(one.source, Complement):
            of = one.source.of
            found[BOUNDS] += sum((a + b - of.limb.bound) ** 2 for a, b in zip(integers[of], own, strict=True))
        if isinstance(one.source, Comparison):
            gaps = (np.asarray(value(one.source.value)).reshape(-1) - one.source.start).tolist()
            found[COMPARISONS] += sum(((y - u) * (y - u + (1 << 16))) ** 2 for y, u in zip(gaps, own, strict=True))
    return [found[name] % FIELD for name in circuit.conditions]


def outputs_of(
    circuit: Circuit, program: Program, values: Evaluation, first: Sequence[int], rest: Sequence[int]
) -> list[int]:
    """The output cells for integers in range: exact evaluation, whether the statement holds or not.

    `first` are public cells and conditions; `rest` is what the link's equation leaves, coordinate by coordinate.
    """
    cells = list(first)
    for _, value in program.zeros:
        flat = [int(x) for x in np.asarray(values[value]).reshape(-1)]
        cells.append(flat[0] if len(flat) == 1 else sum(x * x for x in flat))
        values.drop(HISTOGRAM)  # one for every tensor: not all at once
    cells.extend(rest)
    for atom, _ in circuit.published:
        cells.extend(int(x) for x in np.asarray(values[atom]).reshape(-1))
    return cells


def check_circuit(circuit: Circuit, program: Program, manifest: Manifest, keys: Keys, limits: Limits) -> None:
    """Compare ezkl's own evaluation of the compiled circuit with exact evaluation: on random integers in range, and
    the range checks on random digits, which satisfy nothing.

    Every output is a polynomial of the inputs: a constant that ezkl rounded, an axis that it moved or an operator that
    it reads differently shows at random inputs.

    Raises CircuitMismatchError, EzklFailedError.
    """
    random = np.random.default_rng(secrets.randbits(128))
    weights = {one.name: random.integers(-OFFSET, OFFSET, one.shape) for one in circuit.weights}
    advice: dict[Advice, Integers] = {}
    for run in circuit.advice:
        if isinstance(run.source, AdviceLimb):
            own = run.source.advice
            advice[own] = random.integers(own.low, own.high, own.shape, endpoint=True)
    values = Evaluation(program, random_atoms(weights, advice, manifest))
    context, link, quotient, rest = secrets.token_bytes(32), list[int](), list[int](), list[int]()
    hidden = Hidden.fresh(circuit, values.__getitem__)
    if circuit.linked:
        shapes = [(one.shape[0], one.shape[1]) for one in circuit.weights]
        row, column = (
            [_random_k() for _ in range(max((shape[axis] - 1).bit_length() for shape in shapes))] for axis in (0, 1)
        )
        coefficients = Coefficients.at(shapes, row, column, [_random_k() for _ in shapes])
        total = _random_k()
        link = coefficients.public(total)
        quotient = [secrets.randbelow(2 * QUOTIENT_OFFSET) - QUOTIENT_OFFSET for _ in total]
        combined = coefficients.combination(hidden.matrices())
        rest = [c + m - t - P * q for c, m, t, q in zip(combined, hidden.mask, total, quotient, strict=True)]
    challenge = [secrets.randbelow(FIELD) for _ in range(CHALLENGE_CELLS)]
    public = circuit.public(context, challenge, link)
    honest = hidden.weights(), hidden.advice(quotient)
    free = honest[0], random.integers(0, BASE, len(honest[1])).tolist()
    for vectors, whole in ((honest, True), (free, False)):
        expected = [*public, *conditions_of(circuit, values.__getitem__, vectors, challenge)]
        if whole:
            expected = outputs_of(circuit, program, values, expected, rest)
        with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
            write_inputs(Path(name) / INPUT, [*vectors, public])
            outputs = evaluate(Path(name), keys, limits)
        if outputs[: len(expected)] != [cell % FIELD for cell in expected] or len(outputs) != circuit.outputs:
            raise CircuitMismatchError(
                "ezkl's circuit does not compute what the statement says; use the native argument"
            )


def _random_k() -> K:
    return K((secrets.randbelow(P), secrets.randbelow(P), secrets.randbelow(P)))


def evaluate(folder: Path, keys: Keys, limits: Limits) -> list[int]:
    """The outputs of the compiled circuit for the inputs in a folder; leaves the witness there.

    Raises EzklMissingError, EzklFailedError.
    """
    Job(limits).add("gen_witness", data=folder / INPUT, model=keys.path(COMPILED), output=folder / WITNESS).run()
    (outputs,) = json.loads((folder / WITNESS).read_bytes())["outputs"]
    return [int.from_bytes(bytes.fromhex(text), "little") for text in outputs]


def commitments(folder: Path, keys: Keys, reference: ReferenceString, limits: Limits) -> list[bytes]:
    """The first coordinates of the commitments to the input vectors in a folder: 32 bytes each, big-endian.

    Raises EzklMissingError, EzklFailedError.
    """
    Job(limits).add(
        "gen_witness",
        data=folder / INPUT,
        model=keys.path(COMPILED),
        output=folder / WITNESS,
        vk=keys.path(KEY),
        srs=reference.path.absolute(),
    ).run()
    points = []
    for (point,) in json.loads((folder / WITNESS).read_bytes())["processed_inputs"]["polycommit"]:
        # compressed: the coordinate, little-endian, with two flags in the highest bits
        compressed = int.from_bytes(bytes.fromhex(point), "little")
        points.append((compressed & ((1 << 254) - 1)).to_bytes(32, "big"))
    return points


def random_atoms(weights: Mapping[str, Integers], advice: Mapping[Advice, Integers], manifest: Manifest) -> Atoms:
    """Atoms of a program from weights and all of its advice."""

    def histogram(commitment: int, group: int) -> Integers:
        members: Sequence[Integers] = [weights[t.name] for t in manifest.tensors if t.group == group]
        cells = np.concatenate([one.reshape(-1) for one in members])
        return np.bincount(cells + (1 << 15), minlength=1 << 16).astype(np.int64)

    return Atoms(
        lambda commitment, name: weights[name], histogram, {atom.name: array for atom, array in advice.items()}
    )

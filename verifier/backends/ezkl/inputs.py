"""The input vectors of a circuit as ezkl reads them, and the check that ezkl computes what the statement says."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuits.evaluate import Evaluation
from circuits.evaluate import Witness as Atoms
from circuits.manifest import Manifest
from circuits.program import Advice, Integers, Program
from verifier.argument.field import K, P
from verifier.backends.ezkl.circuit import FIELD, MASKS, Circuit
from verifier.backends.ezkl.errors import CircuitMismatchError
from verifier.backends.ezkl.keys import COMPILED, KEY, Keys
from verifier.backends.ezkl.link import QUOTIENT, QUOTIENT_LIMBS, QUOTIENT_OFFSET, Coefficients
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import ReferenceString


def element(value: int) -> str:
    """A field element as ezkl writes it: 32 bytes, little-endian, hex."""
    return (value % FIELD).to_bytes(32, "little").hex()


@dataclass(frozen=True)
class Hidden:
    """The hidden vectors of one attempt: never used for two.

    Attributes:
        weight, advice: the committed integers by name and by atom; cells outside their ranges make a proof fail.
        mask: the link's mask, drawn for this attempt.
        blinds: uniform field elements at the end of both vectors.
    """

    circuit: Circuit
    weight: Callable[[str], Integers]
    advice: Callable[[Advice], Integers]
    mask: K
    blinds: tuple[tuple[int, ...], tuple[int, ...]]

    @staticmethod
    def fresh(circuit: Circuit, weight: Callable[[str], Integers], advice: Callable[[Advice], Integers]) -> Hidden:
        """Mask and blinds from the operating system."""
        mask = K((secrets.randbelow(P), secrets.randbelow(P), secrets.randbelow(P)))
        first, second = (tuple(secrets.randbelow(FIELD) for _ in range(MASKS)) for _ in range(2))
        return Hidden(circuit, weight, advice, mask, (first, second))

    def matrices(self) -> list[Integers]:
        """The tensors that the circuit reads, in its order."""
        return [np.asarray(self.weight(one.name)) for one in self.circuit.weights]

    def answer(self, coefficients: Coefficients) -> K:
        """t: the masked combination of the weights."""
        c0, c1, c2 = coefficients.combination(self.matrices())
        return self.mask + K((c0 % P, c1 % P, c2 % P))

    def write(self, path: Path, context: bytes, link: Sequence[int], quotient: Sequence[int]) -> None:
        """The input file, mode 0600."""
        weights = [int(x) for matrix in self.matrices() for x in matrix.reshape(-1)]
        if self.circuit.linked:
            weights.extend(self.mask)
        limbs: list[int] = []
        for one in self.circuit.advice:
            if one.advice.name == QUOTIENT:
                shifted = [q + QUOTIENT_OFFSET for q in quotient]
                limbs.extend((q >> (16 * level)) & 0xFFFF for level in range(QUOTIENT_LIMBS) for q in shifted)
                continue
            offset = np.asarray(self.advice(one.advice)).reshape(-1) - one.advice.low
            limbs.extend(int(x) for x in (offset >> one.limb.shift) & 0xFFFF)
        vectors = [[*weights, *self.blinds[0]], [*limbs, *self.blinds[1]], self.circuit.public(context, link)]
        with open(path, "w", opener=_private) as file:
            json.dump({"input_data": [[element(x) for x in vector] for vector in vectors]}, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def outputs_of(
    circuit: Circuit, program: Program, values: Evaluation, context: bytes, link: Sequence[int], rest: Sequence[int]
) -> list[int]:
    """The output cells for integers in range, as field elements: exact evaluation, whether the statement holds or not.

    `rest` is what the link's equation leaves, coordinate by coordinate.
    """
    cells = circuit.public(context, link)
    cells.append(0)
    for _, value in program.zeros:
        flat = [int(x) for x in np.asarray(values[value]).reshape(-1)]
        cells.append(flat[0] if len(flat) == 1 else sum(x * x for x in flat))
    cells.extend(rest)
    for atom, _ in circuit.published:
        cells.extend(int(x) for x in np.asarray(values[atom]).reshape(-1))
    return [cell % FIELD for cell in cells]


def check_circuit(
    circuit: Circuit, program: Program, manifest: Manifest, keys: Keys, reference: ReferenceString, limits: Limits
) -> None:
    """Compare ezkl's own evaluation of the compiled circuit with exact evaluation, on random integers in range.

    Every output is a polynomial of the inputs (absolute values aside): a constant that ezkl rounded, an axis that
    it moved or an operator that it reads differently shows at random inputs.

    Raises CircuitMismatchError, EzklFailedError.
    """
    random = np.random.default_rng(secrets.randbits(128))
    weights = {one.name: random.integers(-(1 << 15), 1 << 15, one.shape) for one in circuit.weights}
    advice: dict[Advice, Integers] = {
        one.advice: random.integers(one.advice.low, one.advice.high, one.advice.shape, endpoint=True)
        for one in circuit.advice
    }
    values = Evaluation(program, random_atoms(weights, advice, manifest))
    context, link, quotient, rest = secrets.token_bytes(32), list[int](), list[int](), list[int]()
    hidden = Hidden.fresh(circuit, weights.__getitem__, advice.__getitem__)
    if circuit.linked:
        shapes = [(one.shape[0], one.shape[1]) for one in circuit.weights]
        row, column = (
            [_random_k() for _ in range(max((shape[axis] - 1).bit_length() for shape in shapes))] for axis in (0, 1)
        )
        coefficients = Coefficients.at(shapes, row, column, [_random_k() for _ in shapes])
        total = _random_k()
        link = coefficients.public(total)
        quotient = [secrets.randbelow(2 * QUOTIENT_OFFSET) - QUOTIENT_OFFSET for _ in total]
        found = coefficients.combination(hidden.matrices())
        rest = [c + m - t - P * q for c, m, t, q in zip(found, hidden.mask, total, quotient, strict=True)]
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        folder = Path(name)
        hidden.write(folder / "input.json", context, link, quotient)
        outputs, _ = evaluate(folder, keys, reference, limits)
    if outputs != outputs_of(circuit, program, values, context, link, rest):
        raise CircuitMismatchError("ezkl's circuit does not compute what the statement says; use the native argument")


def _random_k() -> K:
    return K((secrets.randbelow(P), secrets.randbelow(P), secrets.randbelow(P)))


def evaluate(folder: Path, keys: Keys, reference: ReferenceString, limits: Limits) -> tuple[list[int], bytes]:
    """Run `input.json` of a folder through the compiled circuit; leaves `witness.json`.

    Returns the outputs, and the first coordinate of the commitment to the weights: 32 bytes, big-endian.
    """
    data, witness = folder / "input.json", folder / "witness.json"
    Job(limits).add(
        "gen_witness",
        data=data,
        model=keys.path(COMPILED),
        output=witness,
        vk=keys.path(KEY),
        srs=reference.path.absolute(),
    ).run()
    content = json.loads(witness.read_bytes())
    (outputs,) = content["outputs"]
    # compressed: the coordinate, little-endian, with two flags in the highest bits
    compressed = int.from_bytes(bytes.fromhex(content["processed_inputs"]["polycommit"][0][0]), "little")
    point = (compressed & ((1 << 254) - 1)).to_bytes(32, "big")
    return [int.from_bytes(bytes.fromhex(text), "little") for text in outputs], point


def random_atoms(weights: Mapping[str, Integers], advice: Mapping[Advice, Integers], manifest: Manifest) -> Atoms:
    """Atoms of a program from weights and all of its advice."""

    def histogram(commitment: int, group: int) -> Integers:
        members: Sequence[Integers] = [weights[t.name] for t in manifest.tensors if t.group == group]
        cells = np.concatenate([one.reshape(-1) for one in members])
        return np.bincount(cells + (1 << 15), minlength=1 << 16).astype(np.int64)

    return Atoms(
        lambda commitment, name: weights[name], histogram, {atom.name: array for atom, array in advice.items()}
    )

"""The input vectors of a circuit as ezkl reads them, and the check that ezkl computes what the statement says."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from circuits.evaluate import Evaluation
from circuits.evaluate import Witness as Atoms
from circuits.manifest import Manifest
from circuits.program import Advice, Integers, Program
from verifier.backends.ezkl.circuit import FIELD, MASKS, Circuit
from verifier.backends.ezkl.errors import CircuitMismatchError
from verifier.backends.ezkl.keys import COMPILED, KEY, Keys
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import ReferenceString


def element(value: int) -> str:
    """A field element as ezkl writes it: 32 bytes, little-endian, hex."""
    return (value % FIELD).to_bytes(32, "little").hex()


def write_inputs(
    path: Path,
    circuit: Circuit,
    weight: Callable[[str], Integers],
    advice: Callable[[Advice], Integers],
    context: bytes,
) -> None:
    """The input file of one attempt, mode 0600, with fresh masks at the end of both hidden vectors."""
    weights = [int(x) for one in circuit.weights for x in np.asarray(weight(one.name)).reshape(-1)]
    limbs: list[int] = []
    for one in circuit.advice:
        offset = np.asarray(advice(one.advice)).reshape(-1) - one.advice.low
        limbs.extend(int(x) for x in (offset >> one.limb.shift) & ((1 << 16) - 1))
    masks = [[secrets.randbelow(FIELD) for _ in range(MASKS)] for _ in range(2)]
    vectors = [weights + masks[0], limbs + masks[1], circuit.public(context)]
    with open(path, "w", opener=_private) as file:
        json.dump({"input_data": [[element(x) for x in vector] for vector in vectors]}, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def outputs_of(circuit: Circuit, program: Program, values: Evaluation, context: bytes) -> list[int]:
    """The output cells for integers in range, as field elements: exact evaluation, whether the statement holds or
    not."""
    cells = circuit.public(context)
    cells.append(0)
    for _, value in program.zeros:
        flat = [int(x) for x in np.asarray(values[value]).reshape(-1)]
        cells.append(flat[0] if len(flat) == 1 else sum(x * x for x in flat))
    for atom, _ in circuit.published:
        cells.extend(int(x) for x in np.asarray(values[atom]).reshape(-1))
    return [cell % FIELD for cell in cells]


def check_circuit(
    circuit: Circuit, program: Program, manifest: Manifest, keys: Keys, reference: ReferenceString, limits: Limits
) -> None:
    """Compare ezkl's own evaluation of the compiled circuit with exact evaluation, on random integers in range.

    Every output is a polynomial of the inputs (steps of histograms aside): a constant that ezkl rounded, an axis that
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
    context = secrets.token_bytes(32)
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as name:
        folder = Path(name)
        write_inputs(folder / "input.json", circuit, weights.__getitem__, advice.__getitem__, context)
        found = evaluate(folder, keys, reference, limits)
    if found != outputs_of(circuit, program, values, context):
        raise CircuitMismatchError("ezkl's circuit does not compute what the statement says; use the native argument")


def evaluate(folder: Path, keys: Keys, reference: ReferenceString, limits: Limits) -> list[int]:
    """Run `input.json` of a folder through the compiled circuit; leaves `witness.json` and returns the outputs."""
    data, witness = folder / "input.json", folder / "witness.json"
    Job(limits).add(
        "gen_witness",
        data=data,
        model=keys.path(COMPILED),
        output=witness,
        vk=keys.path(KEY),
        srs=reference.path.absolute(),
    ).run()
    (outputs,) = json.loads(witness.read_bytes())["outputs"]
    return [int.from_bytes(bytes.fromhex(text), "little") for text in outputs]


def random_atoms(weights: Mapping[str, Integers], advice: Mapping[Advice, Integers], manifest: Manifest) -> Atoms:
    """Atoms of a program from weights and all of its advice."""

    def histogram(commitment: int, group: int) -> Integers:
        members: Sequence[Integers] = [weights[t.name] for t in manifest.tensors if t.group == group]
        cells = np.concatenate([one.reshape(-1) for one in members])
        return np.bincount(cells + (1 << 15), minlength=1 << 16).astype(np.int64)

    return Atoms(
        lambda commitment, name: weights[name], histogram, {atom.name: array for atom, array in advice.items()}
    )

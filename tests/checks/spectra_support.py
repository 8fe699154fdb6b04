"""Checks on singular values in the clear and as proofs, honest and forced; small commitments, the real argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from circuits.checkpoint import open_checkpoint
from circuits.checks.base import Check, Context, Instance
from circuits.checks.no_ablated_direction import NoAblatedDirection
from circuits.checks.no_single_direction_edit import NoSingleDirectionEdit
from circuits.checks.positive import Q_LOG, PsdPlan
from circuits.checks.smallest_singular_value import SmallestSingularValue
from circuits.checks.spectral_norm import LowerSpec, SpectralNorm
from circuits.checks.stable_rank import StableRank, StableRankSpec
from circuits.errors import PolicyError, StatementError, VerificationError
from circuits.evaluate import Evaluation, check
from circuits.policy import Policy
from prover.argument.kernels.cpu import CpuKernels
from prover.argument.program import ProgramData
from prover.argument.prove import prove
from prover.audit import atoms, program_witness
from prover.certificates import spectra
from prover.certificates.base import Access, Certificate, Certifier, Integers
from prover.commit import CommittedModel, commit_model
from tests.checks.models import Array, Scales, Setting, decimal, write
from verifier.argument.audit import Audit, Bases
from verifier.argument.derive import candidate
from verifier.argument.statement import verify
from verifier.decision import public_bases

KERNELS = CpuKernels()
NONCE = bytes(range(16))
BITS = 24
_PARAMETERS = candidate(12, (5,), 1, 40)
assert _PARAMETERS is not None
PARAMETERS = _PARAMETERS
"""Rows of 4096 and 40 bits a relation: proofs in half a second, and a lie has no luck."""

CHECKS: Mapping[str, tuple[type[Check], Certifier]] = {
    "spectral-norm": (SpectralNorm, spectra.spectral_norm),
    "stable-rank": (StableRank, spectra.stable_rank),
    "smallest-singular-value": (SmallestSingularValue, spectra.smallest_singular_value),
    "no-ablated-direction": (NoAblatedDirection, spectra.no_ablated_direction),
    "no-single-direction-edit": (NoSingleDirectionEdit, spectra.no_single_direction_edit),
}

Statement = Callable[[float], Check]
"""A check with its threshold left open."""


def statement(name: str, **parameters: Any) -> Check:
    """A check as a policy would hold it."""
    made = CHECKS[name][0].model_validate({"check": name, **parameters})
    made.validate_values()
    return made


def certifier_of(statement: Check) -> Certifier:
    return CHECKS[statement.check][1]


def certify(setting: Setting, statement: Check) -> list[tuple[Instance, Certificate]]:
    """Every statement of a check with its certificate."""
    return [(one, certifier_of(statement)(one, setting.access)) for one in setting.instances(statement)]


def passes(setting: Setting, statement: Check) -> bool:
    """Do all statements hold? Certificates that are made must satisfy the program. A threshold that no weights could
    reach, or none with this rounding, does not hold."""
    try:
        rows = certify(setting, statement)
    except (PolicyError, StatementError):
        return False
    for instance, certificate in rows:
        if certificate.passed:
            assert setting.failures(instance, certificate.advice) == []
    return all(certificate.passed for _, certificate in rows)


def boundary(setting: Setting, make: Statement, inside: float, outside: float, steps: int = 16) -> tuple[float, float]:
    """Thresholds next to each other: the first is certified, the second refused. Bisection on a logarithmic scale."""
    assert passes(setting, make(inside))
    assert not passes(setting, make(outside))
    for _ in range(steps):
        middle = float(decimal((inside * outside) ** 0.5, 15))
        if passes(setting, make(middle)):
            inside = middle
        else:
            outside = middle
    return inside, outside


# ---------------------------------------------------------------- certificates of a prover who ignores the refusal


def forced_advice(x: Integers, sizes: PsdPlan, name: str, relax: str) -> dict[str, Integers]:
    """The nearest thing to a certificate that X + slack I >= 0, for any X: the factor of its positive part, and what
    is left over, clipped to its range."""
    target = x.astype(np.float64) * 4.0**sizes.exponent
    values, vectors = np.linalg.eigh(target)
    limit = 1 << sizes.log_factor
    factor = np.clip(np.rint(vectors * np.sqrt(np.maximum(values, 0))), -limit, limit - 1).astype(np.int64)
    exact = factor.astype(object)
    rest = x.astype(object) * 4**sizes.exponent - exact @ exact.T
    half, top = 1 << Q_LOG, (1 << sizes.log_remainder) - 1
    quotient = np.clip((rest >> sizes.log_remainder).astype(object), -half, half - 1)
    remainder = np.clip(rest - (quotient << sizes.log_remainder), 0, top)
    return {
        f"{name}/factor": factor,
        f"{name}/quotient": quotient.astype(np.int64),
        f"{name}/remainder": remainder.astype(np.int64),
    }


@contextmanager
def patched(instance: Instance) -> Iterator[None]:
    """Certifiers see eigenvalues that please them, and certificates are forced."""
    above = instance.comparator == "<=" or isinstance(instance.spec, StableRankSpec)
    pleasing = 1e-9 if above else 1e300
    with (
        mock.patch.object(spectra, "eigenvalues", lambda matrix: np.full(len(matrix), pleasing)),
        mock.patch.object(spectra, "psd_advice", forced_advice),
    ):
        yield


def force(certifier: Certifier, instance: Instance, access: Access) -> Certificate:
    """What a prover gets who ignores every refusal of the certifier."""
    if isinstance(instance.spec, LowerSpec):
        certificate = certifier(replace(instance, spec=replace(instance.spec, bound=0)), access)
    else:
        with patched(instance):
            certificate = certifier(instance, access)
    assert certificate.passed
    return certificate


# ---------------------------------------------------------------- proofs


@dataclass(frozen=True)
class Owner:
    """Committed models: the audited one, and base models; and public base files."""

    models: tuple[CommittedModel, ...]
    files: tuple[Path, ...] = ()

    @staticmethod
    def of(
        folder: Path, tensors: Mapping[str, Array], base: Mapping[str, Array] | None = None, *, public: bool = False,
        scales: Scales = None,
    ) -> Owner:  # fmt: skip
        """Commit to a model, and to a base model called "base" unless it is a public file."""
        paths = [write(folder / "own.safetensors", tensors)]
        if base is not None:
            paths.append(write(folder / "base.safetensors", base))
        committed = paths[:1] if public else paths
        models = [
            commit_model(open_checkpoint(path), KERNELS, proofs=1, scales=scales, parameters=PARAMETERS)
            for path in committed
        ]
        return Owner(tuple(models), tuple(paths[len(committed) :]))

    @cached_property
    def bases(self) -> Bases:
        committed = {"base": self.models[1].commitment} if len(self.models) > 1 else {}
        return Bases(committed, public_bases(self.files, self.models[0].commitment.manifest))

    @cached_property
    def setting(self) -> Setting:
        context: Context = self.bases.context(self.models[0].commitment)
        return Setting(context, Access(tuple(model.integers for model in self.models)))

    def audit(self, checks: Sequence[Check]) -> Audit:
        """The statement of a policy of these checks, registered or not."""
        policy = Policy.model_construct(policy="weightproof/policy/v1", name="spectra", checks=tuple(checks))
        return Audit(policy, self.models[0].commitment, (), self.bases)

    def evaluate(self, audit: Audit, advice: Mapping[str, Integers]) -> Evaluation:
        return Evaluation(audit.statements.program, atoms([m.integers for m in self.models], advice))

    def prove(self, audit: Audit, values: Evaluation, honest: bool = True) -> bytes:
        """The proof that these values give, true or not."""
        data = [model.data for model in self.models]
        witness, program = program_witness(audit.compiled, values), ProgramData(KERNELS, values.__getitem__)
        return prove(audit, KERNELS, data, witness, NONCE, program=program, minimum_bits=BITS, check=honest)

    def shows(self, checks: Sequence[Check]) -> None:
        """The honest prover convinces the verifier."""
        audit = self.audit(checks)
        advice = certificates(audit, lambda one, certifier: certifier(one, self.setting.access))
        values = self.evaluate(audit, advice)
        assert check(audit.statements.program, values) == []
        verify(audit, self.prove(audit, values), NONCE, minimum_bits=BITS)

    def forge(self, audit: Audit, advice: Mapping[str, Integers]) -> bytes:
        """The proof of a prover who proves with any advice whatever, bending what follows from it into range."""
        values = self.evaluate(audit, advice)
        bent = dict(advice)
        for atom in audit.compiled.advice:
            if atom.name not in advice:
                bent[atom.name] = np.clip(values[atom], atom.low, atom.high)
        return self.prove(audit, self.evaluate(audit, bent), honest=False)

    def convinces(self, audit: Audit, advice: Mapping[str, Integers]) -> bool:
        """Is such a prover believed?"""
        try:
            verify(audit, self.forge(audit, advice), NONCE, minimum_bits=BITS)
        except VerificationError:
            return False
        return True


def in_range(audit: Audit, advice: Mapping[str, Integers]) -> dict[str, Integers]:
    """Advice made for a statement next to this one, clipped where its ranges are others."""
    return {
        atom.name: np.clip(advice[atom.name], atom.low, atom.high)
        for atom in audit.compiled.advice
        if atom.name in advice
    }


def certificates(audit: Audit, make: Callable[[Instance, Certifier], Certificate]) -> dict[str, Integers]:
    """The advice of a whole audit by its name in the program."""
    found: dict[str, Integers] = {}
    for index, (number, instance) in enumerate(audit.statements.instances):
        certificate = make(instance, certifier_of(audit.policy.checks[number]))
        assert certificate.passed, (instance.label, certificate)
        found.update({f"{index}/advice/{key}": value for key, value in certificate.advice.items()})
    return found


# ---------------------------------------------------------------- models and cases


def random_matrix(seed: int, shape: tuple[int, int], least: float = 0.0) -> Array:
    """Normal entries; with `least`, singular values are spread evenly over [least, 1] instead."""
    w = np.random.default_rng(seed).normal(size=shape)
    if least:
        u, s, v = np.linalg.svd(w, full_matrices=False)
        w = (u * np.linspace(1, least, len(s))) @ v
    return w


def peaked(w: Array, peak: float) -> Array:
    """Scaled to a largest magnitude. Just below 2 it fills the fixed-point range, just above 1 half of it."""
    return np.asarray(w / np.abs(w).max() * peak)


def singular_values(w: Array) -> Array:
    return np.asarray(np.linalg.svd(w, compute_uv=False))


def stacked(matrices: Sequence[tuple[Array, int]]) -> Array:
    """The matrices with the residual axis first, each over its Frobenius norm, side by side."""
    return np.concatenate([(w if axis == 0 else w.T) / np.linalg.norm(w) for w, axis in matrices], axis=1)


@dataclass(frozen=True)
class Case:
    """A model, a check without its threshold, and what numpy says is measured.

    `above`: thresholds above the value hold (at_most), else those below it (at_least).
    """

    name: str
    tensors: Mapping[str, Array]
    make: Statement
    value: float
    above: bool
    base: Mapping[str, Array] | None = None
    loose: float = 0.0
    """A threshold that holds by far; twice or half the value unless given."""

    def threshold(self, loosened: float) -> float:
        """The value, looser by a relative amount, or tighter if it is negative."""
        return self.value * (1 + loosened) if self.above else self.value / (1 + loosened)

    def boundary(self, setting: Setting) -> tuple[float, float]:
        """The last threshold that is certified and the first that is refused, see `boundary`."""
        return boundary(setting, self.make, self.loose or self.threshold(1.0), self.threshold(-0.01))


def bounded(name: str, key: str, **parameters: Any) -> Statement:
    """A check with a threshold called `key`."""
    return lambda threshold: statement(name, **parameters, **{key: decimal(threshold, 15)})


def single(name: str, shape: tuple[int, int], seed: int = 1) -> Case:
    """A check on one matrix. Names as in `SINGLE`."""
    w = random_matrix(seed, shape, least=0.3 if name == "smallest-singular-value" else 0.0)
    s = singular_values(w)
    if name == "smallest-singular-value":
        make = bounded(name, "at_least", tensors="w", norm_at_most=decimal(1.05 * s[0], 3))
        return Case(name, {"w": w}, make, s[-1], above=False)
    if name == "stable-rank":
        value = float((s**2).sum() / s[0] ** 2)
        # one bit of headroom: the certificate expects weights whose mean square is at most 2^25
        make = bounded(name, "at_least", tensors="w")
        return Case(name, {"w": peaked(w, 1.02)}, make, value, above=False, loose=max(1.0, value / 2))
    key = name.rpartition(" ")[2]
    return Case(name, {"w": w}, bounded("spectral-norm", key, tensors="w"), s[0], above=key == "at_most")


SINGLE = ("spectral-norm at_most", "spectral-norm at_least", "stable-rank", "smallest-singular-value")


def writers(size: int, layers: int, seed: int = 1) -> dict[str, tuple[Array, int]]:
    """Matrices that write to a residual stream of this width, half of them stored (in, out)."""
    rng = np.random.default_rng(seed)
    out = {}
    for layer in range(layers):
        out[f"layers.{layer}.o.weight"] = (peaked(rng.normal(size=(size, size + 3)), 1.95), 0)
        out[f"layers.{layer}.down.weight"] = (peaked(rng.normal(size=(2 * size + 1, size)), 1.9), 1)
    return out


GROUP = ({"tensors": "layers.*.o.weight", "residual_axis": 0}, {"tensors": "layers.*.down.weight", "residual_axis": 1})


def ablation(size: int, layers: int = 2, windows: int | None = None, seed: int = 1) -> Case:
    """no-ablated-direction; with windows, the value is that of the weakest window."""
    chosen = writers(size, layers, seed)
    width = layers if windows is None else windows
    value = min(
        float(singular_values(stacked(list(chosen.values())[2 * i : 2 * (i + width)]))[-1] ** 2)
        for i in range(layers - width + 1)
    )
    more = {} if windows is None else {"windows": {"of_layers": windows}}
    bits = 14 if size < 8 else 12
    make = bounded("no-ablated-direction", "at_least", group=GROUP, precision_bits=bits, **more)
    return Case("no-ablated-direction", {name: w for name, (w, _) in chosen.items()}, make, value, above=False)


def common_edit(size: int, noise: float, base: Mapping[str, str], layers: int = 2, seed: int = 1) -> Case:
    """no-single-direction-edit after the ablation of one direction from all writers, plus noise of this relative size.

    `base`: how the policy names the base model.
    """
    clean, rng = writers(size, layers, seed), np.random.default_rng(seed + 1)
    direction = rng.normal(size=size)
    direction /= np.linalg.norm(direction)
    tensors, changes = {}, []
    for name, (w, axis) in clean.items():
        turned = w if axis == 0 else w.T
        change = -np.outer(direction, direction @ turned)
        other = rng.normal(size=change.shape)
        change += noise * np.linalg.norm(change) / np.linalg.norm(other) * other
        changes.append((change, 0))
        tensors[name] = (turned + change) if axis == 0 else (turned + change).T
    value = float(singular_values(stacked(changes))[0] ** 2) / len(changes)
    least = decimal(0.9 * min(np.linalg.norm(change) for change, _ in changes), 3)
    make = bounded("no-single-direction-edit", "at_most", group=GROUP, base=base, norm_at_least=least)
    original = {name: w for name, (w, _) in clean.items()}
    return Case("no-single-direction-edit", tensors, make, value, True, original, loose=0.9999)

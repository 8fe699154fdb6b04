"""Edits of a transformer that are in use, or that a cheat might think of, for `benchmarks.known_edits`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

STORIES = Path(__file__).resolve().parents[2] / "shared" / "data" / "stories260k" / "model.safetensors"


@dataclass(frozen=True)
class Subject:
    """A transformer: which tensors write to the residual stream (rows are its axis), and which feed the neurons."""

    path: Path
    tensors: Tensors
    attention: str
    down: str
    up: str
    precision_bits: int

    @staticmethod
    def of(path: Path | None = None) -> Subject:
        """The model of the shared data where it is present, else the packaged sentence encoder."""
        from safetensors.numpy import load_file

        from benchmarks.models import encoder_file

        path = path or (STORIES if STORIES.is_file() else encoder_file())
        tensors = load_file(path)
        if "model.embed_tokens.weight" in tensors:
            parts, prefix, bits = ("self_attn.o_proj", "mlp.down_proj", "mlp.up_proj"), "model.layers.*", 10
        else:
            parts, prefix, bits = ("attention.output.dense", "output.dense", "intermediate.dense"), "encoder.layer.*", 8
        attention, down, up = (f"{prefix}.{part}.weight" for part in parts)
        return Subject(path, tensors, attention, down, up, bits)

    def names(self, *patterns: str) -> list[str]:
        """The tensors that match, layer by layer."""
        from circuits.patterns import select

        return [name for pattern in patterns for name in select(pattern, sorted(self.tensors))]

    @property
    def writers(self) -> list[str]:
        return self.names(self.attention, self.down)

    @property
    def width(self) -> int:
        return len(self.tensors[self.writers[0]])

    def norm(self, pattern: str) -> float:
        """The smallest Frobenius norm of the tensors that match."""
        return min(float(np.linalg.norm(self.tensors[name])) for name in self.names(pattern))

    @property
    def direction(self) -> Array:
        """The direction that is ablated: a fixed random one."""
        direction = np.random.default_rng(0).standard_normal(self.width)
        return np.asarray(direction / np.linalg.norm(direction))


# ---------------------------------------------------------------- edits

Edit = Callable[[Subject], Tensors]


def on(subject: Subject, names: Sequence[str], change: Callable[[Array], Array]) -> Tensors:
    """The model with some tensors changed, in float64, stored as float32."""
    changed = {name: change(subject.tensors[name].astype(np.float64)).astype(np.float32) for name in names}
    return {**subject.tensors, **changed}


def ablation(strength: float) -> Edit:
    """(1 - s r r^T) W for every writer: 1 removes the direction r, 2 reflects it."""
    return lambda m: on(m, m.writers, lambda w: w - strength * np.outer(m.direction, m.direction @ w))


def in_bf16(edit: Edit) -> Edit:
    """Stored as bfloat16."""

    def rounded(m: Subject) -> Tensors:
        return {name: w.astype(ml_dtypes.bfloat16).astype(np.float32) for name, w in edit(m).items()}

    return rounded


def keeping_norms(axis: int) -> Edit:
    """Ablation, then every column (axis 0) or row (1) is scaled back to its norm; rows as in norm-preserving tools."""

    def change(w: Array, r: Array) -> Array:
        without = w - np.outer(r, r @ w)
        norms = [np.linalg.norm(x, axis=axis, keepdims=True) for x in (w, without)]
        return np.asarray(without * norms[0] / norms[1])

    return lambda m: on(m, m.writers, lambda w: change(w, m.direction))


def refilled(along: float, everywhere: float) -> Edit:
    """Ablation, then noise of so many times the removed norm: along the ablated direction, and in all entries."""

    def change(w: Array, r: Array, rng: np.random.Generator) -> Array:
        removed = r @ w
        size = np.linalg.norm(removed)
        row, rest = rng.standard_normal(w.shape[1:]), rng.standard_normal(w.shape)
        row *= along * size / np.linalg.norm(row)
        rest *= everywhere * size / np.linalg.norm(rest)
        return np.asarray(w - np.outer(r, removed) + np.outer(r, row) + rest)

    def edit(m: Subject) -> Tensors:
        rng = np.random.default_rng(1)
        return on(m, m.writers, lambda w: change(w, m.direction, rng))

    return edit


def late_layers(m: Subject) -> Tensors:
    """Ablation in the last two layers only."""
    late = [*m.names(m.attention)[-2:], *m.names(m.down)[-2:]]
    return on(m, late, lambda w: w - np.outer(m.direction, m.direction @ w))


def rank_one(m: Subject) -> Tensors:
    """One matrix of a middle layer gets a rank-one term, half as large as its largest singular value."""
    rng, names = np.random.default_rng(2), m.names(m.down)

    def change(w: Array) -> Array:
        term = np.outer(rng.standard_normal(w.shape[0]), rng.standard_normal(w.shape[1]))
        return np.asarray(w + term * (np.linalg.norm(w, 2) / 2 / np.linalg.norm(term)))

    return on(m, names[len(names) // 2 :][:1], change)


def adapter(m: Subject) -> Tensors:
    """A merged adapter of rank 4 in every writer and every neuron matrix, 5 % of its Frobenius norm."""
    rng = np.random.default_rng(3)

    def change(w: Array) -> Array:
        term = rng.standard_normal((w.shape[0], 4)) @ rng.standard_normal((4, w.shape[1]))
        return np.asarray(w + term * (0.05 * np.linalg.norm(w) / np.linalg.norm(term)))

    return on(m, m.names(m.attention, m.down, m.up), change)


def mantissa_payload(m: Subject) -> Tensors:
    """The eight lowest mantissa bits of every float32 carry data."""
    rng = np.random.default_rng(4)
    out = {}
    for name, w in m.tensors.items():
        if w.dtype == np.float32:
            bits = w.view(np.uint32) & np.uint32(0xFFFF_FF00)
            out[name] = (bits | rng.integers(0, 256, w.shape, dtype=np.uint32)).view(np.float32)
    return {**m.tensors, **out}


def rounded_payload(m: Subject) -> Tensors:
    """The same, but only where the fixed-point copy stays what it is."""
    from circuits.fixedpoint import finest_scale, quantise

    edited = mantissa_payload(m)
    for name, w in m.tensors.items():
        if w.dtype == np.float32:
            scale = finest_scale(float(np.abs(w).max()), name)
            room = np.clip(edited[name], -np.abs(w).max(), np.abs(w).max())
            edited[name] = np.where(quantise(w, scale) == quantise(room, scale), room, w)
    return edited


def integer_payload(m: Subject) -> Tensors:
    """The lowest bit of every integer of the fixed-point copy carries data."""
    from circuits.fixedpoint import finest_scale, quantise

    rng = np.random.default_rng(5)

    def change(w: Array) -> Array:
        scale = finest_scale(float(np.abs(w).max()), "w")
        integers = quantise(w.astype(np.float32), scale)
        return np.ldexp(((integers >> 1) << 1 | rng.integers(0, 2, w.shape)).astype(np.float64), -scale)

    return on(m, m.names(m.attention, m.down, m.up), change)


def outlier(m: Subject) -> Tensors:
    """The input weights of one neuron are scaled thirtyfold."""

    def change(w: Array) -> Array:
        w[len(w) // 3] *= 30
        return w

    return on(m, m.names(m.up)[1:2], change)


def noise(m: Subject) -> Tensors:
    """Control: noise of 1 % of its norm on every matrix, as an honest fine-tuning may leave."""
    rng = np.random.default_rng(6)

    def change(w: Array) -> Array:
        extra = rng.standard_normal(w.shape)
        return np.asarray(w + extra * (0.01 * np.linalg.norm(w) / np.linalg.norm(extra)))

    return on(m, m.names(m.attention, m.down, m.up), change)


def clean(m: Subject) -> Tensors:
    return m.tensors


EDITS: dict[str, Edit] = {
    "clean": clean,
    "control: noise 1 %": noise,
    "control: bf16 storage": in_bf16(clean),
    **{f"ablation x {strength}": ablation(strength) for strength in (0.1, 0.25, 0.5, 1.0)},
    "ablation x 1, then bf16": in_bf16(ablation(1)),
    "reflection (x 2)": ablation(2),
    "ablation, columns' norms kept": keeping_norms(0),
    "ablation, rows' norms kept": keeping_norms(1),
    "ablation, refilled": refilled(1, 0),
    "ablation, noise everywhere": refilled(0, 1),
    "ablation, refilled, noise x 2": refilled(1, 2),
    "ablation, last two layers": late_layers,
    "rank-one edit of one matrix": rank_one,
    "adapter of rank 4 merged": adapter,
    "payload, 8 mantissa bits": mantissa_payload,
    "payload, hidden in rounding": rounded_payload,
    "payload, lowest integer bit": integer_payload,
    "one neuron x 30": outlier,
}

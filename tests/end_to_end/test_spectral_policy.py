"""A spectral policy through the commands, with a committed base model and a public one: measured, proved, verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.commands import ACCEPTED, REJECTED, USAGE, Result, prover, verifier
from tests.end_to_end.models import Array, write_safetensors

WIDTH, HIDDEN, LAYERS = 24, 40, 3
NONCE = "5a" * 32
ATTENTION, DOWN = "model.layers.*.self_attn.o_proj.weight", "model.layers.*.mlp.down_proj.weight"
GROUP = [{"tensors": pattern, "residual_axis": 0} for pattern in (ATTENTION, DOWN)]


def transformer(seed: int = 1) -> dict[str, Array]:
    """The writers and neurons of a small transformer, an embedding and a norm."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Array:
        w = rng.standard_normal((rows, columns))
        return np.asarray(w / np.abs(w).max() * 1.9, np.float32)

    tensors = {"model.embed_tokens.weight": matrix(64, WIDTH), "model.norm.weight": np.ones(WIDTH, np.float32)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "self_attn.o_proj.weight"] = matrix(WIDTH, WIDTH)
        tensors[prefix + "mlp.up_proj.weight"] = matrix(HIDDEN, WIDTH)
        tensors[prefix + "mlp.down_proj.weight"] = matrix(WIDTH, HIDDEN)
    return tensors


def writers(tensors: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, w in tensors.items():
        if "o_proj" in name or "down_proj" in name:
            yield name, w


def fine_tuned(tensors: dict[str, Array]) -> dict[str, Array]:
    """Noise on every writer, small enough to keep the scales."""
    rng = np.random.default_rng(2)
    return tensors | {name: w * np.float32(0.98) + noise(rng, w.shape) for name, w in writers(tensors)}


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(0.01 * np.clip(rng.standard_normal(shape), -3, 3), np.float32)


def ablated(tensors: dict[str, Array]) -> dict[str, Array]:
    """One direction projected out of every writer."""
    r = np.full(WIDTH, WIDTH**-0.5)
    return tensors | {name: (w - np.outer(r, r @ w)).astype(np.float32) for name, w in writers(tensors)}


@dataclass(frozen=True)
class World:
    """Checkpoints, their commitments of one shape, and a policy."""

    place: Path
    policy: Path

    def model(self, name: str) -> Path:
        return self.place / f"{name}.safetensors"

    def folder(self, name: str) -> Path:
        return self.place / name

    @property
    def bundle(self) -> Path:
        return self.place / "bundle"

    def audit(self, name: str, *more: str | Path, base: str = "clean") -> Result:
        given = f"clean={self.folder('clean')}={self.model(base)}"
        return prover(
            "audit", self.folder(name), "--model", self.model(name), "--policy", self.policy, "--out", self.bundle,
            "--nonce", NONCE, "--base", given, "--base-file", self.model("clean"), "--json", *more,
        )  # fmt: skip

    def verify(self, name: str, *bases: str | Path) -> Result:
        return verifier(
            "verify", self.folder(name), self.bundle, "--policy", self.policy, "--nonce", NONCE, "--json", *bases
        )


def checks(digest: str) -> list[dict[str, Any]]:
    committed, public = {"commitment": "clean"}, {"file_sha256": digest}
    changes = {"at_most": "0.4", "norm_at_least": "0.2"}
    return [
        {"check": "spectral-norm", "tensors": DOWN, "at_most": "12", "at_least": "3"},
        {"check": "stable-rank", "tensors": ATTENTION, "at_least": "3"},
        {"check": "smallest-singular-value", "tensors": DOWN, "at_least": "0.2", "norm_at_most": "12"},
        {"check": "no-ablated-direction", "group": GROUP, "at_least": "0.02", "precision_bits": 12},
        {
            "check": "no-ablated-direction", "group": GROUP, "at_least": "0.005", "precision_bits": 12,
            "windows": {"of_layers": 1},
        },
        {"check": "no-single-direction-edit", "group": GROUP, "base": committed} | changes,
        {"check": "no-single-direction-edit", "group": GROUP, "base": public} | changes,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("spectral")
    world = World(place, place / "policy.json")
    clean = transformer()
    for name, tensors in (("clean", clean), ("tuned", fine_tuned(clean)), ("ablated", ablated(clean))):
        write_safetensors(world.model(name), tensors)
    content = {
        "policy": "weightproof/policy/v1",
        "name": "spectral",
        "checks": checks(sha256(world.model("clean").read_bytes()).hexdigest()),
    }
    world.policy.write_text(json.dumps(content))
    prover("commit", world.model("clean"), "--out", world.folder("clean"), "--proofs", "4").clean(ACCEPTED)
    more = ("--like", world.folder("clean"))
    prover("commit", world.model("tuned"), "--out", world.folder("tuned"), *more).clean(ACCEPTED)
    return world


def measure(world: World, name: str) -> Result:
    base = f"clean={world.model('clean')}"
    arguments = ("--policy", world.policy, "--base", base, "--base-file", world.model("clean"), "--json")
    return prover("measure", world.model(name), *arguments)


def test_measured(world: World) -> None:
    """The fine-tuned model passes; the ablated one fails where a direction is missing, the clean one where a change is
    asked for."""
    rows = measure(world, "tuned").clean(ACCEPTED).json()
    assert len(rows) == 2 * LAYERS + LAYERS + LAYERS + 1 + LAYERS + 2
    failing = {
        name: {row["check"] for row in measure(world, name).clean(REJECTED).json() if not row["passed"]}
        for name in ("ablated", "clean")
    }
    assert failing["clean"] == {"no-single-direction-edit"}
    assert failing["ablated"] == {"no-ablated-direction", "smallest-singular-value", "no-single-direction-edit"}


def test_proved_and_verified_with_both_kinds_of_base(world: World) -> None:
    world.audit("tuned").clean(ACCEPTED)
    committed, public = ("--base", f"clean={world.folder('clean')}"), ("--base-file", world.model("clean"))
    report = world.verify("tuned", *committed, *public).clean(ACCEPTED).json()
    assert report["verdict"] == "accepted"
    assert [len(claim["about"]) for claim in report["claims"]] == [3, 3, 3, 1, 3, 1, 1]
    assert all(claim["does_not_mean"] for claim in report["claims"])
    assert float(report["security"]["interactive_bits"]) >= 128
    for bases in ((), committed, public):
        assert "was not given" in world.verify("tuned", *bases).clean(USAGE).err
    swapped = ("--base", f"clean={world.folder('tuned')}")
    assert world.verify("tuned", *swapped, *public).clean(REJECTED).json()["verdict"] == "rejected"
    other = ("--base-file", world.model("tuned"))
    assert "was not given" in world.verify("tuned", *committed, *other).clean(USAGE).err


def test_another_checkpoint_behind_the_base_is_refused(world: World) -> None:
    assert "not the checkpoint behind this commitment" in world.audit("tuned", base="ablated").clean(REJECTED).err

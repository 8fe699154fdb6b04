"""Every kind of checkpoint that the commands read: committed, audited, verified."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from circuits.policy import Policy
from tests.end_to_end.commands import ACCEPTED, prover
from tests.end_to_end.models import norms, small_tensors, write_policy, write_safetensors
from verifier.bundle import Bundle
from verifier.decision import decide

NONCE = bytes(range(16))


def torch_file(folder: Path) -> Path:
    import torch

    path = folder / "model.pt"
    torch.save({name: torch.from_numpy(values) for name, values in small_tensors().items()}, path)
    return path


def onnx_file(folder: Path) -> Path:
    import onnx

    initialisers = [onnx.numpy_helper.from_array(values, name) for name, values in small_tensors().items()]
    graph = onnx.helper.make_graph([], "model", [], [], initialisers)
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    return folder / "model.onnx"


def sharded(folder: Path) -> Path:
    """Two shards and an index; the folder itself is passed."""
    weight_map = {}
    for number, (name, values) in enumerate(small_tensors().items()):
        shard = folder / f"model-{number}.safetensors"
        write_safetensors(shard, {name: values})
        weight_map[name] = shard.name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def every_type(folder: Path) -> Path:
    """float16, bfloat16, float32 and float64 side by side, and integers, which are not committed."""
    types = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
    values = {f"{dtype.__name__}.{name}": v for dtype in types for name, v in small_tensors(dtype=dtype).items()}
    return write_safetensors(folder / "model.safetensors", values)


def unusual_shapes(folder: Path) -> Path:
    """Scalars, five dimensions, a tensor of zeros and a 65,536-entry one with a histogram of its own."""
    values = {
        "scalar": np.array(1.5, np.float32),
        "five": np.full((2, 1, 3, 1, 2), -0.5, np.float32),
        "zeros": np.zeros((7, 3), np.float32),
        "own": np.full((256, 257), 0.01, np.float32),
    }
    return write_safetensors(folder / "model.safetensors", values)


FORMATS = {"onnx": onnx_file, "torch": torch_file, "sharded": sharded, "every type": every_type}


def commit_and_audit(model: Path, policy: Path, place: Path) -> None:
    """The whole way, ending in an accepted bundle."""
    folder, bundle = place / "commitment", place / "bundle"
    prover("commit", model, "--out", folder, "--proofs", "1").clean(ACCEPTED)
    options = ("--model", model, "--policy", policy, "--out", bundle, "--nonce", NONCE.hex())
    assert prover("audit", folder, *options, "--json").clean(ACCEPTED).json()["proofs_left"] == 0
    decision = decide(folder, Bundle.read(bundle), Policy.read(policy), NONCE)
    assert decision.report()["verdict"] == "accepted"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format(kind: str, tmp_path: Path) -> None:
    """One policy, from the float weights, holds for all of them."""
    (tmp_path / "checkpoint").mkdir()
    model = FORMATS[kind](tmp_path / "checkpoint")
    norm = max(float(np.linalg.norm(values)) for values in small_tensors().values())
    policy = write_policy(tmp_path / "policy.yaml", norms(f"{norm + 0.3:.6f}"), norms("1000", over="together"))
    commit_and_audit(model, policy, tmp_path)


def test_unusual_shapes(tmp_path: Path) -> None:
    policy = write_policy(
        tmp_path / "policy.yaml", norms("2.6", "own"), norms("0.001", "zeros"), norms("3.5", over="together")
    )
    commit_and_audit(unusual_shapes(tmp_path), policy, tmp_path)


@pytest.mark.slow
def test_only_zeros(tmp_path: Path) -> None:
    """A real thing: adapters start with a matrix of zeros."""
    model = write_safetensors(tmp_path / "model.safetensors", {"w": np.zeros((5, 5), np.float32)})
    commit_and_audit(model, write_policy(tmp_path / "policy.yaml", norms("3")), tmp_path)


def test_shapes_in_the_manifest(tmp_path: Path) -> None:
    """Scalars and high dimensions keep their shapes; only what is small and of one scale shares a histogram; zeros take
    the finest scale of the others."""
    folder = tmp_path / "commitment"
    prover("commit", unusual_shapes(tmp_path), "--out", folder, "--proofs", "1").clean(ACCEPTED)
    manifest = json.loads((folder / "commitment.json").read_bytes())["manifest"]
    found = {tensor["name"]: (tensor["shape"], tensor["scale"]) for tensor in manifest["tensors"]}
    assert found["scalar"] == ([], 14)
    assert found["five"] == ([2, 1, 3, 1, 2], 15)
    assert found["zeros"] == ([7, 3], 21)
    assert sorted(group["entries"] for group in manifest["groups"]) == [1, 12, 21, 256 * 257]


def test_an_ordinary_run_needs_little_memory(tmp_path: Path) -> None:
    """Four million weights: about 150 bytes a weight at most. A child starts with the peak of the process that made
    it, so that one is the least that can be seen."""
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    values = np.random.default_rng(1).standard_normal((2048, 2048)).astype(np.float32)
    model = write_safetensors(tmp_path / "model.safetensors", {"w": values})
    result = prover("commit", model, "--out", tmp_path / "commitment").clean(ACCEPTED)
    assert result.peak_bytes <= max(inherited, 150 * values.size + (400 << 20))

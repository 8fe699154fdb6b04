"""The README is run: its console blocks, word for word, on the real sentence encoder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.commands import environment

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = {"weightproof-prover": "prover.cli", "weightproof-verifier": "verifier.cli"}


def console_blocks() -> list[list[tuple[str, list[str]]]]:
    """Every console block as (command, expected lines of output); `...` stands for anything."""
    blocks = []
    for body in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        steps: list[tuple[str, list[str]]] = []
        for line in body.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
        blocks.append(steps)
    return blocks


def agrees(expected: list[str], output: str) -> bool:
    """Does the output consist of the expected lines? A line `...` matches any lines, `...` in a line any text."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("...")) + r"[^\n]*\n"
    return re.fullmatch(pattern + r"(?:.*\n)*", output) is not None


@pytest.mark.parametrize("steps", console_blocks())
def test_commands_and_outputs(steps: list[tuple[str, list[str]]], encoder_file: Path, tmp_path: Path) -> None:
    """The commands succeed one after the other and print what is shown."""
    (tmp_path / "model.safetensors").symlink_to(encoder_file)
    shutil.copy(ROOT / "docs" / "examples" / "encoder-norms.yaml", tmp_path / "policy.yaml")
    for command, expected in steps:
        program, *arguments = command.split()
        call = [sys.executable, "-c", f"from {PROGRAMS[program]} import main; main()", *arguments]
        done = subprocess.run(call, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert agrees(expected, done.stdout), f"{command} printed\n{done.stdout}"


def test_links_lead_somewhere() -> None:
    """Every relative link of the README is a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    """The two commands are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

"""The rules of the house, checked on the source: who imports whom, how long a file is, what a file must not contain."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("circuits", "verifier", "prover")
MAXIMUM_LINES = 450

# circuits says WHAT is proved: no secrets, no network, no accelerator, so this list is complete.
CIRCUITS_LIBRARIES = {"numpy", "onnx", "safetensors", "ml_dtypes", "pydantic", "yaml"}
# What a regulator must never need, directly or through something else.
PROVER_ONLY = {"prover", "torch", "numba", "ezkl", "triton", "ray"}
# The one file that names ezkl: it runs as a process of its own, started by path.
EZKL_CHILD = ROOT / "verifier" / "backends" / "ezkl" / "child.py"

# Paths of somebody's machine. Written in pieces, so that this file passes its own test.
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("work", "root", "home"))


def python_files(*folders: str) -> list[Path]:
    """Every Python file below the folders, generated stubs excepted."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if not path.stem.endswith(("_pb2", "_pb2_grpc"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_packages(source: str, package: str) -> set[str]:
    """Top-level names that the source imports, wherever the import stands, also by a literal `import_module` call.

    A relative import counts as one of `package`, the top-level package that the file belongs to.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                found.update(alias.name.split(".")[0] for alias in node.names)
            case ast.ImportFrom(module=module, level=0) if module is not None:
                found.add(module.split(".")[0])
            case ast.ImportFrom():
                found.add(package)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                found.add(module.split(".")[0])
    return found


def tracked_text_files() -> Iterator[tuple[Path, str]]:
    """Files that git tracks, or would track once added, and that are text."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for entry in filter(None, listing.stdout.decode().split("\0")):
        path = ROOT / entry
        if not path.is_file():  # deleted, but not yet in the index
            continue
        try:
            yield path, path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_there_and_whole(package: str) -> None:
    """Otherwise a test below could pass on nothing, and a folder could be missing from an installed package."""
    assert (ROOT / package / "__init__.py").is_file()
    assert (ROOT / package / "py.typed").is_file()
    files = python_files(package)
    assert len(files) > 1
    assert [name(path) for path in files if not (path.parent / "__init__.py").is_file()] == []


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import numpy as np, torch.nn
from .field import P
from verifier.argument import merkle
def late():
    from numba import njit
    import importlib
    importlib.import_module("ezkl.something")
    __import__("triton")
"""
    expected = {"numpy", "torch", "circuits", "verifier", "numba", "importlib", "ezkl", "triton"}
    assert imported_packages(source, "circuits") == expected


@pytest.mark.parametrize("path", python_files("circuits"), ids=name)
def test_circuits_imports_only_its_few_libraries(path: Path) -> None:
    allowed = sys.stdlib_module_names | CIRCUITS_LIBRARIES | {"circuits"}
    assert imported_packages(path.read_text(), "circuits") <= allowed


@pytest.mark.parametrize("path", python_files("verifier"), ids=name)
def test_verifier_never_imports_what_only_the_prover_needs(path: Path) -> None:
    allowed = {"ezkl"} if path == EZKL_CHILD else set()
    assert imported_packages(path.read_text(), "verifier") & PROVER_ONLY <= allowed


def test_ezkl_runs_in_a_child_process_only() -> None:
    """The child needs nothing of ours, and nothing of ours imports it."""
    assert imported_packages(EZKL_CHILD.read_text(), "verifier") <= sys.stdlib_module_names | {"ezkl"}
    others = [path for path in python_files(*PACKAGES) if path != EZKL_CHILD]
    assert [name(path) for path in others if "ezkl.child" in path.read_text()] == []
    assert [name(path) for path in others if "ezkl" in imported_packages(path.read_text(), "prover")] == []


@pytest.mark.parametrize("path", python_files(*PACKAGES), ids=name)
def test_packages_import_neither_tests_nor_benchmarks(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert not imported_packages(path.read_text(), package) & {"tests", "benchmarks"}


LOAD_ALL = """
import importlib, pkgutil, sys
package, forbidden = sys.argv[1], set(sys.argv[2:])
def refuse(name):
    raise
names = [package, *(m.name for m in pkgutil.walk_packages([package], package + ".", onerror=refuse))]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
written = [name for name in names if not name.endswith(("_pb2", "_pb2_grpc"))]
print(len(written), *sorted(forbidden & {module.split(".")[0] for module in sys.modules}))
"""


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("circuits", PROVER_ONLY | {"verifier", "grpc"}), ("verifier", PROVER_ONLY)],
)
def test_loading_every_module_brings_in_nothing_forbidden(package: str, forbidden: set[str]) -> None:
    """In a fresh interpreter: what counts is what gets loaded, through libraries too, not only what is written."""
    command = [sys.executable, "-c", LOAD_ALL, package, *sorted(forbidden)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    modules, *loaded = result.stdout.split()
    assert int(modules) == len(python_files(package))
    assert loaded == []


@pytest.mark.parametrize("path", python_files(*PACKAGES, "benchmarks"), ids=name)
def test_a_file_has_one_subject(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAXIMUM_LINES, f"{name(path)} has {lines} lines: split it by subject"


@pytest.mark.parametrize("path", python_files(*PACKAGES), ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert (ast.get_docstring(ast.parse(path.read_text())) or "").strip(), f"{name(path)} has no module docstring"


@pytest.mark.parametrize("machine_path", MACHINE_PATHS)
def test_no_file_names_a_path_of_a_development_machine(machine_path: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files are the project's")
    assert [name(path) for path, text in tracked_text_files() if machine_path in text] == []

"""Generates the gRPC stubs of protos/ while the package is built: into the wheel, or beside the protos if editable."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PROTOS = ROOT / "protos"


class BuildWithStubs(build_py):
    """build_py, and before it protoc."""

    def run(self) -> None:
        target = PROTOS if self.editable_mode else Path(self.build_lib)
        self.generate(target)
        super().run()

    def generate(self, target: Path) -> None:
        """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py of all protos below `target`."""
        from grpc_tools import protoc  # a requirement of the build alone

        target.mkdir(parents=True, exist_ok=True)
        sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
        common = str(files("grpc_tools") / "_proto")
        outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
        status = protoc.main(["protoc", f"-I{PROTOS}", f"-I{common}", *outputs, *sources])
        if status:
            raise SystemExit(f"protoc failed with status {status}")


setup(cmdclass={"build_py": BuildWithStubs})

"""Certificates kept on disk: a statement about tensors that did not change is not certified again.

A certificate belongs to a statement graph and to the integers of its inputs, so both name it. Certificates are as
secret as the weights: files have mode 0600. A file that is damaged is as good as none, and nothing depends on one being
right: `prover.audit` evaluates every statement exactly before it is proved.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from circuits.checkpoint.strict_json import dumps
from circuits.checks.base import Instance
from prover.certificates.base import Access, Certificate

FORMAT = "weightproof/certificate/v1"
DEFAULT_BYTES = 4 << 30
_ENDING = ".certificate"
_HEAD = "head"


class CertificateCache:
    """A folder of certificates. Processes may share it; whoever writes last wins.

    Attributes:
        read: whether kept certificates are used; False after `distrust`.
    """

    def __init__(self, folder: Path, limit: int = DEFAULT_BYTES) -> None:
        """
        Args:
            folder: made with mode 0700 when the first certificate is kept.
            limit: bytes; beyond them the certificates that were used least recently are removed.
        """
        self._folder, self._limit = folder, limit
        self.read = True
        self._digests: dict[str, bytes] = {}

    def key(self, check: str, instance: Instance, access: Access) -> str:
        """What names the certificate of a statement about these integers: hex, 64 digits."""
        inputs = {}
        for node in instance.graph.nodes:
            if node.op == "input" and not node.name.startswith("advice/"):
                inputs[node.name] = self._input_digest(node.name, access).hex()
        about = [FORMAT, check, instance.metric, instance.comparator, instance.limit, inputs]
        return hashlib.sha256(dumps(about) + instance.graph.canonical()).hexdigest()

    def get(self, key: str) -> Certificate | None:
        """The certificate of this name; None if there is none, or if its file is damaged."""
        if not self.read:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
            if hashlib.sha256(key.encode() + data[32:]).digest() != data[:32]:
                return None
            with np.load(io.BytesIO(data[32:]), allow_pickle=False) as arrays:
                head = json.loads(bytes(arrays[_HEAD]))
                advice = {name: arrays[f"advice/{name}"] for name in head["advice"]}
            certificate = Certificate(head["value"], True, head["needed"], advice)
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return certificate

    def put(self, key: str, certificate: Certificate) -> None:
        """Keep a certificate that passed and has advice; others are found as fast as read. A full disk keeps none."""
        if not certificate.passed or not certificate.advice:
            return
        head = json.dumps(
            {"value": certificate.value, "needed": certificate.needed, "advice": list(certificate.advice)}
        )
        arrays: dict[str, Any] = {f"advice/{name}": values for name, values in certificate.advice.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, **{_HEAD: np.frombuffer(head.encode(), np.uint8)})
        body = buffer.getvalue()
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(key), hashlib.sha256(key.encode() + body).digest() + body)
            self._prune()

    def distrust(self) -> None:
        """Read nothing any more: what is kept from now on replaces what was there."""
        self.read = False

    def _input_digest(self, name: str, access: Access) -> bytes:
        """SHA-256 of the integers of a graph input: type, shape and values. Computed once for each cache object."""
        if name not in self._digests:
            kind, _, what = name.partition("/")
            stem = kind.rstrip("0123456789")
            commitment = int(kind[len(stem) :] or 0)
            model, scale = access.models[commitment], 0
            if stem == "w":
                scale = next(tensor.scale for tensor in model.manifest.tensors if tensor.name == what)
            array: npt.NDArray[Any] = model.matrix(what) if stem == "w" else model.histogram(int(what))
            state = hashlib.sha256(dumps([stem, list(array.shape), str(array.dtype), scale]))
            state.update(np.ascontiguousarray(array).data)
            self._digests[name] = state.digest()
        return self._digests[name]

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_ENDING}"

    def _write(self, path: Path, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:  # mode 0600 from its first byte
            try:
                file.write(data)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise

    def _prune(self) -> None:
        """Remove what was used least recently until the rest fits."""
        found = [(file.stat(), file) for file in self._folder.iterdir()]
        total = sum(status.st_size for status, _ in found)
        for status, file in sorted(found, key=lambda item: item[0].st_mtime_ns):
            if total <= self._limit:
                break
            file.unlink(missing_ok=True)
            total -= status.st_size

"""Kept certificates: only statements about changed tensors are certified again, and a bad file costs nothing."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from circuits.checkpoint import open_checkpoint
from circuits.policy import Policy
from prover import audit as module
from prover.argument.kernels.cpu import CpuKernels
from prover.audit import Certified, Opened, audit_model, certify
from prover.certificates.base import Access, Certificate, Certifier
from prover.certificates.cache import CertificateCache
from prover.certificates.registry import CERTIFIERS
from prover.commit import ModelIntegers, commit_model, read_integers
from prover.ledger import LEDGER_FILE, PROOF, Ledger
from prover.progress import Progress
from tests.end_to_end.models import write_safetensors
from verifier.argument.audit import Audit
from verifier.argument.statement import verify

SILENT = Progress.silent()
NONCE = bytes(range(16))
KERNELS = CpuKernels()
POLICY = """
policy: weightproof/policy/v1
name: norms
checks:
  - {check: spectral-norm, tensors: "*", at_most: "%s"}
"""


def policy(at_most: str = "40") -> Policy:
    return Policy.from_bytes((POLICY % at_most).encode())


def tensors(changed: bool = False) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(5)
    found = {name: random.standard_normal((12, 12)).astype(np.float32) for name in ("a.weight", "b.weight", "c.weight")}
    if changed:
        found["b.weight"][3, 4] += 0.5
    return found


def model(folder: Path, values: Mapping[str, npt.NDArray[Any]]) -> ModelIntegers:
    folder.mkdir(exist_ok=True)
    path = write_safetensors(folder / "model.safetensors", values)
    return read_integers(open_checkpoint(path), KERNELS, SILENT)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the statements whose certificates are computed."""
    labels: list[str] = []

    def counting(certifier: Certifier) -> Certifier:
        def wrapper(instance: Any, access: Access) -> Certificate:
            labels.append(instance.label)
            return certifier(instance, access)

        return wrapper

    counted = {name: counting(certifier) for name, certifier in CERTIFIERS.items()}
    monkeypatch.setattr(module, "CERTIFIERS", counted)
    return labels


def same(one: Certified, other: Certified) -> bool:
    """Equal certificates and values."""
    return (
        [(row.label, row.value, row.needed, row.passed) for row in one.rows]
        == [(row.label, row.value, row.needed, row.passed) for row in other.rows]
        and one.certificates.keys() == other.certificates.keys()
        and all(np.array_equal(one.certificates[name], other.certificates[name]) for name in one.certificates)
    )


def run(model: ModelIntegers, cache: Path, at_most: str = "40") -> Certified:
    return certify([model], policy(at_most), SILENT, None, CertificateCache(cache))


def test_only_what_changed_is_certified_again(tmp_path: Path, computed: list[str]) -> None:
    before, after = model(tmp_path / "1", tensors()), model(tmp_path / "2", tensors(changed=True))
    plain = certify([before], policy(), SILENT)
    computed.clear()
    assert same(run(before, tmp_path / "kept"), plain)
    assert computed == ["a.weight", "b.weight", "c.weight"]
    computed.clear()
    assert same(run(before, tmp_path / "kept"), plain)
    assert computed == []
    assert same(run(after, tmp_path / "kept"), certify([after], policy(), SILENT))
    assert computed[:1] == ["b.weight"] and len(computed) == 1 + 3


def test_another_threshold_or_scale_is_another_certificate(tmp_path: Path, computed: list[str]) -> None:
    values = tensors()
    run(model(tmp_path / "1", values), tmp_path / "kept")
    computed.clear()
    run(model(tmp_path / "1", values), tmp_path / "kept", "41")
    assert len(computed) == 3
    computed.clear()
    run(model(tmp_path / "2", {name: 16 * value for name, value in values.items()}), tmp_path / "kept", "640")
    assert len(computed) == 3


def test_what_fails_is_not_kept(tmp_path: Path, computed: list[str]) -> None:
    small = model(tmp_path / "1", tensors())
    assert [row.passed for row in run(small, tmp_path / "kept", "1").rows] == [False] * 3
    assert not (tmp_path / "kept").exists()


def test_certificates_are_for_the_owners_eyes(tmp_path: Path) -> None:
    run(model(tmp_path / "1", tensors()), tmp_path / "kept")
    files = list((tmp_path / "kept").iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


def test_a_damaged_file_is_a_miss(tmp_path: Path, computed: list[str]) -> None:
    small = model(tmp_path / "1", tensors())
    plain = run(small, tmp_path / "kept")
    path = sorted((tmp_path / "kept").iterdir())[0]
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:20],
        whole[:-1],
        whole + b"x",
        *(flipped(whole, at) for at in range(0, len(whole), 97)),
    ):
        path.write_bytes(content)
        computed.clear()
        assert same(run(small, tmp_path / "kept"), plain)
        assert len(computed) == 1
        assert path.read_bytes() == whole, "the damaged file was not replaced"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_certificate_under_another_name_is_a_miss(tmp_path: Path, computed: list[str]) -> None:
    small = model(tmp_path / "1", tensors())
    run(small, tmp_path / "kept")
    first, second, _ = sorted((tmp_path / "kept").iterdir())
    first.write_bytes(second.read_bytes())
    computed.clear()
    run(small, tmp_path / "kept")
    assert len(computed) == 1


def wrong(array: npt.NDArray[np.int64], what: str) -> npt.NDArray[np.int64]:
    """Other numbers, another shape, or numbers outside their range."""
    if what == "shape":
        return array.reshape(-1)[:1]
    return array + (1 if what == "values" else 1 << 50)


@pytest.mark.parametrize("what", ["values", "shape", "range"])
def test_a_wrong_certificate_is_found_before_anything_is_proved(
    tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Well-formed, but not true: it is made anew, so it is neither a refusal nor a false proof."""
    path = write_safetensors(tmp_path / "model.safetensors", tensors())
    committed = commit_model(open_checkpoint(path), KERNELS, proofs=2)
    ledger = Ledger.create(tmp_path / LEDGER_FILE, committed.commitment.id, 2)
    run(committed.integers, tmp_path / "kept")
    cache = CertificateCache(tmp_path / "kept")
    for file in (tmp_path / "kept").iterdir():
        key = file.stem
        good = cache.get(key)
        assert good is not None
        cache.put(key, Certificate(good.value, True, good.needed, {n: wrong(a, what) for n, a in good.advice.items()}))
    computed.clear()
    used = CertificateCache(tmp_path / "kept")
    bundle = audit_model(Opened(committed, ledger), policy(), NONCE, KERNELS, SILENT, cache=used)
    verify(Audit(policy(), committed.commitment), bundle.proof, NONCE)
    assert len(computed) == 3 and ledger.used(PROOF) == 1
    computed.clear()
    assert same(run(committed.integers, tmp_path / "kept"), certify([committed.integers], policy(), SILENT))
    assert len(computed) == 3, "the wrong certificates were not replaced"


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    run(model(tmp_path / "1", tensors()), tmp_path / "kept")
    size = max(path.stat().st_size for path in (tmp_path / "kept").iterdir())
    small = CertificateCache(tmp_path / "small", 2 * size)
    certify([model(tmp_path / "1", tensors())], policy(), SILENT, None, small)
    kept = list((tmp_path / "small").iterdir())
    assert len(kept) == 2 and sum(path.stat().st_size for path in kept) <= 2 * size


def test_a_folder_that_cannot_be_used_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"a file")
    small = model(tmp_path / "1", tensors())
    assert same(run(small, tmp_path / "kept"), certify([small], policy(), SILENT))


def test_names_tell_nothing(tmp_path: Path) -> None:
    """Names of files are digests, of 64 hex digits."""
    run(model(tmp_path / "1", tensors()), tmp_path / "kept")
    for path in (tmp_path / "kept").iterdir():
        assert len(bytes.fromhex(path.stem)) == hashlib.sha256().digest_size

"""same-except: what differs is found, what is excepted is not looked at, and rounding is never called equality."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.checkpoint import open_checkpoint
from circuits.checks.base import Context, Instance
from circuits.checks.bases import public_base
from circuits.checks.same_except import SameExcept
from circuits.errors import PolicyError, StatementError
from prover.certificates.base import Access, Certificate
from prover.certificates.same_except import certify
from prover.commit import ModelIntegers
from tests.checks.models import Array, Setting, integers_of, write


def model(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "head.weight": rng.normal(size=(7, 9)).astype(np.float32),
        "layer.0.weight": rng.normal(size=(9, 9)).astype(np.float32),
        "layer.1.weight": rng.normal(size=(9, 9)).astype(np.float32),
        "ids": np.arange(9),
    }


def same(setting: Setting, *excepted: str, **parameters: Any) -> list[Instance]:
    parameters.setdefault("base", {"commitment": "base"})
    check = SameExcept.model_validate({"check": "same-except", "except": excepted, "within": "1000", **parameters})
    return setting.instances(check)


def verdict(setting: Setting, instances: list[Instance]) -> bool:
    return all([setting.holds(instance, certify) for instance in instances])


def test_one_changed_weight_is_found_unless_it_is_excepted(tmp_path: Path) -> None:
    changed = model()
    changed["head.weight"][3, 4] += 0.01
    unchanged = Setting.of(tmp_path, model(), model())
    assert verdict(unchanged, same(unchanged))
    setting = Setting.of(tmp_path, changed, model())
    assert not verdict(setting, same(setting))
    assert verdict(setting, same(setting, "head.*"))
    assert verdict(setting, same(setting, "head.weight", "layer.0.*"))
    assert [instance.label for instance in same(setting, "layer.*.weight")] == ["head.weight"]


def test_other_scales_cost_half_a_unit_of_the_coarser_one(tmp_path: Path) -> None:
    """The copies of equal weights differ then; a change beyond what is claimed is found whatever the rounding."""
    setting = Setting.of(tmp_path, model(), model(), own=12, other=9)
    instances = same(setting)
    assert verdict(setting, instances)
    claimed = 2.0**-13 + 2.0**-10 + 2.0**-10
    assert instances[0].limit == "17/2^13"
    for sign in (1, -1):
        changed = model()
        changed["head.weight"] += np.float32(sign * claimed * 1.001)  # in every phase of the rounding
        worse = Setting.of(tmp_path, changed, model(), own=12, other=9)
        assert not verdict(worse, same(worse, "layer.*.weight"))
        worst = Setting.of(tmp_path, changed, model(), own=9, other=12)
        assert not verdict(worst, same(worst, "layer.*.weight"))


def test_a_change_beyond_the_claim_is_always_found(tmp_path: Path) -> None:
    """Entry by entry, in all phases of both roundings: no pair of weights further apart than the claim passes."""
    rng = np.random.default_rng(3)
    for own, other in ((10, 10), (10, 11), (12, 10)):
        delta, delta0 = 2.0 ** -(own + 1), 2.0 ** -(other + 1)
        claimed = delta + delta0 + (max(delta, delta0) if own != other else 0)
        w0 = rng.uniform(-1, 1, (1, 4000))
        w = w0 + claimed * rng.choice([-1.0001, 1.0001], w0.shape)
        copies = np.rint(np.ldexp(w, own)), np.rint(np.ldexp(w0, other))
        finer = max(own, other)
        d = np.ldexp(copies[0], finer - own) - np.ldexp(copies[1], finer - other)
        assert (np.abs(d) > (2.0 ** (abs(own - other) - 1) if own != other else 0)).all()


def test_a_forged_difference_is_rejected(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, model(), model(), own=12, other=9)
    instance = same(setting)[0]
    advice = certify(instance, setting.access).advice["difference"]
    for forged in (advice + np.eye(*advice.shape, dtype=np.int64), np.full_like(advice, instance.spec.bound + 1)):
        assert setting.refused(instance, Certificate("", True, "", {"difference": forged}))


def test_the_owner_cannot_hide_behind_a_coarse_scale(tmp_path: Path) -> None:
    setting = Setting.of(tmp_path, model(), model(), own=2, other=2)
    assert verdict(setting, same(setting))
    with pytest.raises(StatementError, match="too coarse"):
        same(setting, within="0.001")


def test_a_public_file_is_quantised_at_the_audited_scale(tmp_path: Path) -> None:
    tuned = model()
    tuned["head.weight"] *= 4  # another finest scale
    audited = integers_of(write(tmp_path / "own.safetensors", tuned))
    path = write(tmp_path / "base.safetensors", model())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest, integers = public_base(open_checkpoint(path), audited.manifest)
    setting = Setting(Context(audited.manifest, {digest: manifest}, {digest: integers}), Access((audited,)))
    instances = same(setting, "head.weight", base={"file_sha256": digest})
    assert all(instance.spec.bound == 0 for instance in instances)
    assert verdict(setting, instances)
    assert not verdict(setting, same(setting, base={"file_sha256": digest}))
    with pytest.raises(PolicyError, match="was not given"):
        same(setting, base={"file_sha256": "0" * 64})
    other = Setting(Context(audited.manifest, {"0" * 64: manifest}, {"0" * 64: integers}), setting.access)
    with pytest.raises(PolicyError, match="must be the one public file"):
        same(other, base={"file_sha256": "0" * 64})


def test_what_the_manifests_decide(tmp_path: Path) -> None:
    ids = model() | {"ids": np.arange(9)[::-1].copy()}
    setting = Setting.of(tmp_path, ids, model())
    with pytest.raises(StatementError, match="integer tensor 'ids'"):
        same(setting)
    assert verdict(setting, same(setting, "ids"))
    larger = Setting.of(tmp_path, model(), model() | {"extra": np.ones((2, 2), np.float32)})
    with pytest.raises(StatementError, match="'extra' is missing"):
        same(larger)
    smaller = Setting.of(tmp_path, model() | {"extra": np.ones((2, 2), np.float32)}, model())
    with pytest.raises(StatementError, match="missing in the base"):
        same(smaller)
    assert verdict(smaller, same(smaller, "extra"))
    with pytest.raises(PolicyError, match="two patterns"):
        same(smaller, "extra", "e*")
    with pytest.raises(PolicyError, match="matches no"):
        same(smaller, "nothing")
    for base in ({}, {"commitment": "base", "file_sha256": "0" * 64}):
        with pytest.raises(PolicyError, match="one of them"):
            same(smaller, base=base)


def test_every_name_of_a_tied_tensor_is_compared(tmp_path: Path) -> None:
    """The audited model shares one tensor between two names; in the base they are two tensors, one of them another."""
    embedding, head = np.ones((3, 4), np.float32), np.full((3, 4), 0.5, np.float32)
    tied = integers_of(write(tmp_path / "own.safetensors", {"embed": embedding}))
    manifest = replace(tied.manifest, tied={"head": "embed"})
    audited = ModelIntegers(manifest, tied.layout, tied.flat)
    for base, expected in (
        ({"embed": embedding, "head": embedding}, True),
        ({"embed": embedding, "head": head}, False),
    ):
        setting = Setting.among([audited, integers_of(write(tmp_path / "base.safetensors", base))])
        instances = same(setting)
        assert [instance.label for instance in instances] == ["embed", "embed against head"]
        assert verdict(setting, instances) is expected
    untied = Setting.among([audited, tied])
    with pytest.raises(StatementError, match="'head' is missing in the base"):
        same(untied)
    assert verdict(untied, same(untied, "head"))


def test_a_tie_frees_no_other_name(tmp_path: Path) -> None:
    """A tensor declared as a further name of an excepted one is compared all the same, under its own name."""
    encoder, classifier = np.ones((3, 4), np.float32), np.full((3, 4), 0.5, np.float32)
    own = integers_of(write(tmp_path / "own.safetensors", {"classifier": np.full((3, 4), 5, np.float32)}))
    audited = ModelIntegers(replace(own.manifest, tied={"encoder": "classifier"}), own.layout, own.flat)
    base = integers_of(write(tmp_path / "base.safetensors", {"encoder": encoder, "classifier": classifier}))
    setting = Setting.among([audited, base])
    assert not verdict(setting, same(setting, "classifier"))


def test_a_float_tensor_does_not_become_integers(tmp_path: Path) -> None:
    """A name that means integers in the audited model and floats in the base is a difference."""
    ids: dict[str, Any] = {"ids": np.arange(9), "v": np.ones((3, 4), np.float32)}
    own = integers_of(write(tmp_path / "own.safetensors", ids))
    audited = ModelIntegers(replace(own.manifest, tied={"encoder": "ids"}), own.layout, own.flat)
    base = integers_of(write(tmp_path / "base.safetensors", ids | {"encoder": np.ones((3, 4), np.float32)}))
    with pytest.raises(StatementError, match="integers in one model and floats in the other"):
        same(Setting.among([audited, base]))

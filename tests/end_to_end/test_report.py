"""From a checkpoint to a page: commit, audit, decide, attest, report, with values that the proof really discloses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from circuits.policy import Policy
from tests.end_to_end.commands import ACCEPTED, prover, verifier
from tests.end_to_end.models import write_safetensors
from verifier.attestation.bundle import bundle_bytes
from verifier.attestation.issue import Dates, attest
from verifier.attestation.keys import create_key
from verifier.attestation.predicate import Issuer
from verifier.bundle import Bundle
from verifier.decision import decide

CHECKS = [
    {"check": "frobenius-norm", "tensors": "*", "at_most": "1000"},
    {"check": "kurtosis", "tensors": "layer.*.weight", "at_least": "1.5", "at_most": "30", "disclose": True},
    {"check": "row-norms", "tensors": "layer.0.weight", "count_below": "6", "disclose": True},
    {"check": "max-abs", "tensors": "*", "over": "together", "disclose": True},
]
DATES = Dates(*(datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (10, 11, 12)))


@pytest.mark.slow
def test_a_page_of_a_real_audit_shows_the_real_values(tmp_path: Path) -> None:
    random = np.random.default_rng(31)
    tensors = {f"layer.{k}.weight": random.normal(0, 1, (40, 30)).astype(np.float32) for k in range(2)}
    model = write_safetensors(tmp_path / "model.safetensors", tensors)
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps({"policy": "weightproof/policy/v1", "name": "values", "checks": CHECKS}))
    folder, bundle, page = tmp_path / "commitment", tmp_path / "bundle", tmp_path / "report.html"
    prover("commit", model, "--out", folder, "--proofs", "2").clean(ACCEPTED)
    prover("audit", folder, "--model", model, "--policy", policy, "--out", bundle).clean(ACCEPTED)
    assert "disclosed: kurtosis of layer.0.weight = " in verifier("verify", folder, bundle, "--policy", policy).out
    decision = decide(folder, Bundle.read(bundle), Policy.read(policy), None)
    # each tensor once, although the check makes three statements about it
    assert decision.report()["claims"][1]["about"] == ["layer.0.weight", "layer.1.weight"]
    key = create_key(tmp_path / "key.pem", tmp_path / "key.pub")
    envelopes = attest(decision, key, Issuer(role="regulator", id="urn:regulator"), "values", DATES)
    (tmp_path / "a.intoto.jsonl").write_bytes(bundle_bytes(envelopes))
    given = ("--commitment", folder / "commitment.json", "--policy", policy, "--at", "2026-03-01T11:30:00Z")
    arguments = ("report", tmp_path / "a.intoto.jsonl", "--key", tmp_path / "key.pub", *given, "--out", page)
    verifier(*arguments).clean(ACCEPTED)
    assert "urn:regulator" in page.read_text()
    found = {(one.name, one.label): one for one in decision.disclosures()}
    expected = {
        **{("kurtosis", name): float(scipy.stats.kurtosis(w, None, fisher=False)) for name, w in tensors.items()},
        **{("mean", name): float(np.mean(w, dtype=np.float64)) for name, w in tensors.items()},
        ("max-abs", "2 tensors together"): max(float(np.abs(w).max()) for w in tensors.values()),
        ("short rows (norm below 6)", "layer.0.weight"): float(
            (np.linalg.norm(tensors["layer.0.weight"].astype(np.float64), axis=1) < 6).sum()
        ),
    }
    for place, value in expected.items():
        one = found[place]
        assert one.low is not None and one.high is not None
        assert float(one.low) - 1e-6 <= value <= float(one.high) + 1e-6
        assert one.bracket in page.read_text()

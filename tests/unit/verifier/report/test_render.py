"""The page: deterministic, inert, complete, and the same whatever an attacker writes into it."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.verifier.attestation.examples import DURING, OWNER, audit, report, signed
from tests.unit.verifier.report import models
from tests.unit.verifier.report.pages import Reader, inert
from verifier.attestation.envelope import Envelope
from verifier.attestation.issue import SVR, verification_result
from verifier.attestation.keys import SigningKey
from verifier.attestation.predicate import Issuer
from verifier.attestation.statement import PAYLOAD_TYPE, Statement, Subject
from verifier.attestation.summary import sentence
from verifier.report.material import Material, gather
from verifier.report.render import render

HOSTILE = "<script>alert(1)</script>&\"'><img src=x onerror=alert(1)>\u202eevil\u2066\x1b[2J\x00{{ 7 * 7 }}</style>"


def full(key: SigningKey) -> Material:
    """An attestation with its policy and commitment."""
    asked, about = models.policy(), models.commitment()
    envelope = signed(key, models.audit(asked, about).to_json(), models.SUBJECT)
    return gather([envelope], [key.public], DURING, commitment=about, policy=asked)


def test_the_same_material_gives_the_same_bytes(key: SigningKey, tmp_path: Path) -> None:
    material = full(key)
    page = render(material)
    assert render(material) == page
    # in another process, with another hash seed and another time zone
    (tmp_path / "a.jsonl").write_bytes(material.signed[0].attestation.envelope.to_bytes())
    (tmp_path / "key.pub").write_bytes(key.public.to_pem())
    program = """
import sys; from datetime import UTC, datetime; from pathlib import Path
from tests.unit.verifier.report import models
from verifier.attestation.bundle import read_bundle
from verifier.attestation.keys import PublicKey
from verifier.report.material import gather
from verifier.report.render import render
folder = Path(sys.argv[1])
material = gather(read_bundle(folder / "a.jsonl").envelopes, [PublicKey.read(folder / "key.pub")],
    datetime(2026, 9, 9, tzinfo=UTC), commitment=models.commitment(), policy=models.policy())
sys.stdout.write(render(material))
"""
    root = Path(__file__).resolve().parents[4]
    environment = {"PYTHONPATH": str(root), "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == page


def test_every_claim_is_there_word_for_word(key: SigningKey) -> None:
    material = full(key)
    read = inert(render(material))
    claims = material.signed[0].attestation.audit.claims
    assert len(claims) == 6
    for claim in claims:
        assert " ".join(sentence(claim).split()) in read.texts["p"]
    sections = ["Who says so", "What was shown", "Plots of what is public", "What is not covered"]
    assert read.texts["h2"] == [*sections, "How to check it yourself", "Technical details"]
    assert read.texts["h1"] == ["Audit of small"]
    assert "all 6 claims below were shown to hold for the model small; this is valid until 1 March 2027" in read.text
    assert (
        key.public.key_id in read.text
        and "The digest of the model in the attestation is that of these files" in read.text
    )
    assert "No receipt of a transparency log was given" in read.text


def test_disclosed_values_are_drawn_and_private_ones_are_not_known(key: SigningKey) -> None:
    read = inert(render(full(key)))
    assert "max-abs: thresholds and disclosed values" in read.texts["h3"]
    assert "Distribution of |w| in b.weight, as far as it is disclosed" in read.texts["h3"]
    assert "frobenius-norm: thresholds" in read.texts["h3"]
    assert "Weights by scale: how large they can be, from the public commitment" in read.texts["h3"]
    described = " ".join(read.texts["desc"])
    assert "b.weight: at most 2; disclosed: = 1 in fixed point, between 0.999511 and 1.00049" in described
    assert "a.weight: at least 1.5; at most 900; disclosed: = 1 in fixed point" in described
    # a.weight has a threshold for max-abs, and no value
    assert "a.weight: at most 2 " in described + " "
    assert "2 tensors together: at most 60" in described


def test_without_policy_and_commitment_there_are_thresholds_and_no_units(key: SigningKey) -> None:
    asked, about = models.policy(), models.commitment()
    envelope = signed(key, models.audit(asked, about).to_json(), models.SUBJECT)
    read = inert(render(gather([envelope], [key.public], DURING)))
    assert "max-abs: thresholds" in read.texts["h3"]
    assert "7 integers are disclosed. Reading them in real units takes the policy and the commitment" in read.text


def test_who_signed_is_said_and_strangers_are_not_quoted(key: SigningKey, stranger: SigningKey) -> None:
    asked, about = models.policy(), models.commitment()
    regulator, owner = models.audit(asked, about), models.audit(asked, about, OWNER)
    short = Statement((models.SUBJECT,), SVR, verification_result(regulator))
    lie = models.audit(asked, about, Issuer(role="regulator", id="https://forged.example"))
    envelopes = [
        signed(key, regulator.to_json(), models.SUBJECT),
        Envelope.sign(short.to_bytes(), PAYLOAD_TYPE, key),
        signed(stranger, owner.to_json(), models.SUBJECT),
        signed(stranger, lie.to_json(), models.SUBJECT),
    ]
    alone = inert(render(gather(envelopes, [key.public], DURING))).text
    assert "2 more signatures in the file are left out" in alone
    assert "owner.example" not in alone and "forged.example" not in alone
    assert "WEIGHTPROOF_POLICY_SATISFIED" in alone
    both = inert(render(gather([*envelopes[:3]], [key.public, stranger.public], DURING))).text
    assert "the owner of the model: this is the owner's word" in both and "are left out" not in both


@pytest.mark.parametrize("place", ["issuer", "policy", "claim", "label", "parameter", "subject", "evidence", "svr"])
def test_hostile_strings_stay_text(key: SigningKey, place: str) -> None:
    visible = HOSTILE.replace("\u202e", "").replace("\u2066", "").replace("\x1b", "").replace("\x00", "")
    changes = report()
    first = changes["claims"][0]
    name = {"claim": "does_not_mean", "label": "about", "parameter": "parameters"}.get(place, "")
    value = {"about": [HOSTILE, HOSTILE + "2"], "parameters": {"tensors": HOSTILE, HOSTILE: HOSTILE, "at_most": "3"}}
    if name:
        first[name] = value.get(name, HOSTILE)
    issuer = Issuer(role="regulator", id=HOSTILE if place == "issuer" else "x")
    if place == "policy":
        changes["policy"] = {"name": HOSTILE, "digest": "ef" * 32}
    made = audit(issuer, **changes)
    if place == "evidence":
        made = made.model_copy(update={"evidence": (made.evidence[0].model_copy(update={"name": HOSTILE}),)})
    subject = Subject(visible if place == "subject" else "x", "ab" * 32)
    envelopes = [signed(key, made.to_json(), subject)]
    if place == "svr":
        short = {**verification_result(made), "properties": [HOSTILE]}
        envelopes.append(Envelope.sign(Statement((subject,), SVR, short).to_bytes(), PAYLOAD_TYPE, key))
    page = render(gather(envelopes, [key.public], DURING))
    read = inert(page)
    assert (
        "<script" not in page and "<img" not in page and "{{ 7 * 7 }}" in read.text and "49" not in read.texts["h1"][0]
    )
    if place != "subject":
        assert "\\u202eevil\\u2066\\x1b[2J\\x00" in read.text


def test_huge_contents_are_cut_and_the_rest_is_counted(key: SigningKey) -> None:
    first = report()["claims"][0]
    labels = [f"tensor.{number}" for number in range(50_000)]
    claims = [{**first, "about": labels, "does_not_mean": "x" * 2_000}, *[first] * 3_000]
    claims[1] = {**first, "parameters": {"tensors": "y" * 1_000_000}}
    made = audit(claims=claims, not_covered=labels, disclosed=["1"] * 100_000)
    page = render(gather([signed(key, made.to_json())], [key.public], DURING))
    read = inert(page)
    assert len(page) < 8_000_000
    assert "… and 49,900 more tensors, in the signed files." in read.text
    assert "more claims, in the signed files." in read.text
    assert "more characters" in read.text and "y" * 10_000 not in page


def test_a_claim_that_was_not_shown_is_seen_at_once(key: SigningKey) -> None:
    failed = audit(claims=[{**report()["claims"][0], "passed": False}])
    material = gather([signed(key)], [key.public], DURING)
    attestation = replace(material.signed[0].attestation, audit=failed)
    read = Reader(render(replace(material, signed=(replace(material.signed[0], attestation=attestation),))))
    assert "1 of 1 claim about the model encoder were NOT shown to hold." in read.text
    assert "NOT SHOWN: frobenius-norm" in read.text


def test_the_style_is_the_one_that_the_page_allows(key: SigningKey) -> None:
    page = render(full(key))
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in page
    # folded parts are printed, on A4, and nothing can reorder a sentence
    for rule in ("details::details-content", "size: A4", "prefers-color-scheme: dark", "bidi-override"):
        assert rule in style

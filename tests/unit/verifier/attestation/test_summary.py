"""The plain-language summary: one sentence per claim, always the same, and nothing that a terminal would obey."""

from __future__ import annotations

from tests.unit.verifier.attestation.examples import SUBJECT, audit, report
from verifier.attestation.predicate import MODEL_AUDIT, Issuer
from verifier.attestation.statement import Statement
from verifier.attestation.summary import printable, sentence, summary

EXPECTED = """\
Model: encoder (sha256 abababababababababababababababababababababababababababababababab).
Issued by spiffe://regulator.example/verifier, as regulator.
Policy: baseline (sha256 efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef).
Commitment: cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd.
1. frobenius-norm (over each, tensors *, version 1) of each of 2 is at most 20.5; this is an exact fact about the \
weights; what it does not mean: A small norm says nothing about what the model computes or whether it is safe.
2. row-norms (axis 0, tensors emb, version 1) of emb is at most 3; this is an exact fact about the weights; what it \
does not mean: A small norm says nothing about what the model computes or whether it is safe.
3. row-norms (axis 0, tensors emb, version 1) of emb is at least 0.5; this is an exact fact about the weights; what \
it does not mean: A small norm says nothing about what the model computes or whether it is safe.
4. same-except (base {"commitment": "b", "sizes": ["2305843009213693951", "5"]}, except ["a.*"], version 1) of each \
of 2 holds; this is a theorem: it holds for every input of the stated domain; what it does not mean: Nothing about \
the tensors that were excepted.
5. kurtosis (disclose true, version 1) of each of 2 is disclosed; this is an indicator: evidence only; what it does \
not mean: A small norm says nothing about what the model computes or whether it is safe.
Proof system weightproof/1, 128 bits per round of the interactive protocol; Fiat-Shamir in the classical \
random-oracle model; nonce chosen by the verifier.
Proved 2026-03-01T11:00:00Z, verified 2026-03-01T12:00:00Z, valid until 2027-03-01T12:00:00Z.
Not covered: 1 tensors of integers or booleans.
Values disclosed: 2.
Evidence: bundle (sha256 1212121212121212121212121212121212121212121212121212121212121212)."""


def test_the_summary_word_for_word() -> None:
    assert summary(Statement((SUBJECT,), MODEL_AUDIT, {}), audit()) == EXPECTED.split("\n")


def test_what_was_not_shown_says_so_first() -> None:
    claims = [{**report()["claims"][0], "passed": False}]
    assert sentence(audit(claims=claims).claims[0]).startswith("NOT SHOWN: frobenius-norm")
    lines = summary(Statement((SUBJECT,), MODEL_AUDIT, {}), audit(nonce="chosen by the prover"))
    assert "freshness is not shown" in " ".join(lines)


def test_nothing_unprintable_reaches_a_terminal() -> None:
    hostile = audit(Issuer(role="owner", id="a\x1b[2J\u202eb\nAccepted: yes"))
    lines = summary(Statement((SUBJECT,), MODEL_AUDIT, {}), hostile)
    assert all(line.isprintable() for line in lines)
    assert printable("ä\x00\ud800") == "ä\\x00\\ud800"

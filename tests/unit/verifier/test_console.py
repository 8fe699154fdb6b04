"""Exit codes, and where each kind of output goes."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from circuits.errors import (
    BudgetError,
    FormatError,
    PolicyError,
    StatementError,
    TrustError,
    VerificationError,
    WeightproofError,
)
from prover.argument.engine import FalseStatementError
from verifier.argument.errors import (
    FinalRelationError,
    MerkleError,
    PadCheckError,
    ProofFormatError,
    SoundnessError,
    SpotCheckError,
    UnluckyChallengeError,
)
from verifier.console import base_option, command, emit, exit_code, parse_nonce

CODES: dict[type[Exception], tuple[int, str]] = {
    VerificationError: (1, "rejected"),
    MerkleError: (1, "rejected"),
    PadCheckError: (1, "rejected"),
    SpotCheckError: (1, "rejected"),
    FinalRelationError: (1, "rejected"),
    UnluckyChallengeError: (1, "rejected"),
    StatementError: (1, "rejected"),
    SoundnessError: (1, "rejected"),
    FalseStatementError: (1, "rejected"),
    PolicyError: (2, "error"),
    FormatError: (3, "malformed"),
    ProofFormatError: (3, "malformed"),
    TrustError: (4, "error"),
    BudgetError: (5, "error"),
    WeightproofError: (5, "error"),
    MemoryError: (5, "error"),
    OSError: (5, "error"),
}


def failing(error: Exception) -> click.Command:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    @command
    def run(as_json: bool) -> None:
        raise error

    return run


@pytest.mark.parametrize("kind", CODES)
def test_every_error_has_its_code(kind: type[Exception]) -> None:
    code, verdict = CODES[kind]
    result = CliRunner().invoke(failing(kind("what happened")), [])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"{verdict}: {kind.__name__}: what happened\n"


@pytest.mark.parametrize("kind", [kind for kind in CODES if issubclass(kind, WeightproofError)])
def test_the_verdict_as_json(kind: type[WeightproofError]) -> None:
    code, verdict = CODES[kind]
    result = CliRunner().invoke(failing(kind("grün\n")), ["--json"])
    assert (result.exit_code, exit_code(kind())) == (code, code)
    assert json.loads(result.stdout) == {"verdict": verdict, "error": kind.__name__, "reason": "grün\n"}
    assert result.stderr.startswith(f"{verdict}: ")


@pytest.mark.parametrize("kind", [MemoryError, OSError])
def test_json_where_the_machine_fails(kind: type[Exception]) -> None:
    result = CliRunner().invoke(failing(kind("full")), ["--json"])
    assert json.loads(result.stdout)["verdict"] == "error"


def test_an_error_of_ours_is_not_hidden() -> None:
    """What is no expected error stays visible: a bug is not reported as a verdict of any kind."""
    result = CliRunner().invoke(failing(ZeroDivisionError("bug")), [])
    assert isinstance(result.exception, ZeroDivisionError)


def test_results_are_one_document_in_one_order(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"b": "größer", "a": [1, 2]})
    out = capsys.readouterr().out
    assert out == '{\n "a": [\n  1,\n  2\n ],\n "b": "größer"\n}\n'


@pytest.mark.parametrize(("text", "size"), [("00" * 16, 16), ("fF" * 256, 256), ("0123456789abcdef" * 2, 16)])
def test_nonces(text: str, size: int) -> None:
    nonce = parse_nonce(text)
    assert nonce == bytes.fromhex(text)
    assert nonce is not None and len(nonce) == size


@pytest.mark.parametrize("text", ["", "00", "00" * 15, "00" * 257, "0" * 33, "0x" + "00" * 16, "zz" * 16, "é" * 32])
def test_bad_nonces(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_nonce(text)


def test_no_nonce() -> None:
    assert parse_nonce(None) is None


def test_a_base_that_is_named_twice() -> None:
    """One of the two would be dropped, and which one is nothing to guess at."""

    @click.command()
    @base_option
    def run(base: tuple[tuple[str, object], ...]) -> None:
        click.echo(str([name for name, _ in base]))

    runner = CliRunner()
    assert runner.invoke(run, ["--base", "a=x", "--base", "b=x"]).output == "['a', 'b']\n"
    twice = runner.invoke(run, ["--base", "a=x", "--base", "b=y", "--base", "a=z"])
    assert twice.exit_code == 2
    assert "'a' is given twice" in twice.output

"""`weightproof-verifier report`: an attestation as a page for people, made only after its signature was checked."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.attestation.bundle import read_bundle
from verifier.attestation.commands import TIME
from verifier.attestation.keys import PublicKey
from verifier.console import command, emit
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt
from verifier.report.material import gather
from verifier.report.render import render

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("attestation", type=FILE)
@click.option("--key", "keys", type=FILE, required=True, multiple=True, help="A public key to trust; may be repeated.")
@click.option("--at", type=TIME, help="The moment to decide for, such as 2026-03-01T12:00:00Z. Default: now.")
@click.option("--commitment", type=FILE, help="The owner's commitment.json: shapes, scales, tensors of every claim.")
@click.option("--policy", type=FILE, help="The policy file; with --commitment, shows disclosed values in real units.")
@click.option("--receipt", type=FILE, help="The receipt of a transparency log; needs --log-key.")
@click.option("--log-key", type=FILE, help="The log's public key.")
@click.option("--out", type=FILE, required=True, help="The HTML file to write.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on stdout.")
@command
def report(
    attestation: Path,
    keys: tuple[Path, ...],
    at: datetime | None,
    commitment: Path | None,
    policy: Path | None,
    receipt: Path | None,
    log_key: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write what ATTESTATION says as one self-contained HTML page. Exit 4, and no page, unless the keys signed it."""
    if (receipt is None) != (log_key is None):
        raise click.UsageError("--receipt and --log-key go together")
    material = gather(
        read_bundle(attestation).envelopes,
        [PublicKey.read(key) for key in keys],
        at or datetime.now(UTC),
        commitment=None if commitment is None else Commitment.read(commitment),
        policy=None if policy is None else Policy.read(policy),
        receipt=None if receipt is None else Receipt.read(receipt),
        log_key=None if log_key is None else VerifierKey.read(log_key),
    )
    _write(out, render(material).encode())
    if as_json:
        emit({"verdict": "accepted", "report": str(out), "claims": len(material.signed[0].attestation.audit.claims)})
    else:
        click.echo(f"accepted: report written to {out}")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; an existing file is replaced."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""`weightproof-verifier attestation`: rely on a certificate, or read one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from circuits.errors import FormatError, TrustError
from circuits.policy import Policy
from verifier.argument.commitment import Commitment
from verifier.attestation import verification
from verifier.attestation.bundle import read_bundle
from verifier.attestation.disclosures import attested_disclosures, require_same
from verifier.attestation.keys import PublicKey
from verifier.attestation.summary import printable, summary
from verifier.attestation.times import format_time, parse_time
from verifier.attestation.verification import Attestation
from verifier.console import command, emit

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return value if isinstance(value, datetime) else parse_time(value)
        except FormatError as error:
            self.fail(str(error), param, ctx)


TIME = _Time()
"""A moment on the command line."""


@click.group()
def attestation() -> None:
    """Check and read attestations (*.intoto.jsonl)."""


@attestation.command()
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, required=True, help="The public key to trust, in PEM.")
@click.option("--at", type=TIME, help="The moment to decide for, such as 2026-03-01T12:00:00Z. Default: now.")
@click.option("--subject", help="The digest of the model that it must be about, in hex.")
@click.option("--commitment", help="The commitment that it must be about, in hex.")
@click.option("--commitment-file", type=FILE, help="commitment.json: with --policy, disclosed values in real units.")
@click.option("--policy", type=FILE, help="The policy file that it must be about.")
@JSON
@command
def verify(
    file: Path,
    key: Path,
    at: datetime | None,
    subject: str | None,
    commitment: str | None,
    commitment_file: Path | None,
    policy: Path | None,
    as_json: bool,
) -> None:
    """Exit 0 if FILE holds a passing, unexpired attestation by the key; 4 if not; 3 if it is malformed."""
    moment = at or datetime.now(UTC)
    trusted = PublicKey.read(key)
    asked = None if policy is None else Policy.read(policy)
    published = None if commitment_file is None else Commitment.read(commitment_file)
    digest = None if asked is None else asked.digest.hex()
    if commitment is None and published is not None:
        commitment = published.id.hex()
    bundle = read_bundle(file)
    accepted = verification.verify(
        bundle.envelopes, trusted, moment, subject=subject, policy=digest, commitment=commitment
    )
    require_same(accepted.audit, asked, published)
    values = attested_disclosures(accepted.audit, asked, published) if asked and published else []
    if as_json:
        verdict = {"verdict": "accepted", "at": format_time(moment), "key": trusted.key_id}
        emit({**verdict, **describe(accepted), "disclosures": [one.to_json() for one in values]})
        return
    click.echo(f"accepted: signed by the key {trusted.key_id[:16]}, valid at {format_time(moment)}")
    click.echo("\n".join(summary(accepted.statement, accepted.audit)))
    for one in values:
        click.echo(printable(one.sentence))
    if accepted.audit.disclosed and not values:
        click.echo("note: --policy and --commitment-file show the disclosed values in real units", err=True)
    if subject is None and commitment is None:
        click.echo("note: compare the model's digest with the one above, or give it with --subject", err=True)


@attestation.command()
@click.argument("file", type=FILE)
@JSON
@command
def show(file: Path, as_json: bool) -> None:
    """Print what FILE says. No signature is checked: use `verify` to rely on it."""
    bundle = read_bundle(file)
    opened: list[Attestation | str] = []
    for envelope in bundle.envelopes:
        try:
            opened.append(Attestation.open(envelope))
        except (FormatError, TrustError) as error:
            opened.append(str(error))
    if as_json:
        found = [{"unread": item} if isinstance(item, str) else describe(item) for item in opened]
        emit({"verified": False, "attestations": found, "ignored": list(bundle.ignored)})
        return
    click.echo("NOT VERIFIED: anyone could have written this.")
    for number, item in enumerate(opened, start=1):
        click.echo(f"\nattestation {number}")
        click.echo(f"not shown: {printable(item)}" if isinstance(item, str) else "\n".join(lines(item)))
    for reason in bundle.ignored:
        click.echo(f"ignored: {printable(reason)}", err=True)


def lines(item: Attestation) -> list[str]:
    """The summary of an attestation, and the key that it claims."""
    signer = item.envelope.key_id or "without a name"
    return [f"Claims to be signed by the key {signer}.", *summary(item.statement, item.audit)]


def describe(item: Attestation) -> dict[str, Any]:
    """An attestation as a JSON value."""
    subjects = [{"name": subject.name, "sha256": subject.sha256} for subject in item.statement.subjects]
    return {"subject": subjects, "audit": item.audit.to_json(), "summary": summary(item.statement, item.audit)}

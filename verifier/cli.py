"""weightproof-verifier: check proofs and policies. Needs neither torch nor numba nor the weights."""

from __future__ import annotations

from pathlib import Path

import click

from circuits.policy import Policy, schema
from verifier.attestation.commands import attestation
from verifier.attestation.summary import printable
from verifier.bundle import Bundle
from verifier.console import base_file_option, base_option, command, emit, parse_nonce
from verifier.decision import BaseFiles, Decision, decide
from verifier.log.commands import log
from verifier.report.commands import report
from verifier.service.commands import dev, init, remote, serve

FILE = click.Path(path_type=Path)


@click.group()
@click.version_option(package_name="weightproof")
def main() -> None:
    """Verify that a committed model has the properties of a policy, without seeing a weight."""


@main.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.argument("bundle", type=FILE)
@click.option("--policy", "policy_file", type=FILE, required=True, help="The policy file that was asked for.")
@click.option("--nonce", help="The nonce that you handed out, in hex.")
@base_option
@base_file_option
@click.option("--account", is_flag=True, help="Print the soundness account, term by term.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
@command
def verify(
    folder: Path,
    bundle: Path,
    policy_file: Path,
    nonce: str | None,
    base: tuple[tuple[str, Path], ...],
    base_file: tuple[Path, ...],
    account: bool,
    as_json: bool,
) -> None:
    """Check BUNDLE against the commitment in DIR and a policy. Exit 0 accepted, 1 rejected, 3 malformed."""
    handed_out = parse_nonce(nonce)
    bases = BaseFiles(dict(base), base_file)
    decision = decide(folder, Bundle.read(bundle), Policy.read(policy_file), handed_out, bases=bases)
    if as_json:
        emit(decision.report())
    else:
        click.echo(summary(decision))
    if account:
        click.echo(decision.audit.account.table(), err=as_json)


def summary(decision: Decision) -> str:
    """The verdict for people."""
    report = decision.report()
    lines = [
        f"accepted: policy {decision.policy.name} holds for commitment {decision.commitment.id.hex()}",
        f"nonce: {report['nonce']}",
    ]
    for check in decision.policy.checks:
        parameters = ", ".join(
            f"{key} {value}"
            for key, value in check.model_dump(mode="json", exclude={"check"}, exclude_none=True).items()
        )
        lines.append(f"  {check.check} ({check.strength}): {parameters}")
    lines.extend(f"  {printable(one.sentence)}" for one in decision.disclosures())
    lines.append(
        f"proof {decision.proof_bytes} bytes, validity {decision.validity_bytes} bytes;"
        f" interactive soundness 2^-{report['security']['interactive_bits']}"
    )
    return "\n".join(lines)


main.add_command(attestation)
main.add_command(log)
for service_command in (serve, init, dev, remote):
    main.add_command(service_command)
main.add_command(report)


@main.group()
def policy() -> None:
    """Work with policy files."""


@policy.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@command
def lint(file: Path, as_json: bool) -> None:
    """Check a policy file; exit 2 with the reason if it is not valid."""
    parsed = Policy.read(file)
    if as_json:
        emit({"name": parsed.name, "checks": len(parsed.checks), "digest": parsed.digest.hex()})
    else:
        click.echo(f"{parsed.name}: {len(parsed.checks)} checks, valid")


@policy.command(name="schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files."""
    emit(schema())


@policy.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@command
def digest(file: Path, as_json: bool) -> None:
    """Print the digest of a policy, as proofs and attestations refer to it."""
    parsed = Policy.read(file)
    if as_json:
        emit({"digest": parsed.digest.hex()})
    else:
        click.echo(parsed.digest.hex())

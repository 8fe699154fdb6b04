"""weightproof-verifier: check proofs and policies. Needs neither torch nor numba nor the weights."""

from __future__ import annotations

from pathlib import Path

import click

from circuits.policy import Policy, schema
from verifier.attestation.commands import attestation
from verifier.attestation.summary import printable
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.decision import PROOF_SYSTEM, EzklDecision, Verifying, decide_ezkl
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import MAX_LOG_ROWS, ReferenceString, generate
from verifier.bundle import Bundle
from verifier.console import base_file_option, base_option, command, emit, parse_nonce
from verifier.decision import BaseFiles, Decision, decide
from verifier.log.commands import log
from verifier.report.commands import report
from verifier.service.commands import dev, init, remote, serve

FILE = click.Path(path_type=Path)
srs_option = click.option("--srs", type=FILE, help="ezkl: the reference string that you trust.")
ceremony_option = click.option(
    "--ceremony", help="ezkl: the public ceremony that the string is from; without it, it counts as made by yourself."
)
memory_option = click.option(
    "--ezkl-memory", type=click.IntRange(1, 1 << 12), default=12, show_default=True, help="ezkl: GiB it may use."
)


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
@click.option(
    "--backend",
    type=click.Choice(["native", "ezkl"]),
    default="native",
    show_default=True,
    help="The proof system of BUNDLE. ezkl is optional, states no licence, and rests on a structured reference string.",
)
@srs_option
@ceremony_option
@click.option("--allow-unlinked", is_flag=True, help="ezkl: accept a proof that nothing ties to the commitment.")
@click.option("--ezkl-cache", type=FILE, help="ezkl: a folder of your own in which to keep derived keys.")
@memory_option
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
    backend: str,
    srs: Path | None,
    ceremony: str | None,
    allow_unlinked: bool,
    ezkl_cache: Path | None,
    ezkl_memory: int,
    account: bool,
    as_json: bool,
) -> None:
    """Check BUNDLE against the commitment in DIR and a policy. Exit 0 accepted, 1 rejected, 3 malformed."""
    handed_out = parse_nonce(nonce)
    if backend == "ezkl":
        if srs is None or base or base_file or account:
            raise click.UsageError("--backend ezkl needs --srs, and takes no base model and no --account")
        limits = Limits(memory=ezkl_memory << 30)
        reference = ReferenceString.open(srs, ceremony)
        verifying = Verifying(reference, limits, ezkl_cache, allow_unlinked=allow_unlinked)
        found = decide_ezkl(folder, EzklBundle.read(bundle), Policy.read(policy_file), handed_out, verifying)
        if as_json:
            emit(found.report())
        else:
            click.echo(ezkl_summary(found))
        return
    bases = BaseFiles(dict(base), base_file)
    decision = decide(folder, Bundle.read(bundle), Policy.read(policy_file), handed_out, bases=bases)
    if as_json:
        emit(decision.report())
    else:
        click.echo(summary(decision))
    if account:
        click.echo(decision.audit.account.table(), err=as_json)


def checks(decision: Decision | EzklDecision) -> list[str]:
    """One line for each check."""
    lines = []
    for check in decision.policy.checks:
        parameters = ", ".join(
            f"{key} {value}"
            for key, value in check.model_dump(mode="json", exclude={"check"}, exclude_none=True).items()
        )
        lines.append(f"  {check.check} ({check.strength}): {parameters}")
    return lines


def ezkl_summary(decision: EzklDecision) -> str:
    """The verdict for people, with everything that makes it weaker than a native one."""
    report = decision.report()
    about = f"commitment {decision.commitment.id.hex()}" if decision.linked else "the weights of this proof"
    reference = decision.reference
    whose = "made by you: it convinces nobody else" if reference.designated else f"ceremony {reference.origin}"
    return "\n".join(
        [
            f"accepted: policy {decision.policy.name} holds for {about}",
            report["link"],
            f"nonce: {report['nonce']}",
            *checks(decision),
            f"{PROOF_SYSTEM}; reference string {reference.sha256[:16]}, {whose}",
            f"proof {decision.proof_bytes} bytes, link {decision.link_bytes} bytes",
        ]
    )


def summary(decision: Decision) -> str:
    """The verdict for people."""
    report = decision.report()
    lines = [
        f"accepted: policy {decision.policy.name} holds for commitment {decision.commitment.id.hex()}",
        f"nonce: {report['nonce']}",
        *checks(decision),
        *(f"  {printable(one.sentence)}" for one in decision.disclosures()),
    ]
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


@main.command(name="srs")
@click.argument("out", type=FILE)
@click.option("--log-rows", type=click.IntRange(4, MAX_LOG_ROWS), required=True, help="For circuits of 2^N rows.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@command
def srs_command(out: Path, log_rows: int, as_json: bool) -> None:
    """Make a reference string for ezkl, for your own use: proofs under it convince nobody else.

    Never for owners: whoever makes a reference string can forge proofs under it.
    """
    made = generate(out, log_rows)
    if as_json:
        emit({**made.describe(), "log_rows": made.log_rows})
    else:
        click.echo(f"{out}: 2^{made.log_rows} rows, sha256 {made.sha256}; give it to the owner, prove nothing with it")


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

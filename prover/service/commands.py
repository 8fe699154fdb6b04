"""`weightproof-prover serve`, `jobs` and `submit`: the daemon, what it does, and sending a bundle by hand.

gRPC is imported when a command needs it: committing and auditing without a daemon do not wait for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from circuits.errors import FormatError
from verifier.console import REJECTED, command, emit, parse_nonce, stop

if TYPE_CHECKING:
    from prover.service.client import ProverClient

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
REQUEST = click.option("--request-id", help="The same id, used again, gets the same job; a fresh one without it.")


@click.command()
@click.option("--config", type=FILE, required=True, help="prover.toml; docs/examples has one.")
@click.option("--verbose", is_flag=True, help="Log jobs and refused calls.")
@command
def serve(config: Path, verbose: bool) -> None:
    """Run the owner's daemon until SIGTERM."""
    from prover.service.daemon import Daemon
    from prover.service.settings import ProverSettings

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    daemon = Daemon(ProverSettings.read(config))
    asyncio.run(daemon.serve(lambda address: click.echo(f"serving at {address}")))


@click.group()
@click.option("--config", type=FILE, help="The daemon's prover.toml.")
@click.option("--socket", type=FILE, help="Or its socket.")
@click.pass_context
def jobs(context: click.Context, config: Path | None, socket: Path | None) -> None:
    """Ask a running daemon for jobs, and about them."""
    if (config is None) == (socket is None):
        raise click.UsageError("say which daemon: --config FILE or --socket PATH")
    context.obj = (config, socket)


def _connect(where: tuple[Path | None, Path | None]) -> ProverClient:
    from prover.service.client import ProverClient
    from prover.service.settings import ProverSettings

    config, socket = where
    if socket is None:
        assert config is not None
        socket = ProverSettings.read(config).socket_path
    return ProverClient(socket)


def _state(job: Any) -> str:
    from weightproof.v1 import prover_service_pb2 as wire

    return wire.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()


def _report(job: Any) -> dict[str, Any]:
    """A job as a JSON value."""
    return {
        "name": job.name,
        "kind": job.kind,
        "state": _state(job),
        "stage": job.stage,
        "fraction": f"{job.fraction:.3f}",
        "attempts": job.attempts,
        "created": datetime.fromtimestamp(job.create_time.seconds, UTC).isoformat(),
        "updated": datetime.fromtimestamp(job.update_time.seconds, UTC).isoformat(),
        "result": json.loads(job.result) if job.result else None,
        "error": job.error,
        "reason": job.reason,
        "hooks": [
            {"hook": one.hook, "delivered": one.delivered, "attempts": one.attempts, "error": one.error}
            for one in job.hooks
        ],
    }


def _line(job: Any) -> str:
    """A job in one line."""
    state = _state(job)
    doing = f"{job.stage} {job.fraction:.0%}" if state == "running" and job.fraction else job.stage
    failed = f"{job.error}: {job.reason}" if job.error else ""
    return "  ".join(filter(None, (job.name, job.kind, state, doing if state == "running" else "", failed)))


def _show(job: Any, as_json: bool) -> None:
    if as_json:
        emit(_report(job))
        return
    click.echo(_line(job))
    if job.result:
        emit(json.loads(job.result))
    for one in job.hooks:
        outcome = "delivered" if one.delivered else f"not delivered: {one.error}"
        click.echo(f"hook {one.hook}: {outcome} ({one.attempts} attempts)")


@jobs.command(name="list")
@JSON
@click.pass_obj
@command
def list_jobs(where: tuple[Path | None, Path | None], as_json: bool) -> None:
    """All jobs, oldest first."""
    with _connect(where) as client:
        found = list(client.jobs())
    if as_json:
        emit([_report(job) for job in found])
    else:
        for job in found:
            click.echo(_line(job))


@jobs.command()
@click.argument("name", metavar="JOB")
@JSON
@click.pass_obj
@command
def show(where: tuple[Path | None, Path | None], name: str, as_json: bool) -> None:
    """JOB (jobs/{id}) with its result."""
    with _connect(where) as client:
        _show(client.job(name), as_json)


@jobs.command()
@click.argument("name", metavar="JOB")
@JSON
@click.pass_obj
@command
def watch(where: tuple[Path | None, Path | None], name: str, as_json: bool) -> None:
    """Follow JOB until it has ended. Exit 0 if it succeeded, 1 if not."""
    with _connect(where) as client:
        job = None
        for job in client.watch(name):
            click.echo(_line(job), err=True)
        assert job is not None
        job = client.job(name)
    _show(job, as_json)
    if _state(job) != "succeeded":
        stop(REJECTED)


@jobs.command()
@click.argument("name", metavar="JOB")
@JSON
@click.pass_obj
@command
def cancel(where: tuple[Path | None, Path | None], name: str, as_json: bool) -> None:
    """Stop JOB. A share of the budget that it took stays taken."""
    with _connect(where) as client:
        _show(client.cancel(name), as_json)


@jobs.command()
@click.argument("kind", type=click.Choice(["commit", "measure", "audit", "submit"]))
@click.argument("model", type=FILE)
@click.option("--policy", help="A policy file; for submit, a published policy: policies/{hex}.")
@click.option("--nonce", help="The verifier's nonce in hex, for audit.")
@click.option("--proofs", type=click.IntRange(0, 1 << 20), default=0, help="For commit.")
@REQUEST
@JSON
@click.pass_obj
@command
def start(
    where: tuple[Path | None, Path | None],
    kind: str,
    model: Path,
    policy: str | None,
    nonce: str | None,
    proofs: int,
    request_id: str | None,
    as_json: bool,
) -> None:
    """Make a job of KIND about MODEL, which lies below a folder that the daemon may read."""
    from circuits.files import read_limited
    from verifier.service.transfer import MAX_POLICY_BYTES

    if (policy is None) != (kind == "commit"):
        raise click.UsageError("measure, audit and submit take --policy, commit does not")
    identity, place = request_id or secrets.token_hex(16), str(model.absolute())
    with _connect(where) as client:
        if kind == "commit":
            job = client.commit(identity, place, proofs)
        elif kind == "submit":
            job = client.submit(identity, place, str(policy))
        else:
            content = read_limited(Path(str(policy)), MAX_POLICY_BYTES, "policy")
            if kind == "measure":
                job = client.measure(identity, place, content)
            else:
                job = client.audit(identity, place, content, parse_nonce(nonce) or b"")
    _show(job, as_json)


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--to", "address", required=True, metavar="HOST:PORT", help="The verifier's service.")
@click.option("--audit", "name", required=True, metavar="audits/ID", help="The audit whose nonce was proved.")
@click.option("--cert", type=FILE, required=True, help="Our certificate, PEM.")
@click.option("--key", type=FILE, required=True, help="Its private key, PEM.")
@click.option("--ca", type=FILE, required=True, help="The CA of the verifier's certificate, PEM.")
@click.option("--server-name", help="The name in the verifier's certificate, if it is not HOST.")
@click.option("--attestation-key", type=FILE, required=True, help="The regulator's public key, PEM.")
@click.option("--log-key", type=FILE, required=True, help="The public key of the regulator's log.")
@click.option("--out", type=FILE, required=True, help="The folder for the certificate.")
@click.option("--patience", type=float, default=600.0, show_default=True, help="Seconds to wait for the verdict.")
@JSON
@command
def submit(
    bundle: Path,
    address: str,
    name: str,
    cert: Path,
    key: Path,
    ca: Path,
    server_name: str | None,
    attestation_key: Path,
    log_key: Path,
    out: Path,
    patience: float,
    as_json: bool,
) -> None:
    """Send BUNDLE to an audit, wait for the verdict, fetch the certificate and check it. Exit 1 if it was rejected."""
    from prover.service.submission import Trust, decided, fetch_checked
    from verifier.bundle import Bundle
    from verifier.service.client import Identity, VerifierClient

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FormatError(f"{out} exists and is not an empty folder; choose another with --out")
    parsed, trust = Bundle.read(bundle), Trust.read(attestation_key, log_key)
    with VerifierClient(address, Identity(cert, key, ca), server_name=server_name) as client:
        client.submit_proof(name, bundle)
        audit = decided(client, name, patience)
        attestation = fetch_checked(client, name, out, trust, parsed.policy, parsed.commitment)
    if as_json:
        emit(
            {
                "audit": name,
                "verdict": "accepted",
                "certificate": str(out),
                "log_index": str(audit.log_index),
                "valid_until": attestation.audit.valid_until,
            }
        )
    else:
        click.echo(f"accepted: the certificate in {out} is valid until {attestation.audit.valid_until}")

"""`weightproof-verifier serve`, `init`, `dev` and `remote`: the service, its making, and its clients.

gRPC is imported when a command needs it: checking a file offline does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verifier.console import command, emit

if TYPE_CHECKING:
    from verifier.service.client import VerifierClient

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


@click.command()
@click.option("--config", type=FILE, required=True, help="verifier.toml; `init` makes one.")
@click.option("--verbose", is_flag=True, help="Log every refused call.")
@command
def serve(config: Path, verbose: bool) -> None:
    """Run the verifier's service until SIGTERM."""
    from verifier.service.server import VerifierServer
    from verifier.service.settings import VerifierSettings

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    async def run() -> None:
        server = VerifierServer(VerifierSettings.read(config))
        ready = asyncio.Event()
        task = asyncio.create_task(server.serve(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            click.echo(f"serving on port {server.port}")
        waiting.cancel()
        await task

    asyncio.run(run())


@click.command()
@click.argument("folder", type=FILE)
@click.option("--id", "identity", required=True, help="The SPIFFE id that signs attestations.")
@click.option("--certs", type=FILE, required=True, help="Folder with verifier.pem, verifier.key and ca.pem.")
@click.option("--caller", "callers", multiple=True, metavar="ROLE=SPIFFE", help="Who may call: owner=spiffe://...")
@click.option("--listen", default="127.0.0.1:7443", show_default=True)
@click.option("--log-name", default="localhost/weightproof", show_default=True, help="The origin of the log.")
@click.option("--policy", "policies", type=FILE, multiple=True, help="A policy file to publish at every start.")
@click.option("--database", help="A PostgreSQL URL, its password in a passfile; a SQLite file if left out.")
@click.option("--metrics", metavar="HOST:PORT", help="Where to answer Prometheus, without TLS; nowhere if left out.")
@JSON
@command
def init(
    folder: Path,
    identity: str,
    certs: Path,
    callers: tuple[str, ...],
    listen: str,
    log_name: str,
    policies: tuple[Path, ...],
    database: str | None,
    metrics: str | None,
    as_json: bool,
) -> None:
    """Make FOLDER for a new service: keys, an empty log, and verifier.toml to edit."""
    from verifier.service.setup import CONFIGURATION, new_service

    pairs = []
    for caller in callers:
        role, equals, spiffe = caller.partition("=")
        if not equals:
            raise click.BadParameter("write ROLE=SPIFFE, such as owner=spiffe://example.org/owner/acme")
        pairs.append((spiffe, role))
    new_service(folder, identity, certs, pairs, listen, log_name, policies, metrics=metrics, database=database)
    if as_json:
        emit({"configuration": str(folder / CONFIGURATION)})
    else:
        click.echo(f"made {folder}; start it with: weightproof-verifier serve --config {folder / CONFIGURATION}")


@click.group()
def dev() -> None:
    """What a try-out on one machine needs."""


@dev.command()
@click.option("--out", type=FILE, required=True, help="The folder to make.")
@click.option("--trust-domain", default="weightproof.local", show_default=True)
@click.option("--host", "hosts", multiple=True, default=("localhost", "127.0.0.1"), show_default=True)
@click.option("--owner", "owners", multiple=True, default=("acme",), show_default=True)
@JSON
@command
def certs(out: Path, trust_domain: str, hosts: tuple[str, ...], owners: tuple[str, ...], as_json: bool) -> None:
    """Make a local CA and certificates for 30 days: not for production, where your own CA issues them."""
    from verifier.service.development import write_certificates

    ids = write_certificates(out, trust_domain, hosts, owners)
    if as_json:
        emit({"identities": ids})
    else:
        click.echo("\n".join(ids))


@click.group()
@click.option("--to", "address", required=True, metavar="HOST:PORT", help="The verifier's service.")
@click.option("--cert", type=FILE, required=True, help="Our certificate, PEM.")
@click.option("--key", type=FILE, required=True, help="Its private key, PEM.")
@click.option("--ca", type=FILE, required=True, help="The CA of the verifier's certificate, PEM.")
@click.option("--server-name", help="The name in the verifier's certificate, if it is not HOST.")
@click.option("--patience", type=float, default=10.0, show_default=True, help="Seconds to go on trying.")
@click.pass_context
def remote(
    context: click.Context, address: str, cert: Path, key: Path, ca: Path, server_name: str | None, patience: float
) -> None:
    """Ask a running service."""
    context.obj = (address, cert, key, ca, server_name, patience)


def _connect(given: tuple[Any, ...]) -> VerifierClient:
    from verifier.service.client import Identity, VerifierClient

    address, cert, key, ca, server_name, patience = given
    return VerifierClient(address, Identity(cert, key, ca), server_name=server_name, patience=patience)


@remote.command()
@JSON
@click.pass_obj
@command
def health(given: tuple[Any, ...], as_json: bool) -> None:
    """Does the service serve? Exit 5 if not. Any certificate of its clients' CA will do: it takes no role."""
    with _connect(given) as client:
        client.require_serving()
    if as_json:
        emit({"serving": True})
    else:
        click.echo("serving")


@remote.command()
@JSON
@click.pass_obj
@command
def info(given: tuple[Any, ...], as_json: bool) -> None:
    """The service's issuer, public keys and limits. Compare the keys with what the regulator published elsewhere."""
    with _connect(given) as client:
        answer = client.service_info()
    if as_json:
        emit(
            {
                "proof_system": answer.proof_system,
                "issuer": answer.issuer,
                "attestation_key": answer.attestation_key,
                "log_key": answer.log_key,
                "limits": {name: str(value) for name, value in answer.limits.items()},
                "base_files": [digest.hex() for digest in answer.base_files],
            }
        )
    else:
        click.echo(f"{answer.issuer}, {answer.proof_system}\nlog key {answer.log_key}\n{answer.attestation_key}")


@remote.command()
@click.argument("file", type=FILE)
@JSON
@click.pass_obj
@command
def publish(given: tuple[Any, ...], file: Path, as_json: bool) -> None:
    """Publish the policy in FILE; regulators only."""
    from circuits.files import read_limited
    from verifier.service.transfer import MAX_POLICY_BYTES

    with _connect(given) as client:
        policy = client.publish_policy(read_limited(file, MAX_POLICY_BYTES, "policy"))
    if as_json:
        emit({"name": policy.name, "title": policy.title, "checks": policy.checks})
    else:
        click.echo(f"published {policy.title}: {policy.name}")


@remote.command()
@JSON
@click.pass_obj
@command
def policies(given: tuple[Any, ...], as_json: bool) -> None:
    """The published policies."""
    with _connect(given) as client:
        found = [{"name": row.name, "title": row.title, "checks": row.checks} for row in client.policies()]
    if as_json:
        emit(found)
    else:
        for row in found:
            click.echo(f"{row['name']}  {row['title']} ({row['checks']} checks)")


@remote.command()
@click.option("--commitment", default="", help="Only those of commitments/{hex}.")
@JSON
@click.pass_obj
@command
def audits(given: tuple[Any, ...], commitment: str, as_json: bool) -> None:
    """The audits that you may see."""
    from weightproof.v1 import verifier_service_pb2 as wire

    with _connect(given) as client:
        found = [
            {
                "name": row.name,
                "owner": row.owner,
                "state": wire.AuditState.Name(row.state).removeprefix("AUDIT_STATE_").lower(),
                "verdict": wire.Verdict.Name(row.verdict).removeprefix("VERDICT_").lower() if row.verdict else "",
                "reason": f"{row.error}: {row.reason}" if row.error else "",
                "created": datetime.fromtimestamp(row.create_time.seconds, UTC).isoformat(),
            }
            for row in client.audits(commitment)
        ]
    if as_json:
        emit(found)
    else:
        for row in found:
            click.echo(
                "  ".join(filter(None, (row["name"], row["owner"], row["state"], row["verdict"], row["reason"])))
            )


@remote.command()
@click.argument("name", metavar="AUDIT")
@click.option("--out", type=FILE, required=True, help="The folder to write to.")
@JSON
@click.pass_obj
@command
def fetch(given: tuple[Any, ...], name: str, out: Path, as_json: bool) -> None:
    """Fetch the certificate of AUDIT (audits/{id}): attestation, receipt, report, and what they are about."""
    from verifier.service.certificate import fetch_certificate

    with _connect(given) as client:
        files = fetch_certificate(client, name, out)
    if as_json:
        emit({"files": [str(path) for path in files]})
    else:
        click.echo("\n".join(str(path) for path in files))

"""weightproof-prover: commit to a checkpoint, measure and prove policies. Runs where the weights are."""

from __future__ import annotations

import os
from pathlib import Path

import click

from circuits.policy import Policy
from prover.audit import Opened, audit_model, certify
from prover.backends.ezkl import EzklRun, audit_with_ezkl, require_fit
from prover.checkpoints import open_checkpoint
from prover.commit import read_integers, recommit
from prover.demonstration.commands import demo
from prover.directory import OwnerFolder, replace_file, require_writable
from prover.kernel_choice import DEVICES, choose_kernels
from prover.ledger import PROOF
from prover.owner import make_folder, rebuild
from prover.progress import Progress
from prover.service.commands import jobs, serve, submit
from verifier.argument.commitment import Commitment
from verifier.argument.derive import describe
from verifier.backends.ezkl.builder import build_circuit
from verifier.backends.ezkl.bundle import EzklBundle
from verifier.backends.ezkl.process import Limits
from verifier.backends.ezkl.reference_string import ReferenceString
from verifier.bundle import Bundle
from verifier.console import (
    REJECTED,
    BaseModelType,
    NamedPath,
    base_file_option,
    command,
    distinct_names,
    emit,
    parse_nonce,
    stop,
)
from verifier.decision import COMMITMENT_FILE, BaseFiles, measure_context

PATH = click.Path(path_type=Path)
backend_option = click.option(
    "--backend",
    type=click.Choice(["native", "ezkl"]),
    default="native",
    show_default=True,
    help="The proof system. ezkl (optional, states no licence) makes proofs of a few kilobytes for small models and"
    " needs a structured reference string.",
)
srs_option = click.option("--srs", type=PATH, help="ezkl: the reference string, from a ceremony or from the verifier.")
memory_option = click.option(
    "--ezkl-memory", type=click.IntRange(1, 1 << 12), default=12, show_default=True, help="ezkl: GiB it may use."
)
seconds_option = click.option(
    "--ezkl-seconds", type=click.IntRange(1, 1 << 20), default=3600, show_default=True, help="ezkl: time it may take."
)
device_option = click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
json_option = click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")


@click.group()
@click.version_option(package_name="weightproof")
def main() -> None:
    """Prove properties of a model from its frozen weights, which never leave this machine."""


@main.command()
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, required=True, help="The folder to make.")
@click.option(
    "--proofs", type=click.IntRange(1, 1 << 20), default=64, show_default=True, help="Proofs to allow for, ever."
)
@click.option("--like", type=PATH, help="A folder whose shape to share, so that both can be opened in one proof.")
@click.option("--scale", type=click.IntRange(-40, 60), help="A coarser fixed-point scale for all tensors.")
@device_option
@json_option
@command
def commit(
    model: Path, out: Path, proofs: int, like: Path | None, scale: int | None, device: str, as_json: bool
) -> None:
    """Commit to MODEL (.safetensors, .onnx, .pt) and prove the commitment valid."""
    progress = Progress.terminal()
    checkpoint = open_checkpoint(model)
    parameters = None if like is None else Commitment.read(like / COMMITMENT_FILE).parameters
    if parameters is not None:
        proofs = parameters.proofs
    commitment, validity_bytes = make_folder(
        checkpoint, out, choose_kernels(device), proofs=proofs, scale=scale, parameters=parameters, progress=progress
    )
    tensors = len(commitment.manifest.tensors)
    weights = sum(tensor.entries for tensor in commitment.manifest.tensors)
    if as_json:
        emit(
            {
                "commitment": commitment.id.hex(),
                "tensors": tensors,
                "weights": str(weights),
                "proofs": proofs,
                "bytes": {"validity": validity_bytes},
                "seconds": {name: f"{value:.3f}" for name, value in progress.seconds.items()},
            }
        )
    else:
        click.echo(f"committed to {weights} weights in {tensors} tensors: {commitment.id.hex()}")
        click.echo(describe(commitment.parameters, commitment.layout.entries))
        click.echo(f"validity proof {validity_bytes} bytes; {proofs} proofs allowed; written to {out}")


def open_model(folder: Path, model: Path, device: str, progress: Progress) -> Opened:
    """An owner's folder with its checkpoint, ready to be opened."""
    owner = OwnerFolder.open(folder)
    ledger = owner.ledger
    return Opened(rebuild(owner, model, choose_kernels(device), progress), ledger)


@main.command(name="measure")
@click.argument("model", type=PATH)
@click.option("--policy", "policy_file", type=PATH, required=True)
@click.option(
    "--base",
    type=NamedPath(),
    multiple=True,
    callback=distinct_names,
    help="A base model that will be committed: NAME=MODEL.",
)
@base_file_option
@backend_option
@memory_option
@seconds_option
@device_option
@json_option
@command
def measure_command(
    model: Path,
    policy_file: Path,
    base: tuple[tuple[str, Path], ...],
    base_file: tuple[Path, ...],
    backend: str,
    ezkl_memory: int,
    ezkl_seconds: int,
    device: str,
    as_json: bool,
) -> None:
    """Every check of a policy in the clear, values beside thresholds. Nothing is proved or published."""
    policy = Policy.read(policy_file)
    progress = Progress.terminal()
    kernels = choose_kernels(device)
    integers = read_integers(open_checkpoint(model), kernels, progress)
    others = {name: read_integers(open_checkpoint(path), kernels, progress) for name, path in base}
    context = measure_context(integers.manifest, {name: other.manifest for name, other in others.items()}, base_file)
    certified = certify([integers, *others.values()], policy, progress, context)
    if backend == "ezkl":
        limits = Limits(ezkl_seconds, ezkl_memory << 30)
        expected = require_fit(build_circuit(certified.statements.program, integers.manifest, linked=True), limits)
        click.echo(f"ezkl would need about {expected.text()}", err=True)
    if as_json:
        emit([vars(row) for row in certified.rows])
    else:
        for row in certified.rows:
            verdict = {True: "pass", False: "FAIL", None: "????"}[row.passed]
            click.echo(
                f"{verdict}  {row.check:<24} {row.label}: {row.metric} = {row.value}"
                f" ({row.comparator} {row.limit}; with rounding {row.needed}) {row.seconds:.2f} s"
            )
            if row.note:
                click.echo(f"      {row.note}")
    if certified.failed:
        stop(REJECTED)


@main.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--model", type=PATH, required=True, help="The checkpoint that was committed.")
@click.option("--policy", "policy_file", type=PATH, required=True)
@click.option("--out", type=PATH, required=True, help="The bundle to write.")
@click.option(
    "--base",
    type=BaseModelType(),
    multiple=True,
    callback=distinct_names,
    help="A committed base model: NAME=DIR=MODEL.",
)
@base_file_option
@click.option("--nonce", help="The verifier's nonce in hex; a random one without it (freshness is then not shown).")
@backend_option
@srs_option
@click.option(
    "--unlinked", is_flag=True, help="ezkl: smaller, but nothing shows that it is about the committed weights."
)
@click.option("--ezkl-cache", type=PATH, help="ezkl: a folder in which to keep derived keys; gigabytes.")
@memory_option
@seconds_option
@device_option
@json_option
@command
def audit(
    folder: Path,
    model: Path,
    policy_file: Path,
    out: Path,
    base: tuple[tuple[str, Path, Path], ...],
    base_file: tuple[Path, ...],
    nonce: str | None,
    backend: str,
    srs: Path | None,
    unlinked: bool,
    ezkl_cache: Path | None,
    ezkl_memory: int,
    ezkl_seconds: int,
    device: str,
    as_json: bool,
) -> None:
    """Prove a policy for the commitment in DIR; costs one of its proofs."""
    progress = Progress.terminal()
    handed_out = parse_nonce(nonce) or os.urandom(32)
    policy = Policy.read(policy_file)
    require_writable(out)
    limits = Limits(ezkl_seconds, ezkl_memory << 30)
    run = ezkl_run(srs, ezkl_cache, limits) if backend == "ezkl" else None
    if run is not None and (base or base_file):
        raise click.UsageError("--backend ezkl proves policies about one model; leave --base and --base-file out")
    audited = open_model(folder, model, device, progress)
    if run is not None:
        kernels = choose_kernels(device)
        small = audit_with_ezkl(audited, policy, handed_out, run, kernels, progress, linked=not unlinked)
        replace_file(out, small.to_bytes())
        report_audit(policy, small, len(small.proof) + len(small.link), out, audited, progress, as_json)
        return
    bases = {name: open_model(place, checkpoint, device, progress) for name, place, checkpoint in base}
    public = BaseFiles({}, base_file).load(audited.model.commitment).public
    bundle = audit_model(audited, policy, handed_out, choose_kernels(device), progress, bases, public)
    replace_file(out, bundle.to_bytes())
    report_audit(policy, bundle, len(bundle.proof), out, audited, progress, as_json)


def report_audit(
    policy: Policy,
    bundle: Bundle | EzklBundle,
    size: int,
    out: Path,
    audited: Opened,
    progress: Progress,
    as_json: bool,
) -> None:
    """What was proved, and what is left of the budget."""
    left = audited.ledger.remaining(PROOF)
    if as_json:
        emit(
            {
                "commitment": bundle.commitment.hex(),
                "policy": bundle.policy.hex(),
                "nonce": bundle.nonce.hex(),
                "bytes": size,
                "proofs_left": left,
                "seconds": {name: f"{value:.3f}" for name, value in progress.seconds.items()},
            }
        )
    else:
        click.echo(f"proved {policy.name}: {size} bytes in {out}; {left} proofs left")


def ezkl_run(srs: Path | None, cache: Path | None, limits: Limits) -> EzklRun:
    """ezkl as the options say."""
    if srs is None:
        raise click.UsageError(
            "--backend ezkl needs --srs FILE: a public ceremony's reference string, or one that the verifier made;"
            " never your own"
        )
    return EzklRun(ReferenceString.open(srs), limits, cache)


@main.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.argument("model", type=PATH)
@device_option
@json_option
@command
def reproduce(folder: Path, model: Path, device: str, as_json: bool) -> None:
    """Does this checkpoint have this commitment? Exit 0 if so, 1 if not."""
    owner = OwnerFolder.open(folder)
    same = recommit(open_checkpoint(model), owner.commitment, owner.seed, choose_kernels(device), Progress.terminal())
    identity = owner.commitment.id.hex()
    if as_json:
        emit({"commitment": identity, "reproduced": same is not None})
    else:
        answer = "no: {} does not have {}" if same is None else "yes: {} has {}"
        click.echo(answer.format(model, identity))
    if same is None:
        stop(REJECTED)


for service_command in (serve, jobs, submit, demo):
    main.add_command(service_command)

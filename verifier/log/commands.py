"""`weightproof-verifier log`: check receipts offline, and watch that a log only grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from circuits.errors import FormatError
from verifier.attestation.bundle import read_bundle
from verifier.console import command, emit
from verifier.log.checkpoint import Checkpoint
from verifier.log.entry import attestation_entry
from verifier.log.errors import InclusionError
from verifier.log.monitor import check_growth, read_checkpoint
from verifier.log.monitor import monitor as watch
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt
from verifier.log.source import open_source

FILE = click.Path(path_type=Path)
KEY = click.option("--key", type=FILE, required=True, help="The log's public key, <name>+<id>+<base64>.")
JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


@click.group()
def log() -> None:
    """Check the regulator's transparency log."""


@log.command()
@click.argument("source", metavar="LOG")
@KEY
@JSON
@command
def root(source: str, key: Path, as_json: bool) -> None:
    """Print the signed head of LOG, a folder or an address, after comparing it with the log's tiles."""
    files = open_source(source)
    _, head = read_checkpoint(files, VerifierKey.read(key))
    check_growth(files, None, head, entries=False)
    if as_json:
        emit(describe(head))
    else:
        click.echo(f"{head.origin}: {head.size} entries, root {head.root.hex()}")


@log.command()
@click.argument("receipt", type=FILE)
@KEY
@click.option("--attestation", type=FILE, help="The *.intoto.jsonl file that the receipt is for.")
@JSON
@command
def verify(receipt: Path, key: Path, attestation: Path | None, as_json: bool) -> None:
    """Check a RECEIPT offline. Exit 0 the entry is in the log, 1 it is not, 3 malformed, 4 not the log's key."""
    parsed, log_key = Receipt.read(receipt), VerifierKey.read(key)
    if attestation is not None:
        candidates = [attestation_entry(envelope) for envelope in read_bundle(attestation).envelopes]
    elif parsed.extra is not None:
        candidates = [parsed.extra]
    else:
        raise FormatError("the receipt does not carry the entry; name the file that it is for with --attestation")
    entry, head = proved(parsed, candidates, log_key)
    text = entry.decode("utf-8", "backslashreplace")
    if as_json:
        emit({"verdict": "accepted", "index": parsed.index, "entry": text, **describe(head)})
    else:
        click.echo(f"accepted: entry {parsed.index} of the {head.size} entries of {head.origin}")
        if attestation is None:
            click.echo(f"it is {text!a}\nnot compared with any file: name one with --attestation")
        else:
            click.echo(f"it is the attestation in {attestation}; check that too: `attestation verify`")


def proved(receipt: Receipt, candidates: Sequence[bytes], key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """The entry that the receipt is for, and the head of the log. Raises InclusionError if it is for none of them."""
    reason = "there is no candidate"
    for entry in candidates:
        try:
            return entry, receipt.verify(entry, key)
        except InclusionError as error:
            reason = str(error)
    raise InclusionError(f"the receipt is not for this: {reason}")


@log.command()
@click.argument("source", metavar="LOG")
@KEY
@click.option("--state", type=FILE, required=True, help="The last good checkpoint; made at the first run.")
@click.option("--entries/--no-entries", default=True, help="Compare new entries with their hashes, too (the default).")
@JSON
@command
def monitor(source: str, key: Path, state: Path, entries: bool, as_json: bool) -> None:
    """Check that LOG, a folder or an address, extends what it was at the last run. Exit 4 if it forked or shrank."""
    seen = watch(open_source(source), VerifierKey.read(key), state, entries)
    if as_json:
        previous = None if seen.previous is None else describe(seen.previous)
        emit({**describe(seen.checkpoint), "previous": previous, "entries_checked": seen.entries_checked})
    elif seen.previous is None:
        click.echo(f"{seen.checkpoint.origin}: first look, {seen.checkpoint.size} entries, taken on trust")
    else:
        click.echo(f"{seen.checkpoint.origin}: {seen.previous.size} -> {seen.checkpoint.size} entries, only appended")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a JSON value."""
    return {"origin": checkpoint.origin, "size": str(checkpoint.size), "root": checkpoint.root.hex()}

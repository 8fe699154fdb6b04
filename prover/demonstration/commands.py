"""`weightproof-prover demo`."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.console import command, emit

FILE = click.Path(path_type=Path)


@click.command()
@click.option("--out", type=FILE, default=Path("weightproof-demo"), show_default=True, help="The folder to make.")
@click.option("--model", type=FILE, help="A checkpoint; without it, a packaged sentence encoder.")
@click.option("--policy", type=FILE, help="A policy file; without it, ten checks for that encoder.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@command
def demo(out: Path, model: Path | None, policy: Path | None, as_json: bool) -> None:
    """All parties on this machine: a real model committed, audited, certified, logged, and checked offline."""
    from prover.demonstration.run import run

    lines = run(out, model, policy, lambda text: click.echo(text, err=True))
    if as_json:
        emit({"folder": str(out), "lines": lines})
    else:
        click.echo("\n".join(lines))

"""`python -m benchmarks [argument|compare-backends|kernels|known-edits|policies]`; without a name, two tables."""

from __future__ import annotations

import click

from benchmarks import kernels as rates
from benchmarks.argument import argument
from benchmarks.compare_backends import compare_backends
from benchmarks.known_edits import known_edits
from benchmarks.policies import policies


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Print the tables that the README quotes."""
    if context.invoked_subcommand is None:
        rates.main()
        context.invoke(argument, sizes="20,22,24,26", gpt2=True, encoder=True, cold=False, child_path=None)


@main.command()
def kernels() -> None:
    """Rates of the CPU kernels, and the cost floor that they imply."""
    rates.main()


main.add_command(argument)
main.add_command(compare_backends)
main.add_command(known_edits)
main.add_command(policies)

if __name__ == "__main__":
    main()

"""`python -m benchmarks [argument|kernels]`; without a name, both tables."""

from __future__ import annotations

import click

from benchmarks.argument import argument
from benchmarks.kernels import kernels


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Print the tables that the README quotes."""
    if context.invoked_subcommand is None:
        context.invoke(kernels)
        context.invoke(argument, sizes="20,22,24,26", gpt2=True, encoder=True, child_path=None)


main.add_command(argument)
main.add_command(kernels)

if __name__ == "__main__":
    main()

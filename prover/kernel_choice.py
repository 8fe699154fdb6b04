"""Choosing kernels for a device, and telling the user when they are compiled for the first time."""

from __future__ import annotations

import click

from circuits.errors import StatementError
from prover.argument.kernels.interface import Kernels

DEVICES = ("auto", "cpu", "cuda")


def choose_kernels(device: str) -> Kernels:
    """Kernels for a device; compiles the CPU kernels if this is their first run on this machine.

    Raises StatementError for a device without kernels.
    """
    if device == "cuda":
        raise StatementError("this version has no CUDA kernels; use --device cpu")
    from prover.argument.kernels.cpu.kernels import CpuKernels, needs_compilation

    kernels = CpuKernels()
    if needs_compilation():
        click.echo("compiling the kernels for this processor, once (about a minute) ...", err=True)
        kernels.compile()
    return kernels

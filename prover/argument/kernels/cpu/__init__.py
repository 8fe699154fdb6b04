"""The kernels on CPUs: loops over tiles that fit the cache, compiled by numba, vectorised by LLVM, on Python
threads."""

from prover.argument.kernels.cpu.kernels import CpuKernels, needs_compilation

__all__ = ["CpuKernels", "needs_compilation"]

"""Splitting work over threads. Kernels release the interpreter lock, so a pool of Python threads is enough.

numba's own threading layers are avoided: gRPC servers and other threads call the kernels, and those layers do not all
allow that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Workers:
    """A pool of `threads` threads (the calling one included)."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        self._pool = ThreadPoolExecutor(max(1, self.threads - 1), thread_name_prefix="kernel")

    @staticmethod
    def single() -> Workers:
        """Only the calling thread."""
        return _SINGLE

    def parallel_for(self, function: Callable[[int, int], Result], count: int, least: int) -> list[Result]:
        """function(start, stop) over consecutive chunks of [0, count), of at least `least` items each; the results in
        order. Runs in the calling thread when there is one chunk."""
        chunks = min(4 * self.threads if self.threads > 1 else 1, count // least)
        if chunks <= 1:
            return [function(0, count)]
        bounds = [count * i // chunks for i in range(chunks + 1)]
        # The calling thread takes every threads-th chunk; the pool the others.
        futures = {i: self._pool.submit(function, bounds[i], bounds[i + 1]) for i in range(chunks) if i % self.threads}
        own = {i: function(bounds[i], bounds[i + 1]) for i in range(0, chunks, self.threads)}
        return [futures[i].result() if i in futures else own[i] for i in range(chunks)]


_SINGLE = Workers(1)

"""The child process that runs ezkl: one job from stdin, one answer in a file. Standard library and ezkl only.

ezkl prints, may abort the process, and takes what memory it wants; so it never runs in the process that decides.
Started with `python -I`, by path: nothing of the caller's environment is imported.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
MISSING = 77
"""Exit code where ezkl is not installed."""


def run_args(library: Any, options: dict[str, Any]) -> Any:
    """ezkl's run arguments, all of them ours: nothing is calibrated."""
    arguments = library.PyRunArgs()
    for name, value in options.items():
        setattr(arguments, name, tuple(value) if isinstance(value, list) else value)
    return arguments


def awaited(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Some functions of ezkl are coroutines in some versions; they want a running loop."""

    async def go() -> Any:
        found = function(*arguments, **named)
        return await found if inspect.isawaitable(found) else found

    return asyncio.run(go())


def perform(library: Any, step: dict[str, Any]) -> Any:
    """One step of a job: a function of ezkl on files."""
    name, arguments = step["call"], step["arguments"]
    match name:
        case "gen_settings":
            return library.gen_settings(
                arguments["model"], arguments["settings"], py_run_args=run_args(library, step["options"])
            )
        case "prove":
            awaited(library.prove, *arguments.values())
            return None
        case "kzg_commit":
            with open(arguments["message"]) as file:
                message = json.load(file)
            points = library.kzg_commit(message, arguments["vk"], arguments["settings"], arguments["srs"])
            with open(arguments["output"], "w") as file:
                json.dump([[point.x, point.y] for point in points], file)
            return None
        case "compile_circuit" | "gen_srs" | "gen_witness" | "setup" | "verify":
            return awaited(getattr(library, name), *arguments.values())
    raise ValueError(f"unknown step {name!r}")


def end_with_parent() -> None:
    """Linux: whoever waits for the answer may be killed, and then nothing of this process shall stay."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    end_with_parent()
    job = json.load(sys.stdin)
    soft = job["address_space"]
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        import ezkl
    except ImportError:
        return MISSING
    answers, seconds = [], []
    for step in job["steps"]:
        start = time.perf_counter()
        answer = perform(ezkl, step)
        seconds.append(time.perf_counter() - start)
        answers.append(answer if isinstance(answer, bool) else None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open(job["answer"], "w") as file:
        json.dump({"answers": answers, "seconds": seconds, "peak": peak}, file)
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    code = main()
    sys.stdout.flush()
    os._exit(code)

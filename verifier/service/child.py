"""Work on hostile input happens in a process of its own, with limits on memory and time, and nothing inherited.

One process per piece of work: what a proof may have done to it dies with it. It is started by fork and exec, without
Python code in between, which gRPC's threads allow.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MAX_ANSWER_BYTES = 256 << 20
MAX_DETAIL_BYTES = 1 << 20
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Answer:
    """How a child ended: what it wrote, as JSON, or why it did not.

    Attributes:
        value: its answer, or None.
        problem: "" with an answer; "time" if it took too long, "memory" if it needed too much, else "crash".
        detail: the end of what it wrote to stderr.
    """

    value: dict[str, Any] | None
    problem: str
    detail: str


async def run(module: str, task: Mapping[str, Any], memory: int, seconds: float) -> Answer:
    """Run `python -m module` with the task as JSON on stdin, limited to `memory` bytes and `seconds` of wall time.

    The module calls `limits` before it reads the task. Cancelling the call kills the process.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        str(memory),
        str(int(seconds) + 1),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await _converse(process, json.dumps(task).encode())
    except TimeoutError:
        return Answer(None, "time", "")
    except asyncio.LimitOverrunError as error:
        return Answer(None, "memory", str(error))
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    detail = errors[-2000:].decode("utf-8", "replace")
    if process.returncode == 0:
        with suppress(ValueError, RecursionError):
            value = json.loads(output)
            if isinstance(value, dict):
                return Answer(value, "", detail)
    if process.returncode == -signal.SIGXCPU:
        return Answer(None, "time", detail)
    return Answer(None, "memory" if process.returncode == MEMORY_STATUS else "crash", detail)


async def _converse(process: asyncio.subprocess.Process, task: bytes) -> tuple[bytes, bytes]:
    """What a child answers, and what it says on stderr. Raises LimitOverrunError if that is too much to hold."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    output, errors = (
        asyncio.ensure_future(_read(stream, limit))
        for stream, limit in ((process.stdout, MAX_ANSWER_BYTES), (process.stderr, MAX_DETAIL_BYTES))
    )
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(task)
            await process.stdin.drain()
        process.stdin.close()
        answer = await asyncio.gather(output, errors)
        await process.wait()
        return answer[0], answer[1]
    finally:
        output.cancel()
        errors.cancel()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    data = bytearray()
    while piece := await stream.read(1 << 16):
        data += piece
        if len(data) > limit:
            raise asyncio.LimitOverrunError("the answer is too long", limit)
    return bytes(data)


MEMORY_STATUS = 77
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def limits() -> None:
    """In the child, first of all: limits from the command line, no core dumps, no life after the parent's.

    Raises ValueError, OSError.
    """
    import ctypes
    import resource

    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)

"""Jobs as messages of the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from circuits.checkpoint.base import quote
from circuits.errors import FormatError
from prover.service.hooks import Delivery
from verifier.service.jobs import Job, State
from verifier.service.paging import timestamp
from weightproof.v1 import prover_service_pb2 as wire

_NAME = re.compile(r"jobs/([0-9a-f]{32})")


def parse_job(name: str) -> str:
    """The id in "jobs/{id}". Raises FormatError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise FormatError(f"{quote(name)} is no name such as jobs/{{hex}}")
    return match[1]


def parse_state(number: int) -> State | None:
    """The state that a list is about, None for all. Raises FormatError."""
    states: dict[int, State | None] = {
        wire.JOB_STATE_UNSPECIFIED: None,
        wire.JOB_STATE_QUEUED: "QUEUED",
        wire.JOB_STATE_RUNNING: "RUNNING",
        wire.JOB_STATE_SUCCEEDED: "SUCCEEDED",
        wire.JOB_STATE_FAILED: "FAILED",
        wire.JOB_STATE_CANCELLED: "CANCELLED",
    }
    if number not in states:
        raise FormatError(f"there is no job state {number}")
    return states[number]


def job_message(job: Job, deliveries: Sequence[Delivery] = (), *, result: bool = True) -> wire.Job:
    """A job; without its result in lists."""
    return wire.Job(
        name=f"jobs/{job.id}",
        kind=job.kind,
        state=f"JOB_STATE_{job.state}",
        stage=job.stage,
        fraction=job.fraction,
        attempts=job.attempts,
        create_time=timestamp(job.created),
        update_time=timestamp(job.updated),
        result=json.dumps(job.result, sort_keys=True) if result and job.result is not None else "",
        error=job.error or "",
        reason=job.reason or "",
        hooks=[
            wire.HookDelivery(hook=one.hook, delivered=one.delivered, attempts=one.attempts, error=one.error)
            for one in deliveries
        ],
    )

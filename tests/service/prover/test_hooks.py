"""Hooks hear of every end of a job, a bounded number of times, and change nothing about it."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from prover.service import hooks as module
from prover.service.hooks import Hooks, document, signature
from prover.service.settings import Hook
from tests.service.prover.daemon import FALSE_POLICY, TRUE_POLICY, Daemon, running, wait_for
from verifier.service.database import Database
from verifier.service.jobs import Job, JobQueue
from weightproof.v1 import prover_service_pb2 as wire

SECRET = b"0123456789abcdef0123456789abcdef"


@dataclass
class Receiver:
    """A web server on loopback: it keeps what it gets and answers with `codes`, the last of them for ever."""

    port: int = 0
    codes: list[int] = field(default_factory=lambda: [204])
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    seconds: float = 0.0


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    receiver = Receiver(**options)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers), body))
            time.sleep(receiver.seconds)
            code = receiver.codes.pop(0) if len(receiver.codes) > 1 else receiver.codes[0]
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", f"http://localhost:{receiver.port}/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield JobQueue(database)
    database.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


def ended(queue: JobQueue, kind: str = "submit", request_id: str = "a") -> Job:
    """A job that has succeeded."""
    queue.submit("local", request_id, kind, {"model": "/models/m", "policy": "policies/p"})
    job = queue.claim("w", [kind])
    assert job is not None
    queue.finish(job, "w", "SUCCEEDED", result={"value": "4.25"})
    return queue.get(job.id)


def hooks(queue: JobQueue, *configured: Hook) -> Hooks:
    return Hooks(queue._database, queue, configured)


def append(path: Path) -> tuple[str, ...]:
    """A command that adds its stdin to a file, as a line."""
    return (sys.executable, "-c", f"import sys; open({str(path)!r}, 'a').write(sys.stdin.read() + '\\n')")


def test_a_command_gets_the_job(queue: JobQueue, tmp_path: Path) -> None:
    job = ended(queue)
    told = tmp_path / "told"
    configured = hooks(queue, Hook(name="tell", command=append(told)))
    assert configured.deliver() == 1
    assert configured.deliver() == 0, "told twice"
    (line,) = told.read_text().splitlines()
    assert json.loads(line) == json.loads(document(job))
    assert json.loads(line)["result"] == {"value": "4.25"}
    (delivery,) = configured.of(job.id)
    assert delivery.delivered and delivery.attempts == 1


def test_there_is_no_shell(queue: JobQueue, tmp_path: Path) -> None:
    ended(queue)
    command = (sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(tmp_path / "o"))
    assert hooks(queue, Hook(name="x", command=(*command, "$HOME; `id` && *"))).deliver() == 1
    assert (tmp_path / "o").read_text() == "$HOME; `id` && *"


def test_measured_values_never_leave_through_a_hook(queue: JobQueue, tmp_path: Path) -> None:
    job = ended(queue, "measure")
    told = tmp_path / "told"
    hooks(queue, Hook(name="tell", on=("measure",), command=append(told))).deliver()
    assert "4.25" not in told.read_text() and f"jobs/{job.id}" in told.read_text()


def test_hooks_are_for_kinds(queue: JobQueue, tmp_path: Path) -> None:
    ended(queue, "commit")
    assert hooks(queue, Hook(name="tell", command=append(tmp_path / "told"))).deliver() == 0


def test_a_new_hook_does_not_hear_of_old_jobs(queue: JobQueue, tmp_path: Path) -> None:
    ended(queue)
    assert hooks(queue).deliver() == 0
    assert hooks(queue, Hook(name="tell", command=append(tmp_path / "told"))).deliver() == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"), "ended with 3: because"),
        (("/no/such/program",), "cannot start"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "took longer than 0.5 s"),
    ],
)
def test_failures_are_recorded_and_tried_again_a_bounded_number_of_times(
    queue: JobQueue, command: tuple[str, ...], reason: str
) -> None:
    job = ended(queue)
    configured = hooks(queue, Hook(name="x", command=command, timeout=0.5, attempts=3, retry_after=0.01))
    tries = 0
    for _ in range(20):
        tries += configured.deliver()
        time.sleep(0.02)
    assert tries == 3
    (delivery,) = configured.of(job.id)
    assert not delivery.delivered and delivery.attempts == 3 and reason in delivery.error
    assert queue.get(job.id) == job, "a hook changed its job"


def test_a_crash_during_a_delivery_counts_as_an_attempt(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a hook that takes the daemon down would do so for ever."""
    job = ended(queue)
    configured = hooks(queue, Hook(name="x", command=("true",), timeout=0.01, attempts=2, retry_after=0.01))

    def crash(hook: Hook, job: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", crash)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            configured.deliver()
        time.sleep(0.1)
    monkeypatch.undo()
    assert configured.deliver() == 0
    (delivery,) = configured.of(job.id)
    assert delivery.attempts == 2 and not delivery.delivered


def test_a_webhook_is_signed(queue: JobQueue, secret: Path) -> None:
    job = ended(queue)
    with receiving() as receiver:
        hook = Hook(name="web", url=f"http://localhost:{receiver.port}/jobs", secret=secret)
        assert hooks(queue, hook).deliver() == 1
    ((path, headers, body),) = receiver.got
    assert path == "/jobs" and body == document(job)
    assert headers["X-Weightproof-Signature"] == signature(SECRET, body)
    assert headers["X-Weightproof-Delivery"] == f"{job.id}/web"


def test_a_webhook_that_fails_at_first(queue: JobQueue, secret: Path) -> None:
    job = ended(queue)
    with receiving(codes=[500, 404, 200]) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        configured = hooks(queue, Hook(name="web", url=url, secret=secret, retry_after=0.01))
        for _ in range(10):
            configured.deliver()
            time.sleep(0.02)
    assert len(receiver.got) == 3
    assert configured.of(job.id)[0].delivered


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(queue: JobQueue, secret: Path, code: int) -> None:
    job = ended(queue)
    with receiving(codes=[code, 200]) as receiver:
        hook = Hook(name="web", url=f"http://127.0.0.1:{receiver.port}/", secret=secret, attempts=1)
        configured = hooks(queue, hook)
        configured.deliver()
    assert [path for path, _, _ in receiver.got] == ["/"]
    assert not configured.of(job.id)[0].delivered


def test_a_slow_webhook_is_given_up(queue: JobQueue, secret: Path) -> None:
    job = ended(queue)
    with receiving(seconds=1.5) as receiver:
        hook = Hook(name="web", url=f"http://127.0.0.1:{receiver.port}/", secret=secret, attempts=1, timeout=0.2)
        configured = hooks(queue, hook)
        configured.deliver()
        assert not configured.of(job.id)[0].delivered


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 5000])
def test_without_a_good_secret_nothing_is_sent(queue: JobQueue, tmp_path: Path, content: bytes | None) -> None:
    ended(queue)
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with receiving() as receiver:
        hooks(queue, Hook(name="web", url=f"http://127.0.0.1:{receiver.port}/", secret=path, attempts=1)).deliver()
    assert receiver.got == []


def test_the_daemon_runs_hooks_and_says_so(folder: Path) -> None:
    """The end of every job is told, whatever it was, and a failing hook does not change it."""
    told = folder.parent / "told"
    configured = [
        {"name": "good", "on": ["audit"], "command": append(told)},
        {"name": "bad", "on": ["audit"], "command": ["false"], "attempts": 2, "retry_after": 0.1},
    ]
    daemon = Daemon(folder, hooks=configured)
    model = str(daemon.model())
    with running(daemon), daemon.client() as client:
        jobs = [client.audit(f"{number}", model, policy) for number, policy in enumerate((TRUE_POLICY, FALSE_POLICY))]
        states = [daemon.wait(job.name).state for job in jobs]
        assert states == [wire.JOB_STATE_SUCCEEDED, wire.JOB_STATE_FAILED]

        def outcomes() -> bool:
            found = [{one.hook: (one.delivered, one.attempts) for one in client.job(job.name).hooks} for job in jobs]
            return found == 2 * [{"good": (True, 1), "bad": (False, 2)}]

        wait_for(outcomes)
        assert [client.job(job.name).state for job in jobs] == states
    heard = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(one["name"], one["error"]) for one in heard] == [
        (jobs[0].name, None),
        (jobs[1].name, "FalseStatementError"),
    ]

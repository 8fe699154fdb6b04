"""What the daemon answers over its socket, and what its jobs leave behind."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from circuits.errors import FormatError, PolicyError
from prover.ledger import PROOF
from tests.end_to_end.commands import ACCEPTED, REJECTED, UNAVAILABLE, USAGE, prover, verifier
from tests.service.prover.daemon import FALSE_POLICY, TRUE_POLICY, Daemon, fresh, result, running
from verifier.service.errors import AccessError, BusyError, ConflictError, NotFoundError, StateError
from weightproof.v1 import prover_service_pb2 as wire

NONCE = bytes(range(32))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_reach_it(daemon: Daemon) -> None:
    assert mode(daemon.state) == 0o700
    assert mode(daemon.state / "prover.sock") == 0o600
    assert mode(daemon.state / "jobs.db") == 0o600


def test_commit_measure_audit(daemon: Daemon, tmp_path: Path) -> None:
    """The bundle is what `audit` would have written: a verifier accepts it."""
    model = str(daemon.model("first.safetensors", seed=3))
    with daemon.client() as client:
        committed = result(daemon.wait(client.commit(fresh(), model).name))
        measured = result(daemon.wait(client.measure(fresh(), model, FALSE_POLICY).name))
        audited = result(daemon.wait(client.audit(fresh(), model, TRUE_POLICY, NONCE).name))
    assert committed["new"] and committed["commitment"] == audited["commitment"]
    assert (measured["statements"], measured["failed"]) == (3, 3)
    assert mode(Path(measured["measured"])) == 0o600
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(TRUE_POLICY)
    arguments = ("--policy", policy, "--nonce", NONCE.hex())
    verifier("verify", committed["folder"], audited["bundle"], *arguments).clean(ACCEPTED)
    assert audited["proofs_left"] == committed["proofs_left"] - 1


def test_a_model_is_committed_to_once(daemon: Daemon) -> None:
    """Under whatever name: the content decides, and the budget is one."""
    with daemon.client() as client:
        one = result(daemon.wait(client.commit(fresh(), str(daemon.model("one.safetensors", seed=4))).name))
        two = result(daemon.wait(client.commit(fresh(), str(daemon.model("two.safetensors", seed=4))).name))
    assert one["new"] and not two["new"]
    assert one["commitment"] == two["commitment"]


def test_the_same_request_gets_the_same_job(daemon: Daemon) -> None:
    model, other = str(daemon.model("same.safetensors")), str(daemon.model("other.safetensors"))
    identity = fresh()
    with daemon.client() as client:
        first = client.commit(identity, model)
        assert client.commit(identity, model).name == first.name
        for request in (lambda: client.commit(identity, other), lambda: client.measure(identity, model, TRUE_POLICY)):
            with pytest.raises(ConflictError):
                request()


def test_a_refusal_costs_one_share_and_is_final(daemon: Daemon) -> None:
    model = str(daemon.model("refused.safetensors", seed=5))
    with daemon.client() as client:
        job = daemon.wait(client.audit(fresh(), model, FALSE_POLICY, NONCE).name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "FalseStatementError")
    with daemon.client() as client:
        committed = result(daemon.wait(client.commit(fresh(), model).name))
    owner = next(owner for owner in daemon.owners() if owner.commitment.id.hex() == committed["commitment"])
    assert owner.ledger.used(PROOF) == 1
    outcome = owner.ledger.outcome(job.name.removeprefix("jobs/"))
    assert outcome is not None and outcome.startswith("refused FalseStatementError")


def test_watching_ends_with_the_job(daemon: Daemon) -> None:
    model = str(daemon.model("watched.safetensors", seed=6))
    with daemon.client() as client:
        seen = list(client.watch(client.commit(fresh(), model).name))
    states = [job.state for job in seen]
    assert states == sorted(states) and states[-1] == wire.JOB_STATE_SUCCEEDED
    assert wire.JOB_STATE_RUNNING in states
    assert "prove validity" in {job.stage for job in seen}


def test_lists_have_pages_and_no_results(daemon: Daemon) -> None:
    model = str(daemon.model("listed.safetensors"))
    with daemon.client() as client:
        for _ in range(3):
            daemon.wait(client.measure(fresh(), model, TRUE_POLICY).name)
        everything = [job.name for job in client.jobs()]
        paged, token = [], ""
        while True:
            page = client._page(wire.ListJobsRequest(page_size=2, page_token=token))
            assert len(page.jobs) <= 2
            paged += [job.name for job in page.jobs]
            token = page.next_page_token
            if not token:
                break
        assert paged == everything and len(set(paged)) == len(paged) >= 3
        assert all(job.result == "" for job in client.jobs())
        done = [job.state for job in client.jobs(wire.JOB_STATE_SUCCEEDED)]
        assert done and set(done) == {wire.JOB_STATE_SUCCEEDED}
        for request in (
            wire.ListJobsRequest(page_token="x"),
            wire.ListJobsRequest(page_size=-1),
            wire.ListJobsRequest(state=17),  # type: ignore[arg-type]
        ):
            with pytest.raises(FormatError):
                client._page(request)


def test_a_queued_job_that_is_cancelled_never_runs(daemon: Daemon) -> None:
    model = str(daemon.model("cancelled.safetensors", seed=7))
    with daemon.client() as client:
        jobs = [client.commit(fresh(), model) for _ in range(3)]
        cancelled = client.cancel(jobs[-1].name)
        assert cancelled.state == wire.JOB_STATE_CANCELLED and cancelled.attempts == 0
        for job in jobs[:2]:
            assert daemon.wait(job.name).state == wire.JOB_STATE_SUCCEEDED
        with pytest.raises(StateError):
            client.cancel(jobs[0].name)


def test_a_running_job_that_is_cancelled_stops(daemon: Daemon) -> None:
    model = str(daemon.model("stopped.safetensors", seed=8))
    with daemon.client() as client:
        job = client.audit(fresh(), model, TRUE_POLICY)
        for state in client.watch(job.name):
            if state.state == wire.JOB_STATE_RUNNING:
                client.cancel(job.name)
                break
        assert daemon.wait(job.name).state == wire.JOB_STATE_CANCELLED
    assert not list((daemon.state / "commitments").glob(".*")), "a half-made commitment stayed behind"


@pytest.fixture(scope="module")
def secret(daemon: Daemon) -> Path:
    """A model outside the allowed folders."""
    outside = daemon.folder / "outside"
    outside.mkdir()
    path = outside / "model.safetensors"
    path.write_bytes(daemon.model("inside.safetensors").read_bytes())
    return path


def test_models_outside_the_allowed_folders_are_refused(daemon: Daemon, secret: Path) -> None:
    """However they are named; and the answer does not tell what is there."""
    (daemon.models / "link.safetensors").symlink_to(secret)
    (daemon.models / "folder").symlink_to(secret.parent)
    (daemon.models / "circle").symlink_to(daemon.models / "circle")
    named = [
        secret,
        daemon.models / ".." / "outside" / "model.safetensors",
        daemon.models / "link.safetensors",
        daemon.models / "folder",
        daemon.models / "folder" / "model.safetensors",
        daemon.models,
        daemon.models / "..",
        Path("/etc/passwd"),
        secret.with_name("absent"),
        daemon.state / "jobs.db",
    ]
    with daemon.client() as client:
        answers = set()
        for path in named:
            with pytest.raises(AccessError) as caught:
                client.commit(fresh(), str(path))
            answers.add(str(caught.value))
        assert len(answers) == 1
        for text in ("", "model.safetensors", "../model", str(daemon.models / "circle"), "/" + "x" * 5000, "/a\0b"):
            with pytest.raises(FormatError):
                client.commit(fresh(), text)
        with pytest.raises(NotFoundError):
            client.commit(fresh(), str(daemon.models / "absent.safetensors"))


def test_shards_outside_the_allowed_folders_are_refused(daemon: Daemon, secret: Path) -> None:
    """The index lies inside, a shard is a link that leads outside: refused before a weight is read."""
    place = daemon.models / "sharded"
    place.mkdir()
    (place / "shard.safetensors").symlink_to(secret)
    index = {"weight_map": {name: "shard.safetensors" for name in ("layer.0.weight", "layer.0.bias", "layer.1.weight")}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    with daemon.client() as client:
        job = daemon.wait(client.commit(fresh(), str(place)).name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "AccessError")


def test_requests_that_make_no_sense(daemon: Daemon) -> None:
    model = str(daemon.model("sense.safetensors"))
    with daemon.client() as client:
        for identity in ("", "x" * 65, "with space", "ä"):
            with pytest.raises(FormatError, match="request_id"):
                client.commit(identity, model)
        with pytest.raises(FormatError):
            client.commit(fresh(), model, 1 << 21)
        with pytest.raises(FormatError, match="nonce"):
            client.audit(fresh(), model, TRUE_POLICY, b"short")
        with pytest.raises((FormatError, PolicyError)):
            client.measure(fresh(), model, b"not a policy")
        with pytest.raises(FormatError):
            client.measure(fresh(), model, b"")
        with pytest.raises(StateError, match="verifier"):
            client.submit(fresh(), model, f"policies/{'0' * 64}")
        for name in ("", "jobs/", "jobs/../x", "jobs/" + "0" * 31, "audits/" + "0" * 32):
            with pytest.raises(FormatError):
                client.job(name)
        for action in (client.job, client.cancel, lambda name: list(client.watch(name))):
            with pytest.raises(NotFoundError):
                action("jobs/" + "0" * 32)


def test_a_file_that_is_no_model_fails_by_name(daemon: Daemon) -> None:
    (daemon.models / "broken.safetensors").write_bytes(b"no model")
    with daemon.client() as client:
        job = daemon.wait(client.commit(fresh(), str(daemon.models / "broken.safetensors")).name)
    assert (job.state, job.error) == (wire.JOB_STATE_FAILED, "FormatError")


def test_health_and_reflection(daemon: Daemon) -> None:
    with grpc.insecure_channel(f"unix:{daemon.state / 'prover.sock'}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service="weightproof.v1.ProverService"), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = stub.ServerReflectionInfo(iter([request]), timeout=10)
        assert "weightproof.v1.ProverService" in {one.name for one in listed.list_services_response.service}


@pytest.mark.slow
def test_the_commands(daemon: Daemon, tmp_path: Path) -> None:
    model = daemon.model("commanded.safetensors", seed=9)
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(FALSE_POLICY)
    jobs = ("jobs", "--config", daemon.config)
    started = prover(*jobs, "start", "audit", model, "--policy", policy, "--json").clean(ACCEPTED).json()
    watched = prover(*jobs, "watch", started["name"], "--json").clean(REJECTED).json()
    assert (watched["state"], watched["error"]) == ("failed", "FalseStatementError")
    assert prover(*jobs, "show", started["name"], "--json").clean(ACCEPTED).json() == watched
    assert started["name"] in prover(*jobs, "list").clean(ACCEPTED).out
    prover(*jobs, "cancel", started["name"]).clean(UNAVAILABLE)
    prover(*jobs, "start", "commit", model, "--policy", policy).clean(USAGE)
    prover("jobs", "list").clean(USAGE)
    prover("jobs", "--socket", tmp_path / "absent", "list").clean(UNAVAILABLE)


@pytest.mark.slow
def test_two_daemons_never_share_a_state_folder(daemon: Daemon) -> None:
    refused = prover("serve", "--config", daemon.config).clean(UNAVAILABLE)
    assert BusyError.__name__ in refused.err


def test_a_stopped_daemon_puts_its_jobs_back(folder: Path) -> None:
    """The next one does them, and the interruption does not count as a lost worker."""
    daemon = Daemon(folder)
    model = str(daemon.model())
    with running(daemon):
        with daemon.client() as client:
            job = client.audit("a", model, TRUE_POLICY)
            for state in client.watch(job.name):
                if state.state == wire.JOB_STATE_RUNNING:
                    break
        assert daemon.stop() == 0
    with running(daemon):
        ended = daemon.wait(job.name)
        assert ended.state == wire.JOB_STATE_SUCCEEDED and ended.attempts == 1
    assert daemon.shares_used() == 1 and len(daemon.bundles()) == 1

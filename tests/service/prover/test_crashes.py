"""kill -9, of workers and of the daemon, at moments that nobody chose: no share is spent twice, and none is wasted."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from prover.ledger import PROOF
from tests.end_to_end.models import write_safetensors
from tests.service.prover.daemon import FALSE_POLICY, PROOFS, TRUE_POLICY, Daemon, result, running, wait_for
from verifier.bundle import Bundle
from verifier.decision import decide
from weightproof.v1 import prover_service_pb2 as wire

SEED = 20_251_120
NONCE = bytes(range(32))
LONGEST = 3.5
"""Seconds that a job of these takes at most on an idle machine: kills are spread over it."""


def check_bundles(daemon: Daemon, tmp_path: Path) -> None:
    """Every bundle that may have left is accepted, and each has a share of its own."""
    from circuits.policy import Policy

    bundles = daemon.bundles()
    assert len(bundles) <= daemon.shares_used()
    assert len({path.parent for path in bundles}) == len(bundles), "a job has two bundles"
    for path in bundles:
        bundle = Bundle.read(path)
        owner = next(owner for owner in daemon.owners() if owner.commitment.id == bundle.commitment)
        decide(owner.path, bundle, Policy.from_bytes(TRUE_POLICY), bundle.nonce)


def test_a_killed_worker_wastes_nothing(folder: Path, tmp_path: Path) -> None:
    """The job is done again after its lease, on the share that it had; a killed refusal stays a refusal."""
    daemon = Daemon(folder)
    model = str(daemon.model())
    with running(daemon), daemon.client() as client:
        result(daemon.wait(client.commit("c", model).name))
        job = client.audit("a", model, TRUE_POLICY, NONCE)
        wait_for(lambda: daemon.shares_used() == 1 or daemon.bundles())
        daemon.kill_worker()
        ended = daemon.wait(job.name)
        assert Path(result(ended)["bundle"]).exists()
        assert daemon.shares_used() == 1
        check_bundles(daemon, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "daemon"])
def test_killed_at_random(folder: Path, tmp_path: Path, victim: str) -> None:
    """Three audits that hold and one that does not, with kills all the time: four shares in the end."""
    chance = random.Random(SEED)
    daemon = Daemon(folder)
    model = str(daemon.model())
    requests = {f"job-{number}": TRUE_POLICY for number in range(3)} | {"false": FALSE_POLICY}
    with running(daemon):
        for identity, policy in requests.items():
            with daemon.client() as client:
                job = client.audit(identity, model, policy, NONCE)
            for _ in range(3):  # fewer than the attempts that a job has
                time.sleep(chance.uniform(0, LONGEST))
                if victim == "daemon":
                    daemon.kill()
                    daemon.start()
                else:
                    daemon.kill_worker()
                assert (
                    len(daemon.bundles()) <= daemon.shares_used() if (daemon.state / "commitments").exists() else True
                )
            with daemon.client() as client:
                assert client.audit(identity, model, policy, NONCE).name == job.name
            ended = daemon.wait(job.name)
            wanted = wire.JOB_STATE_FAILED if policy == FALSE_POLICY else wire.JOB_STATE_SUCCEEDED
            assert ended.state == wanted, ended
    assert daemon.shares_used() == len(requests)
    assert len(daemon.bundles()) == 3
    (owner,) = daemon.owners()
    assert owner.ledger.remaining(PROOF) == PROOFS - len(requests)
    check_bundles(daemon, tmp_path)
    assert not list((daemon.state / "commitments").glob(".*"))


def test_a_job_whose_workers_all_die_fails(folder: Path) -> None:
    """By name, and with one share at most, however often it was tried."""
    daemon = Daemon(folder, lease=1)
    model = str(daemon.model())
    with running(daemon), daemon.client() as client:
        job = client.audit("a", model, TRUE_POLICY)

        def ended() -> bool:
            daemon.kill_worker()
            return client.job(job.name).state in (wire.JOB_STATE_FAILED, wire.JOB_STATE_SUCCEEDED)

        wait_for(ended)
        last = client.job(job.name)
        assert (last.state, last.error) == (wire.JOB_STATE_FAILED, "LostWorkerError")
    assert daemon.shares_used() <= 1 and daemon.bundles() == []


def test_workers_do_not_outlive_the_daemon(folder: Path) -> None:
    """So the next daemon is alone with the state folder."""
    daemon = Daemon(folder)
    model = str(daemon.model())
    with running(daemon), daemon.client() as client:
        client.audit("a", model, TRUE_POLICY)
        (worker,) = wait_for(daemon.workers)
        daemon.kill()
        wait_for(
            lambda: not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes()
        )


def test_a_job_that_needs_too_much_memory_fails_by_name(folder: Path) -> None:
    """The limit is the job's own: the daemon goes on."""
    daemon = Daemon(folder, worker_memory="256 MiB")
    large = np.random.default_rng(SEED).standard_normal((6000, 6000)).astype(np.float32)
    model = write_safetensors(daemon.models / "large.safetensors", {"w": large})
    with running(daemon), daemon.client() as client:
        job = daemon.wait(client.commit("a", str(model)).name)
        assert (job.state, job.attempts) == (wire.JOB_STATE_FAILED, 1) and "MemoryError" in job.error
        assert list((daemon.state / "commitments").iterdir()) == []
        assert client.job(job.name) == job

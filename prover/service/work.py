"""What the jobs do that need no verifier: commit, measure, audit. Each may be killed anywhere and is simply run again.

A commitment lies under the digest of its model, and appears whole or not at all; a bundle leaves a job only through
its `Release`. What a job finds out first (which model, which nonce) is noted in its folder and holds for its later
attempts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuits.checkpoint.base import Checkpoint
from circuits.errors import BudgetError, FormatError, WeightproofError
from circuits.policy import Policy
from prover.audit import Opened, audit_model, certify
from prover.certificates.cache import CertificateCache
from prover.commit import read_integers
from prover.directory import OwnerFolder
from prover.kernel_choice import choose_kernels
from prover.ledger import PROOF
from prover.owner import make_folder, rebuild
from prover.progress import Progress
from prover.service.models import checkpoint_digest, open_allowed
from prover.service.release import Release
from prover.service.release import digest as file_digest
from prover.service.settings import ProverSettings
from prover.service.state import StateFolder, remember
from verifier.decision import BaseFiles, files_by_digest, measure_context, pinned_files
from verifier.service.blobs import disk, write_durably
from verifier.service.jobs import Job

MAX_ROWS = 1000
"""Measured statements in a job's result; the file has all."""
Result = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A job at work."""

    settings: ProverSettings
    job: Job
    progress: Progress

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.settings.state)

    @property
    def folder(self) -> Path:
        """The job's own folder."""
        return self.state.job(self.job.id)

    @property
    def cache(self) -> CertificateCache | None:
        limit = self.settings.certificate_cache
        return CertificateCache(self.state.certificates, limit) if limit else None

    def checkpoint(self) -> tuple[Path, Checkpoint, str]:
        """The job's model: path, checkpoint, digest; the same model at every attempt.

        Raises AccessError, NotFoundError, FormatError, StateError (it has changed).
        """
        place, checkpoint = open_allowed(self.job.payload["model"], self.settings.models)
        with self.progress.stage("read the checkpoint"):
            digest = checkpoint_digest(checkpoint)
        remember(self.folder / "model.json", {"model": self.job.payload.get("digest", digest)})
        remember(self.folder / "model.json", {"model": digest})
        return place, checkpoint, digest

    def base_files(self, policy: Policy) -> tuple[Path, ...]:
        """The public base models that a policy pins, of those that the settings name. Raises FormatError."""
        pinned = pinned_files(policy)
        if not pinned:
            return ()
        return tuple(path for digest, path in files_by_digest(self.settings.base_files).items() if digest in pinned)

    def policy(self) -> Policy:
        """The policy that came with the job. Raises FormatError, PolicyError."""
        return Policy.from_bytes(base64.b64decode(self.job.payload["policy"]))


def commit(work: Work) -> Result:
    """Commit to the model, unless that was done before."""
    _, checkpoint, digest = work.checkpoint()
    owner, made = ensure_commitment(work, checkpoint, digest)
    return {
        "commitment": owner.commitment.id.hex(),
        "folder": str(owner.path),
        "model": digest,
        "new": made,
        "proofs_left": owner.ledger.remaining(PROOF),
    }


def ensure_commitment(work: Work, checkpoint: Checkpoint, digest: str) -> tuple[OwnerFolder, bool]:
    """The commitment to a model, and whether it was made now."""
    place = work.state.commitment(digest)
    made = not place.exists()
    if made:
        proofs = work.job.payload.get("proofs") or work.settings.proofs
        try:
            kernels = choose_kernels(work.settings.device)
            make_folder(checkpoint, place, kernels, proofs=proofs, progress=work.progress)
        except FormatError:
            if not place.exists():  # nobody else was faster
                raise
    return OwnerFolder.open(place), made


def measure(work: Work) -> Result:
    """Measure a policy in the clear. The values stay in the state folder and in the job."""
    _, checkpoint, _ = work.checkpoint()
    integers = read_integers(checkpoint, choose_kernels(work.settings.device), work.progress)
    policy = work.policy()
    context = measure_context(integers.manifest, {}, work.base_files(policy))
    rows = [vars(row) for row in certify([integers], policy, work.progress, context, work.cache).rows]
    path = work.folder / "measured.json"
    with disk():
        write_durably(path, json.dumps(rows, indent=1, ensure_ascii=False).encode())
    return {
        "measured": str(path),
        "statements": len(rows),
        "failed": sum(row["passed"] is False for row in rows),
        "uncertain": sum(row["passed"] is None for row in rows),
        "rows": rows[:MAX_ROWS],
    }


def audit(work: Work) -> Result:
    """Prove a policy for a nonce, in a bundle in the job's folder; commits if need be."""
    place, checkpoint, digest = work.checkpoint()
    owner, _ = ensure_commitment(work, checkpoint, digest)
    given = bytes.fromhex(work.job.payload["nonce"])
    nonce = given or hashlib.sha256(b"weightproof/job-nonce/v1" + work.job.id.encode()).digest()
    bundle = prove_once(work, owner, place, work.policy(), nonce)
    return {
        "bundle": str(bundle),
        "sha256": file_digest(bundle),
        "commitment": owner.commitment.id.hex(),
        "policy": work.policy().digest.hex(),
        "nonce": nonce.hex(),
        "proofs_left": owner.ledger.remaining(PROOF),
    }


def prove_once(work: Work, owner: OwnerFolder, model: Path, policy: Policy, nonce: bytes) -> Path:
    """The one bundle of the job: an earlier attempt's, or a new proof on the job's share.

    Raises the refusal of this or of an earlier attempt, BudgetError.
    """
    ledger = owner.ledger
    release = Release(work.folder, ledger, work.job.id)
    earlier = release.earlier()
    if earlier is not None:
        return earlier
    kernels = choose_kernels(work.settings.device)
    opened = Opened(rebuild(owner, model, kernels, work.progress), ledger, work.job.id)
    public = BaseFiles({}, work.base_files(policy)).load(owner.commitment).public
    try:
        bundle = audit_model(opened, policy, nonce, kernels, work.progress, public=public, cache=work.cache)
    except BudgetError:
        raise
    except WeightproofError as error:
        release.refuse(error)
        raise
    return release.seal(bundle.to_bytes())

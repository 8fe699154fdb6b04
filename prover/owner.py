"""An owner's folder and its checkpoint: making the one from the other, and putting both together again."""

from __future__ import annotations

from pathlib import Path

from circuits.checkpoint.base import Checkpoint
from circuits.errors import VerificationError
from prover.argument.kernels.interface import Kernels
from prover.checkpoints import open_checkpoint
from prover.commit import CommittedModel, commit_model, prove_validity, recommit
from prover.directory import OwnerFolder, new_folder, write_file, write_secret
from prover.ledger import LEDGER_FILE, VALIDITY, Ledger
from prover.progress import Progress
from verifier.argument.commitment import Commitment
from verifier.argument.parameters import Parameters
from verifier.decision import COMMITMENT_FILE, VALIDITY_FILE


def make_folder(
    checkpoint: Checkpoint,
    out: Path,
    kernels: Kernels,
    *,
    proofs: int,
    scale: int | None = None,
    parameters: Parameters | None = None,
    progress: Progress,
) -> tuple[Commitment, int]:
    """Commit to a checkpoint and prove the commitment valid, in a new folder that appears whole or not at all.

    Args:
        proofs: how many may ever be made.
        scale: a coarser fixed-point scale for all tensors.
        parameters: those of a commitment whose shape to share.

    Returns the commitment and the bytes of its validity proof. Raises FormatError, StatementError, SoundnessError.
    """
    with new_folder(out) as folder:
        committed = commit_model(
            checkpoint, kernels, proofs=proofs, scales=scale, parameters=parameters, progress=progress
        )
        commitment = committed.commitment
        write_secret(folder, commitment, committed.seed)
        ledger = Ledger.create(folder / LEDGER_FILE, commitment.id, proofs)
        ledger.reserve(VALIDITY, "validity")
        proof = prove_validity(committed, kernels, progress)
        write_file(folder / COMMITMENT_FILE, commitment.to_bytes())
        write_file(folder / VALIDITY_FILE, proof)
    return commitment, len(proof)


def rebuild(folder: OwnerFolder, model: Path, kernels: Kernels, progress: Progress) -> CommittedModel:
    """The committed model from its checkpoint. Raises VerificationError if it is another model."""
    committed = recommit(open_checkpoint(model), folder.commitment, folder.seed, kernels, progress)
    if committed is None:
        raise VerificationError(
            f"{model} is not the checkpoint behind this commitment; pass the one that was committed"
        )
    return committed

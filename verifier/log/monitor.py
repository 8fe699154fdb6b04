"""Watching a log: every checkpoint must extend the one seen before, and every new entry must be the one hashed.

The state is the last checkpoint that was found good, the signed note verbatim. A contradiction is kept as evidence: two
checkpoints, both signed by the log, of which neither extends the other, prove to anyone that the log forked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from circuits.files import read_limited
from verifier.log.checkpoint import Checkpoint, open_checkpoint
from verifier.log.errors import ConsistencyError, ForkError, LogDamagedError, RollbackError
from verifier.log.files import replace_file
from verifier.log.merkle import verify_consistency
from verifier.log.note import MAX_NOTE_BYTES, VerifierKey
from verifier.log.tiles import CHECKPOINT_PATH, TileSource, TileTree


@dataclass(frozen=True)
class Observation:
    """What one look at a log found.

    Attributes:
        checkpoint: the head of the log.
        previous: the head that it was shown to extend; None at the first look, which is taken on trust.
        entries_checked: how many entries were compared with their hashes.
    """

    checkpoint: Checkpoint
    previous: Checkpoint | None
    entries_checked: int


def read_checkpoint(source: TileSource, key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """The head of a log: the signed note, and what it says.

    Raises LogDamagedError (there is none), FormatError, TrustError (not signed by the key), OSError (unreachable).
    """
    note = source.read(CHECKPOINT_PATH, MAX_NOTE_BYTES)
    if note is None:
        raise LogDamagedError("there is no checkpoint: this is not the folder or the address of a log")
    return note, open_checkpoint(note, key)


def check_growth(source: TileSource, previous: Checkpoint | None, head: Checkpoint, entries: bool = True) -> int:
    """Check that a log grew from one of its checkpoints to another, and that its files belong to the latter.

    Args:
        previous: an earlier checkpoint, None if there is none.
        entries: whether to compare the new entries with their hashes, too.

    Returns: the number of entries compared.

    Soundness: both checkpoints must come from notes that the log's key signed.

    Raises:
        ForkError, RollbackError: the log contradicts itself.
        LogDamagedError, FormatError: its files are malformed, or do not belong to `head`.
        OSError: it cannot be reached.
    """
    if previous is not None and head.size < previous.size:
        raise RollbackError(f"the log had {previous.size} entries and now shows {head.size}: an old copy, or rewritten")
    if previous is not None and head.size == previous.size and head.root != previous.root:
        raise ForkError(f"the log signed two different trees of {head.size} entries")
    tree = TileTree(source, head.size)
    if tree.root() != head.root:
        raise LogDamagedError(f"the tiles of the log do not have the root of its checkpoint of size {head.size}")
    if previous is not None and previous.size:
        try:
            proof = tree.consistency_proof(previous.size)
            verify_consistency(previous.size, head.size, proof, previous.root, head.root)
        except ConsistencyError as error:
            raise ForkError(f"the {head.size} entries do not begin with the earlier {previous.size}: {error}") from None
    return sum(1 for _ in tree.entries(previous.size if previous else 0)) if entries else 0


def monitor(source: TileSource, key: VerifierKey, state: Path, entries: bool = True) -> Observation:
    """Look at a log, compare with the state file, and remember the new checkpoint there.

    Raises as `read_checkpoint` and `check_growth` do. On a contradiction the state stays as it was, and the file
    <state>.evidence gets both signed checkpoints.
    """
    remembered = read_limited(state, MAX_NOTE_BYTES, "state of the monitor") if state.exists() else None
    previous = None if remembered is None else open_checkpoint(remembered, key)
    note, head = read_checkpoint(source, key)
    try:
        checked = check_growth(source, previous, head, entries)
    except (ForkError, RollbackError) as error:
        evidence = state.with_name(state.name + ".evidence")
        replace_file(evidence, (remembered or b"") + b"\n" + note)
        raise type(error)(f"{error}; both signed checkpoints are in {evidence}: keep them, publish them") from None
    if note != remembered:
        replace_file(state, note)
    return Observation(head, previous, checked)

"""The process that checks one proof: `python -m verifier.service.worker MEMORY SECONDS`, a task on stdin.

It reads files, decides, and writes the decision as JSON to stdout. It has no key and no connection.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from verifier.service.child import MEMORY_STATUS, limits


def identify_task(task: dict[str, Any]) -> dict[str, Any]:
    """Read a commitment.json. Task: {"commitment": path}."""
    from verifier.argument.commitment import Commitment

    return {"commitment": Commitment.read(Path(task["commitment"])).id.hex()}


def check_validity_task(task: dict[str, Any]) -> dict[str, Any]:
    """Check a folder with commitment.json and validity.proof. Task: {"folder": path}."""
    from verifier.decision import check_validity

    commitment, _, _ = check_validity(Path(task["folder"]))
    return {"commitment": commitment.id.hex()}


def decide_task(task: dict[str, Any]) -> dict[str, Any]:
    """Decide on a bundle.

    Task: {"folder", "bundle", "policy": paths, "nonce": hex, "bases": {name: path}, "base_files": [path]}.
    """
    from circuits.policy import Policy
    from verifier.attestation.statement import model_digest
    from verifier.bundle import Bundle
    from verifier.decision import BaseFiles, decide

    bases = BaseFiles({name: Path(path) for name, path in task["bases"].items()}, tuple(map(Path, task["base_files"])))
    decision = decide(
        Path(task["folder"]),
        Bundle.read(Path(task["bundle"])),
        Policy.read(Path(task["policy"])),
        bytes.fromhex(task["nonce"]),
        bases=bases,
    )
    return {"report": decision.report(), "model": model_digest(decision.commitment.manifest.files)}


TASKS = {"identify": identify_task, "validity": check_validity_task, "decide": decide_task}


def main() -> None:
    """Answer {"verdict": "accepted", ...} or {"verdict": "rejected", "error", "reason"}."""
    limits()
    from circuits.errors import WeightproofError

    task = json.load(sys.stdin)
    try:
        answer = {"verdict": "accepted", **TASKS[task["kind"]](task)}
    except WeightproofError as error:
        answer = {"verdict": "rejected", "error": type(error).__name__, "reason": str(error)[:2000]}
    except MemoryError:
        sys.exit(MEMORY_STATUS)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()

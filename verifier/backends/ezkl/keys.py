"""Settings and verification keys, derived from a circuit and a reference string by whoever uses them.

The derivation is deterministic: owner and verifier get the same bytes. A verifier may keep what it derived in a
folder of its own; every file there is compared with the digest that was written when it was derived.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.backends.ezkl.circuit import Circuit
from verifier.backends.ezkl.errors import EzklStatementError, ReferenceStringError, SuppliedKeyError
from verifier.backends.ezkl.process import Job, Limits
from verifier.backends.ezkl.reference_string import ReferenceString

EZKL_VERSION = "23.0.5"
MODEL, SETTINGS, COMPILED, KEY, PROVING_KEY, DIGESTS = (
    "model.onnx",
    "settings.json",
    "circuit.ezkl",
    "verification.key",
    "proving.key",
    "digests.json",
)
INNER_COLUMNS = 2
UNUSABLE_ROWS = 64
"""More than the rows that Halo2 keeps for its blinding."""
LEAST_LOG_ROWS = 9
_VISIBLE = ("input_visibility", "output_visibility", "param_visibility")
VISIBILITY = ["KZGCommit", "Public", "Fixed"]
"""Inputs, outputs and parameters, as ezkl writes what `run_args` asks for."""
MOST_BLOCKS = 6
DERIVATION = "weightproof/ezkl-keys/v2"
"""Changes with everything here that keys depend on."""


def run_args(log_rows: int) -> dict[str, Any]:
    """Scale 0: integers stay integers. All inputs are committed, all outputs public; no table is used."""
    return {
        "input_visibility": "polycommit",
        "output_visibility": "public",
        "param_visibility": "fixed",
        "input_scale": 0,
        "param_scale": 0,
        "scale_rebase_multiplier": 1,
        "lookup_range": [-2, 2],
        "logrows": log_rows,
        "num_inner_cols": INNER_COLUMNS,
        "decomp_base": 256,
        "decomp_legs": 2,
        "bounded_log_lookup": False,
        "check_mode": "unsafe",
        "ignore_range_check_inputs_outputs": True,
        "disable_freivalds": True,
    }


def log_rows_for(circuit: Circuit, rows: int) -> int:
    """The circuit's height: every input vector in one column, at most `MOST_BLOCKS` blocks of columns, few cells."""
    longest = max(*circuit.hidden_sizes, circuit.outputs) + UNUSABLE_ROWS
    least = max(LEAST_LOG_ROWS, (longest - 1).bit_length())

    def cells(log_rows: int) -> int:
        return blocks(rows, log_rows) << log_rows

    heights = [height for height in range(least, 64) if blocks(rows, height) <= MOST_BLOCKS]
    return min(heights, key=cells)


def blocks(rows: int, log_rows: int) -> int:
    """How many blocks of columns hold the rows of a circuit."""
    return -(-rows // ((1 << log_rows) - UNUSABLE_ROWS)) or 1


@dataclass(frozen=True)
class Keys:
    """A folder with derived files.

    Attributes:
        rows: as ezkl counts them.
        settings_sha256: of the settings without their time stamp.
        key_sha256: of the verification key.
        seconds, peak: what the derivation took; 0 where it was kept from before.
    """

    folder: Path
    log_rows: int
    rows: int
    settings_sha256: str
    key_sha256: str
    seconds: float
    peak: int

    def path(self, name: str) -> Path:
        return self.folder / name


@contextmanager
def derived(
    circuit: Circuit, reference: ReferenceString, limits: Limits, *, proving: bool, cache: Path | None = None
) -> Iterator[Keys]:
    """The keys of a circuit: from the cache if they were derived before, else derived now.

    Without a cache they live as long as the context. `proving` keeps the proving key (gigabytes for large circuits).

    Raises ReferenceStringError (too short), SuppliedKeyError (a kept file was altered), EzklStatementError,
    EzklMissingError, EzklFailedError.
    """
    name = hashlib.sha256(
        json.dumps([DERIVATION, EZKL_VERSION, circuit.digest, reference.sha256, run_args(0), proving]).encode()
    ).hexdigest()
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as folder:
            yield _derive(Path(folder), circuit, reference, limits, proving)
        return
    place = cache / name
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".deriving-", dir=cache))
        try:
            fresh = _derive(staging, circuit, reference, limits, proving)
            try:
                os.rename(staging, place)
            except OSError:  # another process derived the same
                shutil.rmtree(staging, ignore_errors=True)
            yield Keys(place, fresh.log_rows, fresh.rows, *_digests(place), fresh.seconds, fresh.peak)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return
    settings, key = _digests(place)
    content = json.loads((place / SETTINGS).read_bytes())
    yield Keys(place, content["run_args"]["logrows"], content["num_rows"], settings, key, 0.0, 0)


def require_reference(circuit: Circuit, reference: ReferenceString, limits: Limits) -> None:
    """Ask ezkl for the circuit's size, which takes no key.

    Raises ReferenceStringError if the string is too short, EzklMissingError, EzklFailedError.
    """
    with tempfile.TemporaryDirectory(prefix="weightproof-ezkl-") as folder:
        (Path(folder) / MODEL).write_bytes(circuit.model)
        _height(Path(folder), circuit, reference, limits)


def _height(folder: Path, circuit: Circuit, reference: ReferenceString, limits: Limits) -> tuple[int, int]:
    """Rows as ezkl counts them, and the height."""
    rows = int(_settings(folder, run_args(LEAST_LOG_ROWS), limits)["num_rows"])
    log_rows = log_rows_for(circuit, rows)
    if log_rows > reference.log_rows:
        raise ReferenceStringError(
            f"this statement needs a reference string for 2^{log_rows} rows; the given one has 2^{reference.log_rows}"
        )
    return rows, log_rows


def _derive(folder: Path, circuit: Circuit, reference: ReferenceString, limits: Limits, proving: bool) -> Keys:
    path: Callable[[str], Path] = folder.joinpath
    path(MODEL).write_bytes(circuit.model)
    rows, log_rows = _height(folder, circuit, reference, limits)
    content = _settings(folder, run_args(log_rows), limits)
    require_settings(content, circuit, log_rows)
    ran = (
        Job(limits)
        .add("compile_circuit", model=path(MODEL), compiled=path(COMPILED), settings=path(SETTINGS))
        .add("setup", model=path(COMPILED), vk=path(KEY), pk=path(PROVING_KEY), srs=reference.path.absolute())
        .run()
    )
    if not proving:
        path(PROVING_KEY).unlink()
    # compile_circuit may write the settings again
    require_settings(json.loads(path(SETTINGS).read_bytes()), circuit, log_rows)
    path(DIGESTS).write_text(json.dumps({name: _sha256(path(name)) for name in _kept(folder)}, sort_keys=True))
    return Keys(folder, log_rows, rows, *_digests(folder), sum(ran.seconds), ran.peak)


def _settings(folder: Path, options: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """ezkl's settings, written again in one order: it lists range checks as its hash tables happen to hold them."""
    Job(limits).add("gen_settings", options, model=folder / MODEL, settings=folder / SETTINGS).run()
    content: dict[str, Any] = json.loads((folder / SETTINGS).read_bytes())
    content["required_range_checks"].sort()
    content["timestamp"] = 0
    (folder / SETTINGS).write_text(json.dumps(content, sort_keys=True))
    return content


def require_settings(content: dict[str, Any], circuit: Circuit, log_rows: int) -> None:
    """ezkl understood the circuit as it was meant. Raises EzklStatementError."""
    sizes = [*circuit.hidden_sizes, circuit.public_cells]
    arguments = content["run_args"]
    wanted = run_args(log_rows)
    found = {
        "version": content["version"] == EZKL_VERSION,
        "scales": content["model_input_scales"] == [0, 0, 0] and content["model_output_scales"] == [0],
        "instances": content["model_instance_shapes"] == [[circuit.outputs]],
        "committed vectors": content["module_sizes"]["polycommit"] == sizes,
        "lookups": content["required_lookups"] == [] and content["num_dynamic_lookups"] == content["num_shuffles"] == 0,
        # whatever is looked up leaves a trace that is not hidden: nothing is
        "ranges": content["required_range_checks"] == [],
        "visibility": [arguments[name] for name in _VISIBLE] == VISIBILITY,
        "arguments": all(
            arguments[name] == value for name, value in wanted.items() if name not in ("check_mode", *_VISIBLE)
        ),
    }
    wrong = [name for name, good in found.items() if not good]
    if wrong:
        raise EzklStatementError(
            f"ezkl {content['version']} read the statement differently ({', '.join(wrong)}); version {EZKL_VERSION} is"
            " supported, or use the native argument"
        )


def _kept(folder: Path) -> list[str]:
    return [name for name in (MODEL, SETTINGS, COMPILED, KEY, PROVING_KEY) if (folder / name).is_file()]


def _digests(folder: Path) -> tuple[str, str]:
    """Digests of settings and key, after comparing every kept file with what was derived."""
    try:
        written = json.loads((folder / DIGESTS).read_bytes())
        found = {name: _sha256(folder / name) for name in _kept(folder)}
    except (OSError, ValueError):
        raise SuppliedKeyError(f"the derived keys in {folder} are incomplete; delete the folder") from None
    for name in sorted({*written, *found}):
        if written.get(name) != found.get(name):
            raise SuppliedKeyError(f"{name} in {folder} is not what was derived; delete the folder, it was altered")
    settings = json.loads((folder / SETTINGS).read_bytes())
    settings.pop("timestamp", None)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(), found[KEY]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

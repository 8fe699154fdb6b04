"""A verifier and a daemon as processes on loopback, with certificates and keys of their own."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verifier.service.development import write_certificates
from verifier.service.errors import UnavailableError
from verifier.service.setup import ATTESTATION_PUBLIC, CONFIGURATION, LOG_PUBLIC, new_service

DOMAIN = "weightproof.local"
OWNER = f"spiffe://{DOMAIN}/owner/acme"
REGULATOR = f"spiffe://{DOMAIN}/regulator"
START_SECONDS = 120.0
STOP_SECONDS = 30.0
_MAIN = "from {} import main; main()"


def make_regulator(folder: Path, certificates: Path, policy: Path) -> Path:
    """Certificates for everybody, and the regulator's keys, log and configuration; the path of the last.

    Raises FormatError if a folder is not empty.
    """
    write_certificates(certificates, DOMAIN, ["localhost", "127.0.0.1"], ["acme"])
    callers = [(OWNER, "owner"), (REGULATOR, "regulator"), (f"spiffe://{DOMAIN}/auditor", "auditor")]
    listen = f"127.0.0.1:{_free_port()}"
    new_service(folder, REGULATOR, certificates, callers, listen, f"{DOMAIN}/log", [policy])
    return folder / CONFIGURATION


def make_owner(folder: Path, certificates: Path, regulator: Path, model: Path, port: int) -> Path:
    """The owner's configuration: its state, its model, and the regulator's public keys; its path."""
    folder.mkdir(mode=0o700)
    paths = {
        "certificate": certificates / "acme.pem",
        "key": certificates / "acme.key",
        "authority": certificates / "ca.pem",
        "attestation_key": regulator / ATTESTATION_PUBLIC,
        "log_key": regulator / LOG_PUBLIC,
    }
    lines = [
        'state = "state"',
        f"models = [{json.dumps(str(model.resolve().parent))}]",
        "",
        "[verifier]",
        f'address = "localhost:{port}"',
        *(f"{name} = {json.dumps(str(path.resolve()))}" for name, path in paths.items()),
    ]
    configuration = folder / "prover.toml"
    configuration.write_text("\n".join(lines) + "\n")
    return configuration


@contextmanager
def serving(command: str, configuration: Path) -> Iterator[str]:
    """The process of `weightproof-{command} serve`; yields its first line once it serves. Stopped afterwards.

    Raises UnavailableError, with the end of what it wrote, if it does not start.
    """
    log = configuration.with_suffix(".log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN.format(f"{command}.cli"), "serve", "--config", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _first_line(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def port_of(line: str) -> int:
    """The port in a verifier's first line."""
    match = re.search(r"port (\d+)", line)
    if match is None:
        raise UnavailableError(f"the verifier did not say where it listens: {line!r}")
    return int(match[1])


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    stop = time.monotonic() + START_SECONDS
    while time.monotonic() < stop:
        readable, _, _ = select.select([process.stdout], [], [], 0.2)
        if readable:
            line = process.stdout.readline()
            if line:
                return line
        if process.poll() is not None:
            break
    raise UnavailableError(f"the service did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A new service: its keys, its log and its configuration file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from circuits.errors import FormatError
from verifier.attestation.keys import create_key
from verifier.log.note import NoteSigner
from verifier.log.writer import LogWriter
from verifier.service.settings import VerifierSettings

CONFIGURATION = "verifier.toml"
ATTESTATION_KEY, ATTESTATION_PUBLIC = "attestation.key", "attestation.pub"
LOG_KEY, LOG_PUBLIC = "log.key", "log.pub"


def new_service(
    folder: Path,
    identity: str,
    certificates: Path,
    callers: Sequence[tuple[str, str]],
    listen: str,
    log_name: str,
    policies: Sequence[Path] = (),
    metrics: str | None = None,
    database: str | None = None,
) -> VerifierSettings:
    """Make attestation key, log key, an empty log and verifier.toml in a folder.

    Args:
        identity: the SPIFFE id that signs.
        certificates: a folder with verifier.pem, verifier.key and ca.pem.
        callers: SPIFFE id and role of every caller.

    Raises FormatError if something is there already or cannot be written; PolicyError, and makes nothing, if the
    settings are wrong.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FormatError(f"{folder} is not empty; keys and logs are never overwritten, choose another folder")
    key = folder.absolute() / ATTESTATION_KEY
    signer = NoteSigner.generate(log_name)
    lines = [
        f"listen = {json.dumps(listen)}",
        'state = "state"',
        *([f"database = {json.dumps(database)}"] if database else []),
        *([f"metrics = {json.dumps(metrics)}"] if metrics else []),
        f"policies = {json.dumps([str(path.absolute()) for path in policies])}",
        "",
        "[tls]",
        f"certificate = {json.dumps(str(certificates.absolute() / 'verifier.pem'))}",
        f"key = {json.dumps(str(certificates.absolute() / 'verifier.key'))}",
        f"client_authority = {json.dumps(str(certificates.absolute() / 'ca.pem'))}",
        "",
        "[signing]",
        f"id = {json.dumps(identity)}",
        f"key = {json.dumps(f'file2:{key}')}",
        f'public_key = "{ATTESTATION_PUBLIC}"',
        "",
        "[log]",
        'folder = "log"',
        f'key = "{LOG_KEY}"',
    ]
    for spiffe, role in callers:
        lines += ["", "[[identities]]", f"spiffe = {json.dumps(spiffe)}", f"role = {json.dumps(role)}"]
    configuration = ("\n".join(lines) + "\n").encode()
    settings = VerifierSettings.parse(configuration, folder / CONFIGURATION)  # before anything is made
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_key(key, folder / ATTESTATION_PUBLIC)
        with open(os.open(folder / LOG_KEY, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(signer.secret() + "\n")
        (folder / LOG_PUBLIC).write_text(f"{signer.key}\n")
        LogWriter(folder / "log", signer, create=True).close()
        (folder / CONFIGURATION).write_bytes(configuration)
    except OSError as error:
        raise FormatError(f"cannot write {folder}: {error.strerror}") from None
    return settings

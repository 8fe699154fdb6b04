"""A PostgreSQL server of one's own, from the system's package, in a temporary folder, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, or None if PostgreSQL is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if versions:
        return versions[-1]
    found = shutil.which("initdb")
    return None if found is None else Path(found).parent


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A running server; yields its URL. PostgreSQL refuses to run as root, so root hands it to the postgres user."""
    place = binaries()
    assert place is not None
    folder.mkdir(parents=True, exist_ok=True)
    prefix: list[str] = []
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        prefix = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"

    def call(*arguments: str) -> None:
        done = subprocess.run([*prefix, *arguments], capture_output=True, text=True, cwd=folder, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    call(str(place / "initdb"), "-D", str(data), "-U", "weightproof", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    log = str(folder / "log")
    call(str(place / "pg_ctl"), "-D", str(data), "-w", "-l", log, "-o", options, "start")
    try:
        yield f"postgresql+psycopg://weightproof@/postgres?host={folder}"
    finally:
        call(str(place / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")

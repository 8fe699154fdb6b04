"""Where the static files of a log are read from: a folder, or a web server. Sizes are bounded; nothing is trusted."""

from __future__ import annotations

import http.client
import stat
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote as url_quote
from urllib.parse import urlsplit

from circuits.errors import FormatError
from verifier.log.tiles import TileSource

TIMEOUT_SECONDS = 30.0


class FolderSource:
    """A log on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, limit: int) -> bytes | None:
        """See TileSource. Raises FormatError, OSError."""
        file_path = self._folder / path
        try:
            if not stat.S_ISREG(file_path.stat().st_mode):
                return None
            with file_path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _bounded(data, limit, path)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A log is where its operator says; an answer that points elsewhere is an error."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


class WebSource:
    """A log behind an http or https address."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._opener = urllib.request.build_opener(_NoRedirect)

    def read(self, path: str, limit: int) -> bytes | None:
        """See TileSource. Raises FormatError, OSError (unreachable, or an answer other than 200 and 404)."""
        try:
            with self._opener.open(f"{self._address}/{url_quote(path)}", timeout=TIMEOUT_SECONDS) as answer:
                data: bytes = answer.read(limit + 1)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        except http.client.HTTPException as error:
            raise OSError(f"{self._address} does not speak HTTP: {type(error).__name__}") from None
        return _bounded(data, limit, path)


def open_source(text: str) -> TileSource:
    """A folder, or an address that begins with http:// or https://. Raises FormatError for any other address."""
    if "://" not in text:
        return FolderSource(Path(text))
    if urlsplit(text).scheme not in ("http", "https"):
        raise FormatError("a log is a folder or an http:// or https:// address")
    return WebSource(text)


def _bounded(data: bytes, limit: int, path: str) -> bytes:
    if len(data) > limit:
        raise FormatError(f"the log's {path} has more than {limit} bytes")
    return data

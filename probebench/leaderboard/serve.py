"""Shows the built page to browsers of this machine, and nothing else."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.outside import read_bytes

_ADDRESS = "127.0.0.1"
_PAGE_BYTES = 1 << 30
# What the site holds beside its first page, and of what kind each is.
_BESIDE = {
    "study/study.html": "text/html; charset=utf-8",
    "board.csv": "text/csv; charset=utf-8",
    "board.json": "application/json",
}
# Seconds that a browser may be silent, and may take in all, before its connection is closed.
_SILENT, _LONGEST = 10.0, 60.0


class _Page(BaseHTTPRequestHandler):
    """Answers with the pages that were built, whatever else lies beside them on the disk.

    A site elsewhere whose name leads here would read the page with its visitor's browser, so the name must be ours.
    """

    server_version = "probebench"
    sys_version = ""
    timeout = _SILENT

    def __init__(self, pages: Mapping[str, tuple[bytes, str]], *arguments: Any) -> None:
        self._pages = pages
        super().__init__(*arguments)

    def setup(self) -> None:
        """Sets when the connection ends at the latest: who sends a letter at a time is never silent."""
        super().setup()
        self._end = threading.Timer(_LONGEST, self._hang_up)
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        """Ends the connection."""
        self._end.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Sends a page."""
        self.wfile.write(self._asked())

    def do_HEAD(self) -> None:
        """Sends what precedes it."""
        self._asked()

    def _asked(self) -> bytes:
        """Sends what precedes a page, and returns the page; nothing where it is refused."""
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.headers.get_all("Host", []) not in ([f"{_ADDRESS}:{port}"], [f"localhost:{port}"]):
            self.send_error(HTTPStatus.FORBIDDEN, "this page is for browsers of this machine")
            return b""
        if (found := self._pages.get(self.path.split("?", 1)[0])) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return b""
        page, kind = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page)))
        for name, value in (
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        return page

    def log_message(self, *_: Any) -> None:
        """Says nothing: what is asked for is anybody's text."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Returns a server of a built page and what was built with it, not yet running, which no other machine can reach.

    Args:
        folder: Where ``index.html`` lies; all is read now.
        port: 0 takes a free one.

    Raises:
        UsageError: There is no page, or the port is taken.
    """
    first = _page(folder / "index.html"), "text/html; charset=utf-8"
    pages = {"/": first, "/index.html": first}
    for name, kind in _BESIDE.items():
        if (folder / name).exists():
            pages[f"/{name}"] = _page(folder / name), kind
    try:
        return ThreadingHTTPServer((_ADDRESS, port), partial(_Page, pages))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); name another: --port 0") from error


def _page(path: Path) -> bytes:
    if path.is_symlink():
        raise UsageError(f"{path} is a link, and no page that was built here; remove it")
    try:
        return read_bytes(path, _PAGE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be shown ({error.strerror})") from error

"""Shows the built page to browsers of this machine, and nothing else."""

import contextlib
import socket
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.outside import read_bytes

_ADDRESS = "127.0.0.1"
_PAGE_BYTES = 1 << 30
# Seconds that a browser may be silent, and may take in all, before its connection is closed.
_SILENT, _LONGEST = 10.0, 60.0


class _Page(BaseHTTPRequestHandler):
    """Answers with one page, whatever lies beside it on the disk.

    A site elsewhere whose name leads here would read the page with its visitor's browser, so the name must be ours.
    """

    server_version = "probebench"
    sys_version = ""
    timeout = _SILENT

    def __init__(self, page: bytes, *arguments: Any) -> None:
        self._page = page
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
        """Sends the page."""
        if self._asks_for_the_page():
            self.wfile.write(self._page)

    def do_HEAD(self) -> None:
        """Sends what precedes it."""
        self._asks_for_the_page()

    def _asks_for_the_page(self) -> bool:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.headers.get_all("Host", []) not in ([f"{_ADDRESS}:{port}"], [f"localhost:{port}"]):
            self.send_error(HTTPStatus.FORBIDDEN, "this page is for browsers of this machine")
            return False
        if self.path.split("?", 1)[0] not in ("/", "/index.html"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return False
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self._page)))
        for name, value in (
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        return True

    def log_message(self, *_: Any) -> None:
        """Says nothing: what is asked for is anybody's text."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Returns a server of a built page, not yet running, which other machines cannot reach.

    Args:
        folder: Where ``index.html`` lies; it is read now.
        port: 0 takes a free one.

    Raises:
        UsageError: There is no page, or the port is taken.
    """
    path = folder / "index.html"
    try:
        if path.is_symlink():
            raise UsageError(f"{path} is a link, and no page that was built here; remove it")
        page = read_bytes(path, _PAGE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be shown ({error.strerror})") from error
    try:
        return ThreadingHTTPServer((_ADDRESS, port), partial(_Page, page))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); name another: --port 0") from error

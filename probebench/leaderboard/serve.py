"""Shows the page to browsers of this machine."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from probebench.errors import UsageError


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Returns a server of a folder, not yet running, which other machines cannot reach.

    Args:
        folder: Where ``index.html`` lies.
        port: 0 takes a free one.

    Raises:
        UsageError: The port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); name another: --port 0") from error

"""Whether a host can be reached: asked before a library that would try for minutes and print each try."""

import socket
import urllib.parse
import urllib.request


def reachable(url: str, seconds: float = 3.0) -> bool:
    """Says whether the host of a URL answers; behind a proxy the question cannot be asked, so yes."""
    parts = urllib.parse.urlparse(url)
    host = parts.hostname or ""
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(host):
        return True
    try:
        with socket.create_connection((host, parts.port or {"http": 80}.get(parts.scheme, 443)), timeout=seconds):
            return True
    except OSError:
        return False

"""Manners of libraries that fetch things: asked first whether a host answers, and kept off the terminal."""

import contextlib
import logging
import socket
import sys
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from typing import Any


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


@contextlib.contextmanager
def hub_offline(offline: bool) -> Iterator[None]:
    """Keeps the Hugging Face Hub's client, and ``datasets`` where it is loaded, to their caches; no: leaves them as is.

    Out of reach of the Hub, the client would otherwise retry for most of a minute and print each try.
    """
    import huggingface_hub.constants as hub

    # Each copied the environment's switch when it was imported.
    switches: list[Any] = [hub, *filter(None, [sys.modules.get("datasets.config")])]
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches if offline else ():
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps libraries' own log lines and warnings off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

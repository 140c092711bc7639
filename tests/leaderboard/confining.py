"""What a confined process tries in the tests: ``python -m tests.leaderboard.confining FOLDER``."""

import ctypes
import errno
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from probebench.errors import ProbebenchError
from probebench.leaderboard.confined import answer_request


def _connect(family: socket.AddressFamily, address: object) -> None:
    with socket.socket(family) as one:
        one.connect(address)  # type: ignore[arg-type]


def _mended() -> None:
    raise ProbebenchError("weights are missing; fetch them")


def _connect_natively(port: int) -> None:
    """As a library in C would, of which Python's auditors hear nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), bytes((127, 0, 0, 1)))
    if libc.connect(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, len(address)):
        raise ProbebenchError(f"no way there: {errno.errorcode[ctypes.get_errno()]}")


TRIES: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "a connection": lambda: _connect(socket.AF_INET, ("127.0.0.1", 9)),
    "a connection by IPv6": lambda: _connect(socket.AF_INET6, ("::1", 9)),
    "a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "a server": lambda: socket.create_server(("127.0.0.1", 0)),
    "a name": lambda: socket.getaddrinfo("localhost", 80),
    "a page": lambda: urllib.request.urlopen("http://localhost/"),
    "a program": lambda: subprocess.run(["true"], check=True),
    "a shell": lambda: os.system("true"),
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "much memory": lambda: bytearray(1 << 44),
    "an error that can be mended": _mended,
    "a crash": lambda: os.abort(),
    "a bug": lambda: 1 // 0,
    "a long time": lambda: time.sleep(60),
    "a pool of processes": lambda: multiprocessing.get_context("forkserver").Pool(1).map(abs, [-1]),
}


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Tries what is asked."""
    if "port" in request:
        _connect_natively(request["port"])
    else:
        TRIES[request["try"]]()
    return {"tried": request["try"]}


if __name__ == "__main__":
    answer_request(Path(sys.argv[1]), work)

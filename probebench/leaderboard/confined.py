"""Runs a module's work in a process of its own, which has no network and limited memory and time."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probebench.errors import ProbebenchError, one_line

# Seconds, and the share of the machine's memory, that one cell may take.
SECONDS, MEMORY = 2 * 3600, 0.75
_PEERS = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
# Processes that load images talk to this one by names of files, or on a connection that is there.
_LOCAL = (str, bytes, type(None))
_NAMES = ("socket.getaddrinfo", "socket.gethostby")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_ANSWER = "answer.json"


def run_confined(module: str, request: Mapping[str, Any], folder: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Runs ``python -m MODULE FOLDER`` on a request and returns its answer, both plain JSON.

    Args:
        module: Calls ``answer_request`` with what it does.
        request: What is asked.
        folder: Takes request and answer.
        seconds: The child is ended after so many.

    Raises:
        ProbebenchError: It failed, was ended, or answered nothing.
    """
    answer = folder / _ANSWER
    answer.unlink(missing_ok=True)
    (folder / "request.json").write_text(json.dumps(request))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ProbebenchError(f"took more than the {seconds:.0f} s that a cell may take") from None
    finally:
        _end(child)
    if child.returncode or not answer.is_file():
        last = said.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        what = f"ended by signal {-child.returncode}" if child.returncode < 0 else "failed"
        raise ProbebenchError(f"its process {what}: {last[:200] or 'it said nothing'}")
    found: dict[str, Any] = json.loads(answer.read_text())
    if "error" in found:
        raise ProbebenchError(found["error"])
    return found


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ends a child and all that it started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def confine() -> None:
    """Takes the network, new programs and most memory from this process, for as long as it lives."""
    most = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY)
    # What programs write to of their own; address space alone would refuse GPUs.
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_PROCESSES):
        raise OSError(errno.EPERM, f"a cell that is run again starts no program ({event})")
    if event.startswith(_NAMES) or (event in _PEERS and not isinstance(arguments[1], _LOCAL)):
        raise OSError(errno.ENETUNREACH, "a cell that is run again has no network")


def answer_request(folder: Path, work: Any) -> None:
    """Does what a request asks, in this process, and writes the answer, or the line that says what is wrong.

    Args:
        folder: As in ``run_confined``.
        work: Takes the request and returns the answer.
    """
    request = json.loads((folder / "request.json").read_text())
    confine()
    try:
        found = work(request)
    except MemoryError:
        found = {"error": "takes more memory than a cell may take"}
    except OSError as error:
        found = {"error": error.strerror or one_line(error)}
    except ProbebenchError as error:
        found = {"error": one_line(error)}
    (folder / _ANSWER).write_text(json.dumps(found))

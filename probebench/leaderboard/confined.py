"""Runs a module's work in a process of its own, which has no network and limited memory and time.

Linux gives the process a network of its own with nothing in it, which native code cannot leave either; where the kernel
refuses that, Python alone keeps it, and the answer says so.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import runpy
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
# What the answer says it by, with the kernel's reason.
OPEN_NETWORK = "open_network"
# linux/sched.h: CLONE_NEWUSER lets anybody have CLONE_NEWNET.
_OWN_NETWORK = 0x10000000 | 0x40000000
_refused: str | None = None


def run_confined(module: str, request: Mapping[str, Any], folder: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Runs ``python -m MODULE FOLDER`` on a request, out of the network, and returns its answer, both plain JSON.

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
        [sys.executable, "-m", __name__, module, str(folder)],
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


def leave_network() -> str | None:
    """Gives this process a network of its own without any way out; returns the system's reason where it refuses.

    It must have a single thread, so libraries that compute are loaded later.
    """
    # Identities outside are read before: inside there are none until they are written.
    maps = [
        ("setgroups", "deny"),
        ("uid_map", f"{os.getuid()} {os.getuid()} 1"),
        ("gid_map", f"{os.getgid()} {os.getgid()} 1"),
    ]
    try:
        refused = ctypes.CDLL(None, use_errno=True).unshare(_OWN_NETWORK)
    except (AttributeError, OSError):
        return "only Linux can"
    if refused:
        return os.strerror(ctypes.get_errno())
    for name, text in maps:
        # Without them files are still its owner's, under the name of nobody.
        with contextlib.suppress(OSError):
            Path(f"/proc/self/{name}").write_text(text)
    return None


def start(module: str, folder: str) -> None:
    """Runs a module in this process, once it has left the network."""
    global _refused
    _refused = leave_network()
    sys.argv = [module, folder]
    runpy.run_module(module, run_name="__main__")


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
    said = {} if _refused is None else {OPEN_NETWORK: _refused}
    (folder / _ANSWER).write_text(json.dumps({**found, **said}))


if __name__ == "__main__":
    # What the module imports is this one by its name, and not __main__.
    from probebench.leaderboard import confined

    confined.start(*sys.argv[1:])

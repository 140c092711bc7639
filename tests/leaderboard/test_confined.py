"""A cell that is run again has no network, starts no program, and has limits of memory and time."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probebench.errors import ProbebenchError
from probebench.leaderboard import confined
from probebench.leaderboard.confined import OPEN_NETWORK, run_confined

MODULE = "tests.leaderboard.confining"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a connection", "a cell that is run again has no network"),
        ("a connection by IPv6", "a cell that is run again has no network"),
        ("a datagram", "a cell that is run again has no network"),
        ("a server", "a cell that is run again has no network"),
        ("a name", "a cell that is run again has no network"),
        ("a page", "a cell that is run again has no network"),
        ("a program", "starts no program (subprocess.Popen)"),
        ("a shell", "starts no program (os.system)"),
        ("another program", "starts no program (os.exec)"),
        ("much memory", "takes more memory than a cell may take"),
        ("an error that can be mended", "weights are missing; fetch them"),
        ("a crash", "its process ended by signal 6"),
        ("a bug", "its process failed: ZeroDivisionError"),
    ],
)
def test_what_it_may_not_do(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ProbebenchError) as found:
        run_confined(MODULE, {"try": name}, tmp_path)
    assert reason in str(found.value) and "\n" not in str(found.value)


def test_what_it_may_do(tmp_path: Path) -> None:
    for name in ("nothing", "a pool of processes"):
        assert run_confined(MODULE, {"try": name}, tmp_path) == {"tried": name}


def test_native_code_has_no_network_either(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        request = {"try": "natively", "port": server.getsockname()[1]}
        if os.fork() == 0:
            # Whether this system lets anybody have a network of one's own.
            os._exit(0 if confined.leave_network() is None else 1)
        if os.waitstatus_to_exitcode(os.wait()[1]):
            assert OPEN_NETWORK in run_confined(MODULE, request, tmp_path)
        else:
            with pytest.raises(ProbebenchError, match="no way there: ENETUNREACH"):
                run_confined(MODULE, request, tmp_path)


_REFUSED = """
import sys, threading, time
from probebench.leaderboard.confined import start
# A kernel gives no namespace to a process of several threads.
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
start(*sys.argv[1:])
"""


def test_a_kernel_that_refuses_is_told(tmp_path: Path) -> None:
    """And what Python can keep is kept."""
    for name, answer in (
        ("nothing", {"tried": "nothing"}),
        ("a name", {"error": "a cell that is run again has no network"}),
    ):
        (tmp_path / "request.json").write_text(json.dumps({"try": name}))
        subprocess.run([sys.executable, "-c", _REFUSED, MODULE, tmp_path], check=True)
        assert json.loads((tmp_path / "answer.json").read_text()) == {**answer, OPEN_NETWORK: "Invalid argument"}


def test_its_time_ends(tmp_path: Path) -> None:
    with pytest.raises(ProbebenchError, match="took more than the 1 s that a cell may take"):
        run_confined(MODULE, {"try": "a long time"}, tmp_path, seconds=1)

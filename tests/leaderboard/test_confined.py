"""A cell that is run again has no network, starts no program, and has limits of memory and time."""

from pathlib import Path

import pytest

from probebench.errors import ProbebenchError
from probebench.leaderboard.confined import run_confined

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


def test_its_time_ends(tmp_path: Path) -> None:
    with pytest.raises(ProbebenchError, match="took more than the 1 s that a cell may take"):
        run_confined(MODULE, {"try": "a long time"}, tmp_path, seconds=1)

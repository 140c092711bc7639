import re
import subprocess
import sys
from pathlib import Path


def test_a_few_killed_extractions_resume_and_two_at_once_make_one_file() -> None:
    """The short form of ``make faults``; a process of its own, since it forks and must have no threads."""
    command = [sys.executable, "-m", "tests.faults", "--short", "--only", "extraction"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # Instants are drawn over the time of a first run; a faster one may be done before the latest of them.
    assert re.search(r"[1-4] of 4 kills landed, 4 resumed to the same bytes", done.stdout), done.stdout
    assert "3 of 3 rounds gave one correct file" in done.stdout

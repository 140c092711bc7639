import subprocess
import sys
from pathlib import Path


def test_the_store_survives_kills_full_disks_losses_of_power_and_damage() -> None:
    """The short form; `make faults` runs the long one. A process of its own: it forks, and threads would not follow."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--short", "--only", "store"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no fault") == 8

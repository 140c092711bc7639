"""CPU seconds until a mistyped command says so, each in a process of its own: python benchmarks/mistypes.py."""

import os
import subprocess
import sys

from tests.cli.test_own_files import WRONG


def seconds(typed: str) -> float:
    """Returns the CPU seconds, user and system, of one command line."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "probebench", *typed.split()], capture_output=True, check=False)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    """Prints each, the slowest first."""
    # The best of three: what else the machine does takes cycles from each.
    found = sorted(((min(seconds(typed) for _ in range(3)), typed) for typed in WRONG), reverse=True)
    for took, typed in found:
        print(f"{took:5.2f} s  probebench {typed}")


if __name__ == "__main__":
    main()

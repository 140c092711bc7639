import os
import subprocess
import sys

import pytest

from probebench.cli.main import _COMMANDS


def completed(*words: str) -> list[str]:
    """Returns what Bash is told to offer for the last of the words."""
    environ = {
        **os.environ,
        "_PROBEBENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["probebench", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([sys.executable, "-m", "probebench"], env=environ, capture_output=True, text=True, check=True)
    assert not done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], list(_COMMANDS)),
        (["le"], ["leaderboard"]),
        (["leaderboard", "b"], ["build"]),
        (["leaderboard", "build", "--r"], ["--results", "--registry"]),
        (["extract", "--dev"], ["--device"]),
        (["extract", "--device", "c"], ["cpu", "cuda"]),
    ],
)
def test_the_shell_completes_commands_that_are_not_loaded_yet(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_a_script(shell: str) -> None:
    environ = {**os.environ, "_PROBEBENCH_COMPLETE": f"{shell}_source"}
    done = subprocess.run([sys.executable, "-m", "probebench"], env=environ, capture_output=True, text=True, check=True)
    assert f"_PROBEBENCH_COMPLETE={shell}_complete" in done.stdout

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from probebench import __version__
from probebench.cli.main import _COMMANDS, cli
from tests.conftest import Ran

HEAVY = ("torch", "timm", "open_clip", "sklearn", "scipy", "h5py", "torchvision", "jinja2")


def loaded_by(*arguments: str) -> set[str]:
    """Names the heavy libraries that a command line loads in a fresh process."""
    code = (
        "import sys\nfrom probebench.cli.main import main\nsys.argv = ['probebench', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["models", "list"], set()),
        (["models", "show", "resnet50_a1_in1k"], set()),
        (["datasets", "list"], set()),
        (["extract", "--help"], set()),
        (["eval", "--help"], set()),
        (["results", "list", "--out", "."], set()),
        (["cache", "list"], {"h5py"}),
        (["leaderboard", "build", "--results", "."], {"jinja2"}),
        (["extract", "--model", "nothing"], set()),
        (["extract", "--model", "laion_clip_rn50"], set()),
    ],
    ids=lambda value: " ".join(value),
)
def test_commands_load_only_what_they_need(
    arguments: list[str], allowed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert loaded_by(*arguments) <= allowed


def test_version(run: Callable[..., Ran]) -> None:
    assert __version__ in run("--version").out


def test_help_of_every_command_loads(run: Callable[..., Ran]) -> None:
    top = run("--help")
    assert top.code == 0
    for name, (_, text) in _COMMANDS.items():
        assert name in top.out
        assert run(name, "--help").code == 0
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and command.name == name and text.endswith(".")


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["extract"], ["extract", "--model"], ["eval", "--draws", "0"], ["models", "list", "--nope"]],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run: Callable[..., Ran], arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2 and "--help" in done.error and done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_no_command_shows_the_help(run: Callable[..., Ran], arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2 and done.err.startswith("Usage: probebench")


def test_an_interrupt_while_a_library_loads_is_an_interrupt(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("probebench.registry.Registry.load", broken)
    assert "error: interrupted" in run("models", "list").err


def test_an_interrupt_says_that_nothing_is_lost(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probebench.registry.Registry.load", interrupted)
    done = run("models", "list")
    assert done.code == 1 and "what was finished is kept" in done.err


def test_an_error_that_nobody_thought_of_is_still_one_line(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("probebench.registry.Registry.load", broken)
    done = run("models", "list")
    assert done.code == 1 and "RuntimeError: first line" in done.error and "PROBEBENCH_TRACEBACK=1" in done.error


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m probebench models list --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith("[")

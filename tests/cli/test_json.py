"""Every command that ends in facts gives them as JSON too."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from probebench.cli.main import cli
from tests.cli.test_finetune import RECIPE
from tests.conftest import Ran, make_images, write_entry

Run = Callable[..., Ran]

# Why a command has no --json.
WITHOUT = {
    "results export": "its --format says what it writes, json too",
    "leaderboard serve": "shows a page until it is stopped",
    "quickstart": "is a show for people; extract and eval give its facts",
}


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name in command.list_commands(click.Context(command)):
        below = command.get_command(click.Context(command), name)
        assert below is not None
        yield from commands(below, (*words, name))


def test_every_command_has_json_but_those_of_which_it_would_say_nothing() -> None:
    found = dict(commands(cli))
    assert len(found) > 25 and set(WITHOUT) <= set(found)
    having = {name for name, command in found.items() if any("--json" in one.opts for one in command.params)}
    assert {*found} - having == set(WITHOUT)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    write_entry(tmp_path / "own")
    return tmp_path / "own"


def test_models(run: Run, own: Path) -> None:
    assert json.loads(run("models", "validate", own, "--json").out)["valid"] is True
    renamed = json.loads(run("models", "rename", "tiny", "small", "--json").out)
    assert renamed["id"] == "small" and Path(renamed["entry"]).is_file()
    removed = json.loads(run("models", "remove", "small", "--json").out)
    assert removed["entry"] == renamed["entry"] and not Path(removed["entry"]).exists()
    (own / "checkpoints" / "bad.toml").write_text("id =")
    wrong = run("models", "validate", own, "--json")
    assert wrong.code == 1 and len(json.loads(wrong.out)["problems"]) == 1


def test_datasets_prepare(run: Run) -> None:
    ready, missing = (run("datasets", "prepare", name, "--json") for name in ("digits", "cassava"))
    (facts,) = json.loads(ready.out)
    assert facts["ready"] and facts["images"] == {"train": 898, "test": 899}
    (facts,) = json.loads(missing.out)
    assert missing.code == 1 and not facts["ready"] and "cassava" in facts["mend"]


def test_cache_finetune_submit_and_board(run: Run, own: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "d", each=8)
    for name in ("d", "digits"):
        assert run("extract", "--model", "tiny", "--dataset", name, "--limit", 12).code == 0
    (own / "protocols").mkdir()
    (own / "protocols" / "brief.toml").write_text(RECIPE.format(id="brief"))
    asked = ("--model", "tiny", "--dataset", "d", "--shots", "1", "--mode", "linear", "--protocol", "brief")
    planned = run("finetune", *asked, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    (plan,) = json.loads(planned.out)
    assert plan["trainings"] > 0 and plan["seconds"] > 0 and plan["model"] == "tiny"
    assert json.loads(run("cache", "verify", "--json").out) == {"files": 4, "whole": 4, "problems": []}
    gone = json.loads(run("cache", "remove", "--model", "tiny", "--json").out)
    assert len(gone["gone"]) == 4 and gone["bytes"] > 0 and gone["busy"] == []
    Path("results").mkdir()
    submitted = run("submit", "--model", "tiny", "--dataset", "digits", "--json")
    facts = json.loads(submitted.out)
    assert submitted.code == 1 and facts["folder"] is None and facts["problems"]
    page = json.loads(run("leaderboard", "build", "--json").out)["page"]
    assert Path(page).is_file()

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, entry_text, write_entry

Run = Callable[..., Ran]


def test_list_shows_what_there_is_and_where_weights_come_from(run: Run) -> None:
    done = run("models", "list")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()[1:]}
    assert "installed package" in lines["efficientnet_lite0_in1k"]
    assert "random init" in lines["efficientnet_lite0_random"]
    assert "network, once" in lines["resnet50_a1_in1k"]
    assert "your file" in lines["laion_clip_rn50"]


def test_list_filters(run: Run) -> None:
    names = [
        spec["id"]
        for spec in json.loads(run("models", "list", "--method", "language-image", "--source", "laion", "--json").out)
    ]
    assert names == ["laion2b_clip_vit_b_32", "laion_clip_rn50"]
    assert json.loads(run("models", "list", "--method", "image-image", "--json").out) == []


def test_show(run: Run) -> None:
    done = run("models", "show", "yfcc15m_clip_rn50")
    assert "samples 14829396" in done.out and "samples_seen: unknown" in done.out
    assert json.loads(run("models", "show", "yfcc15m_clip_rn50", "--json").out)["input"]["size"] == 224
    wrong = run("models", "show", "yfcc_clip_rn50")
    assert wrong.code == 2 and "did you mean yfcc15m_clip_rn50" in wrong.error


def test_validate_the_registry_an_entry_and_a_folder(run: Run, tmp_path: Path) -> None:
    assert "all valid" in run("models", "validate").out
    path = write_entry(tmp_path / "own")
    assert run("models", "validate", path).code == 0
    (tmp_path / "own" / "checkpoints" / "bad.toml").write_text(entry_text(id="bad", size=0))
    (tmp_path / "own" / "checkpoints" / "worse.toml").write_text("id = ")
    for arguments in ([tmp_path / "own"], ["--registry", tmp_path / "own"]):
        done = run("models", "validate", *arguments)
        assert done.code == 1 and done.err.count("error: ") == 2
    assert run("models", "validate", tmp_path / "nowhere").code == 2


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_own_entries(run: Run, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry(tmp_path / "own")
    flag = ["--registry", tmp_path / "own"]
    if place == "environment":
        monkeypatch.setenv("PROBEBENCH_REGISTRY", os.fspath(tmp_path / "own"))
        flag = []
    done = run(*(flag if place == "before" else []), "models", "show", "tiny", *(flag if place == "after" else []))
    assert done.code == 0 and "A tiny network for tests" in done.out


def test_a_broken_entry_is_one_line_in_every_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "bad.toml").write_text("id = ")
    done = run("models", "list", "--registry", tmp_path)
    assert done.code == 1 and "bad.toml: not TOML" in done.error
    assert run("models", "list", "--registry", tmp_path / "nowhere").code == 2

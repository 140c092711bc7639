import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.cache.store import feature_path
from probebench.cache.writer import locked
from tests.cache.test_key import key
from tests.cache.test_store import ROWS, flip, write
from tests.cache.test_writer import partial_of
from tests.conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture
def files(home: Path) -> dict[str, Path]:
    """A complete file, an interrupted one and an old one."""
    paths = {}
    for model, split, rows in (("net", "train", 10), ("net", "test", 3), ("old", "train", 10)):
        own = key(split=split)
        path = feature_path(home, model, "digits", own)
        write(path, [rows], own, finish=rows == 10, model=model)
        paths[f"{model}-{split}"] = path if rows == 10 else partial_of(path)
    os.utime(paths["old-train"], (time.time() - 45 * 86400,) * 2)
    return paths


def test_list(run: Run, files: dict[str, Path]) -> None:
    lines = run("cache", "list").out.splitlines()
    assert lines[0].split() == ["model", "data", "set", "split", "px", "dtype", "layer", "rows", "size", "age", "state"]
    assert lines[1].split()[:8] == ["net", "digits", "test", "32", "fp32", "pooled", "3", "of"]
    assert lines[1].split()[-1] == "interrupted" and lines[2].split()[-1] == "complete"
    assert lines[3].split()[0] == "old" and "45 days" in lines[3] and "16.1 KB" in lines[3]
    assert lines[-1].startswith("3 files, ")
    facts = json.loads(run("cache", "list", "--json").out)
    assert [(fact["committed"], fact["rows"], fact["state"]) for fact in facts] == [
        (3, 10, "interrupted"),
        (10, 10, "complete"),
        (10, 10, "complete"),
    ]
    assert facts[2]["age_days"] == 45 and facts[2]["bytes"] == files["old-train"].stat().st_size
    assert {fact["dtype"] for fact in facts} == {"fp32"} and {fact["input_size"] for fact in facts} == {32}
    assert {fact["layer"] for fact in facts} == {"pooled"}


def test_an_empty_cache_is_listed_too(run: Run) -> None:
    assert run("cache", "list").out.splitlines()[-1] == "0 files, 0 B"
    assert json.loads(run("cache", "list", "--json").out) == []


def test_verify_says_which_rows_are_damaged(run: Run, files: dict[str, Path]) -> None:
    done = run("cache", "verify")
    assert done.code == 0 and "3 of 3 feature files are whole" in done.out
    flip(files["net-train"], ROWS[4].tobytes())
    flip(files["net-test"], ROWS[1].tobytes())
    done = run("cache", "verify")
    assert done.code == 1 and "1 of 3 feature files are whole" in done.out
    one, other = done.err.splitlines()
    assert one.startswith(
        f"error: interrupted feature file {files['net-test']} is damaged: features of row 1 (bild-1-ä)"
    )
    assert other.startswith(f"error: feature file {files['net-train']} is damaged: features of row 4 (bild-4-ä)")
    assert run("cache", "verify", "--dataset", "cifar*").code == 0
    assert run("cache", "verify", "--model", "nothing,n*").code == 1


def test_remove_by_age_and_size(run: Run, files: dict[str, Path]) -> None:
    done = run("cache", "remove", "--older-than", "30d", "--larger-than", "1KB", "--dry-run")
    assert done.code == 0 and f"{files['old-train']} (16.1 KB, 45 days old)" in done.out
    assert "would remove 1 file, 16.1 KB" in done.out and files["old-train"].exists()
    assert "removed 0 files, 0 B" in run("cache", "remove", "--older-than", "30d", "--larger-than", "1GB").out
    assert "removed 1 file, 16.1 KB" in run("cache", "remove", "--older-than", "30d").out
    assert not files["old-train"].parent.parent.exists() and files["net-train"].exists()
    assert "removed 2 files" in run("cache", "remove", "--model", "*").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to remove"),
        (["--dry-run"], "say what to remove"),
        (["--model", ""], "'' names nothing"),
        (["--dataset", " , "], "names nothing"),
        (["--older-than", "soon"], "'soon' is no age"),
        (["--older-than", ""], "'' is no age"),
        (["--larger-than", "big"], "'big' is no size"),
    ],
    ids=str,
)
def test_wrong_use_removes_nothing(run: Run, files: dict[str, Path], arguments: list[str], said: str) -> None:
    done = run("cache", "remove", *arguments)
    assert done.code == 2 and said in done.error
    assert all(path.exists() for path in files.values())


def test_a_file_that_is_being_written_stays(run: Run, files: dict[str, Path]) -> None:
    with locked(files["net-test"].with_suffix("")):
        done = run("cache", "remove", "--model", "*")
    assert done.code == 0 and "removed 2 files" in done.out
    assert f"{files['net-test']} is being written by another process and stays" in done.err
    assert files["net-test"].exists()

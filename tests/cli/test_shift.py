"""``eval --test-dataset`` as typed, and what cannot be tested."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import probebench as pb
from tests.conftest import Ran, make_images

Run = Callable[..., Ran]
COMMON = ("--model", "tiny")


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, own: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three folders: five classes; three of them in a test part alone; and seven, of which nothing is cached."""
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "a", classes=5, each=20)
    make_images(tmp_path / "b" / "test", classes=3, each=10, seed=5)
    make_images(tmp_path / "c", classes=5, each=6, seed=6)
    make_images(tmp_path / "d", classes=7, each=6, seed=7)
    done = run("extract", *COMMON, "--dataset", "folder:a,folder:b", "--device", "cpu", "--workers", "0")
    assert done.code == 0, done.err
    return tmp_path


def test_typed_and_called(run: Run) -> None:
    asked = ("eval", *COMMON, "--dataset", "folder:a", "--shots", "1,5", "--draws", "3", "--probe", "ridge")
    done = run(*asked, "--test-dataset", "folder:b")
    assert done.code == 0, done.err
    assert len(re.findall(r", drop -?\d+\.\d", done.out)) == 2
    told = json.loads(run(*asked, "--test-dataset", "folder:b", "--json").out)
    assert {one["test_dataset"].rpartition("-")[0] for one in told} == {"folder:b"}
    found = pb.evaluate("tiny", dataset="folder:a", shots=[1, 5], draws=3, probe="ridge", test_dataset=Path("b"))
    assert [one.model_dump(mode="json") for one in found] == told
    assert found[0].shift is not None and found[0].shift.labels == [0, 1, 2]
    assert run(*asked).code == 0
    rows = json.loads(run("results", "export", "--format", "json").out)
    assert [row["drop"] is None for row in sorted(rows, key=lambda row: row["test_dataset"] or "")] == [True] * 2 + [
        False
    ] * 2
    listed = run("results", "list").out
    assert "->" in listed and "drop" in listed
    # The same command again reads what is there.
    stamps = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.json")}
    assert run(*asked, "--test-dataset", "folder:b").code == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.json")}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--dataset", "folder:a", "--test-dataset", "folder:c"), 1, "run: probebench extract --model tiny --data"),
        (("--dataset", "folder:a", "--test-dataset", "folder:d"), 1, "which has no class class5, class6; both need"),
        (("--dataset", "folder:a", "--test-dataset", "folder:a"), 1, "is tested on its own test part without"),
        (("--dataset", "folder:a", "--test-dataset", "digit"), 2, "unknown data set 'digit'; did you mean digits"),
        (("--dataset", "folder:b", "--test-dataset", "folder:a"), 1, "has a test part only, and nothing to fit"),
        (("--test-dataset", "folder:b"), 2, "name it by --dataset"),
        (("--dataset", "folder:a", "--test-dataset", "folder:b", "--dry-run"), 2, "leave it out to save them"),
        (("--dataset", "folder:a", "--test-dataset", "folder:b", "--save-probes", "x"), 2, "leave it out to save them"),
        (("--dataset", "folder:b", "--dry-run"), 2, "has a test part only, and nothing to fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_one_line_with_the_mend(
    run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run("eval", *COMMON, *arguments, "--shots", "1")
    assert (done.code, len(done.err.splitlines())) == (code, 1), done.err
    assert said in done.err


def test_everything_cached_leaves_out_what_only_tests(run: Run) -> None:
    done = run("eval", "--shots", "1")
    assert done.code == 0 and "folder:b" not in done.out + done.err
    done = run("finetune", *COMMON, "--dataset", "folder:b", "--shots", "1", "--device", "cpu")
    assert done.code != 0 and "has a test part only, and nothing to train on" in done.err

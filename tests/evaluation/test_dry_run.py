"""What an evaluation would take is told of cached features and of those that are not there, and computes nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import probebench as pb
from probebench.errors import UsageError
from probebench.evaluation import dry_run
from probebench.evaluation.dry_run import Sizes
from probebench.registry import Registry
from tests.conftest import Ran

MODEL = "efficientnet_lite0_in1k"
LOADED = """
import sys, probebench as pb
cells = pb.evaluate("resnet50_a1_in1k", dataset="dtd", dry_run=True)
assert len(cells) == 4 and all(cell.cost.seconds > 0 for cell in cells)
print([name for name in ("torch", "sklearn", "timm", "pandas") if name in sys.modules])
"""


def test_sizes_of_an_entry_are_those_of_its_images(shipped: Registry, home: Path) -> None:
    digits = Sizes.of("digits", shipped, home)
    assert sum(digits.images) == 898 and len(digits.images) == 10 and (digits.val, digits.test) == (0, 899)
    dtd = Sizes.of("dtd", shipped, home)
    assert dtd.images == (40,) * 47 and (dtd.val, dtd.test) == (1880, 1880)


def test_features_need_not_be_there_and_no_solver_is_loaded(home: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_cached_features_tell_their_own_sizes_and_what_is_done(
    make: Callable[..., Any], home: Path, tmp_path: Path
) -> None:
    make(train=30, classes=4)
    asked: dict[str, Any] = {"dataset": "made_up", "shots": [2, "full"], "draws": 2, "out": tmp_path / "results"}
    pb.evaluate(MODEL, **{**asked, "shots": 2})
    few, full = pb.evaluate(MODEL, **asked, dry_run=True)
    assert (few.done, full.done) == (True, False) and few.cached and full.cached
    assert few.cost is not None and few.cost.fits == 2 * 17
    assert full.cost is not None and full.cost.fits == 18
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


def test_the_command_prints_a_row_a_cell_or_json(
    make: Callable[..., Any], run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make()
    line = ["eval", "--dry-run", "--model", MODEL, "--dataset", "made_up,digits", "--shots", "5", "--probe", "knn"]
    ran = run(*line)
    assert ran.code == 0, ran.err
    assert "no features yet" in " ".join(ran.out.split()) and "in all about" in ran.out
    rows = json.loads(run(*line, "--json").out)
    assert [(row["dataset"], row["cached"]) for row in rows] == [("made_up", True), ("digits", False)]
    assert all(row["seconds"] > 0 and row["host"] > 0 and row["device"] is None for row in rows)
    assert not (tmp_path / "results").exists()


def test_a_gpu_is_told_of_as_not_measured(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "has_gpu", lambda: True)
    ran = run("eval", "--dry-run", "--model", MODEL, "--dataset", "digits")
    assert ran.code == 0 and "nothing has been measured on it" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"features": "no_such"}, "unknown model 'no_such'"),
        ({"features": MODEL, "dataset": "no_such"}, "unknown data set 'no_such'"),
        ({"features": MODEL, "dataset": "digits", "layer": "cls"}, f"{MODEL} has no layer 'cls'"),
        ({"features": MODEL, "dataset": "digits", "protocol": "knn", "backend": "sklearn"}, "--backend is for"),
    ],
)
def test_what_does_not_fit_together_is_told_as_without_the_flag(asked: Any, said: str, home: Path) -> None:
    with pytest.raises(UsageError, match=said):
        pb.evaluate(**asked, dry_run=True)

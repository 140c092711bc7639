"""Cells that are run again; test_submit runs one from its weights, here it is about what is made of it."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.leaderboard import reproduce
from probebench.leaderboard.verify import verify
from probebench.registry import Registry
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.store import read_predictions
from tests.conftest import Ran
from tests.leaderboard.tampering import MODEL, SHIPPED

Run = Callable[..., Ran]


@pytest.mark.parametrize(
    ("moved", "versions", "dtype", "fault"),
    [
        (0, {}, "fp32", None),
        (1, {}, "fp32", "1 predictions are other ones when run again in the same setting"),
        (1, {"torch": "1.0"}, "fp32", None),
        (2, {"torch": "1.0"}, "fp32", None),
        (90, {"torch": "1.0"}, "fp32", "further apart than 0.0022"),
        (8, {"torch": "1.0"}, "fp32", "further apart than 0.0022"),
        (8, {"torch": "1.0"}, "bf16", None),
    ],
)
def test_the_tolerance(
    moved: int,
    versions: dict[str, str],
    dtype: str,
    fault: str | None,
    shipped: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So many right predictions of each draw become wrong, on a machine of these versions."""
    shutil.copytree(SHIPPED / MODEL, tmp_path / "board" / MODEL)
    verified = verify(tmp_path / "board", shipped, tmp_path)
    (entered,) = (one for one in verified.entered if one.result.shots == "full")
    entered = dataclasses.replace(entered, result=entered.result.model_copy(update={"dtype": dtype}))
    verified.entered = [entered]
    before = read_predictions(entered.path, entered.result)

    def again(*_: object) -> tuple[list[tuple[Result, Predictions]], str]:
        result = entered.result
        assert result.mean is not None
        predicted = before.y_pred.copy()
        right = (predicted == before.y_true).nonzero()[1][:moved]
        predicted[0, right] = (predicted[0, right] + 1) % 10
        environment = {**result.environment, "versions": {**result.environment["versions"], **versions}}
        mean = result.mean - moved / len(before.y_true)
        changed = result.model_copy(update={"mean": mean, "environment": environment})
        return [(changed, dataclasses.replace(before, y_pred=predicted))], "cpu"

    monkeypatch.setattr(reproduce, "_run", again)
    (rerun,) = reproduce.reproduce(verified, 1, "seed", tmp_path)
    assert rerun.cell is not None
    assert rerun.cell.moved == moved and (rerun.cell.differs == []) == (not versions)
    assert rerun.fault is None if fault is None else fault in str(rerun.fault)


def test_a_cell_whose_weights_are_not_here_is_told_apart(run: Run, tmp_path: Path, home: Path) -> None:
    registry = tmp_path / "entries" / "checkpoints"
    registry.mkdir(parents=True)
    text = (Path(__file__).parents[2] / "registry" / "checkpoints" / f"{MODEL}.toml").read_text()
    (registry / "lost.toml").write_text(
        re.sub(r'uri = ".*"', 'uri = "user"', text.replace(f'id = "{MODEL}"', 'id = "lost"'))
    )
    shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / "lost")
    for path in (tmp_path / "results").glob("*/*/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "lost"}))
    typed = ("leaderboard", "verify", "results", "--registry", "entries", "--reproduce", "2", "--seed", "3")
    done = run(*typed)
    assert done.code == 0 and done.out.count("not reproducible here: ") == 2, done.err
    assert done.out == run(*typed).out
    assert len({run(*typed[:-1], seed).out for seed in range(4)}) > 1
    assert "not reproducible here: lost/digits/" in done.out and "the weights of lost were never published" in done.out


def test_a_seed_is_asked_for_and_writing_takes_cells(run: Run, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)
    for seed in ((), ("--seed", " ")):
        done = run("leaderboard", "verify", "results", "--reproduce", "1", *seed)
        assert done.code == 2 and "name something that did not exist when the results were made" in done.error
    assert "--write takes --reproduce N --seed TEXT" in run("leaderboard", "verify", "results", "--write").error


def test_writing_takes_a_clean_clone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SHIPPED / MODEL, tmp_path / "results" / MODEL)
    monkeypatch.setattr(reproduce, "environment", lambda: {"dirty": True, "commit": "0" * 40})
    done = run("leaderboard", "verify", "results", "--reproduce", "1", "--seed", "x", "--write")
    assert done.code == 2 and "takes a clean clone of probebench" in done.error

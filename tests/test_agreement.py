"""Command line, page and study read the same number in the same cell, whatever the order of the files."""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probebench.leaderboard.page import page_data
from probebench.results.cells import CellKey, gather
from probebench.results.schema import Result
from probebench.results.scores import score_of
from probebench.results.store import read_predictions, read_result, result_files, write_result
from probebench.study.ask import study
from probebench.study.observations import Track, observations
from tests.conftest import Ran
from tests.results.make import result, trial

SHIPPED = Path(__file__).parents[1] / "leaderboard" / "results"


def failed(**changes: Any) -> Result:
    return result(mean=None, ci95=None, ci95_covers=None, **changes)


GOOD, BAD = result(mean=0.8, shots=5, backend="sklearn"), failed(shots=5, backend="torch")
OURS, THEIRS = result(mean=0.7, shots=5, backend="torch"), result(mean=0.8, shots=5, backend="sklearn")
# The files in order, the score that is right, and what must be said beside it.
TABLE = [
    ([BAD, GOOD], 0.8, "1 failed run"),
    ([GOOD, BAD], 0.8, "1 failed run"),
    ([GOOD, THEIRS, OURS], 0.7, "2 other results"),
    ([OURS, THEIRS], 0.7, "1 other result"),
    ([BAD, failed(shots=5, backend="cuml"), OURS], 0.7, "2 failed runs"),
    ([THEIRS.model_copy(update={"selection": "test", "mean": 0.99}), OURS], 0.7, "1 other result"),
]


def of_page(results: list[Result]) -> tuple[float | None, list[str]]:
    page = page_data(results)
    (view,) = [one for one in page["views"] if one["metric"] == "own"]
    ((_, _, mean, *_),) = view["rows"]
    (entrant,) = page["entrants"]
    return None if mean is None else mean / 1_000_000, entrant["beside"]


@pytest.mark.parametrize(("files", "score", "said"), TABLE)
def test_one_number_everywhere(
    files: list[Result], score: float, said: str, run: Callable[..., Ran], tmp_path: Path
) -> None:
    out = tmp_path / "results"
    for number, one in enumerate(files):
        write_result(out / one.model / one.dataset / f"probe-default-5-{number:08x}.json", one)
    table = run("results", "list", "--out", str(out)).out
    (line,) = [line for line in table.splitlines() if re.match(r"net +digits", line)]
    assert f"{100 * score:.1f}" in line and "failed" not in line and said in table
    mean, beside = of_page(files)
    assert mean == score and said in beside[0]
    (seen,) = observations(files)
    assert seen.score == score and seen.selection == "validation"
    (asked,) = study(files).asked
    assert said in asked.beside[0]
    text = run("study", "--results", str(out), "--out", str(tmp_path / "study"), "--json").out
    assert said in json.loads(text)["results"][0]["beside"][0]


def test_a_copy_that_tells_a_little_more_has_no_better_rank() -> None:
    honest = [result(model=name, mean=0.8, trials=[trial(0, 0.8)], n_test=1000) for name in "ab"]
    for nudge in (9e-10, 4e-10, 1e-12):
        copy = honest[1].model_copy(update={"mean": 0.8 + nudge})
        forged = copy.model_copy(
            update={"trials": [copy.trials[0].model_copy(update={"test_score": 0.8 + nudge})], "model": "c"}
        )
        (view,) = [one for one in page_data([honest[0], copy, forged])["views"] if one["metric"] == "own"]
        assert [row[1] for row in view["rows"]] == [1, 1, 1]


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from("ab"),
        "backend": st.sampled_from(["torch", "sklearn", "cuml", "numpy"]),
        "dtype": st.sampled_from(["fp32", "bf16"]),
        "shots": st.sampled_from([1, 5]),
        "mean": st.sampled_from([0.1, 0.5, 0.9, None]),
        "labels_spent": st.integers(0, 1),
        "selection": st.sampled_from(["validation", "test", "fixed"]),
        "trials": st.integers(1, 7).map(lambda count: [trial(seed) for seed in range(count)]),
    },
)


def read_everywhere(results: list[Result]) -> Any:
    """Returns what each reader makes of results, in a form that can be compared."""
    page = page_data(results)
    seen = sorted((one.model, str(one.shots), one.dataset, one.score, one.images or 0) for one in observations(results))
    return page, seen, [(cell.key, cell.result, cell.others) for cell in gather(results)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, min_size=1, max_size=6), st.randoms())
def test_the_order_of_files_changes_nothing(changes: list[dict[str, Any]], shuffler: random.Random) -> None:
    made = []
    for change in changes:
        extra = {"ci95": None, "ci95_covers": None} if change.get("mean", 0.8) is None else {}
        made.append(result(**change | extra))
    shuffled = list(made)
    shuffler.shuffle(shuffled)
    assert read_everywhere(made) == read_everywhere(shuffled)
    scored = {cell.key: score_of(cell.result).mean for cell in gather(made)}
    for one in observations(made):
        assert one.score in scored.values()


def test_page_study_and_command_line_agree_on_shipped_results(run: Callable[..., Ran], tmp_path: Path) -> None:
    # A quarter of the checkpoints: all of them take half a minute.
    for model in sorted(SHIPPED.iterdir())[::4]:
        shutil.copytree(model, tmp_path / model.name)
    paths = list(result_files(tmp_path))
    assert {path.parts[-3] for path in paths} >= {"efficientnet_lite0_in1k"}
    results = [read_result(path) for path in paths]
    where = {id(one): path for one, path in zip(results, paths, strict=True)}
    cells = {cell.key: cell for cell in gather(results)}
    assert len(cells) == len(results), "no two shipped results are of one cell"
    right = {key: score_of(cell.result).mean for key, cell in cells.items()}

    def track(key: CellKey) -> str:
        one = key.setting
        return str(
            Track(
                provenance=key.entrant.provenance,
                kind=one.kind,
                mode=one.mode,
                protocol=one.protocol,
                version=one.version,
            )
        )

    # The page, from the predictions.
    page = page_data(results, lambda one: read_predictions(where[id(one)], one))
    entrants = sorted({key.entrant for key in cells}, key=lambda one: one.order)
    shown = {}
    settings_of = {one["id"]: number for number, one in enumerate(page["settings"])}
    for view in (one for one in page["views"] if one["metric"] == "own"):
        for dataset, rows in view["single"].items():
            for row in rows:
                shown[entrants[row[0]], view["setting"], page["datasets"][dataset]["name"], view["shots"]] = row[2]
    for key, mean in right.items():
        setting = settings_of[f"{key.setting.kind}-{key.setting.mode}-{key.setting.protocol}-{key.setting.version}"]
        assert shown.pop((key.entrant, setting, key.dataset.name, key.shots)) == round(1_000_000 * (mean or 0))
    assert not shown
    # The study.
    seen = sorted(
        (one.model, one.dataset, str(one.shots), str(replace(one.track, pixels=0)), one.score)
        for one in observations(results)
    )
    by_track = [(key.entrant.model, key.dataset.name, str(key.shots), track(key), mean) for key, mean in right.items()]
    assert seen == sorted(by_track)
    # The command line's table.
    table = run("results", "list", "--out", str(tmp_path)).out
    numbers = sorted(re.findall(r"(\d+\.\d) \[", table))
    assert numbers == sorted(f"{100 * (mean or 0):.1f}" for mean in right.values())

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.errors import ResultError
from probebench.leaderboard.scores import Scores
from probebench.registry.entry import Metric
from probebench.results.cells import Cell, gather
from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.stats import interval, paired
from tests.results.make import result, trial

TRUE = np.repeat([0, 1, 2], [60, 30, 10])


def predictions(seed: int, right: float = 0.8, draws: int = 2) -> Predictions:
    random = np.random.default_rng(seed)
    guesses = np.where(random.random((draws, len(TRUE))) < right, TRUE, (TRUE + 1) % 3)
    return Predictions(tuple(map(str, range(len(TRUE)))), TRUE, guesses)


def made(model: str, **changes: Any) -> Result:
    return result(model=model, trials=[trial(0), trial(1)], **changes)


def cell_of(one: Result) -> Cell:
    (cell,) = gather([one])
    return cell


HELD = {"a": predictions(0), "b": predictions(1, 0.5), "other images": predictions(2, draws=2)}
HELD["other images"] = Predictions(tuple("x" * 100), TRUE, HELD["other images"].y_pred)
HELD["no images"] = Predictions((), TRUE[:0], HELD["a"].y_pred[:, :0])


def read(one: Result) -> Predictions | None:
    if one.model == "damaged":
        raise ResultError("damaged")
    return HELD.get(one.model)


@pytest.mark.parametrize("metric", ["accuracy", "mean-per-class"])
def test_the_other_metric_comes_from_the_predictions(metric: Any) -> None:
    one = made("a", metric="accuracy" if metric == "mean-per-class" else "mean-per-class")
    cell = Scores(read).score(cell_of(one), metric)
    assert cell is not None and cell.mean is not None
    right = HELD["a"].y_pred == TRUE
    by_class = np.mean([right[:, label == TRUE].mean() for label in range(3)])
    assert cell.mean == pytest.approx(right.mean() if metric == "accuracy" else by_class)
    assert cell.ci95 == pytest.approx(interval(image_scores(metric, TRUE, HELD["a"].y_pred)))


def test_without_predictions_its_own_metric_is_that_of_its_draws() -> None:
    for scoring in ("own", "accuracy"):
        cell = Scores(None).score(cell_of(made("a", mean=0.123, ci95=(0.1, 0.2))), scoring)
        assert cell is not None and (cell.mean, cell.ci95) == (0.123, (0.1, 0.2))


def test_what_a_file_tells_is_not_believed() -> None:
    """The mean comes from the predictions, whatever the file says: no copy gets ahead by a number of its own."""
    honest = (HELD["a"].y_pred == TRUE).mean()
    for told in (0.99, honest + 9e-10):
        cell = Scores(read).score(cell_of(made("a", mean=told)), "own")
        assert cell is not None and cell.mean == pytest.approx(honest, abs=1e-15)
        assert cell.ci95 == pytest.approx(interval(HELD["a"].y_pred == TRUE))


@pytest.mark.parametrize("model", ["nobody", "damaged", "no images"])
def test_without_predictions_there_is_no_other_metric_and_no_comparison(model: str) -> None:
    scores = Scores(read)
    assert scores.score(cell_of(made(model)), "mean-per-class") is None
    assert scores.paired("own")(made("a"), made(model)) is None
    assert Scores(None).paired("own")(made("a"), made("b")) is None


def test_the_comparison_is_paired_over_draws_and_images() -> None:
    found = Scores(read).paired("own")(made("a"), made("b"))
    assert found == paired(*(image_scores("accuracy", TRUE, HELD[name].y_pred) for name in "ab"))


def test_other_draws_images_or_metrics_are_not_compared() -> None:
    compare = Scores(read).paired("own")
    assert compare(made("a"), made("other images")) is None
    assert compare(made("a"), made("b", metric="mean-per-class")) is None
    assert compare(made("a"), result(model="b", trials=[trial(0, draw_digest="1" * 64), trial(1)])) is None


def test_predictions_are_read_once() -> None:
    asked: list[str] = []

    def counted(one: Result) -> Predictions | None:
        asked.append(one.model)
        return read(one)

    scores, first, other = Scores(counted), made("a"), made("b")
    cell = cell_of(first)
    for scoring in ("own", "accuracy", "mean-per-class", "own"):
        scores.score(cell, scoring)
        scores.paired(scoring)(first, other)
        scores.paired(scoring)(other, first)
    assert asked == ["a", "b"]


@pytest.mark.parametrize("metric", ["accuracy", "mean-per-class"])
def test_what_is_kept_gives_the_scores_of_the_predictions(metric: Any) -> None:
    """Of the draws that count, whatever was asked before and by whichever metric."""
    many = [trial(seed) for seed in range(7)]
    of_seven = {name: predictions(seed, draws=7) for seed, name in enumerate("cd")}
    first, second = (result(model=name, trials=many, metric=metric) for name in of_seven)
    scores = Scores(lambda one: of_seven[one.model])
    expected = [image_scores(metric, TRUE, of_seven[name].y_pred[:5]) for name in of_seven]
    other: Metric = "mean-per-class" if metric == "accuracy" else "accuracy"
    assert scores.paired(other)(first, second) != scores.paired("own")(first, second) == paired(*expected)
    assert scores.paired(metric)(second, first) == paired(*reversed(expected))


def test_files_that_cannot_be_read_do_not_stop_the_page(tmp_path: Path) -> None:
    def gone(_: Result) -> Predictions:
        (tmp_path / "gone").read_bytes()
        raise AssertionError

    assert Scores(gone).score(cell_of(made("a")), "mean-per-class") is None

"""What results of retrieval say, against a plain NumPy ranking of the cached features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import TrainingSplit
from probebench.evaluation import ProbeTask, evaluate, probing
from probebench.evaluation.draw_outcome import DrawOutcome
from probebench.leaderboard.check_result import check_scores
from probebench.registry.entry import Shots
from probebench.results.retrieval import by_class
from probebench.results.store import read_predictions, read_result
from tests.evaluation.conftest import Make, store


@pytest.mark.parametrize(("shots", "val"), [(1, 0), (5, 3), ("full", 3), ("full", 0)])
def test_every_number_is_that_of_a_plain_ranking(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, shots: Shots, val: int
) -> None:
    group = make(val=val)
    one = task(group, shots, 2, "retrieval")
    result, _ = evaluate(one, tmp_path)
    predictions = read_predictions(one.path(tmp_path), result)
    with FeatureFile(group.paths["train"]) as train, FeatureFile(group.paths["test"]) as test:
        split, rows, queries = TrainingSplit(train.ids, train.labels), train.read(), test.read()
        truth = test.labels
    unit = [
        part.astype(np.float64) / np.linalg.norm(part.astype(np.float64), axis=1)[:, None] for part in (rows, queries)
    ]
    recalls: dict[int, list[Any]] = {1: [], 5: [], 10: []}
    precisions: list[Any] = []
    for trial, predicted in zip(result.trials, predictions.y_pred, strict=True):
        drawn = (
            np.arange(len(rows)) if shots == "full" else np.sort(split.few_shot(shots, 0, trial.draw_seed or 0).train)
        )
        assert (trial.train, trial.validation) == (len(drawn), 0), "no training image is held out"
        assert (trial.selection, trial.chosen, trial.tried, trial.converged) == ("fixed", {}, None, None)
        ranked = split.labels[drawn][np.argsort(-(unit[1] @ unit[0][drawn].T), axis=1, kind="stable")]
        hits = ranked == truth[:, None]
        assert np.array_equal(predicted, ranked[:, 0])
        for k, found in recalls.items():
            found.append(hits[:, :k].any(axis=1))
        share = hits.cumsum(axis=1) / np.arange(1, len(drawn) + 1)
        precisions.append((share * hits).sum(axis=1) / hits.sum(axis=1))
    told = result.retrieval
    assert told is not None and result.mean == pytest.approx(told.recall_at_1, abs=1e-12)
    for k, value in ((1, told.recall_at_1), (5, told.recall_at_5), (10, told.recall_at_10)):
        assert value == pytest.approx(np.mean(recalls[k]), abs=1e-12)
    assert told.mean_average_precision == pytest.approx(np.mean(precisions), abs=1e-7)
    for each in by_class(predictions):
        own = truth == each.label
        assert each.images == own.sum()
        for k, value in each.recall.items():
            assert value == pytest.approx(np.mean(np.array(recalls[k])[:, own]), abs=1e-12)
        assert each.average_precision == pytest.approx(np.mean(np.array(precisions)[:, own]), abs=1e-7)
    assert list(check_scores(result, predictions)) == []
    better = result.model_copy(update={"retrieval": told.model_copy(update={"recall_at_5": 0.1234})})
    assert [fault[:21] for fault in check_scores(better, predictions)] == ["recall_at_5 is 0.1234"]
    assert read_result(one.path(tmp_path)) == result
    assert one.path(tmp_path).name.startswith(f"retrieval-retrieval-{shots}-") and result.mode == "cosine"


def test_a_class_without_a_training_image_finds_nothing(
    home: Path, make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    """The test part has class 4, of which there is nothing to find; galleries of 8 are smaller than the first ten."""
    group = make(train=2, test=5)
    for path in group.paths.values():
        path.unlink()
    store(home, "train", np.tile(np.arange(4), 2), ("train", "test"), 0)
    store(home, "test", np.tile(np.arange(5), 5), ("train", "test"), 1)
    one = task(group, 2, 1, "retrieval")
    result, _ = evaluate(one, tmp_path)
    predictions = read_predictions(one.path(tmp_path), result)
    *others, last = by_class(predictions)
    assert (last.label, last.recall, last.average_precision) == (4, {1: 0.0, 5: 0.0, 10: 0.0}, 0.0)
    assert all(each.recall[10] == 1.0 and each.average_precision > 0 for each in others)
    assert result.retrieval is not None and result.retrieval.recall_at_10 == pytest.approx(0.8)
    assert list(check_scores(result, predictions)) == []


def test_a_failed_draw_has_no_measures_and_its_result_no_recall(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = probing._choose

    def one_fails(*given: object) -> object:
        first, second = choose(*given)  # type: ignore[arg-type]
        return [first, DrawOutcome(second.draw, 0, None, None, "it failed")]

    monkeypatch.setattr(probing, "_choose", one_fails)
    one = task(make(), 2, 2, "retrieval")
    result, _ = evaluate(one, tmp_path)
    predictions = read_predictions(one.path(tmp_path), result)
    assert result.mean is None and result.retrieval is None
    assert "retrieval" not in result.model_dump(mode="json"), "left out where unset, as in results from before"
    for values in predictions.measures.values():
        assert np.isfinite(values[0]).all() and np.isnan(values[1]).all()

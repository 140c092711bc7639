"""What results of ridge and of knn say, and that they are scikit-learn's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import TrainingSplit
from probebench.evaluation import ProbeTask, evaluate
from probebench.results.store import read_predictions, read_result
from tests.evaluation.conftest import Make


@pytest.mark.parametrize(
    ("protocol", "kind", "mode"),
    [("default", "probe", "logistic"), ("ridge", "ridge", "closed-form"), ("knn", "knn", "cosine")],
)
def test_kinds_stay_apart(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, protocol: str, kind: str, mode: str
) -> None:
    one = task(make(), 1, 1, protocol)
    result, _ = evaluate(one, tmp_path)
    assert (result.kind, result.mode) == (kind, mode)
    assert one.path(tmp_path).name.startswith(f"{kind}-{protocol}-1-") and one.path(tmp_path).is_file()


def test_ridge_and_knn_trials_are_scikit_learns_own(make: Make, task: Callable[..., ProbeTask], tmp_path: Path) -> None:
    """Whole trials again, by hand, on the test split's every image."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def near(k: float) -> Any:
        return KNeighborsClassifier(int(k), metric="cosine", weights=lambda far: np.exp((1 - far) / 0.07))

    def ridge(alpha: float) -> Any:
        return make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha, solver="svd"))

    group = make()
    with FeatureFile(group.paths["train"]) as train, FeatureFile(group.paths["test"]) as test:
        split = TrainingSplit(train.ids, train.labels)
        rows, every = test.read().astype(np.float64), train.read().astype(np.float64)
    for protocol, reference in (("ridge", ridge), ("knn", near)):
        one = task(group, 10, 2, protocol)
        result, _ = evaluate(one, tmp_path)
        stored = read_predictions(one.path(tmp_path), result)
        for trial, predicted in zip(result.trials, stored.y_pred, strict=True):
            assert trial.draw_seed is not None and trial.validation_loss is None and trial.converged is None
            draw = split.few_shot(10, 4, trial.draw_seed)
            model = reference(next(iter(trial.chosen.values()))).fit(every[draw.train], split.labels[draw.train])
            assert np.array_equal(predicted, model.predict(rows))
            held = model.score(every[draw.validation], split.labels[draw.validation])
            assert trial.validation_score == pytest.approx(held)


def test_numbers_of_neighbours_above_the_rows_are_said_to_be_left_out(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    group = make()
    one = task(group, 5, 2, "knn")
    evaluate(one, tmp_path)
    (few, _), (full, _) = (evaluate(task(group, shots, 2, "knn"), tmp_path) for shots in (1, "full"))
    stored = read_result(one.path(tmp_path))
    assert [trial.left_out for trial in stored.trials] == [[100, 200]] * 2 and stored.trials[0].tried == (10.0, 20.0)
    assert few.trials[0].left_out == [20, 100, 200] and few.trials[0].chosen == {"k": 10.0}
    assert full.trials[0].left_out == [100, 200]

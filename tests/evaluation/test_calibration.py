"""What results say of a logistic probe's probabilities, from features to the check of a submission."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import TrainingSplit
from probebench.evaluation import ProbeTask, evaluate
from probebench.evaluation import probing as module
from probebench.leaderboard.check_measures import check_measures
from probebench.results.predictions import PROBABILITIES, SCALED, Predictions
from probebench.results.schema import Result
from probebench.results.store import pack_results, predictions_of, read_predictions, read_result, result_files
from tests.evaluation.conftest import Make

Task = Callable[..., ProbeTask]


def _stored(task: ProbeTask, out: Path) -> tuple[Result, Predictions]:
    result, _ = evaluate(task, out)
    path = task.path(out)
    assert read_result(path) == result
    return result, read_predictions(path, result)


def test_probabilities_are_scikit_learns_own(make: Make, task: Task, tmp_path: Path) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.special import softmax
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    group = make(classes=3)
    result, stored = _stored(task(group), tmp_path)
    with FeatureFile(group.paths["train"]) as train, FeatureFile(group.paths["test"]) as test:
        rows, labels, held, truth = train.read(), train.labels, test.read(), test.labels
        split = TrainingSplit(train.ids, train.labels)
    losses: dict[str, list[float]] = {"plain": [], "scaled": []}
    for number, trial in enumerate(result.trials):
        draw = split.few_shot(5, 4, number)
        own = rows[draw.train].astype(np.float64)
        divisor = np.sqrt((np.linalg.norm(own - own.mean(axis=0), axis=1) ** 2).mean())
        # Newton-CG: at weak regularisation L-BFGS stops short.
        fitted = LogisticRegression(C=trial.chosen["C"], tol=1e-10, max_iter=10_000, solver="newton-cg")
        fitted.fit(own / divisor, labels[draw.train])
        p = fitted.predict_proba(held / divisor)
        expected = (p[np.arange(len(truth)), truth], p.max(axis=1), (p**2).sum(axis=1))
        for name, values in zip(PROBABILITIES, expected, strict=True):
            assert stored.measures[name][number] == pytest.approx(values, abs=1e-4)
        assert trial.temperature is not None
        held_out = fitted.decision_function(rows[draw.validation] / divisor)

        def loss(temperature: float, scores: Any = held_out, truths: Any = labels[draw.validation]) -> float:
            return float(log_loss(truths, softmax(scores / temperature, axis=1)))

        # Where all of so few are right, every small temperature fits: no other fits better.
        best = minimize_scalar(lambda value: loss(np.exp(value)), bounds=(-3, 3), method="bounded")
        assert loss(trial.temperature) <= best.fun + 1e-5
        scaled = softmax(fitted.decision_function(held / divisor) / trial.temperature, axis=1)
        assert stored.measures["scaled_p_true"][number] == pytest.approx(scaled[np.arange(len(truth)), truth], abs=1e-3)
        losses["plain"].append(log_loss(truth, p))
        # scikit-learn's own takes no probability below 2e-16 for true, ours none below float32's smallest.
        smallest = np.finfo(np.float32).tiny
        losses["scaled"].append(-np.log(np.maximum(scaled[np.arange(len(truth)), truth], smallest)).mean())
    assert result.calibration and result.calibration.log_loss == pytest.approx(np.mean(losses["plain"]), rel=1e-3)
    assert result.scaled_calibration
    assert result.scaled_calibration.log_loss == pytest.approx(np.mean(losses["scaled"]), rel=1e-2)


@pytest.mark.parametrize(
    ("protocol", "shots", "names"),
    [
        ("default", "full", (*PROBABILITIES, *SCALED)),
        ("clip_benchmark", 5, (*PROBABILITIES, *SCALED)),
        ("elevater", 5, (*PROBABILITIES, *SCALED)),
        ("mieb", 5, PROBABILITIES),
        ("ridge", 5, ()),
        ("knn", 5, ()),
    ],
)
def test_each_protocol_says_what_it_can(
    make: Make, task: Task, tmp_path: Path, protocol: str, shots: Any, names: tuple[str, ...]
) -> None:
    backend = None
    result, stored = _stored(task(make(), shots, 1, protocol, backend), tmp_path)
    assert set(stored.measures) == set(names)
    assert (result.calibration is None) == (PROBABILITIES[0] not in names)
    assert (result.scaled_calibration is None) == (SCALED[0] not in names)
    assert all((trial.temperature is None) == (SCALED[0] not in names) for trial in result.trials)
    assert not list(check_measures(result, stored))
    # Where a probe says nothing of it, a result is what it was before there were probabilities.
    text = result.model_dump_json()
    assert ("calibration" in text) == bool(names) and ("temperature" in text) == (SCALED[0] in names)


def test_a_failed_draw_has_no_probabilities(
    make: Make, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, count = module.__dict__["select"], []

    def fails(*given: Any, **named: Any) -> Any:
        count.append(1)
        # All draws together, and the second of them alone.
        if len(count) in (1, 3):
            raise np.linalg.LinAlgError("the solver broke down")
        return alone(*given, **named)

    monkeypatch.setattr(module, "select", fails)
    result, stored = _stored(task(make()), tmp_path)
    assert [trial.error is None for trial in result.trials] == [True, False, True]
    assert result.calibration is None and result.scaled_calibration is None
    assert all(np.isnan(stored.measures[name]).all(axis=1).tolist() == [False, True, False] for name in stored.measures)


def test_packs_keep_probabilities(make: Make, task: Task, tmp_path: Path) -> None:
    group = make()
    before = {one.path(tmp_path).name: _stored(one, tmp_path)[1] for one in (task(group), task(group, protocol="knn"))}
    assert [why for _, why in pack_results(tmp_path)] == [None]
    for path in result_files(tmp_path):
        after = read_predictions(path, read_result(path))
        assert after.digest == before[path.name].digest and set(after.measures) == set(before[path.name].measures)


def test_what_was_tampered_with_is_refused(make: Make, task: Task, tmp_path: Path) -> None:
    one = task(make())
    result, stored = _stored(one, tmp_path)
    assert predictions_of(one.path(tmp_path).with_suffix(".npz"), (3, 160)).digest == stored.digest
    measures = dict(stored.measures)
    wrong = np.argwhere(stored.y_pred != stored.y_true)[0]

    def with_measures(**changed: Any) -> Predictions:
        return replace(stored, measures={**measures, **changed})

    def at(name: str, place: Any, value: float) -> np.ndarray:
        values = measures[name].copy()
        values[tuple(place)] = value
        return values

    def told(name: str, **changed: float) -> Result:
        values = getattr(result, name)
        return result.model_copy(update={name: values.model_copy(update=changed)})

    ece = told("calibration", ece=0.0)
    cases: list[tuple[Result, Predictions, str]] = [
        (ece, stored, "calibration: ece is 0.000000, and the predictions give"),
        (told("scaled_calibration", log_loss=0.1), stored, "scaled_calibration: log_loss is 0.100000"),
        (result.model_copy(update={"calibration": None}), stored, "calibration is missing"),
        (result, replace(stored, measures={}), "calibration is told, and predictions hold no probabilities"),
        (result, with_measures(p_true=at("p_true", wrong, 1.0)), "are no probabilities of a true"),
        (result, with_measures(p_true=at("p_true", wrong, np.nan)), "are no probabilities of a true"),
        (result, with_measures(p_squared=at("p_squared", wrong, 2.0)), "is no sum of squares"),
        (result, with_measures(p_predicted=measures["p_predicted"] * 1.01), "p_"),
        (result.model_copy(update={"kind": "knn"}), stored, "do not belong to a result of kind knn"),
        (
            result.model_copy(
                update={"trials": [trial.model_copy(update={"temperature": None}) for trial in result.trials]}
            ),
            stored,
            "a draw has no temperature",
        ),
    ]
    for said, held, fault in cases:
        assert any(fault in line for line in check_measures(said, held)), fault
    assert not list(check_measures(result, stored))

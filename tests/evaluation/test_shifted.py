"""Probes of one set on the test part of another: predictions are scikit-learn's, drops are plain NumPy's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probebench.arrays import Labels
from probebench.cache.index import FeatureGroup, read_index
from probebench.cache.store import FeatureFile, feature_path
from probebench.cache.writer import FeatureWriter, Provenance
from probebench.datasets.draws import TrainingSplit
from probebench.errors import CacheError
from probebench.evaluation import ProbeTask, evaluate
from probebench.evaluation.plan import plan_probes
from probebench.evaluation.shifted import Shifted, same_features
from probebench.registry import Registry
from probebench.results.schema import Result
from probebench.results.scores import drop_of
from probebench.results.store import read_predictions, read_result
from tests.cache.test_key import key
from tests.evaluation.conftest import Make, features_of

MODEL = "efficientnet_lite0_in1k"


def other_group(home: Path, to: Sequence[int], each: int = 25, **changes: Any) -> FeatureGroup:
    """A set of a test part only, whose class i is class ``to[i]`` of made_up, harder than that."""
    labels: Labels = np.tile(np.arange(len(to)), each)
    own = key(split="test", **{"dataset_fingerprint": "d" * 64, "content": "e", **changes})
    path = feature_path(home, MODEL, "harder", own)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"other-{number}" for number in range(len(labels))]
    features = features_of(np.array(to)[labels], seed=7)
    noise = np.random.default_rng(8).normal(size=features.shape).astype(np.float32)
    provenance = Provenance(own, MODEL, "harder", ("test",), {"device": "cpu", "batch_size": 4})
    with FeatureWriter(path, provenance, ids, labels, features.shape[1]) as writer:
        writer.append(features + noise)
        writer.finish()
    return next(one for one in read_index(home).groups if one.dataset == "harder")


def rows(group: FeatureGroup, split: str) -> tuple[Any, Labels]:
    with FeatureFile(group.paths[split]) as file:
        return file.read().astype(np.float64), np.asarray(file.labels)


def logistic(train: Any, labels: Labels, chosen: float) -> Callable[[Any], Any]:
    from sklearn.linear_model import LogisticRegression

    divisor = np.sqrt(((train - train.mean(axis=0)) ** 2).sum(axis=1).mean())
    # Newton-CG: at weak regularisation L-BFGS stops short.
    fitted = LogisticRegression(C=chosen, tol=1e-10, max_iter=5000, solver="newton-cg").fit(train / divisor, labels)
    return lambda new: fitted.decision_function(new / divisor)


def ridge(train: Any, labels: Labels, chosen: float) -> Callable[[Any], Any]:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), RidgeClassifier(alpha=chosen, solver="svd")).fit(train, labels)
    return lambda new: fitted.decision_function(new)


def check_drop(result: Result, own: Any, other: Any) -> None:
    """The drop and its interval, written down once more."""
    from scipy.stats import t

    assert result.shift is not None and result.shift.drop is not None and result.shift.drop_ci95 is not None
    draws, drop = len(own), own.mean() - other.mean()
    assert result.mean == pytest.approx(other.mean()) and result.shift.own_mean == pytest.approx(own.mean())
    assert result.shift.drop == pytest.approx(drop)
    apart = np.var(own.mean(1) - other.mean(1), ddof=1) / draws
    parts = []
    for side in (own, other):
        count, image = side.shape[1], np.var(side.mean(0), ddof=1) / side.shape[1]
        rest = sum(
            (side[i, j] - side[i].mean() - side[:, j].mean() + side.mean()) ** 2
            for i in range(draws)
            for j in range(count)
        ) / ((draws - 1) * (count - 1) * draws * count)
        parts.append((image, rest, count))
    images = sum(image for image, _, _ in parts)
    variance = max(apart + images - sum(rest for _, rest, _ in parts), apart, images)
    squares = apart**2 / (draws - 1)
    squares += sum(image**2 / (n - 1) + rest**2 / ((draws - 1) * (n - 1)) for image, rest, n in parts)
    half = t.ppf(0.975, variance**2 / squares) * np.sqrt(variance)
    assert result.shift.drop_ci95 == pytest.approx((drop - half, drop + half))


@pytest.mark.parametrize("to", [(2, 0, 3, 1), (3, 1)], ids=["all classes", "some classes"])
@pytest.mark.parametrize("protocol", ["default", "ridge", "knn"])
def test_predictions_and_drop_are_those_of_scikit_learn(
    make: Make, task: Callable[..., ProbeTask], home: Path, tmp_path: Path, protocol: str, to: tuple[int, ...]
) -> None:
    from scipy.special import softmax
    from sklearn.neighbors import KNeighborsClassifier

    group = make()
    shift = Shifted.of(other_group(home, to), to, 4)
    one = replace(task(group, 10, 3, protocol), shift=shift)
    result, _ = evaluate(one, tmp_path)
    held = read_predictions(one.path(tmp_path), result)
    assert result.shift is not None and held.own is not None
    assert (result.dataset, result.test_dataset, result.shift.fingerprint) == ("made_up", "harder", "d" * 64)
    assert result.shift.labels == ([] if len(to) == 4 else [1, 3])
    train, labels = rows(group, "train")
    own, own_labels = rows(group, "test")
    other, other_labels = rows(shift.group, "test")
    here = np.isin(own_labels, to)
    assert (result.n_test, result.shift.n_own) == (len(other), here.sum())
    assert np.array_equal(held.y_true, np.array(to)[other_labels])
    assert np.array_equal(held.own.y_true, own_labels[here])
    with FeatureFile(group.paths["train"]) as file:
        split = TrainingSplit(file.ids, file.labels)
    for number, trial in enumerate(result.trials):
        assert trial.draw_seed is not None
        draw, chosen = split.few_shot(10, 4, trial.draw_seed), next(iter(trial.chosen.values()))
        if protocol == "knn":
            among = draw.train[np.isin(labels[draw.train], to)]
            model = KNeighborsClassifier(
                min(int(chosen), len(among)), metric="cosine", weights=lambda far: np.exp((1 - far) / 0.07)
            )
            predict = model.fit(train[among], labels[among]).predict
            assert np.array_equal(held.y_pred[number], predict(other))
            assert np.array_equal(held.own.y_pred[number], predict(own[here]))
            continue
        scores = (logistic if protocol == "default" else ridge)(train[draw.train], labels[draw.train], chosen)
        for found, images in ((held.y_pred[number], other), (held.own.y_pred[number], own[here])):
            allowed = scores(images)[:, np.sort(to)]
            best = allowed.argmax(axis=1)
            told = np.searchsorted(np.sort(to), found)
            # The default protocol's fit is within a relative 1e-6 of its optimum: near ties may fall to either side.
            behind = allowed[np.arange(len(best)), best] - allowed[np.arange(len(best)), told]
            near = (0.01 if protocol == "default" else 1e-9) * np.abs(allowed).max()
            assert behind.max() < near and (told == best).mean() > 0.98
        if protocol == "default":
            # Of some classes only, probabilities are those among them.
            allowed = scores(other)[:, np.sort(to)]
            true = np.searchsorted(np.sort(to), held.y_true)
            p = softmax(allowed, axis=1)[np.arange(len(true)), true]
            assert held.measures["p_true"][number] == pytest.approx(p, abs=1e-2)
    check_drop(result, held.own.y_pred == held.own.y_true, held.y_pred == held.y_true)
    assert drop_of(result) == (result.shift.drop, result.shift.drop_ci95) == drop_of(result, held)


def test_probes_are_those_of_the_own_test_part_and_names_stay(
    make: Make, task: Callable[..., ProbeTask], home: Path, tmp_path: Path
) -> None:
    """With all classes, the own side is the ordinary result; which keeps its digest, and says nothing of a shift."""
    to = (2, 0, 3, 1)
    ordinary = task(make(), 5, 2)
    before = ordinary.path(tmp_path)
    other = other_group(home, to)
    shifted = replace(ordinary, shift=Shifted.of(other, to, 4))
    assert ordinary.path(tmp_path) == before and shifted.path(tmp_path).parent == before.parent
    turned = replace(ordinary, shift=Shifted.of(other, to[::-1], 4))
    assert len({ordinary.digest, shifted.digest, turned.digest}) == 3
    plain, _ = evaluate(ordinary, tmp_path)
    moved, _ = evaluate(shifted, tmp_path)
    held = read_predictions(shifted.path(tmp_path), moved)
    own = read_predictions(before, plain)
    assert held.own is not None and held.own.digest == replace(own, measures={}).digest and own.own is None
    assert [one.chosen for one in moved.trials] == [one.chosen for one in plain.trials]
    assert moved.shift is not None and moved.shift.own_mean == plain.mean
    assert not {"test_dataset", "shift"} & set(plain.model_dump()) and "test_dataset" not in before.read_text()
    assert read_result(shifted.path(tmp_path)) == moved
    assert moved.feature_key is not None and plain.feature_key is not None
    assert moved.feature_key["own"] == plain.feature_key["test"] != moved.feature_key["test"]


def test_test_labels_are_out_of_reach_while_probes_are_chosen(
    make: Make, task: Callable[..., ProbeTask], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.evaluation import probing

    opened: list[str] = []

    class Watched(FeatureFile):
        def __init__(self, path: Path) -> None:
            opened.append(path.name)
            super().__init__(path)

    choose, group = probing._choose, make()
    other = other_group(home, (0, 1))
    tests = {group.paths["test"].name, other.paths["test"].name}

    def watched(*given: Any) -> Any:
        found = choose(*given)
        assert not tests & set(opened)
        return found

    monkeypatch.setattr(probing, "FeatureFile", Watched)
    monkeypatch.setattr(probing, "_choose", watched)
    evaluate(replace(task(group, 1, 1), shift=Shifted.of(other, (0, 1), 4)), tmp_path)
    assert tests <= set(opened)


def test_one_draw_has_the_interval_of_two_independent_rates(
    make: Make, task: Callable[..., ProbeTask], home: Path, tmp_path: Path
) -> None:
    from scipy.stats import binomtest

    one = replace(task(make(), "full"), shift=Shifted.of(other_group(home, (0, 1, 2, 3)), (0, 1, 2, 3), 4))
    result, _ = evaluate(one, tmp_path)
    held = read_predictions(one.path(tmp_path), result)
    assert held.own is not None and result.shift is not None
    rates, ends = [], []
    for side in (held.own, held):
        right, count = int((side.y_pred == side.y_true).sum()), side.y_pred.size
        rates.append(right / count)
        ends.append(binomtest(right, count).proportion_ci(method="wilson"))
    drop = rates[0] - rates[1]
    low = drop - np.hypot(rates[0] - ends[0].low, ends[1].high - rates[1])
    high = drop + np.hypot(ends[0].high - rates[0], rates[1] - ends[1].low)
    assert result.shift.drop_ci95 == pytest.approx((low, high))


def test_features_must_be_made_alike(make: Make, home: Path) -> None:
    group = make()
    other_group(home, (0, 1), weights_digest="f" * 64)
    with pytest.raises(CacheError, match=f"run: probebench extract --model {MODEL} --dataset harder --input-size 32 "):
        same_features(group, read_index(home).groups, "harder")
    found = other_group(home, (0, 1))
    assert same_features(group, [found], "harder") is found


def test_a_set_without_training_images_is_not_fitted_on(make: Make, home: Path, shipped: Registry) -> None:
    make()
    plan = plan_probes(shipped, [other_group(home, (0, 1))], ["default"])
    assert not plan.tasks and plan.problems == (
        "harder has a test part only, and nothing to fit a probe on: name another set by --dataset, and this one by "
        "--test-dataset",
    )

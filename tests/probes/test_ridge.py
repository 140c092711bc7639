"""Ridge against scikit-learn's RidgeClassifier, and against the normal equations written out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier

from probebench.probes.base import Labelled, Linear, Matrix
from probebench.probes.prepare import Preparation
from probebench.probes.ridge import fit_paths
from probebench.probes.select import SelectionData, select
from probebench.registry import Registry
from tests.probes.test_sklearn import blobs

ALPHAS = [1e-2, 1.0, 1e3, 1e7]


class Blocked:
    """A row source that counts the rows it is asked for at once."""

    def __init__(self, rows: Matrix) -> None:
        self.rows, self.most = rows, 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[0], self.rows.shape[1]

    def read(self, positions: Any) -> Matrix:
        self.most = max(self.most, len(positions))
        read: Matrix = self.rows[positions]
        return read


def decided(probe: Linear, rows: Matrix) -> Any:
    """The rows whose two best scores are not the same but for rounding: the documented ties are the others."""
    top = np.sort(probe.scores(rows), axis=1)
    return top[:, -1] - top[:, -2] > 1e-9 * np.abs(top).max()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 6), st.integers(1, 12), st.integers(1, 40), st.floats(-2, 7), st.integers(0, 999), st.floats(0, 30)
)
def test_predictions_are_scikit_learns_to_the_last_label(
    classes: int, each: int, width: int, power: float, seed: int, shift: float
) -> None:
    """Fewer rows than features and more, two classes and several, far from the origin and near."""
    train, test = blobs(classes, each, width, seed, shift), blobs(classes, 20, width, seed + 1, shift).matrix
    ((probe,),) = fit_paths([train], [10.0**power])
    theirs = RidgeClassifier(alpha=10.0**power, solver="svd").fit(train.features, train.labels)
    sure = decided(probe, test)
    assert np.array_equal(probe.predict(test)[sure], theirs.predict(test)[sure])
    scores = probe.scores(test)
    expected = theirs.decision_function(test)
    assert np.allclose(scores if classes > 2 else scores[:, 1], expected, atol=1e-7 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("width", [5, 60])
def test_one_decomposition_gives_every_strength(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train, rows = blobs(4, 10, width, shift=3.0), blobs(4, 10, width, seed=1, shift=3.0).matrix
    counted: list[tuple[int, int]] = []
    eigh = np.linalg.eigh

    def counting(gram: Matrix) -> Any:
        counted.append(gram.shape)
        return eigh(gram)

    monkeypatch.setattr(np.linalg, "eigh", counting)
    told: list[int] = []
    (path,) = fit_paths([train], ALPHAS, told.append)
    assert counted == [(min(width, 40), min(width, 40))] and sum(told) == len(ALPHAS)
    for probe, alpha in zip(path, ALPHAS, strict=True):
        ((alone,),) = fit_paths([train], [alpha])
        assert probe.strength == alpha and np.allclose(probe.scores(rows), alone.scores(rows), rtol=1e-12)


def test_equal_scores_go_to_the_smaller_label() -> None:
    train = Labelled(np.array([[1.0], [-1.0]]), np.array([7, 3]))
    ((probe,),) = fit_paths([train], [1.0])
    assert probe.predict(np.array([[0.0], [1.0], [-1.0]])).tolist() == [3, 7, 3]


def test_big_vision_is_its_evaluator_written_out(shipped: Registry) -> None:
    """fewshot_lsr.py's steps: deviations + 1e-5, a column of 100, targets of -1 and 1, one penalty on everything."""
    protocol = shipped.protocol("big_vision_lsr")
    test = blobs(5, 40, 30, seed=1, shift=4.0).matrix
    for each in (2, 25):
        train = blobs(5, each, 30, shift=4.0)
        (chosen,) = select(
            [SelectionData(train, value=1024.0)], protocol, lambda rate, last: ridge_of(protocol.constant)
        )
        assert chosen.how == "fixed" and chosen.chosen == {"alpha": 1024.0} and chosen.loss is None

        mean, deviation = train.matrix.mean(axis=0), train.matrix.std(axis=0) + 1e-5

        def designed(rows: Matrix, mean: Matrix = mean, deviation: Matrix = deviation) -> Matrix:
            return np.hstack([(rows - mean) / deviation, np.full((len(rows), 1), 100.0)])

        design, classes = designed(train.matrix), np.unique(train.labels)
        targets = 2.0 * (train.labels[:, None] == classes) - 1.0
        weights = np.linalg.solve(design.T @ design + 1024.0 * np.eye(31), design.T @ targets)
        probe = chosen.probe
        assert isinstance(probe, Linear)
        assert np.allclose(probe.scores(chosen.preparation(test)), designed(test) @ weights, atol=1e-10)
        assert np.array_equal(probe.predict(chosen.preparation(test)), classes[(designed(test) @ weights).argmax(1)])


def ridge_of(constant: float | None) -> Any:
    from functools import partial

    return partial(fit_paths, constant=constant)


def test_rows_beyond_memory_are_read_in_blocks_to_the_same_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    train = blobs(3, 40, 8, shift=5.0)
    ((whole,),) = fit_paths([train], [2.0])
    monkeypatch.setattr("probebench.probes.base.BLOCK_ROWS", 7)
    source = Blocked(train.matrix)
    ((read,),) = fit_paths([Labelled(source, train.labels)], [2.0])
    assert source.most == 7
    assert np.allclose(read.coef, whole.coef, atol=1e-12) and np.allclose(read.intercept, whole.intercept, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("width", [2, 50])
def test_features_that_are_not_finite_are_refused(bad: float, width: int) -> None:
    train = blobs(3, 4, width)
    train.features[2, 1] = bad
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite"):
        fit_paths([train], [1.0])


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="one class only"):
        fit_paths([Labelled(np.ones((3, 2)), np.ones(3, np.int64))], [1.0])


def test_the_strength_of_the_highest_validation_accuracy_is_taken(shipped: Registry) -> None:
    """Ties to the smaller alpha; the features standardised on the training rows, as scikit-learn would."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    protocol = shipped.protocol("ridge")
    train, held = blobs(4, 6, 40, shift=9.0), blobs(4, 10, 40, seed=1, shift=9.0)
    (chosen,) = select([SelectionData(train, held)], protocol, lambda rate, last: fit_paths)
    scores = {
        float(alpha): make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha, solver="svd"))
        .fit(train.features, train.labels)
        .score(held.features, held.labels)
        for alpha in np.logspace(-2, 7, 19)
    }
    best = max(scores.values())
    assert chosen.score == pytest.approx(best) and chosen.loss is None
    assert chosen.chosen == {"alpha": min(alpha for alpha, score in scores.items() if score == best)}
    assert chosen.tried == pytest.approx((1e-2, 1e7)) and chosen.left_out == ()


def test_a_feature_that_is_constant_but_for_rounding_says_nothing(shipped: Registry) -> None:
    """0.1 three times has a mean that is not 0.1; dividing by what is left would blow other rows up."""
    rows = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])
    preparation = Preparation.of(rows, shipped.protocol("ridge"))
    assert preparation.deviation is not None and preparation.deviation[0] == 1.0

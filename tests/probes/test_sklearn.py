import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from probebench.arrays import Labels
from probebench.probes import sklearn_
from probebench.probes.base import FittedProbe, Labelled, Matrix


def blobs(classes: int, each: int, width: int, seed: int = 0, shift: float = 0.0) -> Labelled:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, width))
    labels = np.repeat(np.arange(classes) * 3 + 1, each)
    return Labelled(np.repeat(centres, each, axis=0) + generator.normal(size=(len(labels), width)) + shift, labels)


def objective(
    coef: Matrix, intercept: Matrix, data: Labelled, classes: Labels, strength: float, binomial: bool
) -> float:
    """C * sum_i logloss(y_i, W x_i + b) + 1/2 ||W||^2, written out; with two classes scores are (0, w x + b)."""
    scores = data.features @ coef.T + intercept
    if binomial:
        scores = np.hstack([np.zeros_like(scores), scores])
    top = scores.max(axis=1, keepdims=True)
    logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    columns = np.searchsorted(classes, data.labels)
    return float(-strength * logs[np.arange(len(data)), columns].sum() + 0.5 * (coef**2).sum())


def value(probe: FittedProbe, data: Labelled) -> float:
    binomial = len(probe.classes) == 2
    coef, intercept = (probe.coef[1:], probe.intercept[1:]) if binomial else (probe.coef, probe.intercept)
    return objective(coef, intercept, data, probe.classes, probe.strength, binomial)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_reaches_the_optimum_of_the_objective_as_stated(classes: int, strength: float, shift: float) -> None:
    """Against a general optimiser on the written-out objective, in float64."""
    data = blobs(classes, 6, 4, shift=shift)
    ((probe,),) = sklearn_.fit_paths([data], [strength])
    rows = 1 if classes == 2 else classes
    own = np.unique(data.labels)

    def loss(flat: Matrix) -> float:
        centred = Labelled(data.features - data.features.mean(axis=0), data.labels)
        return objective(flat[:-rows].reshape(rows, 4), flat[-rows:], centred, own, strength, classes == 2)

    best = minimize(loss, np.zeros(rows * 5), method="BFGS", options={"gtol": 1e-9, "maxiter": 5000}).fun
    assert value(probe, data) <= best * (1 + 1e-5) + 1e-9
    assert probe.converged


def test_two_classes_use_the_binomial_objective() -> None:
    from sklearn.linear_model import LogisticRegression

    data = blobs(2, 8, 3)
    ((probe,),) = sklearn_.fit_paths([data], [0.5])
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=10000).fit(data.features, data.labels)
    assert np.allclose(probe.coef[1] - probe.coef[0], reference.coef_[0], atol=1e-4)
    assert np.allclose(
        np.exp(probe.log_probabilities(data.features)), reference.predict_proba(data.features), atol=1e-4
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(1, 6), st.integers(1, 20), st.integers(0, 10_000))
def test_predictions_are_scikit_learns(classes: int, each: int, width: int, seed: int) -> None:
    from sklearn.linear_model import LogisticRegression

    data, other = blobs(classes, each, width, seed), blobs(classes, 5, width, seed + 1)
    ((probe,),) = sklearn_.fit_paths([data], [1.0])
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=10000, solver="newton-cg").fit(data.features, data.labels)
    gap = np.diff(np.sort(reference.predict_proba(other.features), axis=1)[:, -2:], axis=1).ravel()
    clear = gap > 1e-4
    assert np.array_equal(probe.predict(other.features)[clear], reference.predict(other.features)[clear])


def test_strengths_keep_their_order() -> None:
    data = blobs(3, 4, 6)
    strengths = [10.0, 0.01, 1.0]
    assert [probe.strength for probe in sklearn_.fit_paths([data], strengths)[0]] == strengths


def test_nan_and_a_single_class_are_refused() -> None:
    data = blobs(2, 4, 3)
    with pytest.raises(ValueError):
        sklearn_.fit_paths([Labelled(np.full_like(data.features, np.nan), data.labels)], [1.0])
    with pytest.raises(ValueError):
        sklearn_.fit_paths([Labelled(data.features, np.zeros(8, np.int64))], [1.0])


def test_lbfgs_runs_as_published() -> None:
    from sklearn.linear_model import LogisticRegression

    data = blobs(4, 10, 8)
    told: list[int] = []
    ((long, short),) = [sklearn_.fit_lbfgs([data], [1.0, 1e4], told.append, max_iter=500)[0]]
    reference = LogisticRegression(C=1.0, max_iter=500).fit(data.matrix.astype(np.float32), data.labels)
    assert np.array_equal(long.coef, reference.coef_) and long.iterations == reference.n_iter_[0]
    assert short.strength == 1e4 and told == [1, 1]

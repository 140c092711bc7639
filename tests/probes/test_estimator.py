"""LogisticProbe as scikit-learn's own tests would have its logistic regression."""

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from probebench.probes import LogisticProbe
from tests.probes.test_logistic import data


@parametrize_with_checks([LogisticProbe()])  # type: ignore[untyped-decorator]
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_probabilities_and_predictions_are_scikit_learns(classes: int) -> None:
    X, y = data(classes, 60, 12)
    other, _ = data(classes, 25, 12, seed=1)
    probe = LogisticProbe(C=0.7, tol=1e-11).fit(X, y)
    reference = LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000, solver="newton-cg").fit(X, y)
    assert np.allclose(probe.decision_function(other), reference.decision_function(other), atol=1e-4)
    assert np.allclose(probe.predict_proba(other), reference.predict_proba(other), atol=1e-5)
    assert np.allclose(probe.predict_log_proba(other), reference.predict_log_proba(other), atol=1e-4)
    assert np.array_equal(probe.predict(other), reference.predict(other))
    assert probe.score(X, y) == reference.score(X, y)


@pytest.mark.parametrize("kind", ["str", "object", "int", "bool", "float"])
def test_labels_of_any_type(kind: str) -> None:
    X, y = data(2, 30, 5)
    names = {"str": np.array(["cat", "dog"]), "object": np.array(["cat", "dog"], dtype=object)}
    labels = names[kind][(y > 1).astype(int)] if kind in names else (y > 1).astype(kind)
    probe = LogisticProbe().fit(X, labels)
    assert probe.classes_.tolist() == np.unique(labels).tolist()
    assert probe.predict(X).dtype == labels.dtype and probe.score(X, labels) > 0.7


def test_it_says_how_near_the_optimum_it_is() -> None:
    X, y = data(3, 30, 50)
    probe = LogisticProbe(C=10.0).fit(X, y)
    assert probe.converged_ and 0 <= probe.gap_ <= 1e-6 * probe.objective_ and probe.n_iter_[0] >= 1
    with pytest.warns(ConvergenceWarning):
        short = LogisticProbe(C=10.0, max_iter=1).fit(X, y)
    assert not short.converged_ and short.objective_ >= probe.objective_


def test_it_works_in_pipelines_and_searches() -> None:
    X, y = data(3, 90, 6)
    model = make_pipeline(StandardScaler(), LogisticProbe())
    search = GridSearchCV(model, {"logisticprobe__C": [1e-3, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_["logisticprobe__C"] == 1.0


@pytest.mark.parametrize("C", [0.0, -1.0, np.nan])
def test_strengths_must_be_positive(C: float) -> None:
    X, y = data(3, 30, 5)
    with pytest.raises(ValueError, match="positive"):
        LogisticProbe(C=C).fit(X, y)


def test_one_class_and_no_fit_are_refused() -> None:
    X, _ = data(3, 30, 5)
    with pytest.raises(ValueError, match="one class only"):
        LogisticProbe().fit(X, np.zeros(30))
    with pytest.raises(NotFittedError):
        LogisticProbe().predict(X)

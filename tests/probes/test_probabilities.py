"""Probabilities and temperatures against scipy's and scikit-learn's."""

import numpy as np
import pytest

from probebench.probes.base import FittedProbe, Labelled, Linear
from probebench.probes.prepare import Preparation
from probebench.probes.probabilities import LARGEST, SMALLEST, fit_temperature, said_of_images

PLAIN = Preparation(False, None, None, 1.0)


def _probe(classes: int, width: int = 6, scale: float = 3.0, seed: int = 0) -> FittedProbe:
    rng = np.random.default_rng(seed)
    return FittedProbe(
        strength=1.0,
        classes=np.arange(classes) * 2,
        coef=rng.normal(size=(classes, width)) * scale,
        intercept=rng.normal(size=classes),
    )


def test_probabilities_are_scipys() -> None:
    from scipy.special import softmax

    probe = _probe(4)
    scores = probe.scores(np.random.default_rng(1).normal(size=(50, 6)))
    labels = np.random.default_rng(2).choice([0, 1, 2, 6, 9], 50)
    true, predicted, squared = said_of_images(scores, probe.classes, labels)
    p = softmax(scores, axis=1)
    # Labels 1 and 9 are none of the probe's classes 0, 2, 4, 6.
    expected = [p[row, label // 2] if label in probe.classes else 0.0 for row, label in enumerate(labels.tolist())]
    assert true == pytest.approx(np.array(expected), abs=1e-6)
    assert predicted == pytest.approx(p.max(axis=1), rel=1e-6) and squared == pytest.approx(
        (p**2).sum(axis=1), rel=1e-6
    )
    assert true.dtype == predicted.dtype == squared.dtype == np.float32


@pytest.mark.parametrize("folds", [1, 3])
def test_the_temperature_is_scikit_learns(folds: int) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    rows = rng.normal(size=(600, 6))
    probe = _probe(3)
    labels = probe.classes[(probe.scores(rows) / 2.5 + rng.gumbel(size=(600, 3))).argmax(axis=1)]
    parts = np.array_split(np.arange(600), folds)
    found = fit_temperature([(probe, PLAIN, Labelled(rows[one], labels[one])) for one in parts])

    # Its temperature takes labels for columns, so that they must run from 0.
    columns = np.searchsorted(probe.classes, labels)
    same = LogisticRegression().fit(rows, columns)
    same.coef_, same.intercept_ = probe.coef, probe.intercept
    scaled = CalibratedClassifierCV(FrozenEstimator(same), method="temperature").fit(rows, columns)
    (calibrator,) = scaled.calibrated_classifiers_[0].calibrators
    assert found == pytest.approx(1 / calibrator.beta_, rel=1e-3)
    assert found == pytest.approx(2.5, rel=0.2)


def test_rows_beyond_the_limit_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    rows, probe = rng.normal(size=(30_000, 6)), _probe(3)
    labels = probe.classes[(probe.scores(rows) / 2 + rng.gumbel(size=(30_000, 3))).argmax(axis=1)]
    whole = fit_temperature([(probe, PLAIN, Labelled(rows, labels))])
    monkeypatch.setattr("probebench.probes.probabilities._SCORES", 9_000)
    some = fit_temperature([(probe, PLAIN, Labelled(rows, labels))])
    assert some == pytest.approx(fit_temperature([(probe, PLAIN, Labelled(rows[::10], labels[::10]))]), rel=1e-9)
    assert some is not None and some != whole and some == pytest.approx(whole, rel=0.1)


def test_ends_and_probes_without_probabilities() -> None:
    rows, probe = np.random.default_rng(7).normal(size=(40, 6)), _probe(3)
    right, wrong = probe.predict(rows), probe.classes[probe.scores(rows).argmin(axis=1)]
    assert fit_temperature([(probe, PLAIN, Labelled(rows, right))]) == pytest.approx(SMALLEST, rel=1e-2)
    assert fit_temperature([(probe, PLAIN, Labelled(rows, wrong))]) == pytest.approx(LARGEST, rel=1e-2)
    ridge = Linear(strength=1.0, classes=probe.classes, coef=probe.coef, intercept=probe.intercept)
    assert fit_temperature([(ridge, PLAIN, Labelled(rows, right))]) is None

"""Log-loss, Brier score and calibration error against scikit-learn's, and against sums that are spelt out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probebench.results.calibration import BINS, calibration, calibration_error
from probebench.results.predictions import PROBABILITIES, Predictions


def _said(logits: np.ndarray, y_true: np.ndarray) -> tuple[np.ndarray, Predictions]:
    """Probabilities (trials, N, K) and what predictions keep of them."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    true = np.take_along_axis(p, np.broadcast_to(y_true, p.shape[:2])[..., None], axis=-1)[..., 0]
    kept = dict(zip(PROBABILITIES, (true, p.max(axis=-1), (p * p).sum(axis=-1)), strict=True))
    ids = tuple(map(str, range(len(y_true))))
    measures = {name: values.astype(np.float32) for name, values in kept.items()}
    return p, Predictions(ids, y_true, p.argmax(axis=-1), measures)


@pytest.mark.parametrize("classes", [2, 7])
def test_log_loss_and_brier_score_are_scikit_learns(classes: int) -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(classes)
    y_true = rng.integers(0, classes, 300)
    p, predictions = _said(rng.normal(size=(3, 300, classes)) * 2, y_true)
    found = calibration(predictions, PROBABILITIES)
    assert found is not None
    labels = np.arange(classes)
    assert found.log_loss == pytest.approx(np.mean([log_loss(y_true, one, labels=labels) for one in p]), rel=1e-6)
    whole = [brier_score_loss(y_true, one, labels=labels, scale_by_half=False) for one in p]
    assert found.brier == pytest.approx(np.mean(whole), rel=1e-5)


def test_what_a_probe_holds_for_impossible_has_a_finite_loss() -> None:
    measures = {name: np.array([[0.0, 1.0]], dtype=np.float32) for name in PROBABILITIES}
    found = calibration(Predictions(("a", "b"), np.array([0, 1]), np.array([[1, 1]]), measures), PROBABILITIES)
    assert found is not None and found.log_loss == pytest.approx(-np.log(np.finfo(np.float32).tiny) / 2)
    assert calibration(Predictions(("a",), np.array([0]), np.array([[0]])), PROBABILITIES) is None


@given(st.integers(1, 200), st.integers(0, 1000))
def test_bins_hold_equally_many_images(images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.uniform(size=images), rng.uniform(size=images) < 0.5
    order = sorted(range(images), key=lambda one: confidence[one])
    bins = min(BINS, images)
    error, start = 0.0, 0
    for number in range(bins):
        stop = start + images // bins + (number < images % bins)
        members = order[start:stop]
        error += abs(sum(confidence[one] for one in members) - sum(bool(correct[one]) for one in members)) / images
        start = stop
    assert calibration_error(confidence, correct)[0] == pytest.approx(error)


def test_the_debiased_error_is_that_of_drawn_resamples() -> None:
    """The estimate of Kumar, Liang and Ma: twice the error less the mean error of resampled accuracies."""
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.4, 1, 400)
    correct = rng.uniform(size=400) < confidence**1.5
    plain, debiased = calibration_error(confidence, correct)
    parts = np.array_split(np.argsort(confidence, kind="stable"), BINS)
    sizes, means = np.array([len(one) for one in parts]), np.array([confidence[one].mean() for one in parts])
    rates = np.array([correct[one].mean() for one in parts])
    drawn = rng.normal(rates, np.sqrt(rates * (1 - rates) / sizes), size=(200_000, BINS))
    resampled = (np.abs(drawn - means) * sizes / 400).sum(axis=1).mean()
    assert debiased == pytest.approx(2 * plain - resampled, abs=1e-4)


def test_a_calibrated_probe_has_no_error_but_for_sampling() -> None:
    rng = np.random.default_rng(4)
    plain, debiased = [], []
    for _ in range(300):
        confidence = rng.uniform(0.2, 1, 500)
        found = calibration_error(confidence, rng.uniform(size=500) < confidence)
        plain.append(found[0])
        debiased.append(found[1])
    assert np.mean(plain) > 0.05
    assert abs(np.mean(debiased)) < 0.6 * np.mean(plain)

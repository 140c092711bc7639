import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from probebench.results.metrics import image_scores
from probebench.results.stats import interval, paired, wilson

GENERATOR = np.random.default_rng(0)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(2, 60), st.integers(1, 8), st.integers(0, 10_000))
def test_mean_per_class_is_scikit_learns_balanced_accuracy(draws: int, images: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, classes, images) * 3
    y_pred = np.where(generator.random((draws, images)) < 0.6, y_true, generator.integers(0, 3 * classes, images))
    scores = image_scores("mean-per-class", y_true, y_pred)
    for row, predicted in zip(scores, y_pred, strict=True):
        expected = np.mean([(predicted == y_true)[y_true == label].mean() for label in np.unique(y_true)])
        assert row.mean() == pytest.approx(expected)
    low, high = interval(scores)
    assert 0 <= low <= scores.mean() + 1e-9 and scores.mean() - 1e-9 <= high <= 1


def test_with_every_predicted_label_known_it_is_scikit_learns_function() -> None:
    y_true = GENERATOR.integers(0, 5, 300)
    y_pred = GENERATOR.integers(0, 5, (1, 300))
    scores = image_scores("mean-per-class", y_true, y_pred)
    assert scores.mean() == pytest.approx(balanced_accuracy_score(y_true, y_pred[0]))


def test_accuracy_is_right_or_wrong() -> None:
    scores = image_scores("accuracy", np.array([1, 2, 3]), np.array([[1, 2, 0], [0, 0, 0]]))
    assert scores.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_equal_classes_make_both_metrics_one() -> None:
    y_true = np.repeat(np.arange(4), 50)
    y_pred = np.where(GENERATOR.random((3, 200)) < 0.7, y_true, 9)
    one, other = image_scores("accuracy", y_true, y_pred), image_scores("mean-per-class", y_true, y_pred)
    assert one.mean(axis=1) == pytest.approx(other.mean(axis=1))


@pytest.mark.parametrize("draws", [1, 5])
@pytest.mark.parametrize("sizes", [(400, 60, 30), (1,) * 5 + (5,) * 20 + (30,) * 40 + (300,) * 5])
def test_the_interval_holds_the_truth_with_unequal_classes(draws: int, sizes: tuple[int, ...]) -> None:
    """Classes of unlike sizes with rates of their own, in 600 simulated test parts."""
    rates = np.random.default_rng(1).beta(8, 2, len(sizes))
    y_true = np.repeat(np.arange(len(sizes)), sizes)
    held = 0
    for seed in range(600):
        generator = np.random.default_rng(seed)
        # Images differ in hardness, and draws agree on most of them, as probes of one checkpoint do.
        hard = generator.random(len(y_true))
        right = (hard + generator.normal(0, 0.05, (draws, len(y_true)))) < rates[y_true]
        low, high = interval(image_scores("mean-per-class", y_true, np.where(right, y_true, -1)))
        held += low <= rates.mean() <= high
    assert 0.91 <= held / 600 <= 0.985


def test_one_draw_of_equal_classes_is_near_wilsons() -> None:
    y_true = np.repeat(np.arange(2), 500)
    y_pred = np.where(GENERATOR.random((1, 1000)) < 0.8, y_true, 5)
    found = interval(image_scores("mean-per-class", y_true, y_pred))
    assert found == pytest.approx(wilson(float((y_pred == y_true).mean()), 1000), abs=2e-3)


def test_a_paired_comparison_is_of_the_metric() -> None:
    y_true = np.array([0] * 90 + [1] * 10)
    always_0, always_1 = np.zeros((2, 100), int), np.ones((2, 100), int)
    one, other = (image_scores("mean-per-class", y_true, predicted) for predicted in (always_0, always_1))
    assert paired(one, other).difference == pytest.approx(0)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probebench.results.stats import interval, wilson


@pytest.mark.parametrize(("rate", "count"), [(0.0, 10), (0.5, 10), (0.9, 100), (1.0, 899), (0.933, 899)])
def test_wilson_is_scipys(rate: float, count: int) -> None:
    expected = stats.binomtest(round(rate * count), count).proportion_ci(0.95, method="wilson")
    assert wilson(round(rate * count) / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 10_000), st.floats(0, 1))
def test_intervals_hold_the_mean_and_stay_in_range(draws: int, images: int, seed: int, rate: float) -> None:
    correct = np.random.default_rng(seed).random((draws, images)) < rate
    low, high = interval(correct)
    assert 0 <= low <= correct.mean() <= high <= 1
    assert low < high


def test_one_draw_covers_test_images_only() -> None:
    correct = np.array([[1, 0, 1, 1]])
    assert interval(correct) == wilson(0.75, 4)


def test_draws_that_agree_still_leave_the_test_images() -> None:
    """Five copies of one draw say no more about the images than one does."""
    row = np.random.default_rng(0).random((1, 500)) < 0.8
    low, high = interval(np.repeat(row, 5, axis=0))
    one_low, one_high = wilson(float(row.mean()), 500)
    assert high - low == pytest.approx(one_high - one_low, rel=0.02)


def test_more_draws_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    rates = generator.normal(0.7, 0.05, 40).clip(0, 1)
    correct = generator.random((40, 2000)) < rates[:, None]
    few, many = interval(correct[:5]), interval(correct)
    assert many[1] - many[0] < (few[1] - few[0]) / 2


@pytest.mark.parametrize(("draws", "images", "between"), [(5, 900, 0.3), (5, 300, 0.05), (5, 900, 0.15), (5, 900, 0.0)])
def test_coverage_is_about_95_percent(draws: int, images: int, between: float) -> None:
    """Draws and images both vary: logit(p_ij) = 1 + draw_i + image_j; the truth is the mean over both."""
    generator = np.random.default_rng(7)
    spread = 1.5
    population = 1 / (1 + np.exp(-(1 + np.sqrt(between**2 + spread**2) * generator.normal(size=2_000_000))))
    truth = population.mean()
    hits, rounds = 0, 1000
    for _ in range(rounds):
        logits = 1 + between * generator.normal(size=(draws, 1)) + spread * generator.normal(size=(1, images))
        low, high = interval(generator.random((draws, images)) < 1 / (1 + np.exp(-logits)))
        hits += low <= truth <= high
    # 2,000 rounds gave 93.6 to 96.4 for these; three standard errors of 1,000 rounds are 2 points.
    assert 0.92 <= hits / rounds <= 0.98


@pytest.mark.parametrize("wrong", [np.empty((0, 5)), np.empty((5, 0)), np.array([1.0, 0.0]), np.array([[np.nan]])])
def test_what_has_no_interval_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="draws, images"):
        interval(wrong)

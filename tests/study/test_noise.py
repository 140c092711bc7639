import numpy as np
import pytest
from scipy.stats import chi2, ncx2

from probebench.study.answer import Estimate
from probebench.study.noise import spread, trend


def test_the_interval_inverts_the_noncentral_chi_square() -> None:
    x, v = np.array([0.1, 0.2, 0.25, 0.4]), np.full(4, 0.004)
    found = spread([(x, v)])
    statistic = 3 * np.var(x, ddof=1) / 0.004
    low, high = (np.array([found.deviation.low, found.deviation.high], dtype=float)) ** 2 * 3 / 0.004
    assert ncx2.cdf(statistic, 3, low) == pytest.approx(0.975)
    assert ncx2.cdf(statistic, 3, high) == pytest.approx(0.025)
    assert found.p_value == pytest.approx(chi2.sf(statistic, 3))
    assert found.deviation.value == pytest.approx(np.sqrt(np.var(x, ddof=1) - 0.004))


def test_with_unequal_noise_the_interval_still_holds() -> None:
    generator = np.random.default_rng(0)
    truth = np.array([0.0, 0.02, 0.05, 0.06, 0.09])
    v = np.array([1e-4, 4e-4, 1e-3, 2e-4, 6e-4])
    held = 0
    for _ in range(500):
        deviation = spread([(truth + generator.normal(0, np.sqrt(v)), v)] * 1).deviation
        held += (deviation.low or 0) <= truth.std(ddof=1) <= (deviation.high or 0)
    assert held >= 0.93 * 500


def test_a_spread_far_beyond_noise_is_itself() -> None:
    found = spread([(np.array([0.1, 0.5, 0.9]), np.full(3, 1e-9))])
    assert found.deviation.value == pytest.approx(0.4)
    assert found.deviation.low == pytest.approx(0.4, abs=1e-3) and found.p_value == 0


def test_a_spread_below_noise_is_zero_with_room_above() -> None:
    found = spread([(np.full(4, 0.5), np.full(4, 0.01))])
    assert found.deviation.value == 0 and found.deviation.low == 0 and (found.deviation.high or 0) > 0.05
    assert found.p_value == pytest.approx(1)


def test_without_noise_the_spread_is_exact() -> None:
    found = spread([(np.array([0.0, 1.0]), np.zeros(2))])
    assert found.deviation == Estimate(np.sqrt(0.5), np.sqrt(0.5), np.sqrt(0.5))


def test_the_trend_is_a_least_squares_line() -> None:
    levels = [Estimate(value, value, value) for value in (0.5, 0.2, 0.4, 0.1)]
    slope = np.polyfit(range(4), [0.5, 0.2, 0.4, 0.1], 1)[0]
    found = trend(levels)
    assert found.value == pytest.approx(3 * slope) and found.low == found.high == found.value


def test_two_levels_differ_with_the_rule_of_zou_and_donner() -> None:
    found = trend([Estimate(0.5, 0.4, 0.7), Estimate(0.3, 0.0, 0.35)])
    assert found.value == pytest.approx(-0.2)
    assert found.low == pytest.approx(-0.2 - np.hypot(0.3, 0.2))
    assert found.high == pytest.approx(-0.2 + np.hypot(0.05, 0.1))

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probebench.study.engine import (
    crossed,
    filled,
    mean_interval,
    pair_interval,
    pooled_interval,
    side_interval,
    undone_by,
)
from probebench.study.order import best_of, concordance, order, tukey, with_best
from probebench.study.spreads import Spreads, fading, source_deviation


def table(rows: int, columns: int, seed: int = 0, *, source: float = 1.0, dataset: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (
        source * generator.standard_normal((rows, 1))
        + dataset * generator.standard_normal((1, columns))
        + generator.standard_normal((rows, columns))
    )


@pytest.mark.parametrize("seed", range(3))
def test_of_a_whole_table_it_is_the_analysis_of_variance(seed: int) -> None:
    y = table(6, 8, seed)
    found = mean_interval(y)
    rows, columns = y.shape
    by_row, by_column, mean = y.mean(axis=1), y.mean(axis=0), y.mean()
    between_rows = columns * ((by_row - mean) ** 2).sum() / (rows - 1)
    between_columns = rows * ((by_column - mean) ** 2).sum() / (columns - 1)
    rest = y - by_row[:, None] - by_column + mean
    within = (rest**2).sum() / ((rows - 1) * (columns - 1))
    variance = (between_rows + between_columns - within) / (rows * columns)
    floor = max(between_rows, between_columns) / (rows * columns)
    assert found.value == pytest.approx(mean)
    assert found.error**2 == pytest.approx(max(variance, floor))


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_quick_way_is_the_slow_one(rows: int, columns: int, seed: int) -> None:
    y = table(rows, columns, seed)
    slow = crossed(lambda r, c: float(y[np.ix_(r, c)].mean()), [np.arange(rows)], columns).interval()
    quick = mean_interval(y)
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high))


def test_spreads_without_a_source_or_a_data_set_are_those_of_what_is_left() -> None:
    y = np.stack([table(5, 4, seed) for seed in range(3)], axis=2)
    y[1, 2, 0] = np.nan
    noise = np.full(y.shape, 0.1)

    def statistic(rows: np.ndarray, columns: np.ndarray) -> float:
        part, off = y[np.ix_(rows, columns)], noise[np.ix_(rows, columns)]
        each = np.nanvar(part, axis=0, ddof=1) - np.mean(off, axis=0, where=~np.isnan(part))
        spread = each.mean(axis=0)
        root = np.sign(spread) * np.sqrt(np.abs(spread))
        return float(root[:-1].mean() - root[-1])

    slow = crossed(statistic, [np.arange(5)], 4)
    quick = fading(Spreads.of(y, noise))
    assert quick.value == pytest.approx(slow.value)
    assert quick.source[0] == pytest.approx(slow.source[0]) and quick.both[0] == pytest.approx(slow.both[0])


def test_on_one_data_set_it_is_students_t_and_welchs() -> None:
    y = table(7, 1)
    one = stats.ttest_1samp(y[:, 0], 0).confidence_interval()
    found = mean_interval(y)
    assert (found.low, found.high) == pytest.approx((one.low, one.high))
    first = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    two = stats.ttest_ind(y[first, 0], y[~first, 0], equal_var=False).confidence_interval()
    sides = side_interval(y, first)
    assert (sides.low, sides.high) == pytest.approx((two.low, two.high))


def test_of_two_sides_of_which_one_is_a_single_source_it_is_students_t() -> None:
    means = table(6, 1)[:, 0]
    first = np.arange(6) == 2
    one = stats.ttest_ind(means[first], means[~first]).confidence_interval()
    found = pooled_interval(means, first)
    assert found is not None and (found.low, found.high) == pytest.approx((one.low, one.high))
    assert pooled_interval(means[:3], first[:3]) is None


def test_a_pair_is_a_paired_t_and_says_which_runs_would_undo_it() -> None:
    away = table(1, 9)[0] + 3
    found = pair_interval(away)
    one = stats.ttest_1samp(away, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((one.low, one.high))
    run = undone_by(found, 2.0)
    assert math.hypot(found.error, run * math.sqrt(2)) * stats.t.ppf(0.975, 8) == pytest.approx(found.value)


def test_gaps_are_filled_by_the_effects_that_made_the_table() -> None:
    whole = np.add.outer(np.arange(4.0), np.array([0.0, 10.0, 30.0]))
    holes = whole.copy()
    holes[1, 2] = holes[3, 0] = np.nan
    assert filled(holes) == pytest.approx(whole, abs=0.05)
    assert filled(whole) is whole


def test_the_spread_of_equal_sources_is_noise_and_its_interval_reaches_zero() -> None:
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((6, 8))
    found, undone = source_deviation(noise, np.ones((6, 8)))
    assert found.low == 0 and found.value < 0.5 and undone <= found.value
    planted = 3 * generator.standard_normal((6, 1)) + noise
    spread, run = source_deviation(planted, np.ones((6, 8)))
    assert spread.low < np.std(planted.mean(axis=1), ddof=1) < spread.high and 0 < run < spread.value


@pytest.mark.parametrize("agreement", [0.0, 1.0])
@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_interval_of_a_spread_holds_the_spread(true: float, agreement: float) -> None:
    # Seven sources on six data sets that agree on them or not; runs of SD 1, three each.
    generator = np.random.default_rng(int(10 * true + agreement))
    held = []
    for _ in range(300):
        sources = generator.standard_normal((7, 1)) if agreement else generator.standard_normal((7, 6))
        table = true * sources + generator.standard_normal((7, 6)) / np.sqrt(3)
        found, _ = source_deviation(table, np.full((7, 6), 1 / 3))
        held.append(found.low <= true <= found.high)
    assert np.mean(held) > 0.91


def test_the_order_is_hsus_comparison_with_the_best() -> None:
    y = table(4, 6, dataset=3.0)
    found = order(y, seed=0)
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    error = math.sqrt((rest**2).sum() / 15 / 6)
    assert found.apart == pytest.approx(with_best(4, 15) * math.sqrt(2) * error)
    ratio = 6 * y.mean(axis=1).var(ddof=1) / ((rest**2).sum() / 15)
    assert found.p_agree == pytest.approx(float(stats.f.sf(ratio, 3, 15)))
    assert found.first.sum() == pytest.approx(1) and found.first.argmax() == found.means.argmax()
    assert tukey(4, 15) == pytest.approx(float(stats.studentized_range.ppf(0.95, 4, 15)))


@pytest.mark.parametrize(("count", "freedom"), [(2, 5), (3, 12), (8, 30), (5, 3)])
def test_the_best_is_held_against_the_others_by_dunnetts_quantile(count: int, freedom: int) -> None:
    shape = 0.5 + 0.5 * np.eye(count - 1)
    inside = stats.multivariate_t(shape=shape, df=freedom).cdf(
        np.full(count - 1, with_best(count, freedom)), random_state=0, maxpts=200_000
    )
    assert float(inside) == pytest.approx(0.975, abs=0.0015)
    # Two are compared by Student's t, as by Tukey's range.
    assert with_best(2, 9) == pytest.approx(tukey(2, 9) / math.sqrt(2), rel=2e-3)
    assert with_best(8, 30) < tukey(8, 30) / math.sqrt(2)


def test_runs_widen_the_order() -> None:
    y = table(4, 6)
    assert order(y, run=(2.0, 4.0), seed=0).apart > order(y, seed=0).apart


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
@settings(max_examples=40, deadline=None)
def test_the_expected_best_is_the_mean_over_all_choices(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    brute = np.mean([max(chosen) for chosen in combinations(scores, count)])
    assert best_of(scores, count) == pytest.approx(brute)


def test_agreement_is_spearmans_and_holds_perfect_order() -> None:
    y = table(5, 4)
    pairs = [stats.spearmanr(one, other).statistic for one, other in combinations(y, 2)]
    found = concordance(y)
    assert found.value == pytest.approx(np.mean(pairs)) and found.low < found.value < found.high
    assert concordance(np.ones((3, 4))).value == 0
    assert concordance(np.tile(np.arange(5.0), (4, 1))).value == pytest.approx(1)

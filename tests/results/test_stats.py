import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probebench.results.stats import dropped, holm, interval, mean_comparison, paired, wilson


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


def test_one_draw_is_scipys_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.random((1, 400)) < 0.8, generator.random((1, 400)) < 0.7
    found, expected = paired(one, other), stats.ttest_rel(one[0].astype(float), other[0].astype(float))
    assert found.difference == pytest.approx(one.mean() - other.mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    interval_ = expected.confidence_interval()
    assert found.ci95 == pytest.approx((interval_.low, interval_.high))


def test_the_other_way_round_is_the_same_with_its_sign_turned() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.random((5, 300)) < 0.8, generator.random((5, 300)) < 0.75
    forth, back = paired(one, other), paired(other, one)
    assert forth.difference == -back.difference and forth.p_value == back.p_value
    assert forth.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))


def test_what_two_checkpoints_share_cancels() -> None:
    """Hard images make each score uncertain, and not their difference."""
    generator = np.random.default_rng(2)
    hard = generator.random(500) < 0.3
    one = ~np.tile(hard, (5, 1))
    other = one & (generator.random((5, 500)) < 0.97)
    low, high = paired(one, other).ci95
    assert high - low < (interval(one)[1] - interval(one)[0]) / 2
    assert paired(one, other).p_value < 1e-2


def test_a_checkpoint_does_not_differ_from_itself() -> None:
    row = np.random.default_rng(0).random((5, 50)) < 0.5
    same = paired(row, row)
    assert (same.difference, same.ci95, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    always = paired(np.ones((3, 9)), np.zeros((3, 9)))
    assert always.difference == 1.0 and always.p_value == 0.0


def test_paired_coverage_and_false_alarms() -> None:
    """Two checkpoints that are equally good on average: the interval holds 0, and p < 0.05 in one case of twenty."""
    generator = np.random.default_rng(3)
    rounds, hits, alarms = 1000, 0, 0
    for _ in range(rounds):
        logits = 1 + 1.5 * generator.normal(size=(1, 400)) + 0.15 * generator.normal(size=(5, 1))
        own = [0.5 * generator.normal(size=(1, 400)) + 0.15 * generator.normal(size=(5, 1)) for _ in range(2)]
        one, other = (generator.random((5, 400)) < 1 / (1 + np.exp(-(logits + part))) for part in own)
        found = paired(one, other)
        hits += found.ci95[0] <= 0 <= found.ci95[1]
        alarms += found.p_value < 0.05
    assert 0.925 <= hits / rounds <= 0.98 and hits + alarms == pytest.approx(rounds, abs=2)


def test_holm_by_hand_and_never_below_the_raw_value() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5] and holm([]) == []
    assert holm([0.9, 0.8, 0.7]) == [1.0, 1.0, 1.0]


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same draws and images"):
        paired(np.ones((2, 3)), np.ones((2, 4)))


def test_the_mean_over_two_data_sets_is_scipys_welch_test() -> None:
    generator = np.random.default_rng(3)
    pairs = [(generator.random((1, images)) < 0.7, generator.random((1, images)) < 0.6) for images in (80, 300)]
    found = mean_comparison([paired(*pair) for pair in pairs])
    first, second = (np.subtract(*(scores[0].astype(float) for scores in pair)) for pair in pairs)
    expected = stats.ttest_ind(first, -second, equal_var=False)
    assert found.difference == pytest.approx((first.mean() + second.mean()) / 2)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(expected.df)
    low, high = expected.confidence_interval()
    assert found.ci95 == pytest.approx((low / 2, high / 2))


def test_a_mean_of_comparisons_without_spread_or_without_any() -> None:
    same = paired(np.ones((2, 3)), np.ones((2, 3)))
    assert mean_comparison([same, same]).p_value == 1
    with pytest.raises(ValueError, match="at least one"):
        mean_comparison([])


def test_a_drop_of_one_draw_is_newcombes() -> None:
    """His own example, method 10: 56 of 70 against 48 of 80 (Newcombe, 1998, table II)."""
    own, other = (np.arange(count)[None] < right for right, count in ((56, 70), (48, 80)))
    drop, ends = dropped(own, other)
    assert drop == pytest.approx(0.2) and ends == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert dropped(np.ones((1, 20)), np.ones((1, 10)))[1] == pytest.approx((-wilson(0.0, 20)[1], wilson(0.0, 10)[1]))
    assert dropped(np.ones((5, 20)), np.ones((5, 10))) == dropped(np.ones((1, 20)), np.ones((1, 10)))


def test_what_draws_share_leaves_a_drop_as_sure_as_it_was() -> None:
    """An easy draw is easy on both sides; where draws differ on one side alone, nobody can be so sure."""
    generator = np.random.default_rng(0)
    images = generator.random((1, 400)), generator.random((1, 300))
    ease = np.linspace(-0.2, 0.2, 5)[:, None]
    sides = [(one < 0.7 + ease).astype(float) for one in images]
    together, apart = (dropped(sides[0], other)[1] for other in (sides[1], sides[1][::-1]))
    assert together[1] - together[0] < 0.6 * (apart[1] - apart[0])


def test_the_interval_of_a_drop_holds_it_as_often_as_it_says() -> None:
    generator, held, runs = np.random.default_rng(1), 0, 400
    truth = stats.norm.cdf(1 / np.sqrt(1 + 1.5**2 + 0.2**2)) - stats.norm.cdf(0.2 / np.sqrt(1 + 1.5**2 + 0.2**2))
    for _ in range(runs):
        draws = generator.normal(0, 0.2, (5, 1))
        own, other = (
            (mean + draws + generator.normal(0, 1.5, (1, count)) + generator.normal(size=(5, count)) > 0).astype(float)
            for mean, count in ((1.0, 200), (0.2, 100))
        )
        low, high = dropped(own, other)[1]
        held += low <= truth <= high
    # Three standard errors of 400 runs around 95%.
    assert held / runs == pytest.approx(0.95, abs=0.033)


def test_both_sides_of_a_drop_need_the_same_draws() -> None:
    with pytest.raises(ValueError, match="the same draws; got 2 and 3"):
        dropped(np.ones((2, 4)), np.ones((3, 4)))

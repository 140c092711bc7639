import numpy as np
import pytest

from probebench.study.multiples import Ladder, multiple

SIZES = np.array([1e6, 2e6, 4e6, 8e6, 16e6])


def ladder(scatter: float = 0.0, seed: int = 0, sizes: np.ndarray = SIZES) -> Ladder:
    generator = np.random.default_rng(seed)
    line = 0.3 * np.log2(sizes / 1e6)[:, None] + scatter * generator.standard_normal((len(sizes), 1))
    return Ladder.of(sizes, line + np.array([0.0, 0.5, -0.5]))


def target(worth: float) -> np.ndarray:
    """A source that is as good as ``worth`` images of the ladder."""
    found: np.ndarray = 0.3 * np.log2(worth / 1e6) + np.array([0.0, 0.5, -0.5])
    return found


@pytest.mark.parametrize("worth", [1.5e6, 3e6, 6e6, 12e6])
def test_without_noise_the_multiple_is_the_planted_one(worth: float) -> None:
    found = multiple(ladder(), target(worth), 2e6)
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(worth / 2e6) and found.low <= found.value <= found.high


@pytest.mark.parametrize("seed", range(20))
def test_the_value_lies_in_its_interval_and_between_the_sizes_of_the_bracket(seed: int) -> None:
    found = multiple(ladder(0.1, seed), target(5e6), 2e6)
    below, above = found.bracket
    if found.value is not None:
        assert below is not None and above is not None and below / 2e6 <= found.value <= above / 2e6
        assert (found.low or 0) <= found.value <= (found.high or np.inf)


def test_measured_points_are_never_overruled() -> None:
    found = multiple(ladder(), target(100e6), 2e6)
    assert found.value is None and found.bracket == (16_000_000, None)
    assert found.low is not None and found.low >= 7.99
    beyond = multiple(ladder(), target(0.1e6), 2e6)
    assert beyond.bracket == (None, 1_000_000) and beyond.high is not None and beyond.high <= 0.51


def test_a_dip_is_levelled_and_not_read_as_reached() -> None:
    table = ladder().table.copy()
    # One size that happened to do well: the larger ones lie below the target.
    table[1] += 0.8
    found = multiple(Ladder.of(SIZES, table), target(5e6), 2e6)
    assert found.bracket == (4_000_000, 8_000_000) or found.bracket[0] in (1_000_000, 2_000_000)


def test_of_three_sizes_there_is_the_bracket_alone() -> None:
    found = multiple(ladder(sizes=SIZES[:3]), target(3e6), 2e6)
    assert [found.low, found.high] == pytest.approx([1.0, 2.0])


def test_runs_take_part_in_the_scatter() -> None:
    table = ladder().table
    assert Ladder.of(SIZES, table, (0.5, 5.0)).scatter == pytest.approx(0.5 / 8)


def test_the_point_at_the_targets_own_size_is_told() -> None:
    assert multiple(ladder(0.01), target(8e6), 2e6).at_size == -1
    assert multiple(ladder(0.01), target(1.01e6), 4e6).at_size == 1
    assert multiple(ladder(0.3), target(2e6), 2e6).at_size == 0

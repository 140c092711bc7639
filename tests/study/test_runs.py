import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from probebench.study.engine import Array
from probebench.study.order import order
from probebench.study.runs import permuted_runs, run_variance

SOURCES, RUN, CELL = 5, 1.0, 0.3


def test_runs_of_one_source_are_told_from_runs_of_two() -> None:
    generator = np.random.default_rng(0)
    runs = generator.standard_normal((4, 3, 5))
    p_value = permuted_runs(runs, seed=0)
    assert p_value is not None and p_value > 0.05
    assert permuted_runs(runs + 5 * np.arange(4)[:, None, None], seed=0) == pytest.approx(1 / 2000)
    # Two sources with two runs can be parted in three ways only.
    assert permuted_runs(runs[:2, :2], seed=0) is None and permuted_runs(runs[:, :1], seed=0) is None


def test_the_p_value_is_that_of_all_partitions() -> None:
    runs = np.random.default_rng(3).standard_normal((4, 2, 3)) + 0.7 * np.arange(4)[:, None, None]
    flat = runs.reshape(8, 3)

    def statistic(order: tuple[int, ...]) -> float:
        return float(flat[list(order)].reshape(4, 2, 3).mean(axis=1).var(axis=0).sum())

    seen = statistic(tuple(range(8)))
    exact = np.mean([statistic(one) >= seen * (1 - 1e-9) for one in itertools.permutations(range(8))])
    found = permuted_runs(runs, seed=0, draws=20_000)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_the_variance_of_runs_is_pooled_over_sources() -> None:
    runs = np.zeros((2, 3, 2))
    runs[0, :, :] = np.array([1.0, 2.0, 3.0])[:, None]
    runs[1, 2] = np.nan
    # Of a mean over two runs: those that the source with fewest has.
    assert run_variance(runs) == pytest.approx((2 / 3 / 2, 3))
    assert run_variance(runs[:, :1]) == (0.0, 0.0)
    assert run_variance(np.full((2, 2, 2), np.nan)) == (0.0, 0.0)


def apart(there: np.ndarray) -> None:
    """Runs 0 to 2 on six data sets, 3 and 4 on six others."""
    there[:, 3:, :6] = there[:, :3, 6:] = False
    there[:, 5] = False


def one_source_on_more(there: np.ndarray) -> None:
    apart(there)
    there[0, :5] = True


def a_run_that_lacks_half(there: np.ndarray) -> None:
    there[:, 3:] = False
    there[:, 2, 6:] = False


def a_run_lacks_a_set(there: np.ndarray) -> None:
    there[:, 3:] = False
    there[1, 2, 4] = False


def each_set_lacks_a_run(there: np.ndarray) -> None:
    for d in range(12):
        there[:, d % 6, d] = False


def one_run_elsewhere(there: np.ndarray) -> None:
    apart(there)
    there[:, 4] = False


def a_source_lacks_the_others(there: np.ndarray) -> None:
    apart(there)
    there[2, :, 6:] = False


LAYOUTS = (
    apart,
    one_source_on_more,
    a_run_that_lacks_half,
    a_run_lacks_a_set,
    each_set_lacks_a_run,
    one_run_elsewhere,
    a_source_lacks_the_others,
)


def made(generator: np.random.Generator, layout: Callable[[np.ndarray], None], source: float) -> Array:
    """Scores [source, run, data set] of which half the sets are much harder."""
    there = np.ones((SOURCES, 6, 12), dtype=bool)
    layout(there)
    found = source * generator.standard_normal((SOURCES, 1, 1)) + RUN * generator.standard_normal((SOURCES, 6, 1))
    found = found + CELL * generator.standard_normal((SOURCES, 6, 12)) + np.where(np.arange(12) < 6, 70.0, 20.0)
    return np.where(there, found, np.nan)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_no_layout_of_runs_makes_a_source_effect(layout: Callable[[np.ndarray], None]) -> None:
    generator = np.random.default_rng(1)
    rounds, told, agree, variances, means = 150, 0, 0, [], []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(rounds):
            runs = made(generator, layout, 0.0)
            told += (permuted_runs(runs, seed=seed, draws=199) or 1.0) < 0.05
            table = np.nansum(runs, axis=1) / np.maximum((~np.isnan(runs)).sum(axis=1), 1)
            table = np.where(np.isnan(runs).all(axis=1), np.nan, table)
            variance, freedom = run_variance(runs)
            agree += order(table, run=(variance, freedom), seed=0).p_agree < 0.05
            variances.append(variance)
            means.append(np.nanmean(table - np.where(np.arange(12) < 6, 70.0, 20.0), axis=1).var(ddof=1))
            assert freedom >= 1
    # 5% of 150, and three standard errors.
    assert told <= 15 and agree <= 15
    # What runs make the means of sources differ by is not underrated.
    assert np.mean(variances) > 0.85 * np.mean(means)
    if layout in (apart, one_source_on_more, a_run_lacks_a_set):
        assert np.mean(variances) < 1.6 * np.mean(means)


@pytest.mark.parametrize("layout", [apart, one_source_on_more, a_run_lacks_a_set], ids=lambda layout: layout.__name__)
def test_sources_that_differ_are_told(layout: Callable[[np.ndarray], None]) -> None:
    generator = np.random.default_rng(2)
    found = [permuted_runs(made(generator, layout, 2.5), seed=seed, draws=199) for seed in range(60)]
    assert np.mean([p_value is not None and p_value < 0.05 for p_value in found]) > 0.8

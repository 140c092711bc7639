import numpy as np

from probebench.probes import logistic_sweep
from probebench.probes.regularization_path import APART, walk


def test_strengths_that_lie_apart_come_first_then_those_between() -> None:
    dense = np.exp([0.0, 3.0, 0.2, 0.6, 0.2, 0.7, 3.0])
    assert walk(dense) == [0, 3, 1, 2, 4, 5, 6]
    apart = np.exp(np.arange(5.0, 0.0, -1.0) * (APART + 1e-9))
    assert walk(apart) == [4, 3, 2, 1, 0]
    assert walk(np.array([1e-300, 1e300, 1e300])) == [0, 1, 2]


def test_on_a_dense_grid_most_strengths_start_where_they_end() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1200, 20)) * np.linspace(2, 0.1, 20)
    truth = (rows @ rng.normal(size=(20, 12)) + rng.gumbel(size=(1200, 12))).argmax(1)
    draw, grid = [np.arange(1200)], np.logspace(-3, 3, 70)
    together = logistic_sweep(rows, truth, draw, grid)
    assert together.converged.all()
    # Some lie apart, and between them a start from the four nearest is within the tolerance of the optimum.
    assert (together.iterations[0] == 0).mean() > 0.5
    exact = logistic_sweep(rows, truth, draw, grid, tol=1e-9)
    assert np.allclose(together.objective[0], exact.objective[0], rtol=2e-6)

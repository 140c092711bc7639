"""The whole Newton system against conjugate gradients, and what happens where it cannot be solved."""

from typing import Any

import numpy as np
import pytest

from probebench.probes import direct, logistic_sweep, sizes
from tests.probes.certificate import check
from tests.probes.test_logistic import data

Cs = np.logspace(-4, 5, 7)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(("count", "width"), [(60, 4), (30, 50), (200, 60)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_it_finds_what_conjugate_gradients_find(
    classes: int, count: int, width: int, fit_intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data(classes, count, width, shift=3.0)
    taken: list[float] = []
    solve = direct.DirectPath.solve

    def noted(path: direct.DirectPath, C: float) -> Any:
        taken.append(C)
        return solve(path, C)

    monkeypatch.setattr(direct.DirectPath, "solve", noted)
    whole = logistic_sweep(X, y, [np.arange(count)], Cs, tol=1e-10, fit_intercept=fit_intercept)
    assert taken == Cs.tolist() and whole.converged.all() and 0 < whole.work.newton
    # With some hundreds of coefficients, conjugate gradients are tried first.
    assert (whole.work.cg > 0) == ((classes, width) in {(3, 60), (6, 60), (6, 50)})
    monkeypatch.setattr(sizes, "MOST", 0)
    steps = logistic_sweep(X, y, [np.arange(count)], Cs, tol=1e-10, fit_intercept=fit_intercept)
    assert len(taken) == len(Cs)
    assert np.allclose(whole.objective, steps.objective, rtol=1e-9)
    for j in range(len(Cs)):
        scale = np.abs(steps.coef(0, j)).max()
        assert np.allclose(whole.coef(0, j), steps.coef(0, j), atol=1e-4 * scale)
        assert np.allclose(whole.intercept(0, j), steps.intercept(0, j), atol=1e-3 * max(scale, 1))
    if fit_intercept:
        check(X, y, whole)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("coarse", [1e-3, 1e-12])
def test_float32_steers_and_float64_finds(classes: int, coarse: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same optimum to 1e-9, also where float32 is asked for more than it can give, which ends in no lower value."""
    X, y = data(classes, 400, 60, shift=3.0)
    everything = [np.arange(400)]
    exact = logistic_sweep(X, y, everything, Cs, tol=1e-10)
    assert exact.work.float32 == 0
    monkeypatch.setattr(direct, "SINGLE", 0)
    monkeypatch.setattr(direct, "COARSE", coarse)
    monkeypatch.setattr(direct, "FEW", 0)
    fit = logistic_sweep(X, y, everything, Cs, tol=1e-10)
    assert fit.converged.all() and np.allclose(fit.objective, exact.objective, rtol=1e-9)
    # Beside the products of conjugate gradients.
    assert fit.work.float32 > 2 * fit.work.cg and 0 < fit.work.float64 < exact.work.float64
    check(X, y, fit)
    loose = logistic_sweep(X, y, everything, Cs, tol=0.01)
    assert loose.work.float64 > len(Cs) and (loose.objective <= 1.01 * exact.objective).all()
    assert (loose.objective >= (1 - 1e-12) * exact.objective).all()


def test_what_it_cannot_solve_goes_to_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw of three, at its second strength; the others keep what was found, and progress counts each fit once."""
    X, y = data(4, 90, 6)
    draws, told = [np.arange(30) + 30 * i for i in range(3)], list[int]()
    expected = logistic_sweep(X, y, draws, Cs)
    solve, calls = direct.DirectPath.solve, list[float]()

    def failing(path: Any, C: float) -> Any:
        calls.append(C)
        return None if len(calls) == len(Cs) + 2 else solve(path, C)

    monkeypatch.setattr(direct.DirectPath, "solve", failing)
    fit = logistic_sweep(X, y, draws, Cs, on_progress=told.append)
    assert len(calls) == 2 * len(Cs) + 2 and sum(told) == 3 * len(Cs)
    assert fit.converged.all() and np.allclose(fit.objective, expected.objective, rtol=2e-6)
    assert np.array_equal(fit.objective[[0, 2]], expected.objective[[0, 2]]) and fit.work.cg > 0
    check(X[draws[1]], y[draws[1]], fit, 1)


def test_only_small_draws_are_solved_whole() -> None:
    assert sizes.pays(1, 17, 569, 30, 2) and sizes.pays(5, 17, 10, 1280, 10)
    assert not sizes.pays(1, 1, 500, 2048, 100) and not sizes.pays(1, 1, 20_000, 256, 20)
    assert not sizes.pays(1000, 17, 569, 30, 2)
    assert sizes.pays(1, 1, 20_000, 256, 2) and not sizes.pays(1, 17, 20_000, 256, 2)


def test_the_callers_rows_are_left_alone() -> None:
    X, y = data(3, 40, 5, shift=2.0)
    given = X.copy()
    logistic_sweep(X, y, [np.arange(40)], [1.0])
    assert np.array_equal(X, given)

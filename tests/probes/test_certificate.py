"""The certificate of fits that others made, against a judge of its own; and solvers that stop early."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from probebench.probes import cuml_, lbfgs, sklearn_
from probebench.probes.base import FittedProbe, Labelled
from probebench.probes.certificate import EARLY, EXACT, certified, relative_gap
from tests.probes.certificate import primal_and_dual
from tests.probes.test_backends import FakeRegression
from tests.probes.test_sklearn import blobs


def judged(probe: FittedProbe, data: Labelled) -> tuple[float, float]:
    """The objective at a probe, and a lower bound on the optimum."""
    binary = len(probe.classes) == 2
    coef, intercept = (probe.coef[1:], probe.intercept[1:]) if binary else (probe.coef, probe.intercept)
    return primal_and_dual(data.features, data.labels, coef, intercept, probe.strength)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("each", "width"), [(6, 40), (30, 5)])
def test_the_gap_holds_what_an_independent_judge_finds(classes: int, each: int, width: int) -> None:
    """At the optimum, near it and far from it, on features that are not centred."""
    data = blobs(classes, each, width, shift=5.0)
    near = [lbfgs.fit_paths([data], [1.0, 1e3], max_iter=steps)[0] for steps in (3, 30, 1000)]
    for probe in [probe for path in [*near, sklearn_.fit_paths([data], [1.0, 1e3])[0]] for probe in path]:
        primal, dual = judged(probe, data)
        best, _ = judged(sklearn_.fit_paths([data], [probe.strength])[0][0], data)
        gap = relative_gap(probe, data)
        assert (primal - best) / primal <= gap + 1e-9, "it is a bound"
        if gap < 1e-3:
            assert gap == pytest.approx((primal - dual) / primal, rel=0.5, abs=1e-8), (
                "and no loose one near the optimum"
            )


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("far", [5.0, 20.0, 50.0, 100.0, 200.0, 1000.0])
def test_an_intercept_far_from_its_optimum_is_no_optimum(classes: int, far: float) -> None:
    """Where every row is sure of a class, right or wrong, the curvature is next to nothing, and must not hide that."""
    data = Labelled(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % classes)
    for strength in (1e-6, 1.0):
        best = sklearn_.fit_paths([data], [strength])[0][0]
        optimum, _ = judged(best, data)
        for way in (-1, 1):
            probe = replace(best, intercept=best.intercept + way * far * np.eye(classes)[-1])
            primal, _ = judged(probe, data)
            found = certified(probe, data, EARLY)
            assert found.converged is False
            assert found.gap is None or found.gap >= (primal - optimum) / primal - 1e-6


def test_what_all_classes_share_counts() -> None:
    """A vector added to every class changes no prediction; it is penalised, so the probe is no longer optimal."""
    data = blobs(3, 20, 5)
    ((probe,),) = sklearn_.fit_paths([data], [1.0])
    moved = replace(probe, coef=probe.coef + 0.5)
    extra = 0.5 * ((moved.coef**2).sum() - (probe.coef**2).sum())
    assert relative_gap(moved, data) == pytest.approx(extra / judged(moved, data)[0], rel=1e-3)
    lifted = replace(probe, intercept=probe.intercept + [0.5, 0.0, 0.0])
    assert (
        relative_gap(lifted, data) > 1e-3 and relative_gap(replace(probe, intercept=probe.intercept + 7), data) < 1e-6
    )


def test_what_is_not_finite_has_no_gap() -> None:
    data = blobs(3, 5, 4)
    ((probe,),) = sklearn_.fit_paths([data], [1.0])
    broken = certified(replace(probe, coef=np.full_like(probe.coef, np.nan)), data, EXACT)
    assert broken.converged is False and broken.gap is None


Fit = Callable[..., Any]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("fit", "tol"),
    [
        (sklearn_.fit_paths, EXACT),
        (cuml_.fit_paths, EXACT),
        (partial(sklearn_.fit_lbfgs, max_iter=2), EARLY),
        (partial(lbfgs.fit_paths, max_iter=2), EARLY),
    ],
    ids=["scikit-learn", "cuML", "scikit-learn's L-BFGS", "scipy's L-BFGS"],
)
def test_a_solver_that_stops_early_never_says_converged(
    fit: Fit, tol: float, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the solver says of itself: it is stopped after a step or two, and one that tells nothing of it too."""
    monkeypatch.setattr(sklearn_, "MAX_ITERATIONS", 1)
    monkeypatch.setitem(cuml_.ARGUMENTS, "max_iter", 1)
    monkeypatch.setattr(cuml_, "require", lambda: (FakeRegression, np.asarray))
    data = blobs(classes, 10, 20)
    for strength in (1e-3, 1.0, 1e4):
        ((probe,),) = fit([data], [strength])
        primal, dual = judged(probe, data)
        if (primal - dual) / dual > 2 * tol:
            assert probe.converged is False
    assert probe.converged is False and probe.gap is not None and probe.gap > tol


def test_a_loose_tolerance_is_no_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn stops at once and warns of nothing."""
    monkeypatch.setattr(sklearn_, "TOLERANCE", 1e3)
    ((probe,),) = sklearn_.fit_paths([blobs(4, 10, 8)], [1.0])
    assert probe.converged is False


def test_both_bounds_are_used() -> None:
    """Between the two tolerances a procedure that stops early has converged, and an exact backend has not."""
    data = blobs(4, 10, 20)
    path = lbfgs.fit_paths([data], [1.0, 10.0, 30.0, 100.0, 300.0], max_iter=1000)[0]
    between = [probe for probe in path if EXACT < relative_gap(probe, data) < EARLY / 2]
    assert between and all(probe.converged for probe in between)
    assert not any(certified(probe, data, EXACT).converged for probe in between)

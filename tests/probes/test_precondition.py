"""The class blocks against float64 closed forms, and what they are for: weak regularisation where classes overlap."""

import numpy as np
import pytest
import torch

from probebench.probes import logistic_sweep, precondition
from probebench.probes.precondition import Preconditioner
from probebench.probes.problem import Problem
from probebench.probes.regularization_path import RegularizationPath
from probebench.probes.rows import dense
from tests.probes.certificate import check

STRONG_TO_WEAK = np.logspace(-2, 6, 17)


def overlapping(count: int = 1500, width: int = 40, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Returns features such as ReLUs give, most of them zero in most rows, whose classes do not separate."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    active = rng.random((count, width)) < np.logspace(0, -1.7, width)
    size = rng.exponential(size=(count, width)) * (1 + 0.6 * rng.normal(size=(classes, width)))[labels]
    return active * size * np.logspace(0, -2, width), labels


def solved(C: float) -> tuple[Problem, torch.Tensor]:
    features, labels = overlapping()
    rows = dense(torch.as_tensor(features)[None].clone(), True)
    problem = Problem(rows=rows, labels=torch.as_tensor(labels)[None], classes=5, tol=1e-6, fit_intercept=True)
    RegularizationPath(problem, 100).solve(C)
    return problem, problem.penalty(C)


def test_blocks_are_the_inverse_curvature_of_each_class() -> None:
    problem, penalty = solved(1.0)
    inverses = precondition._inverted_blocks(problem, penalty)
    assert inverses is not None
    Z = torch.cat([block[0] for _, _, block in problem.rows.blocks(torch.float64)])
    for k in range(5):
        p = problem._probabilities[0, :, k].double()
        block = (Z * (p * (1 - p))[:, None]).mT @ Z + float(penalty) * torch.eye(Z.shape[1], dtype=torch.float64)
        off = inverses[0, k].double() @ block - torch.eye(Z.shape[1], dtype=torch.float64)
        assert float(off.abs().max()) < 1e-3


@pytest.fixture(autouse=True)
def iterative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems would be solved whole."""
    monkeypatch.setattr("probebench.probes.sizes.MOST", 0)


def test_the_optimum_is_the_same_with_and_without_blocks_which_save_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = overlapping()
    steps = {}
    for cost in (0.0, precondition.BLOCKS_COST, 1e9):
        monkeypatch.setattr(precondition, "BLOCKS_COST", cost)
        fit = logistic_sweep(X, y, [np.arange(len(X))], STRONG_TO_WEAK[::2])
        assert fit.converged.all()
        check(X, y, fit)
        steps[cost] = fit.work.cg
    _, usual, never = steps.values()
    assert usual < 0.3 * never


def test_blocks_that_cannot_be_inverted_are_not_used() -> None:
    problem, penalty = solved(1.0)
    direction = torch.randn(1, 5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction -= direction.mean(1, keepdim=True)
    expected = Preconditioner(problem).at(penalty, torch.float64)(direction)
    problem._probabilities.fill_(float("nan"))
    hindered = Preconditioner(problem)
    hindered.count(10**6)
    assert torch.equal(hindered.at(penalty, torch.float64)(direction), expected)


def test_blocks_take_no_more_memory_than_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("formed")

    monkeypatch.setattr(precondition, "_inverted_blocks", never)
    X, y = overlapping(count=100)
    fit = logistic_sweep(X, y, [np.arange(100)], STRONG_TO_WEAK)
    assert fit.converged.all(), "5 x 40 coefficients are more than 100 rows"

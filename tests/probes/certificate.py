"""A judge that shares nothing with the solver: primal and dual value of the objective, in extended precision."""

import numpy as np
import numpy.typing as npt
import pytest

from probebench.probes import SweepFit


def primal_and_dual(
    X: npt.ArrayLike, y: npt.ArrayLike, coef: npt.ArrayLike, intercept: npt.ArrayLike, C: float
) -> tuple[float, float]:
    """The objective as scikit-learn states it, and a lower bound on its optimum by Fenchel duality.

    For probabilities p (N, K) whose columns sum to the class counts,

        D(p) = C sum_i entropy(p_i) - 1/2 ||C (Y - p)' X||^2 <= optimum

    (for two classes with the binomial objective's single row). The probe's own probabilities are moved onto that
    constraint along their curvature.
    """
    rows = np.asarray(X, dtype=np.longdouble)
    W, b = np.asarray(coef, dtype=np.longdouble), np.asarray(intercept, dtype=np.longdouble)
    labels, own = np.unique(np.asarray(y), return_inverse=True)
    binary = len(labels) == 2
    penalty = 0.5 * (W**2).sum()
    if binary:
        W, b = np.vstack([np.zeros_like(W), W]), np.concatenate([np.zeros(1), b])
    mine = (np.arange(len(own)), own)
    scores = rows @ W.T + b
    scores = scores - scores[mine][:, None]
    top = scores.max(axis=1, keepdims=True)
    shares = np.exp(scores - top)
    shares[mine] = 0
    others = shares.sum(axis=1, keepdims=True)
    total = others + np.exp(-top)
    losses = np.where(top == 0, np.log1p(others), top + np.log(total))
    residual = shares / total
    residual[mine] = -(others / total)[:, 0]
    P = residual.copy()
    P[mine] += 1
    B = (np.diag(P.sum(axis=0)) - P.T @ P).astype(np.float64)
    shift = -np.linalg.pinv(B, hermitian=True) @ residual.sum(axis=0).astype(np.float64)
    step = P * (shift - (P @ shift)[:, None])
    residual, P = residual + step, np.clip(P + step, 0, 1)
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum()
    pull = residual.T @ (rows - rows.mean(axis=0))
    if binary:
        pull = pull[1:]
    primal = C * losses.sum() + penalty
    dual = C * entropy - 0.5 * C**2 * (pull**2).sum()
    return float(primal), float(dual)


def check(X: npt.ArrayLike, y: npt.ArrayLike, fit: SweepFit, i: int = 0, tol: float = 3e-6) -> None:
    """Every fit's objective is what it says, and within tol of the optimum by the independent bound."""
    for j, C in enumerate(fit.Cs):
        primal, dual = primal_and_dual(X, y, fit.coef(i, j), fit.intercept(i, j), float(C))
        assert fit.objective[i, j] == pytest.approx(primal, rel=1e-6)
        assert (primal - dual) / primal < tol, (float(C), fit.gap[i, j], fit.iterations[i, j])
    assert fit.converged[i].all()

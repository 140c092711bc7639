"""Logistic probes by scipy's L-BFGS-B as scikit-learn ran it before 1.4, whatever scikit-learn is installed.

The objective, over N rows x_i of D features and K classes, summed and not averaged over the rows:

    sum_i logloss(y_i, W x_i + b) + 1/(2 C) ||W||^2        W (K, D), b (K,) unpenalised

With two classes it is the binomial one: W (1, D), and the score of the first class is 0. It stops where the largest
entry of the gradient is below 1e-4, where a step lowers the objective by less than scipy's default share of it
(2.2e-9), or after ``max_iter`` steps. Since 1.4 scikit-learn divides the objective by N, so that the same gtol ends the
fit where the gradient of the sum is N times as large.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from probebench.probes.base import FittedProbe, Labelled, Matrix, OnProgress
from probebench.probes.certificate import EARLY, certified

GRADIENT = 1e-4


def fit_paths(
    trains: Sequence[Labelled],
    strengths: Sequence[float],
    on_progress: OnProgress = lambda fits: None,
    *,
    max_iter: int,
) -> list[list[FittedProbe]]:
    """Fits one probe per draw and strength, each from zero, in float64.

    It may stop short of the optimum; the probe then says converged = False.

    Raises:
        ValueError: Features are not finite, or a draw has one class only.
    """
    paths = []
    for train in trains:
        features = train.matrix
        classes, own = np.unique(train.labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError("a draw has one class only; a probe needs at least two")
        if not np.isfinite(features).all():
            raise ValueError("features are not finite")
        path = []
        for strength in strengths:
            weights, steps = _minimise(features, own, len(classes), float(strength), max_iter)
            probe = FittedProbe(
                strength=float(strength),
                classes=classes,
                coef=np.ascontiguousarray(weights[:, :-1]),
                intercept=weights[:, -1].copy(),
                iterations=steps,
            )
            path.append(certified(probe, train, EARLY))
            on_progress(1)
        paths.append(path)
    return paths


def _minimise(
    features: Matrix, own: npt.NDArray[np.intp], classes: int, strength: float, max_iter: int
) -> tuple[Matrix, int]:
    """Returns coefficients with the intercept last, (K, D + 1), the first row zero with two classes; and the steps."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    count, width = features.shape
    rows = classes if classes > 2 else 1
    everyone = np.arange(count)

    def value_and_gradient(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(rows, width + 1)
        scores = features @ weights[:, :-1].T + weights[:, -1]
        if rows == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        logs = log_softmax(scores, axis=1)
        value = -logs[everyone, own].sum() + 0.5 / strength * (weights[:, :-1] ** 2).sum()
        residual = np.exp(logs)
        residual[everyone, own] -= 1.0
        residual = residual[:, -rows:]
        gradient = np.empty_like(weights)
        gradient[:, :-1] = residual.T @ features + weights[:, :-1] / strength
        gradient[:, -1] = residual.sum(axis=0)
        return float(value), gradient.ravel()

    found = minimize(
        value_and_gradient,
        np.zeros(rows * (width + 1)),
        method="L-BFGS-B",
        jac=True,
        options={"gtol": GRADIENT, "maxiter": max_iter},
    )
    weights = found.x.reshape(rows, width + 1)
    return np.vstack([np.zeros((classes - rows, width + 1)), weights]), int(found.nit)

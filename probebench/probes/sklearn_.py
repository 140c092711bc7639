"""The reference backend: scikit-learn's LogisticRegression, one fit a strength.

The objective, as scikit-learn states it, over N rows x_i of D features and K classes:

    C * sum_i logloss(y_i, W x_i + b) + 1/2 ||W||^2        W (K, D), b (K,) unpenalised

With two classes it is the binomial one: W (1, D), and the score of the first class is 0.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from probebench.probes.base import FittedProbe, Labelled, Matrix

TOLERANCE = 1e-6
MAX_ITERATIONS = 1000


def fit_path(train: Labelled, strengths: Sequence[float]) -> list[FittedProbe]:
    """Fits one probe per strength, each from zero and to a gradient below 1e-6.

    The features are centred first. The intercept is free, so the optimum is the same, and the solver needs fewer steps.
    Newton-CG was chosen by measurement: on few-shot features it came within 1e-5 of the optimum where L-BFGS at the
    same tolerance did not, in a tenth of its time.
    """
    centre = train.features.mean(axis=0)
    centred = Labelled(train.features - centre, train.labels)
    return [_uncentre(_fit(centred, strength), centre) for strength in strengths]


def _fit(train: Labelled, strength: float) -> FittedProbe:
    from scipy.optimize import OptimizeWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MAX_ITERATIONS, solver="newton-cg")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(train.features, train.labels)
    # Newton-CG tells of a failed line search by a plain UserWarning.
    stopped_short = any(
        issubclass(item.category, (ConvergenceWarning, OptimizeWarning)) or "line search" in str(item.message).lower()
        for item in caught
    )
    coef, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coef, intercept = np.vstack([np.zeros_like(coef), coef]), np.concatenate([np.zeros(1), intercept])
    return FittedProbe(float(strength), model.classes_, coef, intercept, not stopped_short)


def _uncentre(probe: FittedProbe, centre: Matrix) -> FittedProbe:
    """W (x - m) + b = W x + (b - W m)."""
    return FittedProbe(probe.C, probe.classes, probe.coef, probe.intercept - probe.coef @ centre, probe.converged)

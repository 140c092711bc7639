"""The reference backend: scikit-learn's LogisticRegression, one fit a strength.

The objective, as scikit-learn states it, over N rows x_i of D features and K classes:

    C * sum_i logloss(y_i, W x_i + b) + 1/2 ||W||^2        W (K, D), b (K,) unpenalised

With two classes it is the binomial one: W (1, D), and the score of the first class is 0.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.probes.base import FittedProbe, Labelled, Matrix, OnProgress
from probebench.probes.certificate import EARLY, EXACT, certified

# Of the gradient of the averaged loss; at 1e-6 fits at weak regularisation were up to twice their optimum above it.
TOLERANCE = 1e-9
MAX_ITERATIONS = 1000


def fit_paths(
    trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
) -> list[list[FittedProbe]]:
    """Fits one probe per draw and strength, each from zero; our own certificate judges it.

    The features are centred first. The intercept is free, so the optimum is the same, and the solver needs fewer steps.
    Newton-CG was chosen by measurement: on few-shot features it came within 1e-5 of the optimum where L-BFGS at the
    same tolerance did not, in a tenth of its time.
    """
    paths = []
    for train in trains:
        features = train.matrix
        centre = features.mean(axis=0)
        path = []
        for strength in strengths:
            probe = _fit(features - centre, train.labels, strength, MAX_ITERATIONS, solver="newton-cg", tol=TOLERANCE)
            path.append(certified(_uncentre(probe, centre), train, EXACT))
            on_progress(1)
        paths.append(path)
    return paths


def fit_lbfgs(
    trains: Sequence[Labelled],
    strengths: Sequence[float],
    on_progress: OnProgress = lambda fits: None,
    *,
    max_iter: int,
) -> list[list[FittedProbe]]:
    """Fits by the installed scikit-learn's L-BFGS as published procedures run it, from zero and uncentred.

    At its default tolerance it may stop short of the optimum; the probe then says converged = False. Rows are float32,
    as embeddings come to these procedures, and scikit-learn keeps that.
    """
    paths = []
    for train in trains:
        features = train.matrix.astype(np.float32)
        path = []
        for strength in strengths:
            probe = _fit(features, train.labels, strength, max_iter, solver="lbfgs")
            path.append(certified(probe, train, EARLY))
            on_progress(1)
        paths.append(path)
    return paths


def _fit(
    features: npt.NDArray[np.floating[Any]], labels: Labels, strength: float, max_iter: int, **settings: Any
) -> FittedProbe:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=max_iter, **settings)
    with warnings.catch_warnings():
        # Whether it stopped short is judged by our own certificate.
        warnings.simplefilter("ignore")
        model.fit(features, labels)
    coef, intercept = two_rows(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
    return FittedProbe(
        strength=float(strength),
        classes=model.classes_,
        coef=coef,
        intercept=intercept,
        iterations=int(np.max(model.n_iter_)),
    )


def two_rows(coef: Matrix, intercept: Matrix) -> tuple[Matrix, Matrix]:
    """Returns one row a class where scikit-learn's binomial form has one for both: the first class scores zero."""
    if len(coef) > 1:
        return coef, intercept
    return np.vstack([np.zeros_like(coef), coef]), np.concatenate([np.zeros(1), intercept])


def _uncentre(probe: FittedProbe, centre: Matrix) -> FittedProbe:
    """W (x - m) + b = W x + (b - W m)."""
    return replace(probe, intercept=probe.intercept - probe.coef @ centre)

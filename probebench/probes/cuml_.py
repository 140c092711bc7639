"""cuML's quasi-Newton logistic regression on a GPU, one fit a strength; the same objective as scikit-learn's."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from probebench.errors import UsageError
from probebench.probes.base import FittedProbe, Labelled, OnProgress
from probebench.probes.sklearn_ import two_rows

# As in DINOv2's evaluation, which runs cuML to its optimum; what is left out is cuML's default, and
# ``benchmarks/cuml_source.py`` holds both against its source.
ARGUMENTS: dict[str, Any] = {"tol": 1e-12, "max_iter": 1000, "linesearch_max_iter": 50, "output_type": "numpy"}
DEFAULTS = {
    "penalty": "l2",
    "fit_intercept": True,
    "class_weight": None,
    "l1_ratio": None,
    "solver": "qn",
    "penalty_normalized": True,
}
ATTRIBUTES = ("coef_", "intercept_", "n_iter_")
# A fit has converged where a bound on (objective - optimum) / objective is below this, as for our own solver.
GAP = 1e-6


def require() -> tuple[Any, Callable[[Any], Any]]:
    """Returns cuML's LogisticRegression, and what puts an array on the device.

    Raises:
        UsageError: The extra is not installed, or there is no CUDA device.
    """
    mend = "use --backend torch, which runs on CPUs and GPUs"
    try:
        import cupy
        from cuml.linear_model import LogisticRegression
    except ImportError as error:
        raise UsageError(f"backend cuml needs the extra: pip install 'probebench[cuml]' on Linux; or {mend}") from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception:
        devices = 0
    if not devices:
        raise UsageError(f"backend cuml needs a CUDA device, and there is none here; {mend}")
    return LogisticRegression, cupy.asarray


def fit_paths(
    trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
) -> list[list[FittedProbe]]:
    """Fits one probe per draw and strength in float64, on features centred as for scikit-learn.

    Raises:
        UsageError: cuML or a CUDA device is missing.
    """
    regression, there = require()
    paths = []
    for train in trains:
        features = train.matrix
        centre = features.mean(axis=0)
        classes, own = np.unique(train.labels, return_inverse=True)
        # Once for all strengths.
        rows, targets = there(features - centre), there(own.astype(np.float64))
        one_hot = there(np.eye(len(classes))[own])
        path = []
        for strength in strengths:
            model = regression(C=float(strength), **ARGUMENTS)
            model.fit(rows, targets)
            coef, intercept = two_rows(np.asarray(model.coef_), np.asarray(model.intercept_).reshape(-1))
            bound = _gap(rows, one_hot, there(coef), there(intercept), float(strength))
            path.append(
                FittedProbe(
                    strength=float(strength),
                    classes=classes,
                    coef=coef,
                    intercept=intercept - coef @ centre,
                    converged=bound <= GAP,
                    iterations=int(np.max(model.n_iter_)),
                )
            )
            on_progress(1)
        paths.append(path)
    return paths


def _gap(rows: Any, own: Any, coef: Any, intercept: Any, strength: float) -> float:
    """Bounds (objective - optimum) / objective by the gradient in W, on the device that the arrays are on.

    cuML counts its steps, and does not say whether it stopped because no step led down. With b at its optimum,
    C sum_i logloss + 1/2 ||W||^2 is 1-strongly convex in W, so it is at most half the gradient's squared norm above its
    optimum.

    Args:
        rows: (N, D).
        own: Each row's class in one-hot form, (N, K).
        coef: (K, D); with two classes the first row is zero and not free.
        intercept: (K,).
        strength: C.
    """
    scores = rows @ coef.T + intercept
    scores -= scores.max(axis=1)[:, None]
    totals = np.exp(scores).sum(axis=1)
    objective = strength * (np.log(totals) - (scores * own).sum(axis=1)).sum() + 0.5 * (coef * coef).sum()
    gradient = strength * (np.exp(scores) / totals[:, None] - own).T @ rows + coef
    if len(coef) == 2:
        gradient = gradient[1:]
    return float((gradient * gradient).sum() / (2 * objective))

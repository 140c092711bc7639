"""cuML's quasi-Newton logistic regression on a GPU, one fit a strength; the same objective as scikit-learn's."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from probebench.errors import UsageError
from probebench.probes.base import FittedProbe, Labelled, OnProgress
from probebench.probes.certificate import EXACT, certified
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
        path = []
        for strength in strengths:
            model = regression(C=float(strength), **ARGUMENTS)
            model.fit(rows, targets)
            coef, intercept = two_rows(np.asarray(model.coef_), np.asarray(model.intercept_).reshape(-1))
            probe = FittedProbe(
                strength=float(strength),
                classes=classes,
                coef=coef,
                intercept=intercept - coef @ centre,
                iterations=int(np.max(model.n_iter_)),
            )
            path.append(certified(probe, train, EXACT))
            on_progress(1)
        paths.append(path)
    return paths

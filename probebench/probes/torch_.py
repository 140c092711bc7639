"""The default backend: our own exact solver, all draws and strengths together, on a CPU or a GPU."""

import warnings
from collections.abc import Sequence

from probebench.probes.base import FittedProbe, Labelled, OnProgress


def fit_paths(
    trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
) -> list[list[FittedProbe]]:
    """Fits one probe per draw and strength to a certified relative gap of 1e-6."""
    from sklearn.exceptions import ConvergenceWarning

    from probebench.probes.logistic import Part, sweep

    with warnings.catch_warnings():
        # Each probe says whether it converged, and results carry that.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = sweep([Part.whole(train.source, train.labels) for train in trains], strengths, on_progress=on_progress)
    return [
        [
            FittedProbe(
                strength=float(strength),
                classes=fit.classes(i),
                coef=coef,
                intercept=intercept,
                converged=bool(fit.converged[i, j]),
                gap=float(fit.gap[i, j] / fit.objective[i, j]),
                iterations=int(fit.iterations[i, j]),
            )
            for j, strength in enumerate(strengths)
            for coef, intercept in [fit.weights(i, j)]
        ]
        for i in range(len(trains))
    ]

"""Judges a finished logistic probe, whoever fitted it: how far its objective lies above the optimum.

The bound is that of our own solver (``problem.py``), evaluated in float64 at the probe's coefficients. A solver's own
word is never taken: a gradient below its tolerance, or an objective that no longer moves, may be far from the optimum.
"""

from dataclasses import replace

import numpy as np
import torch

from probebench.probes.base import FittedProbe, Labelled
from probebench.probes.problem import Problem, square
from probebench.probes.rows import as_they_are
from probebench.registry.protocol import TOLERANCES

EXACT, EARLY = TOLERANCES["exact"], TOLERANCES["lbfgs"]


def certified(probe: FittedProbe, train: Labelled, tol: float) -> FittedProbe:
    """Returns the probe with its certified gap, and whether that is within ``tol`` of the optimum.

    Args:
        probe: Fitted with C = ``strength``; with two classes by the binomial objective, its first row zero.
        train: The rows that it was fitted on.
        tol: Relative to the optimum.
    """
    gap = relative_gap(probe, train)
    return replace(probe, gap=gap if np.isfinite(gap) else None, converged=bool(gap <= tol * (1.0 - gap)))


def relative_gap(probe: FittedProbe, train: Labelled) -> float:
    """Returns a bound on (objective - optimum) / objective; infinite where the probe is not finite."""
    if not (np.isfinite(probe.coef).all() and np.isfinite(probe.intercept).all()):
        return float("inf")
    with torch.inference_mode():
        rows = as_they_are(train.source)
        own = torch.as_tensor(np.searchsorted(probe.classes, train.labels))[None]
        coef = torch.as_tensor(probe.coef)[None]
        # Rows are centred, which the intercept makes up for.
        intercept = torch.as_tensor(probe.intercept)[None, None] + (coef @ rows.mean[..., None]).mT
        problem = Problem(rows=rows, labels=own, classes=len(probe.classes), tol=EXACT, fit_intercept=True)
        penalty = problem.penalty(probe.strength)
        best = problem.evaluate(coef, intercept, penalty, precise=True)
        # The intercept as it is, and not at its optimum.
        problem.fit_intercept = False
        objective = problem.evaluate(coef, intercept, penalty, precise=True).objective
        if len(probe.classes) > 2:
            # What all classes have in common changes no score and is penalised all the same.
            objective = objective + 0.5 * penalty * (square(coef) - square(coef - coef.mean(1, keepdim=True)))
        gap = float((objective - best.objective + best.gap) / objective)
        # Rounding may put a probe at the optimum a little below it.
        return 0.0 if gap < 0 else gap

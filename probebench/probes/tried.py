"""What validation rows said of the values that were tried, and which of these is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probebench.arrays import Labels
from probebench.probes.base import Judged, Matrix, Probe
from probebench.probes.grid import strengths
from probebench.registry.entry import Metric
from probebench.registry.schema import ProtocolSpec

# A learning rate, None where there is none, and a value of the grid.
Value = tuple[float | None, float]


@dataclass
class Tried:
    """What validation rows said about one value: log-losses and hits, one a row over all folds; and each fold's probe.

    ``score`` is the accuracy, or the score by the metric where that chooses.
    """

    losses: Matrix
    hits: Matrix
    probes: tuple[Probe, ...]
    converged: bool
    score: float

    def cost(self, criterion: str) -> float:
        """Returns what is smallest at the best value; infinite where it is no number."""
        value = float(self.losses.mean()) if criterion == "log-loss" else -self.score
        return value if np.isfinite(value) else np.inf

    def standard_error(self, criterion: str) -> float:
        """Standard error over validation rows of the mean that is compared."""
        values = self.losses if criterion == "log-loss" else self.hits
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def joined(folds: Sequence[tuple[Judged, Probe]], labels: Labels, metric: Metric) -> Tried:
    """Puts together what the validation rows of all folds say, whose labels are ``labels``."""
    hits = np.concatenate([hits for (_, hits), _ in folds])
    return Tried(
        losses=np.concatenate([losses for (losses, _), _ in folds]),
        hits=hits,
        probes=tuple(probe for _, probe in folds),
        converged=all(probe.converged is not False and probe.finite for _, probe in folds),
        score=_score(hits, labels, metric),
    )


def _score(hits: Matrix, labels: Labels, metric: Metric) -> float:
    """Returns the share of hits, or its mean over the classes of the rows."""
    if metric == "accuracy":
        return float(hits.mean())
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return float((np.bincount(place, weights=hits) / counts).mean())


def best_value(tried: Mapping[Value, Tried], protocol: ProtocolSpec) -> Value:
    """Returns the learning rate and value with the best mean, by the protocol's rule.

    Ties go to the smaller rate and then to the smaller value, or to what was tried first; but a value beyond the grid
    must be strictly better than the best on it.

    Raises:
        FloatingPointError: No probe has finite scores.
    """
    grid = strengths(protocol)
    ordered = list(tried) if protocol.grid and protocol.grid.ties == "first" else sorted(tried, key=_smallest)
    inside = [key for key in ordered if grid[0] <= key[1] <= grid[-1]]
    outside = [key for key in ordered if key not in inside]

    def cost(key: Value) -> float:
        return tried[key].cost(protocol.criterion)

    best = min([*inside, *outside], key=cost)
    if cost(best) == np.inf:
        raise FloatingPointError("no value of the grid gave a probe with finite scores; training diverged at each")
    if protocol.rule == "one-standard-error":
        limit = cost(best) + tried[best].standard_error(protocol.criterion)
        return next(key for key in sorted(tried, key=_smallest) if cost(key) <= limit)
    return best


def _smallest(key: Value) -> tuple[float, float]:
    return key[0] or 0.0, key[1]

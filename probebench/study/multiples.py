"""How much more data of one source matches another: measured points first, then a line that never overrules them."""

import math
from dataclasses import dataclass

import numpy as np

from probebench.study.engine import LEVEL, Array

_STEPS = 1201
# How far beyond the measured sizes the interval is looked for; a value is never read out there.
_SPAN = 1000.0


@dataclass(frozen=True)
class Multiple:
    """The size of one source that does as well as another, over the other's size.

    Attributes:
        value: Between the two sizes of the bracket; None where the target is outside the measured scores.
        low: Lower end of the 95% interval; None where nothing bounds it.
        high: Upper end, likewise.
        bracket: The largest measured size that does worse, and the smallest that does as well; None where none does.
        at_size: -1 or 1 where the point at the target's own size is worse or better beyond noise; 0 otherwise.
    """

    value: float | None
    low: float | None
    high: float | None
    bracket: tuple[int | None, int | None]
    at_size: int


@dataclass(frozen=True)
class Ladder:
    """One source at several sizes.

    Attributes:
        sizes: [k], ascending.
        table: [size, data set] scores, the mean over runs.
        scatter: Variance of a point about the line, of runs and lack of fit, by data sets together.
        freedom: Of the scatter.
    """

    sizes: Array
    table: Array
    scatter: float
    freedom: float

    @classmethod
    def of(cls, sizes: Array, table: Array, runs: tuple[float, float] = (0.0, 0.0)) -> "Ladder":
        """Fits it.

        Args:
            sizes: [k].
            table: [size, data set].
            runs: Sum of squares of runs about their own mean, each over data sets, and its degrees of freedom.
        """
        place = np.argsort(sizes)
        ordered, scores = np.asarray(sizes, float)[place], table[place]
        x = np.log(ordered)
        centred = x - x.mean()
        means = scores.mean(axis=1)
        rest = means - means.mean() - centred * float(centred @ means) / float(centred @ centred)
        freedom = len(x) - 2 + runs[1]
        total = float((rest**2).sum()) + runs[0]
        return cls(ordered, scores, total / freedom if freedom > 0 else math.inf, freedom)

    @property
    def slopes(self) -> Array:
        """Score by natural logarithm of size, on each data set."""
        centred = np.log(self.sizes) - np.log(self.sizes).mean()
        found: Array = centred @ self.table / float(centred @ centred)
        return found

    def line(self, log_size: Array) -> tuple[Array, Array]:
        """Returns the line's score [point, data set] and the variance of its mean over data sets by scatter [point]."""
        x = np.log(self.sizes)
        away = log_size - x.mean()
        value: Array = self.table.mean(axis=0) + away[:, None] * self.slopes
        moment = float(((x - x.mean()) ** 2).sum())
        variance: Array = self.scatter * (1 / len(x) + away**2 / moment)
        return value, variance


def multiple(ladder: Ladder, target: Array, size: float) -> Multiple:
    """Reads off at which size a ladder meets a target.

    The value lies between the measured sizes that hold the target, by isotonic means. The interval is Fieller's set of
    the line, the target's own run error and data sets included; it is widened to the bracket, and cut only by measured
    points that are off the target beyond noise. With three sizes there is the bracket alone.

    Args:
        ladder: Of three sizes or more.
        target: [data set] scores of the other source.
        size: Its size.
    """
    from scipy.optimize import isotonic_regression

    x = np.log(ladder.sizes)
    goal = float(target.mean())
    steps = isotonic_regression(ladder.table.mean(axis=1)).x
    # A hair of rounding is no shortfall: the same checkpoint matches itself.
    reached = steps >= goal - 1e-12 * max(1.0, abs(goal))
    below = float(x[~reached][-1]) if (~reached).any() else -math.inf
    above = float(x[reached][0]) if reached.any() else math.inf
    value = None
    if math.isfinite(below) and math.isfinite(above):
        start, end = float(steps[~reached][-1]), float(steps[reached][0])
        value = below + (above - below) * (goal - start) / (end - start)
    low, high = _fieller(ladder, target) if len(x) > 3 else (below, above)
    low = min(low, below if math.isfinite(below) else above)
    high = max(high, above if math.isfinite(above) else below)
    at_size = 0
    gaps = ladder.table - target
    bounds = _bounds(np.full(len(x), 2 * ladder.scatter), ladder.freedom, gaps)
    for place, (point, mean, bound) in enumerate(zip(x, gaps.mean(axis=1), bounds, strict=True)):
        off = -1 if mean < -bound else 1 if mean > bound else 0
        if off < 0:
            low = max(low, float(point))
        if off > 0:
            high = min(high, float(point))
        if ladder.sizes[place] == size:
            at_size = off
    edge = math.log(_SPAN) * 0.999
    ends = [None if not x[0] - edge < one < x[-1] + edge else math.exp(one) / size for one in (low, high)]
    sizes = [round(math.exp(one)) if math.isfinite(one) else None for one in (below, above)]
    return Multiple(None if value is None else math.exp(value) / size, ends[0], ends[1], (sizes[0], sizes[1]), at_size)


def _fieller(ladder: Ladder, target: Array) -> tuple[float, float]:
    """Returns the ends of the set of log sizes at which line and target agree within noise."""
    x = np.log(ladder.sizes)
    grid = np.linspace(x[0] - math.log(_SPAN), x[-1] + math.log(_SPAN), _STEPS)
    value, variance = ladder.line(grid)
    gaps = value - target
    inside = np.flatnonzero(np.abs(gaps.mean(axis=1)) <= _bounds(variance + ladder.scatter, ladder.freedom, gaps))
    return (float(grid[inside[0]]), float(grid[inside[-1]])) if len(inside) else (math.inf, -math.inf)


def _bounds(scatter: Array, freedom: float, gaps: Array) -> Array:
    """Returns how large mean gaps over data sets [point, D] may be by noise of runs and of data sets [point].

    Args:
        scatter: Variance by runs and lack of fit [point], which is known to as many degrees of freedom.
        freedom: Satterthwaite's are taken of this and of D - 1.
        gaps: On each data set.
    """
    from scipy.special import stdtrit

    count = gaps.shape[1]
    sets = gaps.var(axis=1, ddof=1) / count if count > 1 else np.zeros(len(gaps))
    total = scatter + sets
    below = scatter**2 / freedom + sets**2 / max(count - 1.0, 1.0)
    known = below > 0
    welch = np.where(known, total**2 / np.where(known, below, 1.0), freedom)
    found: Array = np.where(total > 0, stdtrit(welch, (1 + LEVEL) / 2) * np.sqrt(total), 0.0)
    return found

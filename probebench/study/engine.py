"""Estimators of the study, with sources and data sets as random units. Tables are y[row, data set] with NaN for a gap.

One engine gives every interval: the delete-one jackknife over sources, over data sets and over both, with t quantiles
after Satterthwaite (1946). For a mean over a complete table it is the two-way analysis of variance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Statistic = Callable[[Rows, Rows], float]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval.

    Attributes:
        error: Standard error.
        freedom: Degrees of freedom of its t quantile.
    """

    value: float
    low: float
    high: float
    error: float = math.nan
    freedom: float = math.nan

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on one side of 0, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def __neg__(self) -> "Interval":
        """Returns the same of the opposite difference."""
        return Interval(-self.value, -self.high, -self.low, self.error, self.freedom)


@lru_cache(maxsize=4096)
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Returns the two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def t_interval(value: float, variance: float, freedom: float, level: float = LEVEL) -> Interval:
    """Returns value +- t times the root of the variance."""
    error = math.sqrt(max(variance, 0.0))
    half = t_quantile(freedom, level) * error
    return Interval(value, value - half, value + half, error, freedom)


def welch_freedom(*parts: tuple[float, float]) -> float:
    """Returns the degrees of freedom of a sum of variances (Satterthwaite, 1946).

    Args:
        parts: (variance, its degrees of freedom) each.
    """
    below = sum(variance**2 / freedom for variance, freedom in parts if freedom > 0)
    total = sum(variance for variance, _ in parts)
    return total**2 / below if below > 0 else max(freedom for _, freedom in parts)


@dataclass(frozen=True)
class LeftOut:
    """A statistic of a whole table and of what is left without one source, one data set, or both.

    Attributes:
        source: Of each side [k], without each of its sources.
        dataset: [D], without each data set.
        both: Of each side [k, D].
    """

    value: float
    source: Sequence[Array]
    dataset: Array
    both: Sequence[Array]

    def interval(self, level: float = LEVEL) -> Interval:
        """Returns its interval, sources and data sets both random.

        The variance is that over sources plus that over data sets less the interaction, which both count; it is never
        below either. The degrees of freedom are Satterthwaite's, and at most those of the larger part.
        """
        datasets = len(self.dataset)
        several = datasets > 1
        over_sets = (datasets - 1) / datasets * float(((self.dataset - self.dataset.mean()) ** 2).sum())
        over_sources = both = below = 0.0
        free = 0
        for less_source, less_both in zip(self.source, self.both, strict=True):
            count = len(less_source)
            part = (count - 1) / count * float(((less_source - less_source.mean()) ** 2).sum())
            over_sources += part
            below += part**2 / (count - 1)
            free += count - 1
            if several:
                rest = less_both - less_source[:, None] - self.dataset[None] + self.value
                rest = rest - rest.mean(axis=0) - rest.mean(axis=1)[:, None] + rest.mean()
                both += (count - 1) * (datasets - 1) / (count * datasets) * float((rest**2).sum())
        # Two sides have Welch's degrees of freedom.
        free_sources = over_sources**2 / below if below > 0 else float(free)
        larger = max(over_sources, over_sets)
        freedom = free_sources if over_sources >= over_sets else datasets - 1.0
        variance = over_sources + over_sets - both
        if several and variance > larger:
            parts = (over_sources, free_sources), (over_sets, datasets - 1.0), (both, float(free * (datasets - 1)))
            freedom = min(freedom, variance**2 / sum(one**2 / of for one, of in parts))
        return t_interval(self.value, max(variance, larger), max(freedom, 1.0), level)


def crossed(statistic: Statistic, sides: Sequence[Rows], datasets: int) -> LeftOut:
    """Leaves out sources and data sets of a statistic of rows and columns, given by position.

    Args:
        statistic: Never NaN.
        sides: Rows of each side: one of paired differences, two of sources with a word and without.
        datasets: How many there are.
    """
    rows, columns = np.concatenate(sides), np.arange(datasets)
    value = statistic(rows, columns)
    if datasets == 1:
        less_set, less_both = np.array([value]), [np.zeros((len(side), 1)) for side in sides]
    else:
        less_set = np.array([statistic(rows, np.delete(columns, d)) for d in columns])
        less_both = [
            np.array([[statistic(rows[rows != s], np.delete(columns, d)) for d in columns] for s in side])
            for side in sides
        ]
    less_source = [np.array([statistic(rows[rows != s], columns) for s in side]) for side in sides]
    return LeftOut(value, less_source, less_set, less_both)


def filled(table: Array) -> Array:
    """Fills gaps from row and column effects by least squares; a whole table comes back as it is."""
    gaps = np.isnan(table)
    if not gaps.any():
        return table
    whole = np.where(gaps, np.nanmean(table), table)
    for _ in range(30):
        fit = whole.mean(axis=1)[:, None] + whole.mean(axis=0)[None] - whole.mean()
        whole = np.where(gaps, fit, table)
    return whole


def mean_interval(table: Array) -> Interval:
    """Returns the mean of paired differences [source, data set], both random."""
    rows, datasets = table.shape
    if np.isnan(table).any() or datasets == 1:
        return crossed(lambda r, c: float(filled(table[np.ix_(r, c)]).mean()), [np.arange(rows)], datasets).interval()
    total, by_row, by_column = table.sum(), table.sum(axis=1), table.sum(axis=0)
    both = (total - by_row[:, None] - by_column + table) / ((rows - 1) * (datasets - 1))
    less_source = (total - by_row) / ((rows - 1) * datasets)
    less_set = (total - by_column) / (rows * (datasets - 1))
    return LeftOut(float(table.mean()), [less_source], less_set, [both]).interval()


def side_interval(table: Array, first: Mask) -> Interval:
    """Returns the mean of the rows that are ``first`` less that of the others, in Welch's form.

    Args:
        table: [source, data set].
        first: Which rows are on the first side.
    """
    chosen = np.asarray(first, dtype=bool)

    def difference(rows: Rows, columns: Rows) -> float:
        whole = filled(table[np.ix_(rows, columns)])
        return float(whole[chosen[rows]].mean() - whole[~chosen[rows]].mean())

    return crossed(difference, [np.flatnonzero(chosen), np.flatnonzero(~chosen)], table.shape[1]).interval()


def pooled_interval(means: Array, first: Mask) -> Interval | None:
    """Returns the same of two sides of which one is short, with one variance between sources for both (Student's t).

    None with fewer than four sources: nothing then tells how far sources of one side lie apart.

    Args:
        means: [source], over data sets.
        first: Which rows are on the first side.
    """
    one, other = means[first], means[~first]
    freedom = len(means) - 2
    if freedom < 2:
        return None
    squares = ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
    variance = float(squares) / freedom * (1 / len(one) + 1 / len(other))
    return t_interval(float(one.mean() - other.mean()), variance, float(freedom))


def pair_interval(differences: Array) -> Interval:
    """Returns the mean difference of two checkpoints over data sets; it speaks of these two alone."""
    known = differences[~np.isnan(differences)]
    if len(known) < 2:
        value = float(known.mean()) if len(known) else math.nan
        return Interval(value, -math.inf, math.inf, math.inf, 0.0)
    return t_interval(float(known.mean()), float(known.var(ddof=1)) / len(known), len(known) - 1.0)


def undone_by(interval: Interval, runs: float) -> float:
    """Returns the run-to-run SD beyond which a difference would be no more than noise.

    Args:
        interval: The difference.
        runs: 1 / runs of the one side + 1 / runs of the other.
    """
    half = t_quantile(max(interval.freedom, 1.0))
    return math.sqrt(max(0.0, ((abs(interval.value) / half) ** 2 - interval.error**2) / runs))

"""How far sources lie apart, noise taken off, and whether that fades."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from probebench.study.engine import Array, Interval, LeftOut


@dataclass(frozen=True)
class Spreads:
    """Variances between sources, noise taken off, with every source left out once.

    Attributes:
        whole: [D, L]; NaN where fewer than two sources have a score.
        less: [S, D, L], without each source.
    """

    whole: Array
    less: Array

    @classmethod
    def of(cls, table: Array, noise: Array) -> "Spreads":
        """Takes them from a table.

        Args:
            table: [source, data set, level].
            noise: Sampling variance of each.
        """
        rows = np.arange(len(table))
        return cls(_apart(table, noise), np.array([_apart(table[rows != s], noise[rows != s]) for s in rows]))

    def left_out(self, reduce: Callable[[Array], float]) -> LeftOut:
        """Leaves out sources and data sets of a statistic of the mean variance at each level [L]."""
        datasets = self.whole.shape[0]

        def over(found: Array) -> tuple[float, Array]:
            """Returns the statistic over all data sets, and without each."""
            known = ~np.isnan(found)
            total, count = np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0)
            less_total, less_count = total - np.where(known, found, 0.0), count - known
            with np.errstate(divide="ignore", invalid="ignore"):
                means, less = total / count, less_total / less_count
            return reduce(means), np.array([reduce(one) for one in less]) if datasets > 1 else np.array([reduce(means)])

        value, less_set = over(self.whole)
        each = [over(found) for found in self.less]
        return LeftOut(
            value, [np.array([one for one, _ in each])], less_set, [np.array([without for _, without in each])]
        )


def _apart(table: Array, noise: Array) -> Array:
    known = ~np.isnan(table)
    count = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(known, table, 0.0).sum(axis=0) / count
        apart = np.where(known, (table - means) ** 2, 0.0).sum(axis=0) / (count - 1)
        found: Array = apart - np.where(known, noise, 0.0).sum(axis=0) / count
    found[count < 2] = np.nan
    return found


def signed_root(value: float) -> float:
    """Returns the root of the size, with its sign."""
    return math.copysign(math.sqrt(abs(value)), value)


def fading(spreads: Spreads) -> LeftOut:
    """Returns the SD between sources at few shots, the mean over levels, less that at full data, the last level."""

    def contrast(spread: Array) -> float:
        few = spread[:-1]
        return float(np.mean([signed_root(one) for one in few[~np.isnan(few)]])) - signed_root(float(spread[-1]))

    return spreads.left_out(contrast)


def source_deviation(table: Array, noise: Array, *, tested: bool = False) -> tuple[Interval, float]:
    """Returns the SD between sources, and the run-to-run SD that would by itself give so much in 5% of tables.

    The interval is that of Tukey (1951) and Williams (1962) for a component of variance: chi-square's for the variance
    with its noise, and the noise then taken off. The degrees of freedom are Satterthwaite's for a mean over data sets
    that may agree on sources or not: from S - 1 to D (S - 1).

    Args:
        table: [source, data set].
        noise: Sampling variance of each.
        tested: Whether a test has shown that there is a variance; the interval then leaves out 0.
    """
    from scipy.special import chdtri

    sources = len(table) - 1
    apart = table - table.mean(axis=0)
    # Between data sets [D, D]; its trace is the sum over data sets of the variance between sources.
    covariance = apart.T @ apart / sources
    total, taken = float(np.trace(covariance)) / table.shape[1], float(noise.mean())
    squares = float((covariance**2).sum())
    free = sources * float(np.trace(covariance)) ** 2 / squares if squares > 0 else float(sources)

    def deviation(variance: float) -> float:
        return math.sqrt(max(variance, 0.0))

    def below(share: float) -> float:
        """What chi-square with these degrees of freedom, as a share of its mean, exceeds with a probability."""
        return float(chdtri(free, share)) / free

    found = Interval(
        deviation(total - taken), deviation(total / below(0.025) - taken), deviation(total / below(0.975) - taken)
    )
    if tested and not found.low:
        found = replace(found, low=found.value / math.sqrt(below(0.025)))
    return found, found.value * math.sqrt(sources / float(chdtri(sources, 0.05)))

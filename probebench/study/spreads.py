"""How far sources lie apart, noise taken off, and whether that is more than their runs do."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from probebench.study.engine import Array, Interval, LeftOut, welch_freedom


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


def run_blocks(runs: Array) -> list[Array]:
    """Returns the data sets [source, run, data set] by the runs that were measured on them, each block whole by itself.

    Runs 0 to 2 on some sets and 3 and 4 on others are two blocks: a run is held against others on the same sets alone.
    """
    there = (~np.isnan(runs)).any(axis=0)
    blocks: dict[bytes, list[int]] = {}
    for column in np.flatnonzero(there.any(axis=0)):
        blocks.setdefault(there[:, column].tobytes(), []).append(int(column))
    return [runs[:, :, columns] for columns in blocks.values()]


def permuted_runs(blocks: Sequence[Array], *, seed: int, draws: int = 1999) -> float | None:
    """Returns the p-value of "runs of one source are no more alike than runs of two", run labels permuted.

    Labels are permuted within each block. It is exact whatever runs share over data sets. None where fewer than 40
    partitions differ (3 sources x 3 runs and 4 x 2 are enough).

    Args:
        blocks: [source, run, data set] each, whole.
        seed: Of the permutations.
        draws: How many.
    """
    generator = np.random.default_rng(seed)
    partitions, seen, shuffled = 1, 0.0, np.zeros(draws)
    for runs in blocks:
        sources, each, datasets = runs.shape
        partitions *= math.factorial(sources * each) // (math.factorial(each) ** sources * math.factorial(sources))
        flat = runs.reshape(sources * each, datasets)
        orders = generator.permuted(np.broadcast_to(np.arange(len(flat)), (draws, len(flat))), axis=1)
        shuffled += flat[orders].reshape(draws, sources, each, datasets).mean(axis=2).var(axis=1).sum(axis=1)
        seen += float(runs.mean(axis=1).var(axis=0).sum())
    if partitions < 40:
        return None
    return float((1 + (shuffled >= seen - 1e-12).sum()) / (1 + draws))


def run_variance(runs: Array) -> tuple[float, float]:
    """Returns the variance by runs of a source's mean over data sets, and its degrees of freedom (Satterthwaite).

    Each block of data sets has as much weight as sets, and its own variance between runs, over the fewest runs that a
    source has there. Where a block has one run, another's variance stands for it.

    Args:
        runs: [source, run, data set]; NaN where a run was not measured.
    """
    blocks = run_blocks(runs)
    total = sum(block.shape[2] for block in blocks)
    known = [_between_runs(block) for block in blocks]
    widest = max((one for one in known if one[1]), default=None)
    if widest is None:
        return 0.0, 0.0
    parts = []
    for block, (variance, free, fewest) in zip(blocks, known, strict=True):
        between, freedom = (variance, free) if free else widest[:2]
        parts.append(((block.shape[2] / total) ** 2 * between / fewest, freedom))
    return sum(part for part, _ in parts), welch_freedom(*parts)


def _between_runs(block: Array) -> tuple[float, float, int]:
    """Returns the variance between runs of the mean over a block, its degrees of freedom, and the fewest runs."""
    means = np.array([[np.nan if np.isnan(run).all() else np.nanmean(run) for run in source] for source in block])
    counts = (~np.isnan(means)).sum(axis=1)
    kept = means[counts > 1]
    free = float((counts[counts > 1] - 1).sum())
    fewest = int(counts[counts > 0].min())
    if not free:
        return 0.0, 0.0, fewest
    squares = float(np.nansum((kept - np.nanmean(kept, axis=1, keepdims=True)) ** 2))
    return squares / free, free, fewest

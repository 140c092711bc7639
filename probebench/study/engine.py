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


# ---------------------------------------------------------------- spread between sources


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


def any_spread(spreads: Spreads) -> bool:
    """Says whether sources differ at all, at few shots or at full: without a spread there is nothing to fade."""
    few = spreads.left_out(lambda spread: float(spread[:-1][~np.isnan(spread[:-1])].mean())).interval(0.90)
    return few.low > 0 or spreads.left_out(lambda spread: float(spread[-1])).interval(0.90).low > 0


def source_deviation(table: Array, noise: Array, *, tested: bool = False) -> tuple[Interval, float]:
    """Returns the SD between sources, and the run-to-run SD that would by itself give so much in 5% of tables.

    The interval is chi-square's on S - 1 degrees of freedom; it reaches 0 where the variance is not beyond what data
    sets disagree on.

    Args:
        table: [source, data set].
        noise: Sampling variance of each.
        tested: Whether a test has shown that there is a variance; the interval then leaves out 0.
    """
    from scipy.special import chdtri

    free = table.shape[0] - 1
    found = Spreads.of(table[:, :, None], noise[:, :, None]).left_out(lambda spread: float(spread[0])).interval()
    variance = max(found.value, 0.0)

    def bound(share: float) -> float:
        return math.sqrt(variance * free / float(chdtri(free, 1 - share)))

    value = math.sqrt(variance)
    if found.low <= 0 and not tested:
        return Interval(value, 0.0, max(bound(0.025), math.sqrt(max(found.high, 0.0)))), bound(0.95)
    return Interval(value, bound(0.975), bound(0.025)), bound(0.95)


def permuted_runs(runs: Array, *, seed: int, draws: int = 1999) -> float | None:
    """Returns the p-value of "runs of one source are no more alike than runs of two", run labels permuted.

    It is exact whatever runs share over data sets. None where fewer than 40 partitions differ (3 sources x 3 runs and
    4 x 2 are enough).

    Args:
        runs: [source, run, data set], whole.
        seed: Of the permutations.
        draws: How many.
    """
    sources, each, datasets = runs.shape
    partitions = math.factorial(sources * each) // (math.factorial(each) ** sources * math.factorial(sources))
    if each < 2 or partitions < 40:
        return None
    flat = runs.reshape(sources * each, datasets)
    generator = np.random.default_rng(seed)
    orders = generator.permuted(np.broadcast_to(np.arange(len(flat)), (draws, len(flat))), axis=1)
    shuffled = flat[orders].reshape(draws, sources, each, datasets).mean(axis=2).var(axis=1).sum(axis=1)
    seen = float(runs.mean(axis=1).var(axis=0).sum())
    return float((1 + (shuffled >= seen - 1e-12).sum()) / (1 + draws))


def run_variance(runs: Array) -> tuple[float, float]:
    """Returns the variance between runs of one source of the mean over data sets, and its degrees of freedom.

    Args:
        runs: [source, run, data set]; a run that is not there is NaN throughout.
    """
    means = np.array([[np.nan if np.isnan(run).all() else np.nanmean(run) for run in source] for source in runs])
    counts = (~np.isnan(means)).sum(axis=1)
    kept = means[counts > 1]
    free = float((counts[counts > 1] - 1).sum())
    if not free:
        return 0.0, 0.0
    return float(np.nansum((kept - np.nanmean(kept, axis=1, keepdims=True)) ** 2) / free), free


# ---------------------------------------------------------------- order


@lru_cache(maxsize=4096)
def tukey(count: int, freedom: int) -> float:
    """Returns the 95% quantile of Tukey's studentised range."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(LEVEL, count, max(freedom, 2)))


@dataclass(frozen=True)
class Order:
    """The order of sources, or of checkpoints.

    Attributes:
        means: [S].
        apart: How far two means must lie apart to differ beyond noise (Tukey).
        p_agree: That data sets agree on the order no more than by chance.
        first: P(first) of each, for display only.
        last: P(last).
        undone_lead: Run-to-run SD beyond which the lead of the first would be noise.
        undone_agree: The same of the agreement.
    """

    means: Array
    apart: float
    p_agree: float
    first: Array
    last: Array
    undone_lead: float
    undone_agree: float

    @property
    def lead(self) -> Interval:
        """The first mean less the second, within Tukey's bounds for all pairs."""
        best = np.sort(self.means)[::-1]
        gap = float(best[0] - best[1])
        return Interval(gap, gap - self.apart, gap + self.apart)

    @property
    def trail(self) -> Interval:
        """The last but one less the last."""
        worst = np.sort(self.means)
        gap = float(worst[1] - worst[0])
        return Interval(gap, gap - self.apart, gap + self.apart)


def order(table: Array, *, run: tuple[float, float] = (0.0, 0.0), runs: float = 1.0, seed: int) -> Order:
    """Orders rows by their mean over data sets; the noise is what data sets disagree on, and that of runs.

    Args:
        table: [row, data set], at least 2 x 2.
        run: Variance between runs of the mean over data sets, and its degrees of freedom; none for checkpoints.
        runs: Runs of a row.
        seed: Of P(first) and P(last).
    """
    from scipy.special import fdtrc, fdtri

    whole = filled(table)
    rows, datasets = whole.shape
    means = whole.mean(axis=1)
    rest = whole - means[:, None] - whole.mean(axis=0) + whole.mean()
    free = (rows - 1) * (datasets - 1)
    share = float((rest**2).sum()) / free / datasets
    between = run[0] / runs
    variance = share + between
    freedom = welch_freedom((share, free), (between, run[1] or 1.0)) if variance > 0 else float(free)
    apart = tukey(rows, int(freedom)) * math.sqrt(variance)
    generator = np.random.default_rng(seed)
    scale = np.sqrt(generator.chisquare(freedom, 2000) / freedom)
    drawn = means + math.sqrt(variance) * generator.standard_normal((2000, rows)) / scale[:, None]
    spread = float(means.var(ddof=1))
    gap = float(np.diff(np.sort(means))[-1])
    return Order(
        means,
        apart,
        float(fdtrc(rows - 1, freedom, spread / variance)) if variance > 0 else float(spread == 0),
        np.bincount(drawn.argmax(axis=1), minlength=rows) / 2000,
        np.bincount(drawn.argmin(axis=1), minlength=rows) / 2000,
        math.sqrt(max(0.0, (gap / tukey(rows, int(freedom))) ** 2 - variance)),
        math.sqrt(max(0.0, spread / float(fdtri(rows - 1, freedom, LEVEL)) - variance)),
    )


def best_of(scores: Sequence[float], count: int) -> float:
    """Returns the expected best of ``count`` of the settings that were tried, drawn without replacement.

    After Dodge et al. (2019, arXiv:1909.03004), in the form without replacement, which has no bias.
    """
    ranked = sorted(scores)
    tried = len(ranked)
    chosen = sum(ranked[place] * math.comb(place, count - 1) for place in range(count - 1, tried))
    return float(chosen / math.comb(tried, count))

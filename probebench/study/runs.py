"""Whether sources lie further apart than runs of one source, and how much runs move a source's mean."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probebench.study.engine import Array, Mask, Rows, welch_freedom


def permuted_runs(runs: Array, *, seed: int, draws: int = 1999) -> float | None:
    """Returns the p-value of "runs of one source are no more alike than runs of two", run labels permuted.

    Labels are permuted among runs that were measured on the same data sets, each with all its scores, so that it is
    exact whatever runs share over data sets. The statistic is the variance between means of sources, summed over data
    sets. None where fewer than 40 partitions differ (3 sources x 3 runs and 4 x 2 are enough).

    Args:
        runs: [source, run, data set]; NaN where a run was not measured.
        seed: Of the permutations.
        draws: How many.
    """
    sources, _, datasets = runs.shape
    generator = np.random.default_rng(seed)
    # Of all draws and, last, as they are.
    totals, counts = np.zeros((draws + 1, sources, datasets)), np.zeros((sources, datasets))
    partitions = 1.0
    for rows, values in _alike(runs):
        named, each = np.unique(rows, return_counts=True)
        partitions *= math.factorial(len(rows)) / math.prod(map(math.factorial, each)) / math.factorial(len(named))
        orders = np.broadcast_to(np.arange(len(rows)), (draws, len(rows)))
        labels = np.vstack([rows[generator.permuted(orders, axis=1)], rows])
        there = ~np.isnan(values[0])
        # [draw, run, source] by [run, data set]
        totals[:, :, there] += np.eye(sources)[labels].transpose(0, 2, 1) @ values[:, there]
        counts[np.ix_(named, there)] += each[:, None]
    if partitions < 40:
        return None
    held = counts > 0
    means = totals / np.maximum(counts, 1)
    middle = means.sum(axis=1, keepdims=True) / np.maximum(held.sum(axis=0), 1)
    found = (np.where(held, (means - middle) ** 2, 0.0).sum(axis=1) / np.maximum(held.sum(axis=0), 1)).sum(axis=1)
    return float((1 + (found[:-1] >= found[-1] * (1 - 1e-9)).sum()) / (1 + draws))


def _alike(runs: Array) -> Iterator[tuple[Rows, Array]]:
    """Yields runs that were measured on the same data sets: their sources [n], and scores [n, data set].

    A source needs two of them to say how far its runs lie apart.
    """
    kinds: dict[bytes, list[tuple[int, int]]] = {}
    for s, r in zip(*np.nonzero(~np.isnan(runs).all(axis=2)), strict=True):
        kinds.setdefault(np.isnan(runs[s, r]).tobytes(), []).append((s, r))
    for places in kinds.values():
        count = Counter(s for s, _ in places)
        kept = [(s, r) for s, r in places if count[s] > 1]
        if kept:
            yield np.array([s for s, _ in kept]), np.array([runs[s, r] for s, r in kept])


def run_variance(runs: Array) -> tuple[float, float]:
    """Returns the variance by runs of a source's mean over data sets, and its degrees of freedom (Satterthwaite).

    Runs 0 to 2 on some data sets and 3 and 4 on others are two parts of a source's mean, each with its own variance
    between runs, pooled over sources. A part counts the fewest runs that it has on a data set; where it has one alone,
    another part's variance stands for it. The source with the largest variance counts.

    Args:
        runs: [source, run, data set]; NaN where a run was not measured.
    """
    parts = [_Part.of(s, source, columns) for s, source in enumerate(runs) for columns in _parts(source)]
    if not parts:
        return 0.0, 0.0
    pool = _joined(np.array([part.columns for part in parts]))
    free = np.bincount(pool, weights=[part.freedom for part in parts])
    squares = np.bincount(pool, weights=[part.squares for part in parts])
    if not free.any():
        return 0.0, 0.0
    known = np.where(free > 0, squares / np.maximum(free, 1), -1.0)
    lent = np.where(free > 0, np.arange(len(free)), known.argmax())
    found = np.zeros((len(runs), len(free)))
    for part, place in zip(parts, lent[pool], strict=True):
        share = part.columns.sum() / (~np.isnan(runs[part.source]).all(axis=0)).sum()
        found[part.source, place] += share**2 * known[place] / part.fewest
    worst = found[found.sum(axis=1).argmax()]
    return float(worst.sum()), welch_freedom(*zip(worst.tolist(), free.tolist(), strict=True))


def _parts(source: Array) -> Iterator[Mask]:
    """Yields the data sets [D] of a source [run, data set], those that share a run together."""
    there = ~np.isnan(source)
    columns = np.flatnonzero(there.any(axis=0))
    labels = _joined(there[:, columns].T)
    for label in np.unique(labels):
        found = np.zeros(source.shape[1], dtype=bool)
        found[columns[labels == label]] = True
        yield found


def _joined(members: Mask) -> Rows:
    """Returns a number for each set [set, element], the same for sets that overlap, directly or by others."""
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(members.astype(int) @ members.T.astype(int))[1], dtype=np.intp)


@dataclass(frozen=True)
class _Part:
    """The data sets of a source that share runs.

    Attributes:
        columns: Which data sets [D].
        squares: Sum of squares of runs about their mean, each over the data sets.
        freedom: Its degrees of freedom.
        fewest: Runs on the data set that has fewest.
    """

    source: int
    columns: Mask
    squares: float
    freedom: int
    fewest: int

    @classmethod
    def of(cls, number: int, source: Array, columns: Mask) -> "_Part":
        """Takes it from the scores of a source [run, data set]."""
        held = source[:, columns]
        there = ~np.isnan(held)
        fewest = int(there.sum(axis=0).min())
        whole = held[there.all(axis=1)]
        if len(whole) > 1:
            means = whole.mean(axis=1)
            return cls(number, columns, float(((means - means.mean()) ** 2).sum()), len(whole) - 1, fewest)
        if fewest > 1:
            # No two runs are on all of them: the variance of a mean is at most the mean of the variances.
            variance = float(np.nanvar(held, axis=0, ddof=1).mean())
            return cls(number, columns, variance * (fewest - 1), fewest - 1, fewest)
        return cls(number, columns, 0.0, 0, fewest)

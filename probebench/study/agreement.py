"""How far data sets agree on an order."""

import numpy as np

from probebench.study.engine import LEVEL, Array, Interval


def concordance(scores: Array) -> Interval:
    """Returns the mean Spearman correlation between rows with its interval; rows and columns are both samples.

    It is the intraclass correlation of the ranks (one rank, consistency, two-way), with McGraw and Wong's (1996)
    interval from the F distribution. Near 1, where ranks are far from normal, that is too short; so it is widened to
    hold the interval of the scores' own intraclass correlation, each row scaled to variance 1, carried over by Moran's
    (1948) expectation of Spearman's correlation of S normal pairs.

    Args:
        scores: (D, S) scores of sources on data sets, D at least 2 and S at least 3.
    """
    from scipy.stats import rankdata

    ranks: Array = rankdata(scores, axis=1)
    rho = _intraclass(ranks)
    if rho is None:
        return Interval(0.0, -1.0, 1.0)
    spread = scores.std(axis=1, keepdims=True)
    own = _intraclass(scores / np.where(spread > 0, spread, 1.0))
    carried = [_expected_spearman(end, ranks.shape[1]) for end in (own.low, own.high)] if own else []
    return Interval(rho.value, max(-1.0, min([rho.low, *carried])), min(1.0, max([rho.high, *carried])))


def _intraclass(table: Array) -> Interval | None:
    """Returns the two-way consistency intraclass correlation of (D, S) and its interval; None of a flat table."""
    from scipy.special import fdtri

    rows, columns = table.shape
    freedom = columns - 1, (rows - 1) * (columns - 1)
    between = float(rows * table.mean(axis=0).var(ddof=1))
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    within = float((rest**2).sum() / freedom[1])
    if between + within <= 1e-12:
        return None
    ratio = between / max(within, 1e-9)
    upper = (1 + LEVEL) / 2

    def correlation(value: float) -> float:
        return float((value - 1) / (value + rows - 1))

    low = correlation(ratio / float(fdtri(*freedom, upper)))
    return Interval(correlation(ratio), low, correlation(ratio * float(fdtri(*freedom[::-1], upper))))


def _expected_spearman(correlation: float, count: int) -> float:
    inner = np.arcsin(correlation) + (count - 2) * np.arcsin(correlation / 2)
    return float(6 / (np.pi * (count + 1)) * inner)
